"""xet-hub serves the official clients that people have, not the newest alone: hub-protocol.md 4."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from official import VERSIONS, Official
from published import MIB, VARIETY, VARIETY_LFS, noise, publish, xorshift
from xet_ffi import Client

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub, Token


def files(seed: str) -> dict[str, bytes]:
    """What a client uploads, by path: small and large, plain and binary, shared in part."""
    large = noise(12 * MIB, seed)
    return {
        "a.txt": b"hello\n",
        "empty.txt": b"",
        "large.bin": large,
        "folder/README.md": b"---\nlicense: mit\n---\n# A model\n",
        "folder/small.bin": noise(40_000, seed),
        "folder/deeper/changed.bin": large[: 5 * MIB] + noise(3 * MIB, seed),
        "folder/deeper/zeros.bin": bytes(MIB),
    }


#: A file of which every second stretch is in an older file's xorb: many ranges of one xorb.
STRETCH = 300_000
OLDER = noise(20 * STRETCH, "older")
NEWER = b"".join(
    noise(STRETCH, n) if n % 2 else OLDER[n * STRETCH : (n + 1) * STRETCH] for n in range(20)
)


@pytest.fixture(params=[(v, xet) for v in VERSIONS for xet in (True, False)], ids=str)
def official(request: pytest.FixtureRequest, tmp_path: Path) -> Official:
    """A client of each version, with Xet and without."""
    version, xet = request.param
    return Official(version, xet=xet, home=tmp_path / "home")


def test_it_uploads_what_our_client_downloads(
    hub: Hub, official: Official, repo_id: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """Single files and a folder, over the way that this client takes for large ones."""
    contents = files(repo_id)  # of this test alone: the Hub takes nothing twice
    for path, content in contents.items():
        file = tmp_path / "there" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    there, target = tmp_path / "there", {"repo_id": repo_id}
    singly = [
        ["upload_file", target | {"path_or_fileobj": str(there / path), "path_in_repo": path}]
        for path in contents
        if "/" not in path
    ]
    folder = target | {"folder_path": str(there / "folder"), "path_in_repo": "folder"}
    *_, listed = official.call(
        hub,
        ["create_repo", target],
        *singly,
        ["upload_folder", folder],
        ["list_repo_files", target],
        token=tokens["alice"].secret,
    )
    assert sorted(listed) == sorted([*contents, ".gitattributes"])
    stats = hub.stats()
    assert (stats.xorbs_received > 0, stats.lfs_puts > 0) == (official.xet, not official.xet)
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
        snapshot = Path(client.download_snapshot(repo_id))
    for path, content in contents.items():
        assert (snapshot / path).read_bytes() == content, path


def test_it_lists_and_downloads_what_is_there(
    hub: Hub, official: Official, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """Files one by one, a snapshot in the cache, and one in a folder."""
    contents = VARIETY | VARIETY_LFS | {"ranges.bin": NEWER}
    publish(hf_api, repo_id)
    hub.publish(repo_id, "ranges.bin", OLDER, [20_000])
    hub.publish(repo_id, "ranges.bin", NEWER, [20_000])
    hub.reset_stats()
    target: dict[str, Any] = {"repo_id": repo_id}
    single, elsewhere = str(tmp_path / "single"), tmp_path / "elsewhere"
    tree, paths, snapshot, _, *found = official.call(
        hub,
        ["list_repo_tree", target | {"recursive": True, "expand": True}],
        ["get_paths_info", target | {"paths": ["ranges.bin", "config.json"]}],
        ["snapshot_download", target],
        ["snapshot_download", target | {"local_dir": str(elsewhere)}],
        *(["hf_hub_download", target | {"filename": p, "cache_dir": single}] for p in contents),
    )
    sizes = {entry["path"]: entry["size"] for entry in tree if "size" in entry}
    assert sizes.items() >= {path: len(content) for path, content in contents.items()}.items()
    assert [entry["size"] for entry in paths] == [len(NEWER), len(contents["config.json"])]
    for (path, content), one in zip(contents.items(), found, strict=True):
        for copy in (Path(one), Path(snapshot) / path, elsewhere / path):
            assert copy.read_bytes() == content, copy
    stats = hub.stats()
    kinds = (stats.fetched("xorbs") > 0, stats.fetched("files") > 0)
    assert kinds == (official.xet, not official.xet)


def test_a_file_of_the_old_chunker_is_exact_and_costs_its_size(
    hub: Hub, repo_id: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """hf_xet 1.1.9 was there before the chunker changed: hub-protocol.md 10, "Vectors"."""
    content = xorshift(3 * MIB) + noise(9 * MIB, repo_id)
    file, target = tmp_path / "old.bin", {"repo_id": repo_id}
    file.write_bytes(content)
    Official("0.34", xet=True, home=tmp_path / "home").call(
        hub,
        ["create_repo", target],
        ["upload_file", target | {"path_or_fileobj": str(file), "path_in_repo": "old.bin"}],
        token=tokens["alice"].secret,
    )
    made = hub.describe(repo_id, "old.bin")
    assert made["chunk_lengths"][:54].count(8128) == 3
    # What xet-hub publishes by the old rule is what the old client makes.
    again = hub.publish(repo_id, "again.bin", content, "before-2025-09")
    assert (again["chunk_lengths"], again["xet_hash"]) == (made["chunk_lengths"], made["xet_hash"])
    ways: list[tuple[Literal["xet", "http"], str]] = [("xet", "xorbs"), ("http", "files")]
    for transport, kind in ways:
        hub.reset_stats()
        cache = tmp_path / transport
        with Client(hub.endpoint, token=False, cache_dir=cache, transport=transport) as client:
            transfer = client.download_file(repo_id, "old.bin")
        assert Path(transfer).read_bytes() == content
        stats = hub.stats()
        assert stats.bytes_sent("storage") == stats.fetched_bytes(kind)
        # A xorb's chunks have headers of 8 bytes, and these can't be compressed.
        assert stats.fetched_bytes(kind) <= len(content) + 8 * len(made["chunk_lengths"])
