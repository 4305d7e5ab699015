"""Folders: which files are taken, where they go, and in how many commits."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import MIB, noise
from xet_ffi import Client, ConflictError, InvalidConfigError, PermissionDeniedError, XetError
from xet_ffi.__main__ import main

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub


def write(root: Path, files: dict[str, bytes]) -> Path:
    """Writes files below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def files(api: HfApi, repo: str) -> list[str]:
    """The paths in a repo, without the .gitattributes that it began with."""
    return sorted(set(api.list_repo_files(repo)) - {".gitattributes"})


SMALL = {
    "a.txt": b"a\n",
    "b.json": b"{}\n",
    "c.bin": noise(20_000, "folder/c"),
    "sub/a.txt": b"sub a\n",
    "sub/deep/d.bin": noise(20_000, "folder/d"),
    ".git/config": b"[core]\n",
    ".cache/huggingface/x": b"x",
    "sub/.git": b"gitdir: elsewhere\n",
}


def test_what_git_and_the_cache_keep_is_left_out(
    hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """Everything else is taken, below `path_in_repo`."""
    folder = write(tmp_path / "f", SMALL)
    commit = alice.upload_folder(folder, empty_repo, path_in_repo="x/y/")
    assert files(hf_api, empty_repo) == [
        "x/y/a.txt",
        "x/y/b.json",
        "x/y/c.bin",
        "x/y/sub/a.txt",
        "x/y/sub/deep/d.bin",
    ]
    assert (commit.files, commit.commits) == (5, 1)


@pytest.mark.parametrize(
    ("allow", "ignore"),
    [("*.txt", None), (["*.bin", "b*"], None), (None, "sub/"), ("*", ["*.bin", "a.txt"]), ([], [])],
)
def test_patterns_mean_what_they_mean_to_the_official_client(
    hf_api: HfApi,
    alice: Client,
    empty_repo: str,
    tmp_path: Path,
    allow: str | list[str] | None,
    ignore: str | list[str] | None,
) -> None:
    """The same files end up in both repos."""
    folder = write(tmp_path / "f", SMALL)
    alice.upload_folder(folder, empty_repo, allow_patterns=allow, ignore_patterns=ignore)
    official = f"{empty_repo}-official"
    hf_api.create_repo(official)
    hf_api.upload_folder(
        repo_id=official, folder_path=folder, allow_patterns=allow, ignore_patterns=ignore
    )
    assert files(hf_api, empty_repo) == files(hf_api, official)


def test_delete_patterns(hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path) -> None:
    """Old files go in the same commit; those that come again, and others' folders, stay."""
    alice.upload_folder(
        write(tmp_path / "old", {"w1.bin": b"\0" * 9, "w2.bin": b"\0" * 8}),
        empty_repo,
        path_in_repo="run",
    )
    alice.upload_file(b"\0\0", "other.bin", empty_repo)
    new = write(tmp_path / "new", {"w2.bin": b"\0" * 7, "w3.bin": b"\0" * 6, "notes.txt": b"n\n"})
    commit = alice.upload_folder(new, empty_repo, path_in_repo="run", delete_patterns="*.bin")
    assert commit.commits == 1
    assert files(hf_api, empty_repo) == [
        "other.bin",
        "run/notes.txt",
        "run/w2.bin",
        "run/w3.bin",
    ]
    assert ".gitattributes" in hf_api.list_repo_files(empty_repo)
    (tmp_path / "none").mkdir()
    alice.upload_folder(tmp_path / "none", empty_repo, delete_patterns=["*"])
    assert hf_api.list_repo_files(empty_repo) == [".gitattributes"]


def test_a_gitignore_that_comes_along_counts(
    hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """As for the official client."""
    folder = write(
        tmp_path / "f",
        {".gitignore": b"*.tmp\n", "a.tmp": b"x\n", "b.tmp": noise(9000), "c.txt": b"c\n"},
    )
    commit = alice.upload_folder(folder, empty_repo)
    assert files(hf_api, empty_repo) == [".gitignore", "c.txt"]
    assert (commit.files, commit.files_changed) == (4, 2)


def test_a_large_folder_takes_several_commits(
    hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """250 files first; the second time there is nothing to commit."""
    content = {f"part{i % 7}/{i}.txt": b"%d\n" % i for i in range(560)}
    content |= {f"bin/{i}.bin": noise(3000, f"folder/{i}") for i in range(40)}
    folder = write(tmp_path / "f", content)
    commit = alice.upload_folder(folder, empty_repo, commit_message="All of it")
    assert (commit.files, commit.files_changed, commit.commits) == (600, 600, 3)
    assert files(hf_api, empty_repo) == sorted(content)
    commits = hf_api.list_repo_commits(empty_repo)
    assert [c.title for c in commits[:2]] == ["All of it (part 3)", "All of it (part 2)"]
    assert commits[0].commit_id == commit.oid
    again = alice.upload_folder(folder, empty_repo)
    assert again.nothing_to_commit
    assert (again.files, again.bytes_sent, again.oid) == (600, 0, commit.oid)


def test_a_failed_upload_tells_what_it_has_committed(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """In the order in which it was made; the same call again makes only what is missing."""
    base = hf_api.repo_info(empty_repo).sha
    folder = write(tmp_path / "f", {f"{i}.txt": b"%d\n" % i for i in range(300)})
    hub.fault("commit", skip=1, status=403)
    with pytest.raises(PermissionDeniedError) as caught:
        alice.upload_folder(folder, empty_repo)
    (made,) = caught.value.commits
    assert made.oid == hf_api.repo_info(empty_repo).sha != base
    assert made.url == f"{hub.endpoint}/{empty_repo}/commit/{made.oid}"
    assert caught.value.pr_url is None
    assert pickle.loads(pickle.dumps(caught.value)).commits == [made]
    hub.clear_faults()
    assert alice.upload_folder(folder, empty_repo).commits == 1


def test_a_failed_upload_tells_which_pull_request_it_has_opened(
    hub: Hub, empty_repo: str, tmp_path: Path
) -> None:
    """Its commits are there, on no branch."""
    folder = write(tmp_path / "f", {f"{i}.txt": b"%d\n" % i for i in range(300)})
    hub.fault("commit", skip=1, status=403)
    with (
        Client(hub.endpoint, "hf_carol_secret") as carol,
        pytest.raises(PermissionDeniedError) as caught,
    ):
        carol.upload_folder(folder, empty_repo, create_pr=True)
    assert caught.value.pr_url == f"{hub.endpoint}/{empty_repo}/discussions/1"
    assert len(caught.value.commits) == 1


def test_what_a_callback_raises_tells_what_was_committed(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """Ctrl-C, say, while the second commit is being made: what is on the Hub is worth knowing."""
    folder = write(tmp_path / "f", {f"{i}.txt": b"%d\n" % i for i in range(300)})
    hub.fault("commit", skip=1, stall_before=60)

    def interrupt() -> bool:
        if any(rule["fired"] for rule in hub.faults()):
            raise LookupError
        return False

    with pytest.raises(LookupError) as caught:
        alice.upload_folder(folder, empty_repo, cancel=interrupt)
    told = caught.value.__context__
    assert isinstance(told, XetError)
    (made,) = told.commits
    assert made.oid in {commit.commit_id for commit in hf_api.list_repo_commits(empty_repo)}
    assert told.kind == "commit_unknown"


def test_what_fails_before_its_first_commit_tells_of_none(
    hub: Hub, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """An empty list, and no page."""
    folder = write(tmp_path / "f", {"a.txt": b"a\n"})
    hub.fault("commit", status=403)
    with pytest.raises(PermissionDeniedError) as caught:
        alice.upload_folder(folder, empty_repo)
    assert (caught.value.commits, caught.value.pr_url) == ([], None)


def test_parent_commit_is_that_of_the_first(alice: Client, empty_repo: str, tmp_path: Path) -> None:
    """It holds for a folder in several commits, and fails before any of them."""
    base = alice.upload_file(b"1\n", "x.txt", empty_repo)
    folder = write(tmp_path / "f", {f"{i}.txt": b"%d\n" % i for i in range(300)})
    commit = alice.upload_folder(folder, empty_repo, parent_commit=base.oid)
    assert commit.commits == 2
    with pytest.raises(ConflictError):
        alice.upload_folder(folder, empty_repo, path_in_repo="again", parent_commit=base.oid)
    assert len(alice.list_files(empty_repo)) == 302


def test_a_folder_becomes_a_pull_request(
    hub: Hub, hf_api: HfApi, empty_repo: str, tmp_path: Path
) -> None:
    """One, however many commits it takes."""
    folder = write(tmp_path / "f", {f"{i}.txt": b"%d\n" % i for i in range(300)})
    with Client(hub.endpoint, "hf_carol_secret") as carol:
        commit = carol.upload_folder(folder, empty_repo, create_pr=True)
    assert commit.commits == 2
    assert commit.pr_url == f"{hub.endpoint}/{empty_repo}/discussions/1"
    assert files(hf_api, empty_repo) == []
    assert len(hf_api.list_repo_files(empty_repo, revision="refs/pr/1")) == 301


#: Uploads, and says when the first commit is made, until it is killed.
CHILD = """
import sys
from xet_ffi import Client

endpoint, repo, folder = sys.argv[1:]
with Client(endpoint, "hf_alice_secret") as client:
    client.upload_folder(folder, repo, progress=lambda p: print(p.bytes_network, flush=True))
"""


def test_a_killed_upload_goes_on_where_it_was(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """The second run sends what was missing: neither commits nor xorbs that were made before."""
    content = {f"{i:03}.bin": noise(9000, f"kill/{i}") for i in range(250)}
    content |= {f"big{i}.bin": noise(70 * MIB, f"kill/big{i}") for i in range(2)}
    folder = write(tmp_path / "f", content)
    # Of the second batch, one xorb arrives; the next ones wait.
    hub.fault("storage", method="PUT", skip=2, stall_before=60)
    command = [sys.executable, "-c", CHILD, hub.endpoint, empty_repo, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        hub.wait_for(
            lambda stats: (
                stats.requests("hub", "commit") >= 1
                and stats.xorbs_received >= 2
                and sum(rule["fired"] for rule in hub.faults()) >= 1
            ),
            "the first commit, and a xorb of the second",
        )
        child.kill()
    assert child.returncode < 0, "it finished before it could be killed"
    hub.clear_faults()
    made = [commit.commit_id for commit in hf_api.list_repo_commits(empty_repo)]
    assert len(made) == 2
    before = hub.stats().raw["xorb_bytes_received"]
    hub.reset_stats()
    commit = alice.upload_folder(folder, empty_repo)
    assert commit.commits == 1
    assert [c.commit_id for c in hf_api.list_repo_commits(empty_repo)] == [commit.oid, *made]
    assert files(hf_api, empty_repo) == sorted(content)
    total = sum(map(len, content.values()))
    after = hub.stats().raw["xorb_bytes_received"]
    assert before >= 64 * MIB
    assert before + after <= 1.01 * total


def test_a_folder_that_is_none(alice: Client, empty_repo: str, tmp_path: Path) -> None:
    """Missing, or a file: an OSError that names it."""
    with pytest.raises(OSError, match="missing"):
        alice.upload_folder(tmp_path / "missing", empty_repo)
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OSError, match=str(path)):
        alice.upload_folder(path, empty_repo)
    with pytest.raises(InvalidConfigError, match="path_in_repo"):
        alice.upload_folder(tmp_path, empty_repo, path_in_repo="../up")


def test_the_command_line(
    hub: Hub,
    hf_api: HfApi,
    empty_repo: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`upload REPO PATH [PATH_IN_REPO]` as of `hf upload`; stdout has the page or the report."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_alice_secret")
    folder = write(tmp_path / "f", {**SMALL, "c.bin": os.urandom(20_000)})
    assert main(["upload", empty_repo, str(folder), "data", "--exclude", "*.bin", "--quiet"]) == 0
    head = hf_api.repo_info(empty_repo).sha
    assert capsys.readouterr().out == f"{hub.endpoint}/{empty_repo}/commit/{head}\n"
    assert files(hf_api, empty_repo) == ["data/a.txt", "data/b.json", "data/sub/a.txt"]
    arguments = ["upload", empty_repo, str(folder / "c.bin"), "--json", "--commit-message", "One"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["bytes_new"] == 20_000
    assert "c.bin" in files(hf_api, empty_repo)
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["commits"] == 0
    assert "nothing to commit" in said.err
    made = f"{empty_repo}-made"
    assert main(["upload", made, str(folder), "--create-repo", "--private", "--quiet"]) == 0
    assert hf_api.repo_info(made).private
    assert main(["upload", made, str(folder / "missing")]) != 0
    assert "error: " in capsys.readouterr().err
