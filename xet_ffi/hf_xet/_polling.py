"""Progress callbacks: on a thread of their own while a group runs, and by its caller at its end."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from xet_ffi._groups import GroupReport
    from xet_ffi.hf_xet._ids import UniqueId
    from xet_ffi.hf_xet._records import GroupProgressReport, ItemProgressReport

    Snapshot: TypeAlias = tuple[GroupProgressReport, dict[UniqueId, ItemProgressReport]]

_SHARE = 9
"""A report of many files takes its time: at least so many times that one is waited."""


class Poller:
    """Calls `callback` with what `snapshot` returns, every `interval` seconds.

    It ends when `snapshot` returns None, and when the callback raises, which is printed: the
    transfer goes on without it.
    """

    __slots__ = ("_callback", "_ended", "_thread")

    def __init__(
        self,
        callback: Callable[..., Any],
        interval: float,
        snapshot: Callable[[], Snapshot | None],
    ) -> None:
        self._callback = callback
        self._ended = threading.Event()
        interval = min(interval, threading.TIMEOUT_MAX)
        # No reference to the poller, so that a group that nobody has any more isn't kept alive.
        args = (callback, interval, snapshot, self._ended)
        self._thread = threading.Thread(
            target=_poll, args=args, name="xet_ffi progress", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """Ends it. A callback that runs goes on: it may wait for who asks."""
        self._ended.set()

    def stop(self) -> None:
        """Ends it, and waits until the callback has returned; unless that is who asks."""
        self.end()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def emit(self, snapshot: Snapshot) -> None:
        """Calls the callback once more, on this thread. Ctrl-C is raised; the rest is printed."""
        try:
            self._callback(*snapshot)
        except Exception as error:  # noqa: BLE001 - a callback can't fail what is done
            show(error)


def _poll(
    callback: Callable[..., Any],
    interval: float,
    snapshot: Callable[[], Snapshot | None],
    ended: threading.Event,
) -> None:
    pause = interval
    try:
        while not ended.wait(pause):
            begun = time.monotonic()
            found = snapshot()
            pause = max(interval, _SHARE * (time.monotonic() - begun))
            if found is None or ended.is_set():
                return
            callback(*found)
    except BaseException as error:  # noqa: BLE001 - nobody else could be told
        show(error)


def show(error: BaseException) -> None:
    """Prints what a callback raised, as Python prints what nobody catches."""
    if sys.stderr is not None:
        from traceback import print_exception

        print_exception(error)


class Rates:
    """Bytes per second, over the last `window` seconds, of two numbers that only grow."""

    __slots__ = ("_least", "_seen", "_window")

    def __init__(self, window: float, least: int) -> None:
        self._window = window
        self._least = least
        self._seen: deque[tuple[float, int, int]] = deque()

    def add(self, report: GroupReport) -> tuple[float | None, float | None]:
        """Returns them, counting a report; None while there are too few."""
        now = time.monotonic()
        self._seen.append((now, report.bytes_completed, report.bytes_network))
        while now - self._seen[0][0] > self._window:
            self._seen.popleft()
        begun, completed, network = self._seen[0]
        if len(self._seen) < self._least or now <= begun:
            return None, None
        seconds = now - begun
        return (report.bytes_completed - completed) / seconds, (
            report.bytes_network - network
        ) / seconds
