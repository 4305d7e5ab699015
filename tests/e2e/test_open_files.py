"""Files that are read in place: what `io` promises, at any offset, by many threads at a time."""

from __future__ import annotations

import asyncio
import copy
import gc
import io
import os
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import xet_ffi
from published import commit, noise, publish
from xet_ffi import AsyncClient, Client, ClosedError, EntryNotFoundError, InvalidConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub, Token

LARGE = noise(3_000_000, "reading")
LINES = b"".join(b"%d,%s\n" % (i, b"x" * (i % 97)) for i in range(20_000)) + b"no end"
SMALL = b'{"layers": 2}\n'


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repo with a file of each kind, and an empty one."""
    files = {"large.bin": LARGE, "lines.csv": LINES, "small.json": SMALL, "empty": b""}
    publish(hf_api, repo_id, files)
    return repo_id


@pytest.fixture
def large(alice: Client, repo: str) -> Iterator[xet_ffi.File]:
    """The large one, open."""
    with alice.open(repo, "large.bin") as file:
        yield file


def test_a_file_says_what_it_is(alice: Client, repo: str, large: xet_ffi.File) -> None:
    """As the listing has it."""
    listing = alice.list_files(repo)
    told = {file.path: file for file in listing}
    found = told["large.bin"]
    assert (large.name, large.path, large.size) == ("large.bin", "large.bin", len(LARGE))
    assert (large.commit, large.kind) == (listing.commit, "xet")
    assert (large.xet_hash, large.kind) == (found.xet_hash, found.kind)
    assert (large.mode, large.readable(), large.seekable(), large.writable()) == (
        "rb",
        True,
        True,
        False,
    )
    report = large.report()
    assert (report.path, report.size, report.commit) == (large.path, large.size, large.commit)
    assert large.proof == report.proof in {"merkle", "cache", "none"}
    with alice.open(repo, "small.json") as small:
        assert (small.kind, small.xet_hash, small.etag) == ("git", None, told["small.json"].hash)
    assert repr(large) == f"<xet_ffi.File 'large.bin' of {len(LARGE)} bytes at {large.commit}>"


def test_it_does_what_a_file_on_disk_does(large: xet_ffi.File, tmp_path: Path) -> None:
    """Any calls in any order give the same bytes and the same positions."""
    (tmp_path / "same").write_bytes(LARGE)
    chance = random.Random(5)
    with (tmp_path / "same").open("rb") as same:
        for _ in range(800):
            size = chance.choice([0, 1, 2, 7, 100, 5_000, 20_000, 70_000, 300_000])
            call = chance.randrange(9)
            if call == 0:
                where = chance.choice([0, 1, 2])
                base = {0: 0, 1: same.tell(), 2: len(LARGE)}[where]
                target = chance.randrange(len(LARGE) + 1000)
                assert large.seek(target - base, where) == same.seek(target - base, where)
            elif call in {1, 2, 3}:
                assert large.read(size) == same.read(size)
            elif call == 4:
                ours, theirs = bytearray(size), bytearray(size)
                assert large.readinto(ours) == same.readinto(theirs)
                assert ours == theirs
            elif call == 5:
                limit = chance.choice([-1, size])
                assert large.readline(limit) == same.readline(limit)
            elif call == 6:
                ahead = large.peek(1)
                assert ahead == LARGE[same.tell() : same.tell() + len(ahead)]
                assert bool(ahead) == (same.tell() < len(LARGE))
            elif call == 7:
                some = large.read1(size)
                assert some == same.read(len(some))
                assert bool(some) == bool(size and same.tell() - len(some) < len(LARGE))
            assert large.tell() == same.tell()
        assert large.seek(-10, 2) == same.seek(-10, 2)
        assert large.read() == same.read() == LARGE[-10:]
        large.seek(0)
        assert large.read() == LARGE
        assert large.read() == large.read(5) == large.read1() == large.peek() == b""


def test_lines_and_text(alice: Client, repo: str) -> None:
    """By iteration, by `readlines`, and through what `io` puts around a file."""
    with alice.open(repo, "lines.csv") as file:
        assert list(file) == LINES.splitlines(keepends=True)
        file.seek(1_000)
        assert file.readlines() == LINES[1_000:].splitlines(keepends=True)
        file.seek(0)
        assert io.TextIOWrapper(file, "ascii", newline="").read() == LINES.decode()
    assert file.closed
    with alice.open(repo, "lines.csv", readahead=False) as file:
        assert list(file) == LINES.splitlines(keepends=True)
    with alice.open(repo, "empty") as file:
        assert (list(file), file.read(), file.read_at(0, 9), file.size) == ([], b"", b"", 0)


def test_many_small_reads_are_few_calls(large: xet_ffi.File) -> None:
    """Whoever takes a file apart byte by byte doesn't go to the library for each."""
    for offset in range(50_000):
        assert large.read(1)[0] == LARGE[offset]
    assert large.report().reads < 10


