"""Reading by position, as `io` has it, on top of reading by offset.

Nothing of it waits for another thread's bytes: a read takes its place, by moving the position
behind what it is going to read, and then fetches. So what many threads read one after the other has
each byte once, and comes side by side.

Many programs take a `seek` and the `read` behind it for one step, and let several threads do so
with one file (DuckDB, for one). The position that a thread has sought is therefore its own until
its next read; without that, one thread would read where another one has sought. Whoever reads
without having sought goes on where the file's last reader, or seeker, has left it.

Small reads are served from a few KiB that are held here, since a call into the library for each
line would take longer than the line.
"""

from __future__ import annotations

import io
import os
from _thread import RLock, get_ident

from xet_ffi._errors import invalid
from xet_ffi._lib import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

    from xet_ffi._lib import CData

_SMALL = 16 << 10
"""Reads below this, one behind the other, are served from what is held, in bytes."""

_AHEAD = 64 << 10
"""What is held at the most, in bytes: about a chunk of Xet."""

_AHEAD_OF_LINES = 8 << 10
"""The same for a file that reads nothing ahead: lines end where nobody knows."""


class Positioned(io.BufferedIOBase):
    """A file that has a position. What it's made of can be read by offset.

    Attributes:
        size: In bytes.
    """

    size: int

    def __init__(self, *, readahead: bool) -> None:
        self._readahead = readahead
        self._position = 0
        self._sought: dict[int, int] = {}
        """The positions of threads that have sought, by their identifiers, and not read since."""
        self._last_end: int | None = None
        """Where the last read has ended."""
        self._held: tuple[int, bytes] = (0, b"")
        """What is held of the file, and before that, at which offset."""
        self._turn = RLock()
        self._pid = os.getpid()

    # What the file has besides.

    def _check_open(self) -> None:
        """Raises ClosedError if it's closed."""
        raise NotImplementedError

    def read_at(self, offset: int, length: int) -> bytes:
        """Reads by offset."""
        raise NotImplementedError

    def _fill(self, offset: int, target: CData, length: int) -> int:
        """Reads by offset, into memory."""
        raise NotImplementedError

    # As in `io`.

    def readable(self) -> bool:
        """It is. An error if it's closed, as `seekable`."""
        self._check_open()
        return True

    def seekable(self) -> bool:
        """It is."""
        self._check_open()
        return True

    def tell(self) -> int:
        """Returns the position."""
        self._check_open()
        return self._sought.get(get_ident(), self._position)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves the position, and returns it. It may be behind the file's end.

        Where a thread has sought, there it reads next, whatever other threads do meanwhile.
        """
        self._check_open()
        with self._in_turn():
            bases = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}
            if whence not in bases:
                raise invalid("whence", f"must be 0, 1 or 2, not {whence}")
            position = bases[whence] + offset
            if position < 0:
                raise invalid("offset", f"is {-position} bytes before the beginning of the file")
            self._position = self._sought[get_ident()] = position
            return position

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns `size` bytes, fewer only at the end; all that are left, if it's negative.

        After one that fails, the next begins where it did.
        """
        self._check_open()
        start, length, goes_on = self._take(size)
        try:
            return self._bytes(start, length, goes_on=goes_on)
        except BaseException:
            self._give_back(start, length)
            raise

    def read1(self, size: int | None = -1, /) -> bytes:
        """Returns some bytes, with one call into the library at the most."""
        return self.read(self._ahead if size is None or size < 0 else size)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fills `buffer`, and returns how many bytes it has got; fewer than fit only at the end."""
        self._check_open()
        with writable(buffer) as target:
            return self._read_here(target)

    def _read_here(self, target: CData) -> int:
        """Is `readinto` for what C may write to."""
        start, length, goes_on = self._take(len(target))
        try:
            if length < _SMALL:
                ffi.memmove(target, self._bytes(start, length, goes_on=goes_on), length)
                return length
            held = self._at_hand(start, length)
            filled = len(held)
            ffi.memmove(target, held, filled)
            if filled < length:
                filled += self._fill(start + filled, target + filled, length - filled)
        except BaseException:
            self._give_back(start, length)
            raise
        return filled

    def readinto1(self, buffer: Buffer, /) -> int:
        """Is `readinto`."""
        return self.readinto(buffer)

    def peek(self, _: int = 0, /) -> bytes:
        """Returns some bytes from the position on, at least one before the end; it stays there."""
        self._check_open()
        position = self.tell()
        return self._at_hand(position, _AHEAD) or self._hold(position)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Returns the rest of the line, with its end; of it at the most `size` bytes."""
        self._check_open()
        # How long a line is shows when it's there: until then, others wait.
        with self._in_turn():
            start, left, _ = self._take(0 if size == 0 else 1)
            left = self.size - start if size is None or size < 0 else min(size, self.size - start)
            position, parts = start, []
            try:
                while left > 0:
                    held = self._at_hand(position, left) or self._hold(position)[:left]
                    part = held[: held.find(b"\n") + 1 or len(held)]
                    parts.append(part)
                    position += len(part)
                    left -= len(part)
                    if not part or part.endswith(b"\n"):
                        break
            except BaseException:
                self._give_back(start, 1)
                raise
            self._position = self._last_end = position
            return b"".join(parts)

    @property
    def _ahead(self) -> int:
        return _AHEAD if self._readahead else _AHEAD_OF_LINES

    def _in_turn(self) -> RLock:
        """Returns the lock. The process of a fork has one of its own: nobody else is there."""
        if self._pid != os.getpid():
            self._turn, self._pid = RLock(), os.getpid()
        return self._turn

    def _take(self, size: int | None) -> tuple[int, int, bool]:
        """Moves the position behind `size` bytes, or all that are left.

        Returns:
            Where they begin, how many there are, and whether the last read had ended there.
        """
        with self._in_turn():
            start = self._sought.pop(get_ident(), None)
            if start is None:
                # One takes over from another: what others have sought before is of no use now.
                self._sought.clear()
                start = self._position
            left = max(self.size - start, 0)
            length = left if size is None or size < 0 else min(size, left)
            goes_on = self._last_end == start
            self._position = self._last_end = start + length
            return start, length, goes_on

    def _give_back(self, start: int, length: int) -> None:
        """Undoes `_take`, for a read that has failed."""
        with self._in_turn():
            self._sought[get_ident()] = start
            if self._position == start + length:
                self._position = start

    def _at_hand(self, offset: int, most: int) -> bytes:
        """Returns what is held from an offset on, of it `most` bytes at the most."""
        begin, held = self._held
        skipped = offset - begin
        return held[skipped : skipped + most] if 0 <= skipped < len(held) else b""

    def _hold(self, offset: int) -> bytes:
        """Reads some bytes, and holds them."""
        held = self.read_at(offset, self._ahead)
        self._held = (offset, held)
        return held

    def _bytes(self, start: int, length: int, *, goes_on: bool) -> bytes:
        """Returns bytes that there are; `goes_on`: those before them were read just before."""
        held = self._at_hand(start, length)
        lacking = length - len(held)
        if not lacking:
            return held
        # The first small read may be the only one of its place. The next goes on behind it.
        if lacking < _SMALL and self._readahead and goes_on:
            return held + self._hold(start + len(held))[:lacking]
        more = self.read_at(start + len(held), lacking)
        return held + more if held else more


def writable(buffer: Buffer) -> CData:
    """Returns `buffer` as C may write to it, to be released as soon as C doesn't.

    A traceback would hold on to it, and Python crashes where it collects a `memoryview` together
    with what has it still.
    """
    try:
        return ffi.from_buffer(buffer, require_writable=True)
    except (BufferError, TypeError, ValueError) as error:
        message = f"buffer: expected one to write to, not {type(buffer).__name__}: {error}"
        raise TypeError(message) from error
