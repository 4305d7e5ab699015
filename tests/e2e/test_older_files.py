"""Files whose chunks aren't those that today's chunker makes cost no more than others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import snapshot_download

from published import MIB, noise
from xet_ffi import CancelledError, Client, Progress, cache

if TYPE_CHECKING:
    from typing import Literal

    from hub import Hub

    Cuts = Literal["before-2025-09", "other-table"]

NAME = "weights.bin"
SIZE = 24 * MIB
CONTENT = noise(SIZE, "older")
#: What may be sent beyond what was missing: the chunks around a cut.
A_LITTLE = MIB

CUTS = pytest.mark.parametrize("cuts", ["before-2025-09", "other-table"])


def interrupt(hub: Hub, repo: str, cache_dir: Path, **options: object) -> Path:
    """Ends a download in the middle of the file; returns the partial file."""
    hub.fault("storage", drip=20_000_000)
    done = 0

    def look(progress: Progress) -> None:
        nonlocal done
        done = progress.bytes_completed

    with (
        Client(hub.endpoint, token=False, cache_dir=cache_dir, **options) as client,  # type: ignore[arg-type]
        pytest.raises(CancelledError),
    ):
        client.download_file(repo, NAME, progress=look, cancel=lambda: done > SIZE // 2)
    hub.clear_faults()
    hub.reset_stats()
    (partial,) = cache_dir.glob("models--*/.xet/*.partial")
    return partial


def lose_journal(partial: Path, kept: int) -> None:
    """Leaves the first bytes of the file, and nothing that says what they are."""
    Path(f"{partial}.chunks").unlink()
    partial.write_bytes(CONTENT[:kept])


@CUTS
def test_a_beginning_without_a_journal_costs_the_rest(
    hub: Hub, empty_repo: str, cache_dir: Path, cuts: Cuts
) -> None:
    """It is cut into the chunks that the CAS says the file has."""
    hub.publish(empty_repo, NAME, CONTENT, cuts)
    kept = 15 * MIB + 1234
    lose_journal(interrupt(hub, empty_repo, cache_dir), kept)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(empty_repo, NAME)
    assert Path(transfer).read_bytes() == CONTENT
    assert (transfer.refetches, transfer.fallbacks) == (0, 0)
    assert hub.stats().bytes_sent("storage") < SIZE - kept + A_LITTLE


@pytest.mark.parametrize("lengths", [[65_536], [131_072], [131_072, 8_192]])
def test_chunks_of_regular_or_the_greatest_length_are_told_as_well(
    hub: Hub, empty_repo: str, cache_dir: Path, lengths: list[int]
) -> None:
    """The CAS's answers never say all of them; another question does."""
    hub.publish(empty_repo, NAME, CONTENT, lengths)
    kept = 15 * MIB + 1234
    lose_journal(interrupt(hub, empty_repo, cache_dir), kept)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(empty_repo, NAME)
    assert Path(transfer).read_bytes() == CONTENT
    assert (transfer.refetches, transfer.fallbacks) == (0, 0)
    assert hub.stats().bytes_sent("storage") < SIZE - kept + A_LITTLE


def test_the_rule_of_before_september_2025_needs_nobody_who_tells(
    hub: Hub, empty_repo: str, cache_dir: Path
) -> None:
    """It is known: only where the terms end has to be."""
    made = hub.publish(empty_repo, NAME, CONTENT, "before-2025-09")
    assert any(length < 8192 for length in made["chunk_lengths"][:100]), "today's has none such"
    kept = 15 * MIB + 1234
    lose_journal(interrupt(hub, empty_repo, cache_dir), kept)
    hub.fault("file-chunk-hashes", status=404)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(empty_repo, NAME)
    assert Path(transfer).read_bytes() == CONTENT
    assert hub.stats().requests("cas", "file-chunk-hashes") == 0
    assert hub.stats().bytes_sent("storage") < SIZE - kept + A_LITTLE


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 404},
        {"status": 403},
        {"status": 500},
        {"garbage_json": True},
        {"stall_before": 1000},
    ],
    ids=lambda fault: next(iter(fault)) + str(next(iter(fault.values()))),
)
def test_where_the_cas_does_not_tell_chunks_it_costs_no_more_than_anew(
    hub: Hub,
    empty_repo: str,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
) -> None:
    """What can't be cut as it was published is fetched, and a client asks once, not per file."""
    monkeypatch.setenv("XET_FFI_REUSE_INDEX_BYTES", "0")
    hub.publish(empty_repo, NAME, CONTENT, "other-table")
    partial = interrupt(hub, empty_repo, cache_dir)
    hub.fault("file-chunk-hashes", **fault)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        for _ in range(2):
            Path(f"{partial}.chunks").unlink(missing_ok=True)
            partial.write_bytes(CONTENT[: 15 * MIB + 1234])
            file = Path(client.download_file(empty_repo, NAME))
            assert file.read_bytes() == CONTENT
            file.resolve().unlink()
            file.unlink(missing_ok=True)
    assert hub.stats().requests("cas", "file-chunk-hashes") == 1
    assert hub.stats().bytes_sent("storage") < 2 * (SIZE + A_LITTLE)


