"""Scripts that write to the Hub do the same when they import from xet_ffi.hub instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from both import OURS, both_write, run
from published import publish

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub


def test_a_repo_is_made_and_found(hub: Hub, repo_id: str, tmp_path: Path) -> None:
    """Of each type, private, and by who may not make it."""
    both_write(
        """
from huggingface_hub import create_repo, repo_exists
def url(value):
    fields = ("endpoint", "namespace", "repo_name", "repo_id", "repo_type", "url")
    return [repr(value), value, {name: getattr(value, name) for name in fields}]
show("model", url(create_repo(REPO)))
show("again", url(create_repo(REPO, exist_ok=True)))
attempt("exists", lambda: create_repo(REPO))
show("dataset", url(create_repo(REPO, repo_type="dataset", private=True)))
show("space", url(create_repo(REPO, repo_type="space", space_sdk="static")))
show("name alone", url(create_repo(REPO.split("/")[1] + "-short")))
show("visibility", url(create_repo(REPO + "-v", visibility="private")))
show("private", [repo_exists(REPO + "-v"), repo_exists(REPO + "-v", token=False)])
show("a reader", url(create_repo(REPO, exist_ok=True, token="hf_bob_secret")))
attempt("no right", lambda: create_repo(REPO + "-b", exist_ok=True, token="hf_bob_secret"))
attempt("no token", lambda: create_repo(REPO + "-b", token=False))
for wrong in ({"private": True, "visibility": "private"}, {"visibility": "protected"},
        {"repo_type": "space"}, {"repo_type": "models"}):
    attempt(str(wrong), lambda: create_repo(REPO + "-w", **wrong))
""",
        hub,
        tmp_path,
        repo=repo_id,
    )


COMMIT = """
def shown(commit):
    assert isinstance(commit, str)
    fields = vars(commit)
    return [commit, fields["commit_message"], fields["commit_description"], len(fields["oid"]),
        commit.pr_url, commit.pr_num, commit.pr_revision, commit.repo_url, fields["_endpoint"]]
def content(revision=None):
    from huggingface_hub import snapshot_download
    folder = Path(snapshot_download(REPO, revision=revision))
    return {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*"))
        if p.is_file()}
"""


def test_files_are_uploaded_from_everywhere(hub: Hub, repo_id: str, tmp_path: Path) -> None:
    """From a path, bytes and file objects, which are at their beginning before and after."""
    said = both_write(
        COMMIT
        + """
import io
from huggingface_hub import create_repo, upload_file
create_repo(REPO)
path = FOLDER / "file.bin"
path.write_bytes(bytes(range(256)) * 2000)
def up(source, name="file.bin", **options):
    return upload_file(path_or_fileobj=source, path_in_repo=name, repo_id=REPO, **options)
show("str", shown(up(str(path), "str.bin")))
show("path", shown(up(path, "path.bin", commit_message="Mine", commit_description="And more")))
show("relative", shown(up("file.bin", "/a/relative.bin")))
show("bytes", shown(up(b"bytes", "./bytes.txt")))
stream = io.BytesIO(b"0123456789")
stream.seek(4)
show("stream", shown(up(stream, "stream.txt")))
show("position", stream.tell())
with path.open("rb") as file:
    show("open file", shown(up(file, "open.bin")))
    show("position", file.tell())
show("again", shown(up(b"bytes", "bytes.txt", commit_message="Nothing new")))
show("request", shown(up(b"new", "new.txt", create_pr=True)))
show("to it", shown(up(b"newer", "newer.txt", revision="refs/pr/1")))
show("in the background", shown(up(b"later", "later.txt", run_as_future=True).result()))
show("main", content())
show("request", content("refs/pr/1"))
with (FOLDER / "text").open("w+") as text:
    attempt("text", lambda: up(text))
for name, source in {"none": "none.bin", "folder": FOLDER, "number": 5}.items():
    attempt(name, lambda: up(source))
for name in ("../x", "a/../x", ".git/x"):
    attempt(name, lambda: up(b"x", name))
for options in ({"repo_type": "models"}, {"parent_commit": "main"}, {"parent_commit": "0" * 40},
        {"revision": "none"}, {"commit_message": ""}):
    attempt(str(options), lambda: up(b"x", **options))
attempt("no right", lambda: up(b"x", token="hf_bob_secret"))
attempt("no repo", lambda: upload_file(path_or_fileobj=b"", path_in_repo="x", repo_id=REPO + "-"))
""",
        hub,
        tmp_path,
        repo=repo_id,
    )
    main = dict(said)["main"]
    assert main["stream.txt"] == 10
    assert {"a/relative.bin", "bytes.txt", "open.bin", "later.txt"} <= main.keys()


def test_a_folder_is_uploaded(hub: Hub, repo_id: str, tmp_path: Path) -> None:
    """With patterns, into a folder, deleting what is gone, as a pull request."""
    both_write(
        COMMIT
        + """