def test_the_first_read_takes_no_more_than_was_asked_for(alice: Client, repo: str) -> None:
    """Nor does one that jumped, nor any of a file that reads nothing ahead."""
    with alice.open(repo, "large.bin") as file:
        file.read(100)
        assert file.report().bytes_read == 100
        file.seek(1_000_000)
        file.read(100)
        assert file.report().bytes_read == 200
    with alice.open(repo, "large.bin", readahead=False) as file:
        for _ in range(50):
            file.read(100)
        assert file.report().bytes_read == 5_000


def test_reads_by_offset_leave_the_position(large: xet_ffi.File) -> None:
    """They are of any size, anywhere, and short only where the file ends."""
    large.seek(77)
    end = len(LARGE)
    wanted = [(0, 0), (0, 1), (5, 70_000), (end - 3, 10), (end, 1), (end + 5, 5), (1 << 70, 9)]
    wanted += [(0, 100), (50, 100), (1, end)]
    right = [LARGE[offset : offset + size] for offset, size in wanted]
    assert [large.read_at(offset, size) for offset, size in wanted] == right
    assert large.read_ranges(wanted) == right
    buffers = [bytearray(size) for _, size in wanted]
    filled = [large.readinto_at(offset, b) for (offset, _), b in zip(wanted, buffers, strict=True)]
    assert [bytes(b[:n]) for b, n in zip(buffers, filled, strict=True)] == right
    buffers = [bytearray(size) for _, size in wanted]
    filled = large.readinto_ranges(
        (offset, b) for (offset, _), b in zip(wanted, buffers, strict=True)
    )
    assert [bytes(b[:n]) for b, n in zip(buffers, filled, strict=True)] == right
    assert (large.read_ranges([]), large.readinto_ranges([])) == ([], [])
    assert large.tell() == 77


def test_what_it_gives_out_is_nobody_elses() -> None:
    """`bytes` that were blank before are new ones, of any size: Python keeps none of them."""
    assert bytes(1) is not bytes(1)


def test_a_hundred_thousand_ranges_are_one_call(large: xet_ffi.File) -> None:
    """Overlapping, and in no order."""
    chance = random.Random(7)
    wanted = [(chance.randrange(len(LARGE)), 16) for _ in range(100_000)]
    before = large.report().reads
    parts = large.read_ranges(wanted)
    assert all(part == LARGE[at : at + n] for part, (at, n) in zip(parts, wanted, strict=True))
    assert large.report().reads - before in {1, 100_000}


def test_buffers_of_other_kinds(large: xet_ffi.File) -> None:
    """All that is contiguous and may be written to."""
    numbers = memoryview(bytearray(80)).cast("d")
    assert large.readinto_at(8, numbers) == 80
    assert numbers.tobytes() == LARGE[8:88]
    assert large.readinto(numbers) == 80
    assert numbers.tobytes() == LARGE[:80]
    for wrong in (b"fixed", "text", 5, memoryview(bytearray(10))[::2]):
        with pytest.raises(TypeError, match="buffer: expected one to write to"):
            large.readinto_at(0, wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="buffer: expected one to write to"):
            large.readinto(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offset", "length", "field"), [(-1, 5, "offset"), (0, -5, "length"), (-1, -1, "offset")]
)
def test_what_lies_before_the_file_is_refused(
    large: xet_ffi.File, offset: int, length: int, field: str
) -> None:
    """By name, as `seek` does."""
    with pytest.raises(InvalidConfigError) as one:
        large.read_at(offset, length)
    assert one.value.field == field
    with pytest.raises(InvalidConfigError) as one:
        large.read_ranges([(0, 1), (offset, length)])
    assert one.value.field == field
    with pytest.raises(ValueError, match="5 bytes before the beginning"):
        large.seek(-5)
    with pytest.raises(ValueError, match="whence"):
        large.seek(0, 9)
    with pytest.raises(TypeError, match="offset: expected int, not float"):
        large.read_at(0.5, 1)  # type: ignore[arg-type]


def test_nobody_writes_to_it(large: xet_ffi.File) -> None:
    """In the words of `io`."""
    refused: list[Callable[[], object]] = [large.truncate, large.fileno, large.detach]
    refused.append(lambda: large.write(b"x"))
    for call in refused:
        with pytest.raises(io.UnsupportedOperation):
            call()
    for copied in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="can't be pickled"):
            copied(large)


