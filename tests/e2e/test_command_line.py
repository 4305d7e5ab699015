"""`python -m xet_ffi` says what it did, and what it didn't."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import noise
from world.stage import TOKEN, publish
from xet_ffi import Client
from xet_ffi.__main__ import main

if TYPE_CHECKING:
    from hub import Hub

FILES = {"a.bin": noise(300_000, "command"), "sub/b.txt": b"b", "sub/c.txt": b"c"}


@pytest.fixture(autouse=True)
def home(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that commands of this process and of others take from the environment."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN.secret)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with the files."""
    return publish(hub, FILES)[0]


def paths(hub: Hub, repo: str) -> set[str]:
    """What the repo has, but for what all repos have."""
    with Client(hub.endpoint, TOKEN.secret) as client:
        return {file.path for file in client.list_files(repo)} - {".gitattributes"}


def xet(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    """The command as a process."""
    command = [sys.executable, "-m", "xet_ffi", *arguments]
    return subprocess.run(command, text=True, check=False, timeout=60, **more)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (["a.bin", "nofile"], ["nofile"]),
        (["no1", "no2"], ["no1", "no2"]),
        (["sub/", "*.safetensors"], ["*.safetensors"]),
        (["a.bin", "sub/*"], ["sub/*"]),
        (["a.bin", "sub/"], []),
    ],
)
def test_names_that_the_repo_lacks_are_told(
    repo: str,
    names: list[str],
    absent: list[str],
    dry: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whether or not others have come by then."""
    status = main(["download", repo, *names, "--local-dir", "here", "--quiet", *dry])
    said = capsys.readouterr().err
    assert status == (14 if absent else 0)
    assert all(name in said for name in absent)
    assert bool(said) == bool(absent)
    if not dry and not absent:
        assert os.path.getsize("here/a.bin") == 300_000  # noqa: PTH202 - as a script has it


@pytest.mark.parametrize("arguments", [[""], ["", "data"], [".", ""]])
def test_an_empty_path_is_a_mistake(
    hub: Hub, repo: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that isn't set doesn't stand for the folder that one happens to be in."""
    (tmp_path / "work" / ".env").write_text("secret")
    with pytest.raises(SystemExit) as caught:
        main(["upload", repo, *arguments])
    assert caught.value.code == 2
    assert "is empty" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["download", repo, "--local-dir", ""])
    assert ".env" not in paths(hub, repo)


