"""File objects are read as C asks for their bytes, and one that has none to give holds up nothing.

The read callback is called here through its C function pointer, as the library calls it.
"""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xet_ffi import CommitAdd
from xet_ffi._call import Call
from xet_ffi._lib import ffi, lib
from xet_ffi._operations import Operations


class Reading:
    """An upload of one file object, as far as its bytes go."""

    def __init__(self, file: Any) -> None:
        self._operations = Operations([CommitAdd("x.bin", file)])
        self._operation = self._operations.array[0]

    def ask(self, length: int = 100) -> bytes | int:
        """Asks once, and returns bytes or a negative number."""
        buffer = ffi.new("uint8_t[]", length)
        with Call() as call:
            size: int = self._operation.read(buffer, length, self._operation.user_data)
        if call.error is not None:
            raise call.error
        return bytes(ffi.buffer(buffer)[:size]) if size >= 0 else size

    def next(self, length: int = 100) -> bytes:
        """Asks until there is something."""
        while (answer := self.ask(length)) == lib.XET_READ_AGAIN:
            pass
        assert isinstance(answer, bytes)
        return answer

    def close(self) -> None:
        """Ends the call."""
        self._operations.close()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """A test finds no thread of another one. Set up before the pipe, it waits when that is gone."""
    yield
    for thread in threading.enumerate():
        if thread.name == "xet_ffi read":
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def pipe() -> Iterator[tuple[io.FileIO, io.FileIO]]:
    """Both ends of a pipe: to read, and to write."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as out, open(writing, "wb", buffering=0) as into:  # noqa: PTH123
        yield out, into


def test_a_pipe_without_bytes_is_asked_again(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    """The thread that asks is free meanwhile, and gets the bytes when they are there."""
    out, into = pipe
    reading = Reading(out)
    assert reading.ask() == lib.XET_READ_AGAIN
    assert reading.ask() == lib.XET_READ_AGAIN
    into.write(b"first")
    assert reading.next() == b"first"
    into.write(b"second")
    assert reading.next() == b"second"
    into.close()
    assert reading.next() == b""
    reading.close()


def test_a_file_whose_disk_hangs_holds_up_nothing(tmp_path: Path) -> None:
    """That a file is on a disk, or says so, promises nothing about how long a read takes."""
    (tmp_path / "file").write_bytes(b"content")
    go_on = threading.Event()

    class Hangs(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            go_on.wait(30)
            return super().read(size)

    class HangsInMemory(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            go_on.wait(30)
            return super().read(size)

    for file in (Hangs(tmp_path / "file"), HangsInMemory(b"content")):
        with file:
            go_on.clear()
            reading = Reading(file)
            assert reading.ask() == lib.XET_READ_AGAIN
            assert reading.ask() == lib.XET_READ_AGAIN
            go_on.set()
            assert reading.next() == b"content"
            reading.close()


def test_bytes_that_do_not_fit_are_given_next(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    """The library may ask for fewer bytes than it has asked for before."""
    out, into = pipe
    reading = Reading(out)
    assert reading.ask(100) == lib.XET_READ_AGAIN
    into.write(b"0123456789")
    assert [reading.next(4), reading.next(4), reading.next(4)] == [b"0123", b"4567", b"89"]
    into.close()
    assert reading.next(4) == b""
    reading.close()


def test_nothing_is_read_that_was_not_asked_for(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    """What a call doesn't take is still there for whoever reads next."""
    out, into = pipe
    reading = Reading(out)
    into.write(b"0123456789")
    assert reading.next(4) == b"0123"
    reading.close()
    assert out.read(100) == b"456789"


def test_a_file_that_does_not_block_may_have_nothing_yet(
    pipe: tuple[io.FileIO, io.FileIO],
) -> None:
    """Its `read` returns None."""
    out, into = pipe
    os.set_blocking(out.fileno(), False)
    reading = Reading(out)
    assert reading.ask() == lib.XET_READ_AGAIN
    into.write(b"now")
    assert reading.next() == b"now"
    reading.close()


def test_what_read_raises_elsewhere_is_raised_here() -> None:
    """The same object, with the frame that raised it."""
    error = LookupError("the tape is torn")

    class Torn:
        def read(self, _: int) -> bytes:
            raise error

    with pytest.raises(LookupError) as caught:
        Reading(Torn()).next()
    assert caught.value is error
    assert error.__context__ is error.__cause__ is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [("text", "open files in binary mode"), (b"12345", "returned 5 bytes"), (7, "not bytes")],
)
def test_what_is_not_what_was_asked_for_is_refused(data: object, problem: str) -> None:
    """Text, more than there is room for, and what isn't bytes at all."""

    class Odd:
        def read(self, _: int) -> object:
            return data

    with pytest.raises((TypeError, ValueError), match=problem):
        Reading(Odd()).next(4)


def test_views_of_larger_items_count_in_bytes() -> None:
    """A memoryview says how many items it has."""
    items = [memoryview(b"abcdefgh").cast("Q"), memoryview(b"")]

    class Items:
        def read(self, _: int) -> memoryview:
            return items.pop(0)

    reading = Reading(Items())
    assert [reading.next(8), reading.next(8)] == [b"abcdefgh", b""]
    reading.close()


def threads() -> list[str]:
    """Those that read for an upload."""
    return [thread.name for thread in threading.enumerate() if thread.name == "xet_ffi read"]


def test_memory_is_read_on_the_thread_that_asks() -> None:
    """It is there, and a thread would only cost time."""
    reading = Reading(io.BytesIO(b"content"))
    assert [reading.ask(), reading.ask()] == [b"content", b""]
    assert threads() == []
    reading.close()


def test_the_thread_ends_with_the_call(pipe: tuple[io.FileIO, io.FileIO]) -> None:
    """As soon as it isn't blocked any more."""
    out, into = pipe
    reading = Reading(out)
    assert reading.ask() == lib.XET_READ_AGAIN
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "xet_ffi read"]
    reading.close()
    into.write(b"late")
    thread.join(30)
    assert not thread.is_alive()