from huggingface_hub import create_repo, upload_folder
create_repo(REPO)
root = FOLDER / "root"
for name in ("a.txt", "b.bin", "sub/c.txt", "sub/d.tmp", ".git/config", "notes.log"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(name.encode() * 40_000)
def up(folder=root, **options):
    return shown(upload_folder(repo_id=REPO, folder_path=folder, **options))
show("patterns", up(allow_patterns=["*.txt", "*.bin"], ignore_patterns="b.*"))
show("content", content())
show("again", up(str(root), ignore_patterns=["*.log"], commit_message="Mine"))
show("content", content())
show("relative", up("root", path_in_repo="/in/here/", ignore_patterns=["*.log", "*.tmp"]))
show("content", content())
(root / "a.txt").unlink()
(root / "new.txt").write_bytes(b"new")
show("delete", up(delete_patterns=["*.txt", "*.gitattributes"], allow_patterns="new.txt"))
show("content", content())
show("delete below", up(path_in_repo="in", delete_patterns="here/*", allow_patterns="new.txt"))
show("content", content())
show("nothing", up(allow_patterns="none"))
(root / "new.txt").write_bytes(b"newer")
show("request", up(create_pr=True))
show("content", content("refs/pr/1"))
attempt("no folder", lambda: up("none"))
attempt("a file", lambda: up(root / "b.bin"))
attempt("revision", lambda: up(create_pr=True, revision="v1"))
attempt("no repo", lambda: upload_folder(repo_id=REPO + "-", folder_path=root))
""",
        hub,
        tmp_path,
        repo=repo_id,
    )


@pytest.mark.parametrize("operations", ["huggingface_hub", "xet_ffi.hub"])
def test_a_commit_of_many_changes(hub: Hub, repo_id: str, tmp_path: Path, operations: str) -> None:
    """With the operations of either package: they have the same attributes."""
    both_write(
        COMMIT
        + f"""
import {operations} as other
from huggingface_hub import create_repo, create_commit, delete_file, delete_folder
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
if create_commit.__module__.startswith("xet_ffi"):
    CommitOperationAdd, CommitOperationCopy = other.CommitOperationAdd, other.CommitOperationCopy
    CommitOperationDelete = other.CommitOperationDelete
"""
        + """
create_repo(REPO)
def change(*operations, **options):
    options.setdefault("commit_message", "Change")
    return shown(create_commit(REPO, operations, **options))
big = os.urandom(300_000)
show("add", change(*(CommitOperationAdd(name, big if name.endswith("bin") else name.encode())
    for name in ("a.txt", "b.txt", "model.bin", "f/x", "f/y", "g/x"))))
show("content", content())
show("change", change(CommitOperationDelete("a.txt"), CommitOperationDelete("f/"),
    CommitOperationDelete("g", is_folder=True), CommitOperationCopy("model.bin", "copy.bin"),
    CommitOperationAdd(path_in_repo="b.txt", path_or_fileobj=b"new"), commit_description="All"))
show("content", content())
show("copy", change(CommitOperationCopy("a.txt", "back.txt", src_revision="refs/pr/1"))
    if False else None)
show("delete file", shown(delete_file("b.txt", REPO)))
show("nothing", change(CommitOperationAdd("model.bin", big)))
show("generator", change(*(CommitOperationAdd(f"{i}.txt", b"") for i in range(2))))
change(CommitOperationAdd("h/x", b""))
show("delete folder", shown(delete_folder("h", REPO, commit_message="Gone")))
show("content", content())
add = CommitOperationAdd("x", b"")
attempt("no message", lambda: change(add, commit_message=""))
attempt("no such file", lambda: change(CommitOperationDelete("none")))
attempt("not a copy", lambda: CommitOperationCopy("a", "b", src_repo_id="alice/other"))
attempt("neither", lambda: CommitOperationDelete("a", is_folder="maybe"))
attempt("text", lambda: CommitOperationAdd("a", open(FOLDER / "t", "w")))
""",
        hub,
        tmp_path,
        repo=repo_id,
    )


def test_what_cannot_be_honoured_is_refused_by_name(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """Before anything is sent; the default itself may be written out."""
    publish(hf_api, repo_id, {"a.txt": b"a"})
    said = run(
        """
from xet_ffi import InvalidConfigError
from xet_ffi.hub import *
def refused(call):
    try:
        call()
    except InvalidConfigError as error:
        assert isinstance(error, ValueError)
        return [error.field, str(error)]
add = [CommitOperationAdd("b.txt", b"b")]
copy = [CommitOperationCopy("a", "b", src_repo_id="alice/other", src_repo_type="model")]
commit = {"commit_message": "x"}
file = {"path_or_fileobj": b"", "path_in_repo": "x", "repo_id": REPO}
for name, call in {
    "num_threads": lambda: create_commit(REPO, add, num_threads=2, **commit),
    "_hot_reload": lambda: upload_file(_hot_reload=True, **file),
    "src_repo_id": lambda: create_commit(REPO, copy, **commit),
    "region": lambda: create_repo(REPO + "-x", region="eu"),
    "resource_group_id": lambda: create_repo(REPO + "-x", resource_group_id="a"),
    "space_hardware": lambda: create_repo(REPO + "-x", space_hardware="cpu-basic"),
    "headers": lambda: hf_hub_download(REPO, "a.txt", headers={"range": "1"}),
    "proxies": lambda: hf_hub_download(REPO, "a.txt", proxies={"https": "http://p"}),
    "max_workers": lambda: snapshot_download(REPO, max_workers=0),
    "etag_timeout": lambda: hf_hub_download(REPO, "a.txt", etag_timeout=None),
    "dry_run": lambda: snapshot_download(REPO, dry_run=True, local_files_only=True),
    "repo_type": lambda: list_repo_files(REPO, repo_type="kernel"),
}.items():
    show(name, refused(call))
create_commit(REPO, add, num_threads=5, _hot_reload=False, **commit)
show("files", list_repo_files(REPO))
""",
        hub,
        tmp_path,
        OURS,
        repo=repo_id,
    )
    files = said.pop()
    assert {name: shown[0] for name, shown in said} == {name: name for name, _ in said}
    assert files == ["files", [".gitattributes", "a.txt", "b.txt"]]