def test_without_a_path_it_is_what_is_called_like_the_repo(
    hub: Hub, repo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for `hf upload`, and never the folder that one is in."""
    work = tmp_path / "work"
    (work / ".env").write_text("secret")
    assert main(["upload", repo, "--quiet"]) == 18
    assert "name the file or folder" in capsys.readouterr().err
    folder = work / repo.rpartition("/")[2]
    folder.mkdir()
    (folder / "new.txt").write_text("new")
    assert main(["upload", repo, "--quiet"]) == 0
    assert paths(hub, repo) == {*FILES, "new.txt"}


@pytest.mark.parametrize(
    ("make", "flags", "said"),
    [
        (True, ["--include", "*.safetensor"], "no file of the folder fits the patterns"),
        (True, ["--exclude", "*"], "no file of the folder fits the patterns"),
        (False, [], "the folder has no files"),
    ],
)
def test_why_there_is_nothing_to_commit(
    repo: str,
    tmp_path: Path,
    make: bool,
    flags: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That the Hub has it all is one reason of several."""
    folder = tmp_path / "folder"
    folder.mkdir()
    if make:
        (folder / "model.safetensors").write_bytes(b"model")
    # Patterns that fit nothing are most likely wrong; who takes the status for done counts on it.
    assert main(["upload", repo, str(folder), "--quiet", *flags]) == (14 if flags else 0)
    assert said in capsys.readouterr().err


def test_what_is_left_out_is_told(
    hub: Hub, repo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link that leads nowhere is a model that isn't on the Hub."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to("gone")
    (folder / "config.json").write_text("{}")
    assert main(["upload", repo, str(folder), "--quiet"]) == 0
    assert "left out: 1 " in capsys.readouterr().err
    assert paths(hub, repo) == {*FILES, "config.json"}


def test_a_slash_at_the_end_means_a_folder(hub: Hub, repo: str, tmp_path: Path) -> None:
    """As for `cp`."""
    (tmp_path / "work" / "d.txt").write_text("d")
    assert main(["upload", repo, "d.txt", "sub/", "--quiet"]) == 0
    assert paths(hub, repo) == {*FILES, "sub/d.txt"}


def test_no_repo_is_made_for_a_file_that_is_not_there(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake leaves nothing behind."""
    hub.reset_stats()
    assert main(["upload", "alice/never", str(tmp_path / "typo")]) == 18
    assert "typo" in capsys.readouterr().err
    assert hub.stats().requests("hub") == 0


@pytest.mark.parametrize("action", ["usage", "verify", "prune", "index"])
def test_a_cache_that_is_not_there_is_told(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing found in no folder isn't "no damage"."""
    assert main(["cache", action, "--cache-dir", str(tmp_path / "typo")]) == 18
    assert "typo" in capsys.readouterr().err


def test_an_output_that_nobody_takes_is_no_traceback(repo: str, tmp_path: Path) -> None:
    """Neither a pipe that is closed, nor a full disk, nor a closed stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    closed = xet("list", repo, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (closed.returncode, closed.stderr) == (141, "")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = xet("list", repo, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 18
    assert done.stderr == "error: can't write the result: No space left on device\n"
    command = f"{sys.executable} -m xet_ffi download {repo} --local-dir here 2>&-"
    mute = subprocess.run(command, shell=True, text=True, check=False, stdout=subprocess.PIPE)
    assert (mute.returncode, mute.stdout) == (0, f"{tmp_path}/work/here\n")


@pytest.mark.parametrize("name", ["[x].txt", "what?.txt", "a*b.txt"])
@pytest.mark.parametrize("more", [[], ["a.bin"]])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_name_stands_for_itself(
    hub: Hub, repo: str, name: str, more: list[str], dry: list[str], tmp_path: Path
) -> None:
    """Also one that has in it what patterns are made of."""
    publish(hub, {name: b"odd"}, repo)
    assert main(["download", repo, name, *more, "--local-dir", "here", "--quiet", *dry]) == 0
    if not dry:
        assert (tmp_path / "work" / "here" / name).read_bytes() == b"odd"
    assert main(["download", repo, f"no{name}", *more, "--local-dir", "here", *dry]) == 14


@pytest.mark.parametrize("between", [["--revision", "main"], ["--json"], ["--quiet", "--json"]])
def test_options_may_stand_anywhere(
    hub: Hub, repo: str, between: list[str], tmp_path: Path
) -> None:
    """As for `hf`."""
    assert main(["download", repo, *between, "a.bin", "--local-dir", "here", "sub/"]) == 0
    assert (tmp_path / "work" / "here" / "sub" / "b.txt").read_bytes() == b"b"
    (tmp_path / "work" / "-odd").write_text("odd")
    assert main(["upload", repo, *between, "./-odd", "--quiet", "to/"]) == 0
    assert main(["upload", repo, *between, "--quiet", "--", "-odd"]) == 0
    assert paths(hub, repo) == {*FILES, "to/-odd", "-odd"}
    assert main(["list", "--json", repo]) == 0
    for wrong in (["list"], ["list", repo, "more"], ["upload", repo, ".", "to", "more"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2


@pytest.mark.parametrize("stderr", ["/dev/full", "&-", " >(true)"])
def test_what_was_done_stands_without_the_note(
    hub: Hub, repo: str, tmp_path: Path, stderr: str
) -> None:
    """Where stderr takes nothing, the status is what it would have been, and so is the result."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "gone").symlink_to("nothing")
    for arguments, status in (
        (["list", "alice/nothing"], 14),
        (["download", repo, "nothing"], 14),
        (["download", repo, "a.bin", "nothing"], 14),
        (["download", repo, "--include", "nothing"], 14),
        (["download", repo, "--include", "x", "a.bin"], 2),
        (["upload", repo, str(tmp_path / "nothing")], 18),
        (["upload", repo, str(tmp_path / "empty")], 0),
        (["upload", repo, str(tmp_path / "link")], 0),
        (["cache", "usage", "--cache-dir", "nothing"], 18),
        (["nonsense"], 2),
    ):
        command = [sys.executable, "-m", "xet_ffi", *arguments]
        done = subprocess.run(
            ["bash", "-c", f'"$@" 2>{stderr}', "bash", *command],
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            timeout=60,
        )
        assert done.returncode == status, arguments
        if arguments[0] == "upload" and status == 0:
            assert done.stdout.startswith(hub.endpoint)


def test_a_dry_run_says_that_nothing_fits(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As the download does, and both with a status."""
    for dry in ([], ["--dry-run"]):
        assert main(["download", repo, "--include", "nothing", *dry]) == 14
        assert "fits the patterns" in capsys.readouterr().err


def test_an_index_of_nothing_is_no_success(
    hub: Hub, repo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there was something to index."""
    assert main(["cache", "index", "--cache-dir", str(tmp_path)]) == 0
    cache_dir = str(tmp_path / "cache")
    with Client(hub.endpoint, TOKEN.secret, cache_dir) as client:
        revision = Path(client.download_snapshot(repo).path)
    (revision.parent.parent / "blobs" / ("c" * 64)).write_bytes(noise(2_000_000, "unpublished"))
    capsys.readouterr()
    assert main(["cache", "index", "--rebuild", "--quiet", "--cache-dir", cache_dir]) == 18
    assert "0 files indexed" in capsys.readouterr().out


def test_ctrl_c_tells_of_commits(hub: Hub, repo: str, tmp_path: Path) -> None:
    """What is on the Hub before the end stays there: who ends it has to know."""
    folder = tmp_path / "folder"
    folder.mkdir()
    # 250 go into the first commit.
    for number in range(260):
        (folder / f"{number}.txt").write_text(str(number))
    hub.fault("commit", skip=1, stall_before=30)
    command = [sys.executable, "-m", "xet_ffi", "upload", repo, str(folder), "--quiet"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        hub.wait_for(lambda stats: stats.requests("hub", "commit") >= 2, "the second commit")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, "")
    assert "committed before that: " in err
    assert err.startswith("interrupted: ")
