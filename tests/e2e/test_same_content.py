"""Calls of one process that want the same content at once: it comes once, and each has its file."""

from __future__ import annotations

import shutil
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from published import MIB, noise
from world.stage import TOKEN, publish
from xet_ffi import CancelledError, Client, GatedRepoError, XetError

if TYPE_CHECKING:
    from hub import Hub

#: Of each kind, and of each size: what the reuse index knows, and what it doesn't.
FILES = {
    "config.json": b'{"layers": 2}\n',
    "large.bin": noise(3 * MIB, "same"),
    "small.bin": noise(200_000, "same"),
    "folder/twin.bin": noise(200_000, "same"),
}

#: What is in them, each content once.
CONTENT = sum(len(content) for content in {*FILES.values()})


@pytest.fixture(params=["lfs", "xet"])
def repo(request: pytest.FixtureRequest, hub: Hub) -> str:
    """A repo with those files, which come slowly enough that calls meet."""
    repo, _ = publish(hub, FILES)
    hub.set_settings(repo, xet=request.param == "xet")
    hub.reset_stats()
    hub.fault("storage", drip=4 * MIB)
    return repo


def at_once(*calls: Any) -> list[Any]:
    """What the calls give, each on a thread of its own, begun together."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Any) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [done.result() for done in [threads.submit(begin, call) for call in calls]]


def check(transfers: list[Any]) -> None:
    """Reads what all of the calls have brought."""
    for transfer in transfers:
        for path, content in FILES.items():
            assert (Path(transfer) / path).read_bytes() == content, path


def fetched(hub: Hub) -> int:
    """Bytes of content that came over the network: LFS and Xet files, without what frames them."""
    return hub.stats().bytes_sent("storage")


@pytest.mark.parametrize("clients", ["one client", "a client each"])
def test_many_local_folders_cost_one_download(
    hub: Hub, repo: str, tmp_path: Path, clients: str
) -> None:
    """Forty threads, each with a folder of its own."""
    with ExitStack() as stack:
        made: list[Client] = []

        def client() -> Client:
            if not made or clients == "a client each":
                made.append(
                    stack.enter_context(Client(hub.endpoint, TOKEN.secret, tmp_path / "cache"))
                )
            return made[-1]

        def call(number: int) -> Any:
            mine = client()
            return lambda: mine.download_snapshot(repo, local_dir=tmp_path / str(number))

        done = at_once(*[call(number) for number in range(40)])
    check(done)
    assert fetched(hub) < CONTENT * 1.2
    network = sum(transfer.bytes_network for transfer in done)
    assert network < CONTENT * 1.2


def test_two_spellings_cost_one_download(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Each has its folder in the cache."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        names = [repo, repo.replace("alice/w", "Alice/W")]
        done = at_once(*[lambda name=name: client.download_snapshot(name) for name in names])
    check(done)
    assert fetched(hub) < CONTENT * 1.2
    assert done[0].path != done[1].path


def test_cache_and_local_folder_cost_one_download(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Neither is a name for the other's file: what is written to one isn't in the other."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        done = at_once(
            lambda: client.download_snapshot(repo),
            lambda: client.download_snapshot(repo, local_dir=tmp_path / "local"),
        )
    check(done)
    assert fetched(hub) < CONTENT * 1.2
    for path in FILES:
        with (tmp_path / "local" / path).open("r+b") as file:
            file.write(b"mine")
    check(done[:1])


def test_who_may_not_read_it_gets_nothing(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Whatever somebody else in the process is reading at that moment."""
    hub.set_settings(repo, gate="manual")
    with (
        Client(hub.endpoint, TOKEN.secret, cache_dir=tmp_path / "member") as member,
        Client(hub.endpoint, token=False, cache_dir=tmp_path / "stranger") as stranger,
        ThreadPoolExecutor(1) as thread,
    ):
        reading = thread.submit(member.download_snapshot, repo)
        hub.wait_for(lambda stats: stats.bytes_sent("storage") > 0, "the member to begin")
        with pytest.raises(GatedRepoError):
            stranger.download_snapshot(repo, local_dir=tmp_path / "folder")
        assert not reading.done(), "they didn't meet"
        check([reading.result()])
    left = [path for path in (tmp_path / "folder").rglob("*") if path.name in {*FILES, "twin.bin"}]
    assert not left


