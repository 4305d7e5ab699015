"""A wrong byte in one of many xorbs costs that xorb, not the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi

from picture import contents
from published import MIB, noise, publish
from xet_ffi import ChecksumMismatchError, Client

if TYPE_CHECKING:
    from hub import Hub

REPO = "alice/mending"
NAME = "weights.bin"

#: A xorb holds 64 MiB.
XORB = 64 * MIB
SIZE = 150 * MIB
CONTENT = noise(SIZE, "mending")

#: In the payload of a chunk, most likely; if it is in a header, the chunk can't be decoded.
SOMEWHERE = 12_345_678


@pytest.fixture(scope="module")
def xorb(_session_hub: Hub) -> str:
    """The second of the three xorbs of a file."""
    publish(HfApi(endpoint=_session_hub.endpoint, token="hf_alice_secret"), REPO, {NAME: CONTENT})
    for _ in range(2):  # flipped, and flipped back
        found = _session_hub.corrupt(REPO, NAME, offset=SIZE // 2)
    return str(found["xorb"])


def test_a_byte_that_flips_once_costs_its_xorb(hub: Hub, xorb: str, cache_dir: Path) -> None:
    """The range that nobody vouches for is fetched again, over Xet."""
    hub.fault("storage", path_regex=xorb, times=1, corrupt_byte=SOMEWHERE)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(REPO, NAME)
    assert Path(transfer).read_bytes() == CONTENT
    assert (transfer.refetches, transfer.retries, transfer.fallbacks) == (1, 0, 0)
    assert SIZE + XORB // 2 < transfer.bytes_network < SIZE + XORB + 2 * MIB
    assert hub.stats().bytes_sent("storage") == transfer.bytes_network


def test_a_xorb_that_is_always_wrong_comes_over_plain_http(
    hub: Hub, xorb: str, cache_dir: Path
) -> None:
    """That part of the file, and no more of it."""
    hub.fault("storage", path_regex=f"^/xorbs/.*{xorb}", corrupt_byte=SOMEWHERE)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(REPO, NAME)
    assert Path(transfer).read_bytes() == CONTENT
    assert (transfer.refetches, transfer.fallbacks) == (2, 1)
    assert transfer.file_transfers[0].way == "xet+http"
    assert SIZE + XORB < transfer.bytes_network < SIZE + 2 * XORB + 4 * MIB


def test_what_is_wrong_by_every_way_is_an_error(hub: Hub, xorb: str, tmp_path: Path) -> None:
    """Nothing of it is kept, and the earlier file is what it was."""
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / NAME).write_bytes(b"earlier")
    hub.corrupt(REPO, NAME, offset=SIZE // 2)
    try:
        with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
            for local_dir in (folder, None):
                with pytest.raises(ChecksumMismatchError, match="nothing was kept") as caught:
                    client.download_file(REPO, NAME, local_dir=local_dir)
                assert caught.value.file == NAME
    finally:
        hub.corrupt(REPO, NAME, offset=SIZE // 2)
    assert xorb
    assert (folder / NAME).read_bytes() == b"earlier"
    assert not any(name.endswith(NAME) for name in contents(tmp_path / "cache"))
    assert [path for path in tmp_path.rglob("*.partial*") if path.stat().st_size] == []


def test_damage_is_the_reason_also_where_plain_http_is_out_of_reach(
    hub: Hub, xorb: str, cache_dir: Path
) -> None:
    """The stored xorb is wrong; that nobody can be asked for the plain bytes comes second."""
    hub.corrupt(REPO, NAME, offset=SIZE // 2)
    hub.announce(bridge="http://cdn.invalid")
    try:
        with (
            Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=1) as client,
            pytest.raises(ChecksumMismatchError, match="Merkle hash") as caught,
        ):
            client.download_file(REPO, NAME)
    finally:
        hub.announce()
        hub.corrupt(REPO, NAME, offset=SIZE // 2)
    assert xorb
    assert caught.value.kind == "checksum_mismatch"
    assert any("cdn.invalid" in tried for tried in caught.value.tried)
    assert "cdn.invalid" in str(caught.value)


@pytest.mark.parametrize("end", [70_000, 5])
def test_a_xorb_that_ends_too_early_is_damage_too(
    hub: Hub, xorb: str, cache_dir: Path, end: int
) -> None:
    """Storage has a part of the xorb, and says that this is all: no network is to be blamed."""
    hub.fault("storage", path_regex="^/xorbs/", truncate=end)
    hub.announce(bridge="http://cdn.invalid")
    try:
        with (
            Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=2) as client,
            pytest.raises(ChecksumMismatchError, match="damaged on the server") as caught,
        ):
            client.download_file(REPO, NAME)
    finally:
        hub.announce()
        hub.clear_faults()
    assert xorb
    assert caught.value.file == NAME
    assert any("cdn.invalid" in tried for tried in caught.value.tried)
