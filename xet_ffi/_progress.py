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
    """A bar as a progress callback: bytes, and the file that moved last or a rate limit.

    It is tqdm's where that is installed, else a plain one. It goes to stderr, and stays away if
    that is not a terminal.
    """

    def __init__(self) -> None:
        # None: only if stderr is a terminal.
        disable = True if _disabled() or sys.stderr is None else None
        try:
            from tqdm.auto import tqdm
        except ImportError:
            from xet_ffi._bar import PlainBar

            self._bar: Any = PlainBar(disable=disable)
        else:
            self._bar = tqdm(unit="B", unit_scale=True, disable=disable, dynamic_ncols=True)

    def __call__(self, progress: Progress) -> None:
        """Shows `progress`."""
        bar = self._bar
        if bar.disable:
            return
        if progress.bytes_total:
            bar.total = progress.bytes_total
        files = f"{progress.files_completed}/{progress.files_total} files"
        bar.set_description_str(files if progress.files_total else progress.phase, refresh=False)
        limited = progress.rate_limited_seconds
        file = (progress.file or "").rpartition("/")[2]
        note = f"rate limited, {limited} s" if limited else file
        # Nothing else moves meanwhile that would have the bar drawn.
        bar.set_postfix_str(note, refresh=bool(limited) and bar.postfix != note)
        done = progress.bytes_completed
        if progress.phase == "uploading":
            # It's read much sooner than it's sent.
            done = max(bar.n, min(done, progress.bytes_network + progress.bytes_reused))
        bar.update(done - bar.n)

    def close(self) -> None:
        """Leaves the bar on the screen and moves to the next line."""
        self._bar.close()


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
