"""Progress and cancellation: how far a call is, the bar that shows it, and what may end it."""

from __future__ import annotations

import os
import sys

from xet_ffi import _layout
from xet_ffi._dataclass import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event
    from typing import Any, TypeAlias

    from xet_ffi._lib import CData


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a call is. Immutable; the numbers never shrink within one call, but for the last.

    Attributes:
        phase: "scanning", "downloading" or "finalizing"; of an upload, "scanning", "hashing",
            "uploading" or "committing".
        bytes_total: Content of all files of the call; 0 until the listing is known.
        bytes_completed: Verified bytes, found on this machine or received; of an upload, read and
            processed.
        bytes_network: Received as file content, as sent (compressed or not); of an upload, sent,
            for Xet files before compression.
        bytes_reused: Taken from files on this machine; of an upload, of files that the Hub has.
        files_total: Files of the call; 0 until the listing is known.
        files_completed: Files that are in place.
        file: The file that moved last, relative to the repo; None if none has begun.
        file_bytes_completed: Verified bytes of that file.
        file_bytes_total: Size of that file.
        rate_limited_seconds: Seconds until the first request is made that waits since a server
            limits them (HTTP 429, or 503 with a time); 0: none does.
    """

    phase: str
    bytes_total: int
    bytes_completed: int
    bytes_network: int
    bytes_reused: int
    files_total: int
    files_completed: int
    file: str | None
    file_bytes_completed: int
    file_bytes_total: int
    rate_limited_seconds: int = 0

    @classmethod
    def from_native(cls, progress: CData) -> Progress:
        """Copies a `const XetProgress *`."""
        return cls(**_layout.progress(progress))


if TYPE_CHECKING:
    ProgressCallback: TypeAlias = Callable[[Progress], object]
    Cancel: TypeAlias = Event | Callable[[], bool]


class Bar:
    """A bar as a progress callback: what the call does, how far it is, and why it waits.

    It goes to stderr, if that is a terminal, or into the cell of a notebook; else nothing is shown.
    """

    def __init__(self) -> None:
        # Only now: most calls show none.
        from xet_ffi import _bar

        self._bar = _bar
        self._screen = None if _disabled() else _bar.screen()
        self._ascii_only = _bar.is_ascii(sys.stderr)
        self._state = _bar.State(_bar.clock())
        self._drawn = 0.0
        self._told = ""

    def __call__(self, progress: Progress) -> None:
        """Shows `progress`."""
        now = self._bar.clock()
        self._state.take(progress, now)
        # What somebody waits for is told at once.
        told = f"{progress.phase} {self._state.trouble(now)}"
        if told != self._told or now - self._drawn >= self._bar.BETWEEN_DRAWINGS:
            self._told = told
            self._draw(now)

    def note(self, text: str) -> None:
        """Says for some seconds what happened."""
        self._state.note(text, self._bar.clock())

    def wipe(self) -> None:
        """Takes the bar away, until there is progress again; for lines that are to stay."""
        if self._screen is not None:
            self._try(self._screen.wipe)
        self._told = ""

    def close(self, *, keep: bool = True) -> None:
        """Ends the bar: it stays as it is in the end, with a new line below, or goes."""
        if self._screen is None:
            return
        if keep and self._state.progress is not None:
            self._state.has_ended = True
            self._draw(self._bar.clock())
        if self._screen is not None:
            self._try(self._screen.end if keep else self._screen.wipe)
        self._screen = None

    def _draw(self, now: float) -> None:
        if self._screen is not None:
            columns = self._screen.columns()
            line = self._bar.line(self._state, columns, now, ascii_only=self._ascii_only)
            self._try(self._screen.show, line)
            self._drawn = now

    def _try(self, draw: Callable[..., None], *arguments: str) -> None:
        """Draws. A terminal that is gone is no reason to end a call: then there is no bar."""
        try:
            draw(*arguments)
        except OSError:
            self._screen = None


def _disabled() -> bool:
    """Whether huggingface_hub's switch is on; it means the same here."""
    value = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "")
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def as_callable(cancel: Cancel | None) -> Callable[[], bool] | None:
    """Returns the question that `cancel` answers: an Event is asked whether it is set."""
    if cancel is None:
        return None
    question: Any = getattr(cancel, "is_set", cancel)
    if not callable(question):
        message = f"cancel: expected an Event or a callable, not {type(cancel).__name__}"
        raise TypeError(message)
    checked: Callable[[], bool] = question
    return checked
