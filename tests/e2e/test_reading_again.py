"""What was read, or was on its way, isn't fetched twice by those who read the same content."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import TYPE_CHECKING

import pytest

from published import MIB, publish
from xet_ffi import CancelledError, Client, TransferTimeoutError, XetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 12 * MIB


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str, weights: bytes) -> str:
    """A repo with a Xet file of 12 MiB, and a copy of it that another name has."""
    publish(hf_api, repo_id, {"weights.bin": weights, "copy/of.bin": weights, "plain.txt": b"abc"})
    return repo_id


@pytest.fixture
def client(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client that keeps nothing of what is read on the disk."""
    monkeypatch.setenv("XET_FFI_READ_CACHE_BYTES", "0")
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
        yield client


def test_files_opened_many_times_are_fetched_once(
    hub: Hub, client: Client, repo: str, weights: bytes
) -> None:
    """By eight threads, each with a file of its own, half of them by another name."""
    ready = Barrier(8)

    def read(number: int) -> tuple[bytes, int]:
        name = ("weights.bin", "copy/of.bin")[number % 2]
        with client.open(repo, name) as file:
            ready.wait(30)
            content = b"".join(iter(lambda: file.read(300_000), b""))
            return content, file.report().bytes_network

    with ThreadPoolExecutor(8) as pool:
        read_by_all = list(pool.map(read, range(8)))
    assert all(content == weights for content, _ in read_by_all)
    assert hub.stats().bytes_sent("storage") <= 1.3 * SIZE
    # Each report has its own part of that, and of the proofs.
    assert SIZE * 0.9 <= sum(network for _, network in read_by_all) <= 1.4 * SIZE


def test_a_file_opened_again_is_proven_already(client: Client, repo: str, weights: bytes) -> None:
    """As tables are read: a file for the footer, and one for each column."""
    with client.open(repo, "weights.bin") as file:
        assert file.read_at(5 * MIB, 1000) == weights[5 * MIB : 5 * MIB + 1000]
        first = file.report()
        assert first.bytes_proof > 0
        with client.open(repo, "copy/of.bin") as beside:
            assert beside.read_at(5 * MIB, 1000) == weights[5 * MIB : 5 * MIB + 1000]
            assert (beside.report().bytes_proof, beside.report().bytes_network) == (0, 0)
    with client.open(repo, "weights.bin") as file:
        assert file.read_at(5 * MIB, 1000) == weights[5 * MIB : 5 * MIB + 1000]
        again = file.report()
        # What was in memory went with the last who had it open.
        assert (again.bytes_proof, again.proof) == (0, "merkle")
        assert again.bytes_network > 0


def test_who_asks_for_proofs_shares_with_nobody_who_doesnt(
    hub: Hub, client: Client, repo: str, weights: bytes
) -> None:
    """What was taken as it came is never handed on as proven."""
    hub.fault("file-chunk-hashes", status=404)
    with client.open(repo, "weights.bin") as trusting:
        assert trusting.read_at(MIB, 1000) == weights[MIB : MIB + 1000]
        assert trusting.proof == "none"
        hub.clear_faults()
        with client.open(repo, "weights.bin", require_proof=True) as careful:
            assert careful.read_at(MIB, 1000) == weights[MIB : MIB + 1000]
            assert (careful.proof, careful.report().bytes_proof > 0) == ("merkle", True)


def test_a_read_without_the_time_for_it_gets_on(
    hub: Hub, client: Client, repo: str, weights: bytes
) -> None:
    """On a slow line the next one goes on where the one that ran out of time has ended."""
    hub.fault("storage", drip=2 * MIB)
    with client.open(repo, "weights.bin", readahead=False) as file:
        for _ in range(20):
            try:
                content = file.read_at(0, 8 * MIB, timeout=2)
            except TransferTimeoutError:
                continue
            break
        else:
            pytest.fail("no read ever came to its end")
        assert content == weights[: 8 * MIB]
        assert file.proof == "merkle"
    assert hub.stats().bytes_sent("storage") <= 16 * MIB


