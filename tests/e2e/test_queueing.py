"""Whoever waits for its turn isn't stuck, and what is small doesn't wait for what is large."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from published import MIB, noise, publish
from slow_disk import SlowDisk
from xet_ffi import CancelledError, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub

#: Three times the longest of them, and 5 s, is what a call that stands still is given.
SHORT: dict[str, Any] = {"connect_timeout": 0.5, "first_byte_timeout": 0.5, "read_timeout": 0.5}

#: Bytes of a file that doesn't count as small.
LARGE = MIB + 1000

#: A drip with which a MiB takes longer than that.
DRIP = MIB // 10


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """For calls that go on beside the test."""
    with ThreadPoolExecutor(16) as threads:
        yield threads


@pytest.mark.parametrize("slots", [1, 7])
def test_a_call_waits_for_the_long_files_of_another_and_then_has_its_turn(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, threads: ThreadPoolExecutor, slots: int
) -> None:
    """All slots are taken for longer than a call may stand still; small files need none of them."""
    files = {f"long/{i}.bin": noise(LARGE, f"queueing/{slots}/{i}") for i in range(slots)}
    last = noise(LARGE, f"queueing/{slots}/last")
    publish(hf_api, repo_id, {**files, "last.bin": last, "small.txt": b"small"}, lfs=True)
    hub.fault("storage", method="GET", times=slots, drip=DRIP)
    limits = {"max_concurrent_downloads": slots, **SHORT}
    with Client(hub.endpoint, token=False, cache_dir=cache_dir, **limits) as client:
        long = threads.submit(client.download_snapshot, repo_id, allow_patterns=["long/*"])
        hub.wait_for(lambda stats: stats.in_flight("storage") == slots, "the long files")
        small = client.download_file(repo_id, "small.txt")
        assert Path(small).read_bytes() == b"small"
        assert not long.done(), "the small file was to overtake the long ones"
        queued = client.download_file(repo_id, "last.bin")
        assert Path(queued).read_bytes() == last
        assert long.result().files == slots


def test_a_line_of_calls_is_served_to_its_end(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, threads: ThreadPoolExecutor
) -> None:
    """Those behind have waited longer than a call may stand still when the turn is handed on."""
    names = [f"{i}.bin" for i in range(8)]
    publish(hf_api, repo_id, {name: noise(LARGE, f"line/{name}") for name in names}, lfs=True)
    hub.fault("storage", method="GET", times=1, drip=DRIP)
    hub.fault("storage", method="GET", drip=MIB)
    limits = {"max_concurrent_downloads": 1, **SHORT}
    with Client(hub.endpoint, token=False, cache_dir=cache_dir, **limits) as client:
        calls = [threads.submit(client.download_file, repo_id, name) for name in names]
        for name, call in zip(names, calls, strict=True):
            assert Path(call.result()).read_bytes() == noise(LARGE, f"line/{name}")


def test_a_call_finds_a_place_beside_one_whose_requests_all_hang(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, threads: ThreadPoolExecutor
) -> None:
    """However many files the first one has to ask for, and none of them is answered."""
    hung = {f"hung/{i}.txt": f"{i}".encode() for i in range(200)}
    large = {f"large/{i}.bin": noise(LARGE, f"queueing/hung/{i}") for i in range(9)}
    content = noise(LARGE, "queueing/healthy")
    healthy = {"small.txt": b"small", "large.bin": content}
    publish(hf_api, repo_id, {**hung, **large, **healthy}, lfs=True)
    hub.fault("resolve", path_regex="/hung/|/large/", stall_before=1000)
    cancelled = threading.Event()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        first = threads.submit(
            client.download_snapshot,
            repo_id,
            allow_patterns=["hung/*", "large/*"],
            cancel=cancelled.is_set,
        )
        # All that it may have of the small ones' budget, as long as none is answered, and of the
        # large ones'.
        hub.wait_for(lambda stats: stats.in_flight("hub") >= 14 + 7, "requests that hang")
        try:
            assert Path(client.download_file(repo_id, "small.txt")).read_bytes() == b"small"
            assert Path(client.download_file(repo_id, "large.bin")).read_bytes() == content
            assert hub.stats().in_flight("hub") >= 14 + 7, "the first call hangs no more"
        finally:
            cancelled.set()
        with pytest.raises(CancelledError):
            first.result()


@pytest.mark.parametrize("lfs", [False, True], ids=["xet", "http"])
def test_the_speed_limit_is_not_taken_for_a_server_that_hangs(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, lfs: bool
) -> None:
    """A file that takes longer than a call may stand still, as it was told to."""
    content = noise(200_000, "queueing/limit")
    publish(hf_api, repo_id, {"a.bin": content}, lfs=lfs)
    with Client(
        hub.endpoint, token=False, cache_dir=cache_dir, max_bytes_per_second=10_000, **SHORT
    ) as client:
        transfer = client.download_file(repo_id, "a.bin")
    assert Path(transfer).read_bytes() == content
    assert (transfer.retries, transfer.stalls) == (0, 0)
    assert transfer.seconds > 18, "it wasn't limited"


def test_small_files_are_many_requests_at_a_time(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """What takes a round trip each is asked for side by side, whatever large files may be."""
    publish(hf_api, repo_id, {f"{i:03}.json": f'{{"i": {i}}}'.encode() for i in range(300)})
    hub.reset_stats()
    hub.delay(0.1)
    try:
        with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
            assert client.download_snapshot(repo_id).files >= 300
    finally:
        hub.delay()
    assert hub.stats().peak("hub") >= 64


def test_small_files_come_while_large_streams_hold_their_connections(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """In one call, too: the small ones are all there before the large one ends."""
    small = {f"{i}.json": f'{{"i": {i}}}'.encode() for i in range(20)}
    publish(hf_api, repo_id, {"a-large.bin": noise(LARGE, "queueing/large"), **small}, lfs=True)
    hub.fault("storage", method="GET", times=1, drip=DRIP)
    seen: list[int] = []

    def cancelled() -> bool:
        return bool(seen) and seen[-1] >= len(small)

    with Client(
        hub.endpoint, token=False, cache_dir=cache_dir, max_concurrent_downloads=1
    ) as client:
        with pytest.raises(CancelledError):
            client.download_snapshot(
                repo_id,
                progress=lambda progress: seen.append(progress.files_completed),
                cancel=cancelled,
            )
        assert not list(cache_dir.rglob("a-large.bin"))


#: Two calls on one client: says how the second one ended, whether the first was still at work then,
#: and how much that one got in the end.
STUCK = f"""
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
import xet_ffi
endpoint, stuck, moving, cache = sys.argv[1:]
limits = {{"max_concurrent_downloads": 1, **{SHORT!r}}}
client = xet_ffi.Client(endpoint, token=False, cache_dir=cache, **limits)
begun = threading.Event()
progress = lambda progress: progress.bytes_network and begun.set()
other = ThreadPoolExecutor().submit(client.download_file, moving, "slow.bin", progress=progress)
begun.wait()
try:
    client.download_snapshot(stuck)
except xet_ffi.XetError as error:
    print(error.kind, "works" if not other.done() else other.exception() or "is done")
    print(error)
print(other.result().bytes_network, flush=True)
os._exit(0)
"""


def test_a_call_whose_files_wait_for_itself_is_stuck_whoever_else_gets_on(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """Its first file hangs at the disk, the others stand in line behind that one."""
    stuck, moving = f"{repo_id}-stuck", f"{repo_id}-moving"
    publish(hf_api, stuck, {f"{i}.bin": noise(LARGE, f"queueing/stuck/{i}") for i in range(3)})
    slow = noise(MIB // 2, "queueing/slow")
    publish(hf_api, moving, {"slow.bin": slow}, lfs=True)
    hub.fault("storage", method="GET", times=1, drip=DRIP // 4)
    disk = SlowDisk(tmp_path / "tools", tmp_path / "cache")
    disk.rule("open", delay_ms=1_000_000, match=".chunks")
    done = subprocess.run(
        [sys.executable, "-c", STUCK, hub.endpoint, stuck, moving, str(disk.folder)],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    how, why, network = done.stdout.splitlines()
    assert how == "timeout works"
    assert "nothing has moved" in why
    assert "the disk to begin the journal of" in why
    assert int(network) == len(slow)
