"""File objects that are uploaded: read as the library asks for their bytes.

It asks on the thread that made the call, which must stay free to report, to be cancelled and to
keep the time. So whatever may have nothing to give for a while (a pipe, a socket, a file on a disk
that hangs, all that isn't memory) is read on a thread of its own. That one reads only when it was
asked to, and never more than that.
"""

from __future__ import annotations

import threading
from io import BytesIO
from queue import Empty, SimpleQueue

from xet_ffi import _call
from xet_ffi._lib import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from xet_ffi._lib import CData

_PATIENCE = 0.01
"""How long the call's thread waits for bytes, in seconds; xet.h allows 20 ms."""


class Stream:
    """A file object, and the user_data that READ finds it by. C may use that while it lives."""

    __slots__ = ("_answers", "_asked", "_file", "_left", "_requests", "user_data")

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = memoryview(b"")
        self._asked = False
        self._requests: SimpleQueue[int] | None = None
        self._answers: SimpleQueue[memoryview | BaseException | None] = SimpleQueue()
        self.user_data: CData = ffi.new_handle(self)

    def read(self, buffer: CData, length: int) -> int:
        """Is what the C read callback does."""
        if not self._left:
            data = self._next(length)
            if data is None:
                again: int = lib.XET_READ_AGAIN
                return again
            self._left = data
        size = min(len(self._left), length)
        ffi.memmove(buffer, self._left, size)
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        """Lets the thread end, when its last read has."""
        if self._requests is not None:
            self._requests.put(0)

    def _next(self, length: int) -> memoryview | None:
        """Returns what the file has next; None if nothing yet."""
        if type(self._file) is BytesIO:
            return _checked(self._file.read(length), length)
        if not self._asked:
            self._ask(length)
        try:
            answer = self._answers.get(timeout=_PATIENCE)
        except Empty:
            return None
        self._asked = False
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _ask(self, length: int) -> None:
        """Lets the thread read."""
        if self._requests is None:
            self._requests = SimpleQueue()
            args = (self._file, self._requests, self._answers)
            threading.Thread(target=_serve, args=args, name="xet_ffi read", daemon=True).start()
        self._requests.put(length)
        self._asked = True


def _serve(
    file: Any,
    requests: SimpleQueue[int],
    answers: SimpleQueue[memoryview | BaseException | None],
) -> None:
    """Reads as often as it is asked to, until that is for nothing."""
    try:
        while length := requests.get():
            answers.put(_checked(file.read(length), length))
    except BaseException as error:  # noqa: BLE001 - the call raises it, and asks no more
        answers.put(error)


def _checked(data: Any, length: int) -> memoryview | None:
    """Returns what `read(length)` has returned, if that is what it may."""
    if data is None:  # a file that doesn't block, and has nothing yet
        return None
    if not isinstance(data, (bytes, bytearray, memoryview)):
        message = f"read() returned {type(data).__name__}, not bytes: open files in binary mode"
        raise TypeError(message)
    view = memoryview(data).cast("B")
    if len(view) > length:
        message = f"read({length}) returned {len(view)} bytes"
        raise ValueError(message)
    return view


def _on_read(buffer: CData, length: int, user_data: CData) -> int:
    stream: Stream = ffi.from_handle(user_data)
    return stream.read(buffer, length)


READ = ffi.callback("XetReadCallback", _on_read, error=-1, onerror=_call.to_the_call)
"""Made once per process, as those of _call. What `read` raises is raised by the call."""
