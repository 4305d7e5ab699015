"""Threads for coroutines: each call into the library that somebody awaits runs on one of its own.

They are no ThreadPoolExecutor: Python would wait for its threads before it exits, however long
their calls take. Ours are ended when it exits, if nobody has cancelled what awaits them: an event
loop that runs in a daemon thread, as fsspec's, never does. A forked process has its own.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from contextlib import suppress

from xet_ffi._progress import as_callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_CALLS = 64
"""Calls at a time; others wait for one of these to end."""

_EXIT = 2.0
"""How long Python's exit waits for calls to end, in seconds; they take a twentieth of one."""


class Threads:
    """The threads of one client, or of one file system."""

    def __init__(self) -> None:
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._turn = threading.Condition()
        self._running = 0
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._stops: set[threading.Event] = set()

    async def run(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Makes a call that has an argument `cancel`. It has ended when this does."""
        begun, stop = self.begin(method, *args, **kwargs)
        call = asyncio.wrap_future(begun)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError as cancelled:
            stop.set()
            # One that waits for a thread needn't.
            begun.cancel()
            # Cancelled once more meanwhile: it still ends before this does.
            while not call.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([call])
            if not call.cancelled() and (error := call.exception()) is not None:
                cancelled.__context__ = error
            raise

    def begin(
        self, method: Callable[..., T], *args: Any, **kwargs: Any
    ) -> tuple[Future[T], threading.Event]:
        """Begins a call that has an argument `cancel`. Returns what it becomes, and its end."""
        if self._pid != os.getpid():
            self._begin()
        stop = threading.Event()
        asked = as_callable(kwargs.get("cancel"))
        kwargs["cancel"] = lambda: stop.is_set() or (asked is not None and asked())
        begun: Future[T] = Future()
        self._stops.add(stop)
        begun.add_done_callback(lambda _: self._stops.discard(stop))
        self._start(begun, functools.partial(method, *args, **kwargs))
        return begun, stop

    async def close(self) -> None:
        """Waits for what runs."""
        await asyncio.to_thread(self._wait, None)

    def _start(self, future: Future[Any], work: Callable[[], Any]) -> None:
        with self._turn:
            if self._running == _CALLS:
                self._waiting.append((future, work))
                return
            self._running += 1
        thread = threading.Thread(
            target=self._serve, args=(future, work), name="xet_ffi.aio", daemon=True
        )
        try:
            thread.start()
        except BaseException:
            with self._turn:
                self._running -= 1
                self._turn.notify_all()
            raise

    def _serve(self, future: Future[Any], work: Callable[[], Any]) -> None:
        """Makes a call, and then those that have waited for a thread."""
        while True:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 - whoever awaits it raises it
                    future.set_exception(error)
            # What it was of mustn't live as long as the next one takes.
            del future, work
            with self._turn:
                if not self._waiting:
                    self._running -= 1
                    self._turn.notify_all()
                    return
                future, work = self._waiting.popleft()

    def _wait(self, limit: float | None) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._running == 0, limit)

    def end(self) -> None:
        """Ends all calls, and waits for that a little while."""
        if self._pid == os.getpid():
            for future, _ in list(self._waiting):
                future.cancel()
            for stop in self._stops.copy():
                stop.set()
            self._wait(_EXIT)


_all: weakref.WeakSet[Threads] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Before `_call` ends what still runs: a call of these may have to tidy up."""
    for threads in list(_all):
        threads.end()
