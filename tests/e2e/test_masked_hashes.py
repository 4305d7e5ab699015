"""Listings without the Xet hashes of files: hub-protocol.md 10, "Gated repos"."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from published import noise
from xet_ffi import Client, GatedRepoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub import Hub, Token

FILES = {f"{name}.bin": noise(100_000, f"masked {name}") for name in "abc"}

STARS = "*" * 64


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repository with three Xet files."""
    hf_api.create_repo(repo_id)
    operations = [CommitOperationAdd(path, content) for path, content in FILES.items()]
    hf_api.create_commit(repo_id, operations, commit_message="files")
    return repo_id


@pytest.fixture
def gated(hub: Hub, repo: str) -> str:
    """The same behind a gate."""
    hub.set_settings(repo, gate="manual")
    return repo


@pytest.fixture
def carol(hub: Hub, tokens: dict[str, Token], cache_dir: Path) -> Iterator[Callable[[], Client]]:
    """Makes clients of somebody who has no access yet."""
    clients = []

    def make() -> Client:
        clients.append(Client(hub.endpoint, tokens["carol"].secret, cache_dir))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def ways(client: Client, repo: str, where: Path | None, pattern: str = "*.bin") -> dict[str, str]:
    """How the files of a snapshot came, of which all content is checked."""
    done = client.download_snapshot(repo, local_dir=where, allow_patterns=pattern)
    for file in done.file_transfers:
        assert Path(file.local_path).read_bytes() == FILES[file.path]
    return {file.path: str(file.way) for file in done.file_transfers}


def listings(folder: Path) -> list[Path]:
    """Those that are kept in the caches and local folders below."""
    return list(folder.rglob("trees/*.json"))


@pytest.mark.parametrize("place", ["cache", "local_dir"])
def test_when_access_comes_files_come_over_xet(
    hub: Hub,
    gated: str,
    carol: Callable[[], Client],
    tmp_path: Path,
    place: str,
) -> None:
    """For the client that was refused, and for a new one: no listing with stars is kept."""
    where = tmp_path / "here" if place == "local_dir" else None
    refused = carol()
    with pytest.raises(GatedRepoError):
        refused.download_snapshot(gated, local_dir=where)
    assert not listings(tmp_path)
    hub.set_access(gated, ["carol"])
    assert ways(refused, gated, where, "a.bin") == {"a.bin": "xet"}
    assert ways(carol(), gated, where) == {"a.bin": "local", "b.bin": "xet", "c.bin": "xet"}
    assert listings(tmp_path)


def test_a_kept_listing_with_stars_is_none(repo: str, alice: Client, cache_dir: Path) -> None:
    """Whoever has kept it: it counts as absent, and is replaced."""
    alice.plan_snapshot(repo)
    (tree,) = listings(cache_dir)
    hashes = re.compile(r'(?<="xet_hash": ")[0-9a-f]{64}')
    tree.write_text(hashes.sub(STARS, tree.read_text()))
    assert tree.read_text().count(STARS) == len(FILES)
    assert set(ways(alice, repo, None).values()) == {"xet"}
    assert STARS not in tree.read_text()


@pytest.mark.parametrize("place", ["cache", "local_dir"])
def test_a_listing_from_before_xet_is_renewed(
    hub: Hub, repo: str, alice: Client, tmp_path: Path, place: str
) -> None:
    """By the first file of which the Hub says, where it's fetched, that it's in Xet storage.

    Also one that an older version of ours has kept of a gated repository: it says the same.
    """
    where = tmp_path / "here" if place == "local_dir" else None
    hub.set_settings(repo, xet=False)
    alice.plan_snapshot(repo, local_dir=where)
    before = [tree.read_text() for tree in listings(tmp_path)]
    assert len(before) == 1
    assert "xet_hash" not in before[0]
    hub.set_settings(repo, xet=True)
    assert ways(alice, repo, where, "a.bin") == {"a.bin": "http"}
    assert ways(alice, repo, where) == {"a.bin": "local", "b.bin": "xet", "c.bin": "xet"}
    hub.reset_stats()
    ways(alice, repo, where)
    assert hub.stats().requests("hub", "tree") == 0


@pytest.mark.parametrize("hash_", ["", "c", "g" * 64, "c" * 63, "c" * 65, "ü" * 32, STARS])
def test_what_is_no_hash_is_not_kept(
    hub: Hub,
    repo: str,
    alice: Client,
    cache_dir: Path,
    hash_: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever stands where a Xet hash should; one warning is enough for all files."""
    entries = [{"path": f"{n}.bin", "like": "a.bin", "xet_hash": hash_} for n in range(5)]
    hub.plant(repo, entries)
    with caplog.at_level(logging.WARNING, "xet_ffi"):
        kinds = {file.path: str(file.kind) for file in alice.list_files(repo)}
        assert kinds["0.bin"] == "lfs"
        assert kinds["a.bin"] == "xet"
        assert len(caplog.records) == 1
        caplog.clear()
        alice.plan_snapshot(repo)
        assert len(caplog.records) == 1
    assert not listings(cache_dir)


def test_a_hash_in_capitals_is_one(hub: Hub, repo: str, alice: Client, cache_dir: Path) -> None:
    """It means the same."""
    hash_ = hub.describe(repo, "a.bin")["xet_hash"]
    hub.plant(repo, [{"path": "A2.bin", "like": "a.bin", "xet_hash": hash_.upper()}])
    planned = alice.plan_snapshot(repo)
    assert {file.path for file in planned.files} >= {"A2.bin"}
    assert hash_.upper() not in "".join(tree.read_text() for tree in listings(cache_dir))
    assert len(listings(cache_dir)) == 1


@pytest.mark.parametrize("hash_", ["", STARS, "g" * 64])
def test_a_header_that_is_no_hash_is_not_remembered(
    hub: Hub, repo: str, alice: Client, hash_: str
) -> None:
    """A file that is asked for by itself comes over plain HTTP, until its hash is told."""
    path = f"/{repo}/resolve/main/"
    hub.fault("resolve", path_regex=path, headers={"X-Xet-Hash": hash_})
    assert alice.download_file(repo, "a.bin").file_transfers[0].way == "http"
    hub.clear_faults()
    assert alice.download_file(repo, "b.bin").file_transfers[0].way == "xet"
    assert set(ways(alice, repo, None).values()) == {"local", "xet"}
