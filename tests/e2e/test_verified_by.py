"""The report says of each file where it is, and by which hash it was verified."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import VARIETY, VARIETY_LFS, publish
from xet_ffi import Client, FileInfo, FileTransfer

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub


def git_blob(content: bytes) -> str:
    """The id of a git blob."""
    head = b"blob %d\0" % len(content)
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def agrees(file: FileTransfer, listed: FileInfo) -> bool:
    """Whether the hash of a report is that of the content, and one that the Hub publishes."""
    content = Path(file.local_path).read_bytes()
    if file.hash_kind == "git_blob":
        return file.hash == git_blob(content) == listed.hash
    if file.hash_kind == "sha256":
        return file.hash == hashlib.sha256(content).hexdigest() == listed.sha256
    return file.hash_kind == "xet" and file.hash == listed.xet_hash


@pytest.mark.parametrize("place", ["cache", "local_dir"])
def test_every_file_tells_its_place_and_its_hash(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, tmp_path: Path, place: str
) -> None:
    """In the cache and in a folder; the second time nobody has read it again."""
    publish(hf_api, repo_id)
    local_dir = tmp_path / "folder" if place == "local_dir" else None
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        listed = {file.path: file for file in client.list_files(repo_id)}
        transfer = client.download_snapshot(repo_id, local_dir=local_dir)
        again = client.download_snapshot(repo_id, local_dir=local_dir)
    kinds = set()
    for file in transfer.file_transfers:
        assert file.local_path == str(Path(transfer.path, file.path))
        assert file.verified, file
        assert agrees(file, listed[file.path]), file
        kinds.add(file.hash_kind)
    assert kinds == {"git_blob", "sha256", "xet"}
    assert {*VARIETY, *VARIETY_LFS} <= {file.path for file in transfer.file_transfers}
    for file in again.file_transfers:
        assert file.local_path == str(Path(transfer.path, file.path))
        assert not file.verified
        assert file.hash_kind == "none" or agrees(file, listed[file.path]), file
