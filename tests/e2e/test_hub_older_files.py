"""Files whose chunks aren't those that today's chunker would make, as older clients left them."""

from __future__ import annotations

import hashlib
import os
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import HfApi, RepoFile, hf_hub_download

import raw
from hub import HubError
from published import MIB, commit, noise, xorshift

if TYPE_CHECKING:
    from hub import Hub


def download(hub: Hub, repo_id: str, path: str, folder: Path, **options: Any) -> bytes:
    """What the official client gets, into a cache of its own."""
    found = hf_hub_download(
        repo_id, path, endpoint=hub.endpoint, token=False, cache_dir=folder, **options
    )
    return Path(found).read_bytes()


def test_the_old_rule_makes_other_chunks_than_the_official_client(
    hub: Hub, hf_api: HfApi, empty_repo: str, tmp_path: Path
) -> None:
    """The published example: 52 chunks of today's, 55 of before, three of them 8,128 bytes long."""
    content = xorshift(3 * MIB)
    commit(hf_api, empty_repo, {"today.bin": content})
    today = hub.describe(empty_repo, "today.bin")
    older = hub.publish(empty_repo, "older.bin", content, "before-2025-09")
    assert (len(today["chunk_lengths"]), len(older["chunk_lengths"])) == (52, 55)
    assert older["chunk_lengths"].count(8128) == 3
    assert sum(older["chunk_lengths"]) == older["size"] == len(content)
    assert older["sha256"] == today["sha256"] == hashlib.sha256(content).hexdigest()
    assert older["xet_hash"] != today["xet_hash"]
    [info] = hf_api.get_paths_info(empty_repo, "older.bin")
    assert isinstance(info, RepoFile)
    assert info.xet_hash == older["xet_hash"]
    assert hub.describe(empty_repo, "older.bin") == older
    assert download(hub, empty_repo, "older.bin", tmp_path) == content


@pytest.mark.parametrize(
    "chunks", ["before-2025-09", "other-table", [8192], [100_000, 1, 8191, 131_072]]
)
def test_the_official_client_downloads_files_that_are_cut_otherwise(
    hub: Hub, empty_repo: str, tmp_path: Path, chunks: Any
) -> None:
    """Through Xet, and as plain bytes, whatever the chunks and however well they compress."""
    content = noise(2 * MIB, "cut") + bytes(MIB) + b"text\n" * 100_000
    made = hub.publish(empty_repo, "d/x.bin", content, chunks)
    hub.reset_stats()
    assert download(hub, empty_repo, "d/x.bin", tmp_path) == content
    assert hub.stats().fetched("xorbs") > 0
    assert hub.stats().fetched("files") == 0
    url = raw.request("HEAD", f"{hub.endpoint}/{empty_repo}/resolve/main/d/x.bin")["Location"]
    assert raw.get(url).body == content
    if isinstance(chunks, list):
        ends = set(accumulate(made["chunk_lengths"]))
        assert list(made["chunk_lengths"][: len(chunks)]) == chunks
        assert max(ends) == len(content)


def test_more_chunks_than_a_xorb_holds_are_several_xorbs(
    hub: Hub, empty_repo: str, tmp_path: Path
) -> None:
    """8,192 chunks fill one xorb; the terms name each chunk's own."""
    content = noise(9000 * 50, "many")
    made = hub.publish(empty_repo, "x.bin", content, [50])
    assert [term["chunks"] for term in made["terms"]] == [[0, 8192], [0, 808]]
    assert len({term["xorb"] for term in made["terms"]}) == 2
    assert download(hub, empty_repo, "x.bin", tmp_path) == content


def test_a_chunk_that_repeats_is_stored_once(hub: Hub, empty_repo: str, tmp_path: Path) -> None:
    """A MiB of zeros is one chunk, named eight times."""
    made = hub.publish(empty_repo, "zeros.bin", bytes(MIB), "before-2025-09")
    assert [term["chunks"] for term in made["terms"]] == [[0, 1]] * 8
    assert download(hub, empty_repo, "zeros.bin", tmp_path) == bytes(MIB)


def test_a_new_version_shares_what_it_has_in_common_with_the_old_one(
    hub: Hub, hf_api: HfApi, empty_repo: str, tmp_path: Path
) -> None:
    """Its terms name the old xorb but for what has changed, and both versions can be had."""
    first = noise(4 * MIB, "versions")
    second = first[: 2 * MIB] + b"something new" + first[2 * MIB :]
    old = hub.publish(empty_repo, "x.bin", first, "other-table")
    new = hub.publish(empty_repo, "x.bin", second, "other-table")
    assert hf_api.repo_info(empty_repo).sha == new["commit"] != old["commit"]
    xorb = old["terms"][0]["xorb"]
    fresh = sum(term["bytes"] for term in new["terms"] if term["xorb"] != xorb)
    assert 0 < fresh < MIB // 2
    assert download(hub, empty_repo, "x.bin", tmp_path, revision=old["commit"]) == first
    assert download(hub, empty_repo, "x.bin", tmp_path) == second


def test_the_same_content_can_be_cut_anew(hub: Hub, empty_repo: str, tmp_path: Path) -> None:
    """Git sees no other file, but the file's Xet hash is another one, also after a restart."""
    content = noise(MIB, "anew")
    hashes = [
        hub.publish(empty_repo, "x.bin", content, chunks)["xet_hash"]
        for chunks in ("other-table", [65_536])
    ]
    assert hashes[0] != hashes[1] == hub.describe(empty_repo, "x.bin")["xet_hash"]
    assert download(hub, empty_repo, "x.bin", tmp_path) == content


def test_older_files_survive_a_restart(own_hub: Any, tmp_path: Path) -> None:
    """They are files of the CAS like any other."""
    hub = own_hub()
    api = HfApi(endpoint=hub.endpoint, token="hf_alice_secret")
    api.create_repo("alice/r")
    content = os.urandom(MIB)
    made = hub.publish("alice/r", "x.bin", content, "before-2025-09")
    hub.restart()
    assert hub.describe("alice/r", "x.bin") == made
    assert download(hub, "alice/r", "x.bin", tmp_path) == content


@pytest.mark.parametrize("chunks", ["older", [0], [131_073], []])
def test_cuts_that_make_no_sense_are_refused(hub: Hub, empty_repo: str, chunks: Any) -> None:
    """So is an empty file, which has no chunks."""
    with pytest.raises(HubError, match="chunks must be"):
        hub.publish(empty_repo, "x.bin", b"content", chunks)
    with pytest.raises(HubError, match="no chunks"):
        hub.publish(empty_repo, "x.bin", b"", [1])
