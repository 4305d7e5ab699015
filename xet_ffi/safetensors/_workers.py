"""Work on threads, for a call that waits for it: what comes of it, its time, and its end."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from threading import Event

from xet_ffi._errors import make
from xet_ffi._lib import lib
from xet_ffi._progress import as_callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from typing import TypeAlias, TypeVar

    from xet_ffi._progress import Cancel

    T = TypeVar("T")

    Job: TypeAlias = tuple[int, Callable[[Event], T]]
    """What it takes of what jobs share, and what does it. That is called with what tells it to
    stop, which it gives to the library as `cancel`."""

AT_ONCE = 16
"""Jobs that run at a time at the most."""

_TICK = 0.05
"""Seconds between two looks at `cancel`, as the library has it."""


class Limits:
    """How long a call may take, and what may end it.

    Args:
        what: What the call is for, as its error says it.
        timeout: Longest time, in seconds. None: there is no limit.
        cancel: What is asked.
    """

    def __init__(self, what: str, timeout: float | None, cancel: Cancel | None) -> None:
        self._what = what
        self._timeout = timeout
        self._end = None if timeout is None else time.monotonic() + timeout
        self._asked = as_callable(cancel)

    def remaining(self) -> float | None:
        """Returns how many seconds are left; None: there is no limit.

        Raises:
            TransferTimeoutError: None are.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            message = f"{self._what}: not done after {self._timeout} s, as `timeout` has it"
            raise make(lib.XET_CODE_TIMEOUT, message, {"kind": "timeout"})
        return left

    def check(self) -> None:
        """Asks whether to go on.

        Raises:
            CancelledError: No.
        """
        if self._asked is not None and self._asked():
            message = "the call was cancelled"
            raise make(lib.XET_CODE_CANCELLED, message, {"kind": "cancelled"})


def side_by_side(
    jobs: Iterable[Job[T]],
    budget: int,
    limits: Limits,
    tick: Callable[[], object] = lambda: None,
) -> Iterator[T]:
    """Does jobs on threads, and yields what they return, whichever is done first.

    The first one that fails ends it, and so do `limits` and whoever closes the generator; it ends
    when none runs any more, so that none writes into memory that its owner has back.

    Args:
        jobs: They are begun in this order.
        budget: What those that run at a time may cost together. One may always run.
        limits: Is asked on this thread.
        tick: Is called on this thread, again and again.
    """
    stop = Event()
    waiting = iter(jobs)
    job = next(waiting, None)
    running: dict[Future[T], int] = {}
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="xet_ffi.safetensors")
    try:
        while True:
            while job is not None and len(running) < AT_ONCE:
                cost, work = job
                if running and sum(running.values()) + cost > budget:
                    break
                running[pool.submit(work, stop)] = cost
                job = next(waiting, None)
            if not running:
                return
            done, _ = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                yield future.result()
            tick()
            limits.check()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
