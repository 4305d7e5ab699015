"""What one client uploads, the other one downloads; and the Hub says the same of both."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.hf_api import RepoFile

from published import MIB, VARIETY, noise
from xet_ffi import Client, CommitAdd

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub, Token

#: More than one xorb, with repeats inside, so that terms of all sorts come up.
LARGE = noise(70 * MIB, "parity") + noise(3 * MIB, "again") * 2 + bytes(5 * MIB)


def listed(api: HfApi, repo: str) -> dict[str, tuple[int, str, str | None, str | None]]:
    """What the Hub says of each file: size, oid, SHA-256 and Xet hash."""
    return {
        entry.path: (
            entry.size,
            entry.blob_id,
            entry.lfs.sha256 if entry.lfs else None,
            entry.xet_hash,
        )
        for entry in api.list_repo_tree(repo, recursive=True)
        if isinstance(entry, RepoFile) and entry.path != ".gitattributes"
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of every sort."""
    root = tmp_path / "source"
    for name, content in {**VARIETY, "large.bin": LARGE}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_the_official_client_downloads_what_we_upload(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, folder: Path, tmp_path: Path
) -> None:
    """Byte for byte, with the hashes that its own upload of the same folder has."""
    ours = alice.upload_folder(folder, empty_repo)
    assert (ours.commits, ours.files_changed) == (1, len(VARIETY) + 1)
    official = f"{empty_repo}-official"
    hf_api.create_repo(official)
    hf_api.upload_folder(repo_id=official, folder_path=folder)
    assert listed(hf_api, empty_repo) == listed(hf_api, official)
    out = Path(
        snapshot_download(
            empty_repo, endpoint=hub.endpoint, token=False, cache_dir=tmp_path / "theirs"
        )
    )
    for name, content in {**VARIETY, "large.bin": LARGE}.items():
        assert (out / name).read_bytes() == content, name


def test_a_file_that_goes_in_parts_is_published_as_a_whole(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """One of more than 8 GiB, in parts of 2: the hashes are the official ones, the seams right."""
    seams = [2 << 30, 8 << 30]
    content = {seam: noise(8 * MIB, f"seam {seam}") for seam in seams}
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for seam in seams:
            file.seek(seam - 4 * MIB)
            file.write(content[seam])
        file.truncate(seams[-1] + 40 * MIB)
    hub.reset_stats()
    commit = alice.upload_file(path, "large.bin", empty_repo)
    assert commit.bytes_total == path.stat().st_size
    official = f"{empty_repo}-official"
    hf_api.create_repo(official)
    hf_api.upload_file(path_or_fileobj=path, path_in_repo="large.bin", repo_id=official)
    assert listed(hf_api, empty_repo) == listed(hf_api, official)
    for seam in seams:
        request = urllib.request.Request(
            f"{hub.endpoint}/{empty_repo}/resolve/main/large.bin",
            headers={"Range": f"bytes={seam - 5 * MIB}-{seam + 5 * MIB - 1}"},
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.read() == bytes(MIB) + content[seam] + bytes(MIB)


def test_we_download_what_we_upload(alice: Client, empty_repo: str, folder: Path) -> None:
    """The verified download agrees, too."""
    commit = alice.upload_folder(folder, empty_repo)
    transfer = alice.download_snapshot(empty_repo)
    assert transfer.commit == commit.oid
    for name, content in {**VARIETY, "large.bin": LARGE}.items():
        assert (Path(transfer.path) / name).read_bytes() == content, name


def test_each_client_finds_the_others_files_there_already(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, folder: Path
) -> None:
    """Neither sends or commits anything after the other one has uploaded the same folder."""
    alice.upload_folder(folder, empty_repo)
    head = hf_api.repo_info(empty_repo).sha
    hub.reset_stats()
    hf_api.upload_folder(repo_id=empty_repo, folder_path=folder)
    assert hf_api.repo_info(empty_repo).sha == head
    assert hub.stats().xorbs_received == 0

    official = f"{empty_repo}-official"
    hf_api.create_repo(official)
    hf_api.upload_folder(repo_id=official, folder_path=folder)
    hub.reset_stats()
    again = alice.upload_folder(folder, official)
    assert again.nothing_to_commit
    assert again.oid == hf_api.repo_info(official).sha
    assert (again.bytes_new, again.bytes_sent) == (0, 0)
    assert hub.stats().xorbs_received == 0


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
def test_other_repo_types(
    hub: Hub, alice: Client, repo_id: str, tmp_path: Path, repo_type: str
) -> None:
    """Datasets and spaces are created and written to like models."""
    sdk = "static" if repo_type == "space" else None
    made = alice.create_repo(repo_id, repo_type=repo_type, space_sdk=sdk)
    assert (made.repo_id, made.url) == (repo_id, f"{hub.endpoint}/{repo_type}s/{repo_id}")
    data = noise(200_000, repo_type)
    commit = alice.upload_file(data, "a/data.bin", repo_id, repo_type=repo_type)
    assert commit.commit_url == f"{made.url}/commit/{commit.oid}"
    path = hf_hub_download(
        repo_id,
        "a/data.bin",
        repo_type=repo_type,
        endpoint=hub.endpoint,
        token=False,
        cache_dir=tmp_path / "theirs",
    )
    assert Path(path).read_bytes() == data


def test_hashes_are_those_of_the_content(alice: Client, empty_repo: str) -> None:
    """SHA-256 comes from the one read that also chunks the file."""
    data = noise(MIB, "hashes")
    alice.create_commit(empty_repo, [CommitAdd("x.bin", data), CommitAdd("y.txt", b"hello\n")])
    files = {file.path: file for file in alice.list_files(empty_repo)}
    assert files["x.bin"].sha256 == hashlib.sha256(data).hexdigest()
    assert files["y.txt"].hash == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_token_that_only_reads_may_not_write(
    hub: Hub, hf_api: HfApi, empty_repo: str, tokens: dict[str, Token]
) -> None:
    """PermissionDeniedError, and the repo is as it was; the same is true of a stranger's token."""
    from xet_ffi import PermissionDeniedError

    head = hf_api.repo_info(empty_repo).sha
    for user in ("bob", "carol"):
        with (
            Client(hub.endpoint, tokens[user].secret) as client,
            pytest.raises(PermissionDeniedError),
        ):
            client.upload_file(noise(100_000, user), "x.bin", empty_repo)
    assert hf_api.repo_info(empty_repo).sha == head
    assert hub.stats().xorbs_received == 0
