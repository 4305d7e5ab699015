"""What a read asks before it can have the answer's bytes, so that a distance is waited for once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import pytest

from published import MIB, noise
from xet_ffi import CancelledError, Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hub import Hub, Stats

NAME = "large.bin"
SIZE = 128 * MIB

#: What reads hold of content in memory, and one part besides that each read may hold.
MEMORY, PART = 40 * MIB, 4 * MIB

RECONSTRUCTIONS = "reconstruction"


@pytest.fixture
def client(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client that keeps nothing of what is read on the disk."""
    monkeypatch.setenv("XET_FFI_READ_CACHE_BYTES", "0")
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
        yield client


@pytest.fixture
def repo(hub: Hub, empty_repo: str) -> str:
    """A repo with one large file."""
    hub.publish(empty_repo, NAME, noise(8 * MIB, "ahead"), "other-table", times=SIZE // (8 * MIB))
    hub.reset_stats()
    return empty_repo


def asked(stats: Stats) -> int:
    """Questions about where bytes are."""
    return stats.requests("cas", RECONSTRUCTIONS)


def test_later_parts_are_asked_about_while_the_first_ones_come(
    hub: Hub, client: Client, repo: str
) -> None:
    """And only as many are fetched as there is memory for, whoever reads how much at a time."""
    stop = Event()
    hub.delay(60, "storage")
    with client.open(repo, NAME) as file, ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(file.read_at, at, SIZE // 2, cancel=stop) for at in (0, SIZE // 2)]
        try:
            most = MEMORY // PART + len(reads)
            hub.wait_for(lambda stats: asked(stats) >= 2 * most, "questions about later parts")
            hub.wait_for(lambda stats: stats.in_flight("storage") > most // 2, "the first ones")
            assert hub.stats().in_flight("storage") <= most
        finally:
            stop.set()
        for read in reads:
            with pytest.raises(CancelledError):
                read.result(30)


def test_one_read_has_memory_whatever_others_hold(client: Client, repo: str) -> None:
    """Those may never get on."""
    stop, held = Event(), Event()
    with client.open(repo, NAME) as file, ThreadPoolExecutor(1) as pool:

        def hold(_: object) -> None:
            held.set()
            stop.wait(60)

        read = pool.submit(file.read_at, 0, SIZE // 2, progress=hold)
        try:
            assert held.wait(30)
            again = file.read_at(SIZE // 2, SIZE // 4)
            assert again[: 8 * MIB] == noise(8 * MIB, "ahead")
        finally:
            stop.set()
        assert len(read.result(60)) == SIZE // 2


def test_what_is_read_ahead_is_asked_about_before(hub: Hub, client: Client, repo: str) -> None:
    """By more than is fetched; and nothing is asked twice."""
    content = noise(8 * MIB, "ahead")
    with client.open(repo, NAME, window=24 * MIB) as file:
        for number in range(16):
            assert file.read(MIB) == content[number % 8 * MIB : (number % 8 + 1) * MIB]
        hub.wait_for(lambda stats: asked(stats) > stats.requests("storage"), "questions before")
        while file.read(MIB):
            pass
        stats = hub.stats()
    assert asked(stats) <= SIZE // PART + 8
    assert stats.bytes_sent("storage") <= 1.05 * SIZE


def test_who_jumps_asks_about_nothing_else(hub: Hub, client: Client, repo: str) -> None:
    """One question for each read."""
    with client.open(repo, NAME) as file:
        for at in (90, 5, 60, 33):
            file.read_at(at * MIB, 1000)
    assert asked(hub.stats()) == 4


@pytest.mark.parametrize("piece", [MIB, 48 * MIB], ids=["in order", "at once"])
def test_what_was_asked_about_before_is_kept_as_well(
    hub: Hub, empty_repo: str, tmp_path: Path, piece: int
) -> None:
    """Parts don't begin where chunks do; of what is there already at their ends no more is lost."""
    content = noise(48 * MIB, empty_repo)
    hub.publish(empty_repo, NAME, content, "other-table")

    def read(number: int) -> int:
        hub.reset_stats()
        with (
            Client(hub.endpoint, token=False, cache_dir=tmp_path / f"{number}") as client,
            client.open(empty_repo, NAME, window=24 * MIB) as file,
        ):
            assert b"".join(iter(lambda: file.read(piece), b"")) == content
        return hub.stats().bytes_sent("storage")

    assert read(1) >= len(content)
    # What comes faster than the disk takes it isn't kept.
    assert read(2) <= 0.25 * len(content)