def test_files_that_are_gone_at_once_cost_few_downloads(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """Of all who counted on such a file one fetches it anew."""
    callers = 12

    def use(number: int) -> bool:
        folder = tmp_path / str(number)
        with Client(hub.endpoint, TOKEN.secret, cache_dir=tmp_path / f"c{number}") as client:
            client.download_file(repo, "large.bin", local_dir=folder)
        is_right = (folder / "large.bin").read_bytes() == FILES["large.bin"]
        shutil.rmtree(folder)
        return is_right

    assert all(at_once(*[partial(use, number) for number in range(callers)]))
    assert hub.stats().bytes_sent("storage") < callers / 2 * len(FILES["large.bin"])


def test_who_is_cancelled_leaves_his_place(hub: Hub, repo: str, tmp_path: Path) -> None:
    """The next one brings it in, and the last one has it from him."""
    hub.clear_faults()
    hub.fault("storage", drip=MIB)
    ended = threading.Event()
    name = "large.bin"
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:

        def call(number: int, **more: Any) -> Any:
            return client.download_file(repo, name, local_dir=tmp_path / str(number), **more)

        with ThreadPoolExecutor(3) as threads:
            first = threads.submit(call, 0, cancel=ended)
            hub.wait_for(lambda stats: stats.bytes_sent("storage") > 0, "the first one to begin")
            others = [threads.submit(call, number) for number in (1, 2)]
            hub.wait_for(lambda stats: stats.bytes_sent("storage") > MIB, "some of it")
            ended.set()
            with pytest.raises(CancelledError):
                first.result()
            done = [other.result() for other in others]
    assert [Path(transfer).read_bytes() for transfer in done] == [FILES[name]] * 2
    size = len(FILES[name])
    assert sum(transfer.bytes_network for transfer in done) < size * 1.2


def test_a_slow_client_costs_one_download(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Its own: all who may go faster wait for the first of them."""
    ended, name = threading.Event(), "large.bin"
    with ExitStack() as stack:

        def client(number: int, limit: int | None) -> Any:
            cache = tmp_path / f"c{number}"
            made = Client(hub.endpoint, TOKEN.secret, cache, max_bytes_per_second=limit)
            return stack.enter_context(made)

        slow, fast = client(0, 100_000), [client(number, None) for number in range(1, 9)]
        threads = stack.enter_context(ThreadPoolExecutor(1))
        first = threads.submit(slow.download_file, repo, name, cancel=ended)
        hub.wait_for(lambda stats: stats.bytes_sent("storage") > 0, "the slow one to begin")
        done = at_once(*[partial(mine.download_file, repo, name) for mine in fast])
        assert not first.done()
        ended.set()
        with pytest.raises(CancelledError):
            first.result()
    assert [Path(transfer).read_bytes() for transfer in done] == [FILES[name]] * 8
    size = len(FILES[name])
    assert sum(transfer.bytes_network for transfer in done) < size * 1.2


def test_who_waits_can_be_ended(hub: Hub, repo: str, tmp_path: Path) -> None:
    """By its own clock, whatever the other one does."""
    hub.clear_faults()
    hub.fault("storage", drip=100_000)
    ended = threading.Event()
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client,
        ThreadPoolExecutor(1) as threads,
    ):
        first = threads.submit(
            client.download_file, repo, "large.bin", local_dir=tmp_path / "a", cancel=ended
        )
        hub.wait_for(lambda stats: stats.bytes_sent("storage") > 0, "the first one to begin")
        with pytest.raises(TimeoutError):
            client.download_file(repo, "large.bin", local_dir=tmp_path / "b", timeout=2)
        ended.set()
        with pytest.raises(CancelledError):
            first.result()


def test_what_fails_fails_for_all_of_them(hub: Hub, tmp_path: Path) -> None:
    """And not for one after the other."""
    name = f"{uuid.uuid4().hex}.bin"
    repo, _ = publish(hub, {name: noise(MIB, name)})
    hub.fault("storage", status=403)
    hub.fault("reconstruction", status=403)

    def call(number: int) -> str:
        try:
            client.download_file(repo, name, local_dir=tmp_path / str(number))
        except XetError as error:
            return type(error).__name__
        return "none"

    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        done = at_once(*[lambda number=number: call(number) for number in range(12)])
    assert len({*done}) == 1
    assert "none" not in done
