"""The client for asyncio: the same calls, and a task that is cancelled ends its call."""

from __future__ import annotations

import asyncio
import doctest
import inspect
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import xet_ffi
from published import noise, publish
from xet_ffi import AsyncClient, Client, Progress, aio

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub, Token


@pytest.fixture
def large(hub: Hub, hf_api: HfApi, repo_id: str) -> str:
    """A repo with a file that comes slowly."""
    publish(hf_api, repo_id, {"large.bin": noise(8_000_000, repo_id)})
    hub.fault("storage", drip=200_000)
    return repo_id


def test_every_call_of_the_client_is_there() -> None:
    """With its arguments, as a coroutine. What remains is for threads, or waits for nothing."""
    calls = {
        name
        for name, value in vars(Client).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert calls - {"storage", "hash_files"} <= set(vars(AsyncClient))
    for name in calls - {"storage", "hash_files", "info", "close"}:
        ours = getattr(AsyncClient, name)
        assert inspect.iscoroutinefunction(ours)
        assert inspect.signature(ours) == inspect.signature(getattr(Client, name))
    assert xet_ffi.AsyncClient is AsyncClient
    assert inspect.signature(AsyncClient) == inspect.signature(Client)
    done = doctest.testmod(aio, extraglobs={"asyncio": asyncio})
    assert (done.failed, bool(done.attempted)) == (0, True)


def test_calls_run_beside_each_other(
    hub: Hub, hf_api: HfApi, repo_id: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """And the loop beside them; what fails raises what the client raises."""
    files = {f"{number}.txt": b"%d" % number for number in range(20)}
    publish(hf_api, repo_id, files)

    async def use() -> list[bytes]:
        async with AsyncClient(hub.endpoint, tokens["alice"].secret, tmp_path) as client:
            came = await asyncio.gather(*(client.download_file(repo_id, name) for name in files))
            with pytest.raises(FileNotFoundError):
                await client.download_file(repo_id, "nothing")
            listing = await client.list_files(repo_id)
            assert {file.path for file in listing} >= set(files)
            assert (await client.cache_usage()).repos == 1
        assert client.closed
        with pytest.raises(xet_ffi.ClosedError):
            await client.list_files(repo_id)
        return [Path(one).read_bytes() for one in came]  # noqa: ASYNC240 - small

    assert asyncio.run(use()) == list(files.values())


@pytest.mark.parametrize("how", ["cancel", "timeout", "twice"])
def test_a_cancelled_task_ends_its_call(
    hub: Hub, large: str, tokens: dict[str, Token], tmp_path: Path, how: str
) -> None:
    """Nothing goes on behind its back: storage is asked for nothing any more."""

    async def use() -> None:
        loop = asyncio.get_running_loop()
        moving = asyncio.Event()

        def watch(progress: Progress) -> None:
            if progress.bytes_network:
                loop.call_soon_threadsafe(moving.set)

        async with AsyncClient(hub.endpoint, tokens["alice"].secret, tmp_path) as client:
            task = asyncio.create_task(client.download_snapshot(large, progress=watch))
            await moving.wait()
            if how == "timeout":
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(task, 0.1)
            else:
                task.cancel()
                if how == "twice":
                    await asyncio.sleep(0)
                    task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            # It has ended: its locks are free, and its connections are closed.
            assert not [t for t in threading.enumerate() if _is_in_a_call(t)]

    asyncio.run(use())
    hub.wait_for(lambda stats: stats.in_flight("storage") == 0, "no request to be left")
    assert not list(tmp_path.rglob("snapshots/*/large.bin"))


def _is_in_a_call(thread: threading.Thread) -> bool:
    from xet_ffi._call import _running

    return thread.ident in _running


def test_who_cancels_themselves_too_is_heard(
    hub: Hub, large: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """By an Event of their own, as with the client; that is the library's error."""

    async def use() -> None:
        async with AsyncClient(hub.endpoint, tokens["alice"].secret, tmp_path) as client:
            stop = threading.Event()
            task = asyncio.create_task(client.download_snapshot(large, cancel=stop))
            stop.set()
            with pytest.raises(xet_ffi.CancelledError):
                await task

    asyncio.run(use())


INTERRUPTED = {
    "asyncio": """
import asyncio, sys
from xet_ffi import AsyncClient

async def main():
    async with AsyncClient(cache_dir=sys.argv[2]) as client:
        moving = lambda p: p.bytes_network and print("moving", flush=True)
        await client.download_snapshot(sys.argv[1], progress=moving)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
""",
    "threads": """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from xet_ffi import Client

stop = threading.Event()
moving = lambda p: p.bytes_network and print("moving", flush=True)
with Client(cache_dir=sys.argv[2]) as client, ThreadPoolExecutor() as pool:
    try:
        call = pool.submit(client.download_snapshot, sys.argv[1], progress=moving, cancel=stop)
        call.result()
    except KeyboardInterrupt:
        stop.set()
        sys.exit(130)
""",
}


@pytest.mark.parametrize("how", INTERRUPTED)
def test_ctrl_c_ends_what_runs_on_threads(
    hub: Hub,
    large: str,
    tokens: dict[str, Token],
    tmp_path: Path,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within moments, as the documentation has it."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", tokens["alice"].secret)
    command = [sys.executable, "-c", INTERRUPTED[how], large, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "moving\n"
        child.send_signal(signal.SIGINT)
        # 8 MB at that speed would take longer.
        child.communicate(timeout=15)
    assert child.returncode == 130
