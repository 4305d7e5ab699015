"""CDNs that answer, and give nothing: refused signatures, empty answers, valid ranges refused.

As seen on the real one (hub-protocol.md 10, "Outages seen"). The error names the CDN's host.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from published import MIB, noise
from world.stage import TOKEN
from xet_ffi import Client, CommitAdd, XetError

if TYPE_CHECKING:
    from hub import Hub

Way = Literal["signatures", "empty", "ranges"]

#: Small enough that a hundred of them are published soon; no small files for the client.
SIZE = 520 << 10
FILES = {f"{i}.bin": noise(SIZE, f"outage/{i}") for i in range(100)}
LARGE = noise(40 * MIB, "outage/large")


@pytest.fixture(scope="module")
def repos(_session_hub: Hub) -> dict[str, str]:
    """A hundred files and a large one, in Xet storage and on LFS."""
    repos = {kind: f"alice/outage-{kind}-{os.urandom(4).hex()}" for kind in ("xet", "lfs")}
    with Client(_session_hub.endpoint, TOKEN.secret) as client:
        for kind, repo_id in repos.items():
            client.create_repo(repo_id)
            if kind == "lfs":
                _session_hub.set_settings(repo_id, xet=False)
            adds = [CommitAdd(path, content) for path, content in FILES.items()]
            client.create_commit(repo_id, [*adds, CommitAdd("large.bin", LARGE)])
    return repos


def fired(hub: Hub) -> int:
    """How often storage failed as it was told."""
    return sum(int(rule["fired"]) for rule in hub.faults())


@pytest.mark.parametrize("kind", ["xet", "lfs"])
@pytest.mark.parametrize("way", ["signatures", "empty"])
@pytest.mark.parametrize("path", ["1.bin", "large.bin", "*.bin"])
def test_an_outage_is_found_out_soon_and_named(
    hub: Hub, repos: dict[str, str], tmp_path: Path, way: Way, kind: str, path: str
) -> None:
    """After a few requests for a file, and not many more for a hundred."""
    hub.outage(way)
    with Client(hub.endpoint, token=False, cache_dir=tmp_path) as client:
        with pytest.raises(XetError) as caught:
            client.download_snapshot(repos[kind], allow_patterns=path)
        asked = fired(hub)
        # Both ways have five attempts; eight files are on their way at a time.
        assert asked <= (80 if path == "*.bin" else 12)
        message = str(caught.value)
        assert hub.storage.partition("://")[2] in message
        assert "outage of that host" in message
        # Whoever comes next finds out whether it's over, and no more.
        with pytest.raises(XetError, match="outage of that host"):
            client.download_file(repos[kind], "2.bin")
        assert fired(hub) <= asked + 2
        hub.clear_faults()
        transfer = client.download_file(repos[kind], "2.bin")
        assert Path(transfer).read_bytes() == FILES["2.bin"]


@pytest.mark.parametrize("way", ["signatures", "empty", "ranges"])
def test_an_outage_of_xet_storage_alone_is_gone_round(
    hub: Hub, repos: dict[str, str], tmp_path: Path, way: Way
) -> None:
    """All comes over plain HTTP, and few files find out themselves."""
    hub.outage(way, "xorbs")
    with Client(hub.endpoint, token=False, cache_dir=tmp_path) as client:
        transfer = client.download_snapshot(repos["xet"])
    for path, content in FILES.items():
        assert (Path(transfer) / path).read_bytes() == content
    assert fired(hub) <= 8 * 5
    assert transfer.fallbacks == len(FILES) + 1


@pytest.mark.parametrize("way", ["signatures", "empty", "ranges"])
def test_an_outage_of_plain_content_alone_is_not_noticed(
    hub: Hub, repos: dict[str, str], tmp_path: Path, way: Way
) -> None:
    """Where files come over Xet."""
    hub.outage(way, "files", "lfs")
    with Client(hub.endpoint, token=False, cache_dir=tmp_path) as client:
        transfer = client.download_snapshot(repos["xet"])
    assert (transfer.fallbacks, transfer.retries, fired(hub)) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["xet", "lfs"])
@pytest.mark.parametrize("path", ["1.bin", "large.bin"])
def test_where_ranges_are_refused_the_whole_is_asked_for(
    hub: Hub, repos: dict[str, str], tmp_path: Path, kind: str, path: str
) -> None:
    """Of a file that is begun, too."""
    hub.outage("ranges", "xorbs")
    hub.fault("storage", method="GET", times=1, close_after_bytes=200_000)
    hub.outage("ranges")
    with Client(hub.endpoint, token=False, cache_dir=tmp_path) as client:
        transfer = client.download_file(repos[kind], path)
    assert Path(transfer).read_bytes() == (LARGE if path == "large.bin" else FILES[path])