def test_a_closed_file_says_so(alice: Client, repo: str) -> None:
    """Whichever call it is; closing twice is fine."""
    file = alice.open(repo, "large.bin")
    file.close()
    file.close()
    assert file.closed
    assert "(closed)" in repr(file)
    for call in (
        file.read,
        file.tell,
        file.readline,
        file.peek,
        file.report,
        file.readable,
        lambda: file.seek(0),
        lambda: file.read_at(0, 1),
        lambda: file.read_at(0, 0),
        lambda: file.readinto(bytearray(1)),
        lambda: file.read_ranges([]),
        lambda: file.read_ranges([(0, 1)]),
    ):
        with pytest.raises(ClosedError):
            call()


def test_it_outlives_its_client_and_its_branch(
    hub: Hub, hf_api: HfApi, repo: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """It stays at its commit, also when the file is gone from the next one."""
    with Client(hub.endpoint, tokens["alice"].secret, tmp_path) as client:
        file = client.open(repo, "large.bin")
        was = client.resolve(repo)
    hf_api.delete_file("large.bin", repo)
    assert file.commit == was
    assert file.read_at(1_000_000, 500) == LARGE[1_000_000:1_000_500]
    with (
        Client(hub.endpoint, tokens["alice"].secret, tmp_path) as client,
        pytest.raises(EntryNotFoundError),
    ):
        client.open(repo, "large.bin")


def test_sixty_four_threads_read_one_file(large: xet_ffi.File) -> None:
    """By offset at a time, and by position each byte once."""

    def some(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(20):
            offset, size = chance.randrange(len(LARGE)), chance.randrange(100_000)
            assert large.read_at(offset, size) == LARGE[offset : offset + size]

    def pieces() -> list[bytes]:
        return list(iter(lambda: large.read(1_000), b""))

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(some, range(64)))
        taken = [piece for one in pool.map(lambda _: pieces(), range(64)) for piece in one]
    whole = [LARGE[at : at + 1_000] for at in range(0, len(LARGE), 1_000)]
    assert sorted(taken) == sorted(whole)


def test_a_thread_reads_where_it_has_sought(large: xet_ffi.File) -> None:
    """Whatever others do between the two: some libraries take them for one step."""

    def some(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(300):
            offset, size = chance.randrange(len(LARGE)), chance.choice([1, 200, 20_000, 100_000])
            large.seek(offset)
            assert large.tell() == offset
            assert large.read(size) == LARGE[offset : offset + size]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(some, range(16)))


def test_one_thread_goes_on_where_another_one_was(large: xet_ffi.File) -> None:
    """As in a pool, where each piece of the work is on any thread."""
    with ThreadPoolExecutor(1) as other:
        large.seek(1_000)
        assert other.submit(large.read, 10).result() == LARGE[1_000:1_010]
        assert (large.tell(), large.read(10)) == (1_010, LARGE[1_010:1_020])
        other.submit(large.seek, 5_000).result()
        assert (large.tell(), large.read(10)) == (5_000, LARGE[5_000:5_010])
        assert other.submit(large.tell).result() == 5_010
        assert other.submit(large.readline, 5).result() == LARGE[5_010:5_015].partition(b"\n")[0]


def test_a_read_that_fails_moves_nothing(hub: Hub, large: xet_ffi.File) -> None:
    """The next one reads what it would have read."""
    hub.fault("storage", status=404)
    large.seek(2_000_000)
    for call in (lambda: large.read(100_000), large.readline, lambda: large.readinto(bytearray(9))):
        with pytest.raises(xet_ffi.XetError):
            call()
        assert large.tell() == 2_000_000
    hub.clear_faults()
    assert large.read(100) == LARGE[2_000_000:2_000_100]


def test_closing_lets_reads_end(large: xet_ffi.File) -> None:
    """Those that are under way give right bytes, those that come later are refused."""
    begun = threading.Barrier(5)

    def read() -> str:
        begun.wait()
        try:
            while True:
                assert large.read_at(100_000, 500_000) == LARGE[100_000:600_000]
        except ClosedError:
            return "closed"

    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(read) for _ in range(4)]
        begun.wait()
        large.close()
        assert [one.result() for one in reads] == ["closed"] * 4


def test_a_forked_process_reads_on(large: xet_ffi.File) -> None:
    """Though another thread was at its turn when it began."""
    large.read(10)
    with large._in_turn():  # noqa: SLF001 - what another thread would hold
        forked = threading.Thread(target=lambda: None)
        results: list[int] = []

        def fork() -> None:
            child = os.fork()
            if child == 0:
                right = large.read(20) == LARGE[10:30] and large.read_at(5, 5) == LARGE[5:10]
                os._exit(0 if right else 1)
            results.append(os.waitpid(child, 0)[1])

        forked = threading.Thread(target=fork)
        forked.start()
        forked.join()
    assert results == [0]
    assert large.read(20) == LARGE[10:30]


