"""A plain progress bar, for where tqdm isn't installed: the part of tqdm's that is used here."""

from __future__ import annotations

import shutil
import sys
import time

_BETWEEN_DRAWINGS = 0.1
"""Seconds, as tqdm has it."""

_UNITS = ("", "k", "M", "G", "T")


class PlainBar:
    """One line on stderr that is drawn again and again; nothing if stderr is no terminal.

    Args:
        disable: True: draw nothing. None: draw only on a terminal.

    Attributes:
        n: Bytes so far.
        total: Bytes in all; 0 or None while that isn't known.
        postfix: What stands behind the numbers.
    """

    def __init__(self, *, disable: bool | None = None) -> None:
        self._stream = sys.stderr
        hidden = disable is None and not (self._stream is not None and self._stream.isatty())
        self.disable = bool(disable) or hidden
        self.n = 0
        self.total: int | None = None
        self.postfix = ""
        self._description = ""
        self._started = time.monotonic()
        self._drawn = 0.0
        self._width = 0

    def set_description_str(self, description: str, *, refresh: bool = True) -> None:
        """Sets what stands before the numbers."""
        self._description = description
        self._draw(now=refresh)

    def set_postfix_str(self, postfix: str, *, refresh: bool = True) -> None:
        """Sets what stands behind the numbers."""
        self.postfix = postfix
        self._draw(now=refresh)

    def update(self, n: int) -> None:
        """Moves on by `n` bytes."""
        self.n += n
        self._draw()

    def close(self) -> None:
        """Leaves the bar on the screen, and moves to the next line."""
        if not self.disable:
            self._draw(now=True)
            self._stream.write("\n")
            self._stream.flush()
            self.disable = True

    def _draw(self, *, now: bool = False) -> None:
        moment = time.monotonic()
        if self.disable or not (now or moment - self._drawn >= _BETWEEN_DRAWINGS):
            return
        self._drawn = moment
        columns = shutil.get_terminal_size().columns
        # Not to the last column, after which some terminals begin a new line.
        line = self._line(moment - self._started)[: max(columns - 1, 0)]
        # What is left of a longer line goes.
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def _line(self, seconds: float) -> str:
        rate = f"{size(self.n / seconds)}B/s" if seconds > 0 else "?B/s"
        if self.total:
            percent = min(100 * self.n // self.total, 100)
            done = f"{percent:3}% {size(self.n)}B/{size(self.total)}B"
        else:
            done = f"{size(self.n)}B"
        parts = (self._description, f"{done} [{rate}]", self.postfix)
        return "  ".join([part for part in parts if part])


def size(number: float) -> str:
    """Returns a number with a unit of thousands: 1230000 is "1.23M"."""
    unit = 0
    while number >= 999.5 and unit + 1 < len(_UNITS):  # noqa: PLR2004 - would be shown as 1000
        number /= 1000
        unit += 1
    return f"{number:.3g}{_UNITS[unit]}"
