"""upload: never what wasn't named, and a repo for it if there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.conftest import FILES
from world.stage import TOKEN
from xet_ffi import Client
from xet_ffi.cli import main

if TYPE_CHECKING:
    from hub import Hub


def paths(hub: Hub, repo: str, repo_type: str = "model") -> set[str]:
    """What a repo has, but for what all have."""
    with Client(hub.endpoint, TOKEN.secret) as client:
        files = client.list_files(repo, repo_type=repo_type)
    return {file.path for file in files} - {".gitattributes"}


@pytest.mark.parametrize("name", ["upload-nothing", "datasets/alice/upload-nothing"])
def test_without_a_path_nothing_is_uploaded_that_was_not_meant(
    hub: Hub, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the folder one is in: it may be a home. Not a request is sent, and no repo made."""
    Path(".env").write_text("secret")
    assert main(["upload", name]) == 18
    assert "nothing here is called upload-nothing; name the file or" in capsys.readouterr().err
    assert hub.stats().requests("hub") == 0


@pytest.mark.parametrize("typed", [["alice/homes"], ["alice/x", "."], ["alice/x", "~"], ["me/me"]])
def test_a_home_is_not_uploaded(
    hub: Hub, typed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor what holds it, whether it's named, called like the repo, or behind a link that is."""
    home = Path("homes/me")
    home.mkdir(parents=True)
    Path("me").symlink_to(home)
    (home / ".env").write_text("secret")
    monkeypatch.setenv("HOME", str(home.absolute()))
    assert main(["upload", *typed]) == 2
    assert "your home folder" in capsys.readouterr().err
    assert hub.stats().requests("hub") == 0


def test_what_is_chosen_of_a_home_is_uploaded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is a folder in it."""
    Path("out").mkdir()
    for name in (".env", "model.bin", "out/other.bin"):
        Path(name).write_text(name)
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert main(["upload", "alice/of-a-home", "~", "--include", "*.bin", "-q"]) == 0
    assert paths(hub, "alice/of-a-home") == {"model.bin", "out/other.bin"}
    assert main(["upload", "alice/in-a-home", "out", "-q"]) == 0
    assert paths(hub, "alice/in-a-home") == {"other.bin"}


def test_a_path_that_is_not_there_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """As files of a repo do."""
    Path("checkpoint").mkdir()
    assert main(["upload", "alice/x", "chekpoint"]) == 18
    assert "did you mean checkpoint?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "repo", "repo_type"),
    [
        ("alice/created", "alice/created", "model"),
        ("hf://datasets/alice/created", "alice/created", "dataset"),
        ("spaces/alice/created", "alice/created", "space"),
    ],
)
def test_the_repo_is_created(
    hub: Hub, typed: str, repo: str, repo_type: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `hf upload` does, and that is said; the second time it's there."""
    Path("a.txt").write_text("a")
    assert main(["upload", typed, "a.txt", "in/", "-q"]) == 0
    name = repo if repo_type == "model" else f"{repo_type}s/{repo}"
    assert capsys.readouterr().err == f"created {name}, since there was none\n"
    assert "in/a.txt" in paths(hub, repo, repo_type)
    hub.reset_stats()
    Path("b.txt").write_text("b")
    assert main(["upload", typed, "b.txt", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert {"in/a.txt", "b.txt"} <= paths(hub, repo, repo_type)


def test_a_name_alone_is_in_the_namespace_of_the_token(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """If it's new; of one that exists, the Hub doesn't say whose it is."""
    Path("created-short").write_text("a")
    assert main(["upload", "created-short", "-q"]) == 0
    assert paths(hub, "alice/created-short") == {"created-short"}
    capsys.readouterr()
    assert main(["upload", "created-short", "-q"]) == 2
    assert "NAMESPACE/created-short" in capsys.readouterr().err


def test_a_repo_is_not_created_if_that_was_not_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """A typo in CI is an error there."""
    Path("a.txt").write_text("a")
    assert main(["upload", "alice/typo", "a.txt", "--no-create-repo"]) == 14
    assert "alice/typo" in capsys.readouterr().err
    assert main(["list", "alice/typo"]) == 14
    # Nor for a token that isn't good.
    assert main(["upload", "alice/typo", "a.txt", "--token", "hf_wrong"]) == 12


def test_a_private_repo_is_made_private(hub: Hub) -> None:
    """Nobody else sees it, not even for a moment."""
    Path("a.txt").write_text("a")
    assert main(["upload", "alice/hidden", "a.txt", "--private", "-q"]) == 0
    with Client(hub.endpoint, token=False) as client, pytest.raises(FileNotFoundError):
        client.list_files("alice/hidden")


def test_a_repo_that_is_there_costs_no_creation(hub: Hub, repo: str) -> None:
    """A token that may write to it need not be one that may create any."""
    Path("a.txt").write_text("a")
    assert main(["upload", repo, "a.txt", "-q"]) == 0
    assert hub.stats().requests("hub", "repo") == 0
    assert paths(hub, repo) == {*FILES, "a.txt"}


@pytest.mark.parametrize("is_new", [False, True], ids=["repo is there", "new repo"])
def test_the_branch_is_created(
    hub: Hub, repo: str, is_new: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """At main, as `hf upload --revision` does, and that is said; the second time it's there."""
    target = "alice/created-with-branch" if is_new else repo
    Path("a.txt").write_text("a")
    assert main(["upload", target, "a.txt", "--revision", "new/one", "-q"]) == 0
    assert "created branch new/one at main" in capsys.readouterr().err
    with Client(hub.endpoint, TOKEN.secret) as client:
        there = {file.path for file in client.list_files(target, revision="new/one")}
        assert "a.txt" not in {file.path for file in client.list_files(target)}
    assert there >= ({"a.txt"} if is_new else {*FILES, "a.txt"})
    Path("b.txt").write_text("b")
    assert main(["upload", f"{target}@new/one", "b.txt", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_a_branch_is_not_created_if_that_was_not_meant(
    repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody can begin isn't tried."""
    Path("a.txt").write_text("a")
    assert main(["upload", repo, "a.txt", "--revision", "new", "--no-create-repo"]) == 14
    assert main(["upload", repo, "a.txt", "--revision", "refs/pr/7"]) == 14
    assert main(["upload", repo, "a.txt", "--revision", "0" * 40]) == 14
    assert "created" not in capsys.readouterr().err


def test_what_can_not_be_uploaded_makes_no_repo(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe, for one; nor do words in the wrong order."""
    os.mkfifo("pipe")
    assert main(["upload", "alice/of-a-pipe", "pipe"]) == 18
    assert "neither a file nor a folder" in capsys.readouterr().err
    Path("model").mkdir()
    assert main(["upload", "model", "alice/swapped"]) == 18
    assert "the repo comes first: xet-ffi upload alice/swapped model" in capsys.readouterr().err
    assert hub.stats().requests("hub") == 0


@pytest.mark.parametrize("name", ["alice/not-made", "not-made"])
@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        (["broken.txt"], 18, "broken.txt"),
        (["folder"], 18, "folder/broken.txt"),
        (["folder", "--delete", "*"], 18, "folder/broken.txt"),
        (["folder", "--include", "*.bin"], 14, "no file of the folder fits the patterns"),
        (["empty"], 14, "the folder has no files\nerror: nothing is created for that"),
        (["plain.txt", ".git/config"], 11, ".git"),
    ],
    ids=["file", "folder", "deletes", "patterns", "empty", "place"],
)
def test_what_is_wrong_here_makes_no_repo(
    name: str,
    typed: list[str],
    status: int,
    said: str,
    hub: Hub,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What can't be read, or isn't there, is known before anything is created for it."""
    Path("folder").mkdir()
    Path("empty").mkdir()
    Path("plain.txt").write_text("plain")
    for path in ("broken.txt", "folder/broken.txt"):
        # Nobody can read it at its beginning, whatever rights they have.
        Path(path).symlink_to("/proc/self/mem")
    assert main(["upload", name, *typed, "-q"]) == status
    assert said in capsys.readouterr().err
    assert hub.stats().requests("hub", "repo") == 0


def test_what_is_wrong_here_makes_no_branch(
    hub: Hub, repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor for nothing, unless something is to be deleted there."""
    Path("broken.txt").symlink_to("/proc/self/mem")
    Path("empty").mkdir()
    assert main(["upload", f"{repo}@new", "broken.txt", "-q"]) == 18
    assert main(["upload", f"{repo}@new", "empty", "-q"]) == 14
    assert hub.stats().requests("hub", "branch") == 0
    assert main(["upload", f"{repo}@new", "empty", "--delete", "onnx/*", "-q"]) == 0
    assert "created branch new at main" in capsys.readouterr().err
    with Client(hub.endpoint, TOKEN.secret) as client:
        left = {file.path for file in client.list_files(repo, revision="new")}
    assert left - {".gitattributes"} == {"config.json", "model.safetensors"}
    assert paths(hub, repo) == {*FILES}


def test_the_place_may_be_the_folder_of_the_repo(
    hub: Hub, repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for a folder; and that of two files only one is uploaded is told."""
    Path("a.txt").write_text("a")
    assert main(["upload", repo, "a.txt", ".", "-q"]) == 0
    assert "a.txt" in paths(hub, repo)
    Path("b.txt").write_text("b")
    capsys.readouterr()
    assert main(["upload", repo, "a.txt", "b.txt", "-q"]) == 0
    assert "a.txt is uploaded as b.txt, and the file b.txt that is here" in capsys.readouterr().err


def test_the_place_in_the_repo_is_said_once(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In the URI or behind the path."""
    Path("a.txt").write_text("a")
    assert main(["upload", f"hf://{repo}/to/b.txt", "a.txt", "-q"]) == 0
    assert main(["upload", f"hf://{repo}/to", "a.txt", "c.txt"]) == 2
    assert "leave out PATH_IN_REPO" in capsys.readouterr().err
    assert main(["upload", repo, "a.txt", "--include", "x"]) == 2