def test_a_read_ends_when_its_caller_says_so(hub: Hub, alice: Client, repo: str) -> None:
    """By an event, by its time, or by an exception of its callback; and the file is good then."""
    right = LARGE[:1_000_000]
    with alice.open(repo, "large.bin") as file:
        hub.fault("storage", drip=20_000)
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(xet_ffi.CancelledError):
            file.read_at(0, 1_000_000, cancel=stop)
        with pytest.raises(xet_ffi.TransferTimeoutError):
            file.read_ranges([(0, 10), (500_000, 500_000)], timeout=0.3)

        def give_up(_: xet_ffi.Progress) -> None:
            raise KeyError

        with pytest.raises(KeyError):
            file.readinto_at(0, bytearray(1_000_000), progress=give_up)
        hub.clear_faults()
        assert file.read_at(0, 1_000_000) == right


def test_what_cant_be_proven_is_refused_if_it_has_to_be(alice: Client, repo: str) -> None:
    """A file of git, of which nothing smaller than the whole has a hash; not one of Xet."""
    with alice.open(repo, "large.bin", require_proof=True) as file:
        assert file.read_at(1_000_000, 10) == LARGE[1_000_000:1_000_010]
        assert file.proof == "merkle"
    with (
        pytest.raises(xet_ffi.XetError, match=r"proof|proven|prove"),
        alice.open(repo, "small.json", require_proof=True) as file,
    ):
        file.read(1)
    alice.download_file(repo, "small.json")
    with alice.open(repo, "small.json", require_proof=True) as file:
        assert (file.read(), file.proof) == (SMALL, "cache")


def test_what_is_in_the_cache_comes_from_there(hub: Hub, alice: Client, repo: str) -> None:
    """Storage is asked for nothing."""
    alice.download_snapshot(repo)
    hub.reset_stats()
    with alice.open(repo, "large.bin") as file:
        assert file.read() == LARGE
        assert (file.proof, file.report().bytes_network) == ("cache", 0)
    with alice.open(repo, "large.bin", local_files_only=True) as file:
        assert file.read_at(5, 5) == LARGE[5:10]
    assert hub.stats().requests("storage") == 0


def test_a_file_nobody_closes_goes_by_itself(alice: Client, repo: str) -> None:
    """Without a warning, as it holds nothing that others wait for."""
    file = alice.open(repo, "large.bin")
    assert file.read(10) == LARGE[:10]
    del file
    gc.collect()


def test_coroutines_read_side_by_side(
    hub: Hub, repo: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """`AsyncClient.open` gives what they may wait for."""

    async def use() -> None:
        async with AsyncClient(hub.endpoint, tokens["alice"].secret, tmp_path) as client:
            async with await client.open(repo, "large.bin") as file:
                assert file.size == file.report().size == len(LARGE)
                offsets = range(0, len(LARGE), 100_000)
                parts = await asyncio.gather(*(file.read_at(at, 100_000) for at in offsets))
                assert b"".join(parts) == LARGE
                assert await file.read_ranges([(5, 5), (0, 2)]) == [LARGE[5:10], LARGE[:2]]
                buffer = bytearray(9)
                assert await file.readinto_at(3, buffer) == 9
                assert await file.readinto_ranges([(3, buffer)]) == [9]
                assert buffer == LARGE[3:12]
                assert repr(file).startswith("<xet_ffi.AsyncFile 'large.bin'")
            with pytest.raises(ClosedError):
                await file.read_at(0, 1)
            with pytest.raises(FileNotFoundError):
                await client.open(repo, "nothing")

    asyncio.run(use())


@pytest.mark.parametrize(
    ("wrong", "field"), [({"window": 0}, "window"), ({"timeout": -1}, "timeout")]
)
def test_wrong_arguments_are_named(
    alice: Client, repo: str, wrong: dict[str, int], field: str
) -> None:
    """Before anybody is asked."""
    with pytest.raises(InvalidConfigError) as caught:
        alice.open(repo, "large.bin", **wrong)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_what_isnt_there(alice: Client, repo: str, hf_api: HfApi) -> None:
    """The file, the revision or the repo, each by its own error."""
    with pytest.raises(EntryNotFoundError):
        alice.open(repo, "nothing")
    with pytest.raises(xet_ffi.RevisionNotFoundError):
        alice.open(repo, "large.bin", revision="nothing")
    with pytest.raises(xet_ffi.RepoNotFoundError):
        alice.open(f"{repo}x", "large.bin")
    with pytest.raises(xet_ffi.LocalEntryNotFoundError):
        alice.open(repo, "large.bin", local_files_only=True)
    commit(hf_api, repo, {"later.txt": b"later"})
    with alice.open(repo, "later.txt") as file:
        assert file.read() == b"later"
