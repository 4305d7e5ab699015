"""Folders as they are: loops of links, what may not be read, what isn't text, what isn't a file."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, Model
from world.test_accounts import as_nobody
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files in it, and one beside it that is linked to."""
    folder, beside = tmp_path / "folder", tmp_path / "beside"
    (folder / "sub").mkdir(parents=True)
    beside.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("b")
    (beside / "c.txt").write_text("c")
    return folder


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    """A client that may write."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        yield client


def uploaded(client: Client, model: Model) -> set[str]:
    """What has been added below `up/`."""
    paths = (file.path for file in client.list_files(model.repo_id))
    return {path.removeprefix("up/") for path in paths if path.startswith("up/")}


def test_links_are_followed_and_loops_noticed(
    client: Client, model: Model, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that is linked is uploaded, each time; one that it's in is counted and named."""
    (folder / "linked").symlink_to(tmp_path / "beside")
    (folder / "again").symlink_to(tmp_path / "beside")
    (folder / "file").symlink_to(tmp_path / "beside" / "c.txt")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "here").symlink_to(".")
    (folder / "loop").symlink_to("loop")
    (folder / "nowhere").symlink_to("nothing")
    (folder / "below a file").symlink_to("a.txt/x")
    (tmp_path / "beside" / "back").symlink_to(folder)
    with caplog.at_level(logging.WARNING, "xet_ffi"):
        commit = client.upload_folder(folder, model.repo_id, path_in_repo="up")
    expected = {"a.txt", "sub/b.txt", "file", "linked/c.txt", "again/c.txt"}
    assert uploaded(client, model) == expected
    assert (commit.files, commit.files_left_out) == (5, 7)
    for name in ("sub/up", "here", "loop", "nowhere", "below a file", "linked/back", "again/back"):
        assert str(folder / name) in caplog.text, name
    unwanted = ["sub/up/*", "here/", "loop", "nowhere", "below*", "*/back/*"]
    commit = client.upload_folder(
        folder, model.repo_id, path_in_repo="up", ignore_patterns=unwanted
    )
    assert commit.files_left_out == 0


def test_what_is_no_file_is_left_out(client: Client, model: Model, folder: Path) -> None:
    """Sockets and pipes; reading a pipe would wait for ever."""
    os.mkfifo(folder / "pipe")
    (folder / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # Addresses are short.
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        commit = client.upload_folder(folder, model.repo_id, path_in_repo="up")
    assert uploaded(client, model) == {"a.txt", "sub/b.txt"}
    assert commit.files_left_out == 3


def test_a_folder_that_may_not_be_read(hub: Hub, model: Model) -> None:
    """It's an error, unless the patterns exclude all that could be in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "folder"
        (folder / "sub").mkdir(parents=True)
        (folder / "a.txt").write_text("a")
        (folder / "sub" / "b.txt").write_text("b")
        (folder / "sub").chmod(0o700)
        Path(name).chmod(0o755)
        done = as_nobody(
            f"""
with Client({hub.endpoint!r}, {TOKEN.secret!r}, "/nonexistent") as client:
    for patterns in (
        {{}},
        {{"ignore_patterns": "sub/*.txt"}},
        {{"ignore_patterns": "sub/*"}},
        {{"allow_patterns": ["a.txt", "b/*"]}},
    ):
        try:
            commit = client.upload_folder({str(folder)!r}, {model.repo_id!r}, **patterns)
            print(commit.files, commit.files_left_out)
        except xet_ffi.PermissionDeniedError as error:
            print(error.kind, error.file)
"""
        )
    refused = f"local_permission {folder / 'sub'}"
    assert done.stdout.splitlines() == [refused, refused, "1 0", "1 0"], done.stderr


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_name_that_is_no_text(client: Client, model: Model, folder: Path, kind: str) -> None:
    """It's an error that names it, unless the patterns exclude it."""
    odd = folder / os.fsdecode(b"caf\xe9")
    if kind == "folder":
        odd.mkdir()
        odd /= "inside"
    odd.write_bytes(b"odd")
    with pytest.raises(XetError, match="caf") as caught:
        client.upload_folder(folder, model.repo_id, path_in_repo="up")
    assert caught.value.kind == "unsafe_path"
    commit = client.upload_folder(
        folder, model.repo_id, path_in_repo="up", ignore_patterns=["caf*", "*/inside"]
    )
    assert (commit.files, commit.files_left_out) == (2, 0)