def test_who_hangs_keeps_nobody_else(hub: Hub, client: Client, repo: str, weights: bytes) -> None:
    """Somebody's limits in time are nobody else's: who has a part on its way may be slower."""
    hub.fault("storage", times=1, stall_before=120.0)
    stop = Event()
    with (
        ThreadPoolExecutor(1) as pool,
        client.open(repo, "weights.bin", first_byte_timeout=100) as patient,
        client.open(repo, "weights.bin", first_byte_timeout=3, read_timeout=3) as other,
    ):
        hanging = pool.submit(patient.read_at, MIB, 1000, cancel=stop)
        hub.wait_for(lambda stats: stats.in_flight("storage") > 0, "a request that hangs")
        assert other.read_at(MIB, 1000) == weights[MIB : MIB + 1000]
        assert not hanging.done()
        stop.set()
        with pytest.raises(CancelledError):
            hanging.result()


def test_what_one_finds_out_of_proofs_is_nobody_elses(
    hub: Hub, client: Client, repo: str, weights: bytes
) -> None:
    """A proof that came too late for one of them, and a CAS that had none for another."""
    right = weights[9 * MIB : 9 * MIB + 1000]
    hub.fault("file-chunk-hashes", stall_before=1.0)
    with client.open(repo, "weights.bin", first_byte_timeout=0.3) as hasty:
        assert hasty.read_at(MIB, 1000) == weights[MIB : MIB + 1000]
        assert hasty.proof == "none"
        hub.clear_faults()
        with client.open(repo, "weights.bin") as beside:
            assert (beside.read_at(9 * MIB, 1000), beside.proof) == (right, "merkle")
            assert hasty.proof == "none"
    hub.fault("file-chunk-hashes", status=404)
    with client.open(repo, "weights.bin") as trusting:
        trusting.read_at(4 * MIB, 1000)
        hub.clear_faults()
        with client.open(repo, "copy/of.bin") as beside:
            assert (beside.read_at(9 * MIB, 1000), beside.proof) == (right, "merkle")


def test_a_read_that_is_in_the_systems_memory_costs_no_thread(
    hub: Hub, tmp_path: Path, repo: str, weights: bytes
) -> None:
    """Of a file that is in the cache: the right bytes, also where it was cut short since then."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
        path = Path(client.download_file(repo, "weights.bin").path)
        with client.open(repo, "weights.bin") as file:
            for at, size in ((0, 1), (SIZE - 7, 7), (3, 64 << 10), (MIB - 5, MIB), (5, 3 * MIB)):
                assert file.read_at(at, size) == weights[at : at + size]
            ranges = [(SIZE - 9, 9), (5, 100_000), (70_000, 100_000)]
            assert file.read_ranges(ranges) == [weights[at : at + size] for at, size in ranges]
            with path.resolve().open("r+b") as on_disk:
                on_disk.truncate(SIZE - 100)
            assert file.read_at(SIZE - 110, 10) == weights[SIZE - 110 : SIZE - 100]
            with pytest.raises(OSError, match="open it again"):
                file.read_at(SIZE - 110, 20)


@pytest.mark.parametrize("lie", ["swap_terms", "drop_term", "overlap", "offset", "repeat_term"])
def test_what_was_left_of_a_lie_stands_in_nobodys_way(
    hub: Hub, client: Client, repo: str, weights: bytes, lie: str
) -> None:
    """Chunks that came to a wrong place, and that nobody has proven: the next read gets its own."""
    hub.fault("reconstruction", lie=lie)
    hub.fault("file-chunk-hashes", stall_before=30.0)
    # A part of it comes, so that the next one has what was left beside its own.
    hub.fault("storage", drip=MIB)
    with client.open(repo, "weights.bin", require_proof=True, readahead=False) as file:
        with pytest.raises(XetError):
            file.read_at(MIB, 6 * MIB, timeout=1.5)
        hub.clear_faults()
        assert file.read_at(MIB, 6 * MIB) == weights[MIB : 7 * MIB]
        assert file.proof == "merkle"


def test_who_asks_for_proofs_doesnt_trust_the_cache(
    hub: Hub, tmp_path: Path, repo: str, weights: bytes
) -> None:
    """Whoever has put a file there, and whatever has become of it: what is good of it is used."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
        path = Path(client.download_file(repo, "weights.bin").path).resolve()
        wrong = bytearray(weights)
        wrong[5 * MIB] ^= 1
        path.write_bytes(wrong)
        hub.reset_stats()
        with client.open(repo, "weights.bin", require_proof=True, readahead=False) as file:
            assert file.read_at(4 * MIB, 2 * MIB) == weights[4 * MIB : 6 * MIB]
            assert file.proof == "merkle"
        with client.open(repo, "weights.bin", require_proof=True, local_files_only=True) as file:
            assert file.proof == "cache"