@CUTS
@pytest.mark.parametrize("transport", ["http", "auto"])
def test_plain_http_brings_them_in_one_go(
    hub: Hub, empty_repo: str, cache_dir: Path, cuts: Cuts, transport: Literal["http", "auto"]
) -> None:
    """Their SHA-256 vouches for what the Merkle hash says nothing about."""
    hub.publish(empty_repo, NAME, CONTENT, cuts)
    if transport == "auto":
        hub.fault("reconstruction", status=500)
    with Client(
        hub.endpoint, token=False, cache_dir=cache_dir, transport=transport, max_attempts=1
    ) as client:
        transfer = client.download_file(empty_repo, NAME)
    assert Path(transfer).read_bytes() == CONTENT
    assert transfer.refetches == 0
    assert hub.stats().bytes_sent("storage") < SIZE + A_LITTLE


def test_what_plain_http_has_left_costs_no_more_than_anew(
    hub: Hub, empty_repo: str, cache_dir: Path
) -> None:
    """Its chunks were guessed; where they don't fit, they are fetched, and nothing else twice."""
    hub.publish(empty_repo, NAME, CONTENT, "other-table")
    interrupt(hub, empty_repo, cache_dir, transport="http")
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(empty_repo, NAME)
    assert Path(transfer).read_bytes() == CONTENT
    assert transfer.retries == 0
    # And what is on its way when the first chunk doesn't fit.
    assert hub.stats().bytes_sent("storage") < SIZE + 3 * A_LITTLE


@CUTS
def test_they_are_indexed_and_reused(
    hub: Hub, empty_repo: str, cache_dir: Path, cuts: Cuts
) -> None:
    """`cache index` takes in what the official client has brought, and a new version uses it."""
    hub.publish(empty_repo, NAME, CONTENT, cuts)
    snapshot_download(empty_repo, endpoint=hub.endpoint, token=False, cache_dir=cache_dir)
    report = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    assert (report.files, report.bytes, report.items) == (1, SIZE, ())
    hub.publish(empty_repo, NAME, CONTENT[: SIZE // 2] + b"new" + CONTENT[SIZE // 2 :], cuts)
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(empty_repo, NAME)
    assert transfer.bytes_reused > SIZE - A_LITTLE
    assert hub.stats().bytes_sent("storage") < A_LITTLE


@pytest.mark.parametrize("lengths", [[65_536], [131_072], [131_071], [8_192, 131_072, 70_000]])
def test_regular_and_long_chunks_are_indexed(
    hub: Hub, empty_repo: str, cache_dir: Path, lengths: list[int]
) -> None:
    """Also the last chunk of a file, which no answer tells where windows don't end."""
    hub.publish(empty_repo, NAME, CONTENT, lengths)
    snapshot_download(empty_repo, endpoint=hub.endpoint, token=False, cache_dir=cache_dir)
    report = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    assert (report.files, report.bytes, report.items) == (1, SIZE, ())


def test_what_is_left_out_of_the_index_is_not_called_damaged(
    hub: Hub, empty_repo: str, cache_dir: Path
) -> None:
    """Where nobody tells the boundaries, that is the reason given."""
    hub.publish(empty_repo, NAME, CONTENT, "other-table")
    snapshot_download(empty_repo, endpoint=hub.endpoint, token=False, cache_dir=cache_dir)
    hub.fault("file-chunk-hashes", status=404)
    report = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    (item,) = report.items
    assert report.files == 0
    assert "boundaries" in item.reason


def test_what_plain_http_brought_costs_nothing_of_what_xet_did(
    hub: Hub, empty_repo: str, cache_dir: Path
) -> None:
    """Plain bytes are cut by guess; where that was wrong, only those are fetched again."""
    hub.publish(empty_repo, NAME, CONTENT, "other-table")
    over_xet = 12 * MIB
    hub.fault("storage", path_regex="^/xorbs/", times=1, cut_after_bytes=over_xet)
    hub.fault("storage", path_regex="^/xorbs/", status=503)
    hub.fault("storage", path_regex="^/files/", drip=8_000_000)
    done = 0

    def look(progress: Progress) -> None:
        nonlocal done
        done = progress.bytes_completed

    with (
        Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=2) as client,
        pytest.raises(CancelledError),
    ):
        client.download_file(
            empty_repo, NAME, progress=look, cancel=lambda: done > over_xet + 6 * MIB
        )
    hub.clear_faults()
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(empty_repo, NAME)
    assert Path(transfer).read_bytes() == CONTENT
    # What is fetched when the first chunk turns out not to fit is the rest of the file, at most.
    missing = SIZE - over_xet - 6 * MIB
    assert hub.stats().bytes_sent("storage") < SIZE - over_xet + missing + A_LITTLE
