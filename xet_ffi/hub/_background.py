"""Calls with `run_as_future=True`: in a thread, one after the other."""

from __future__ import annotations

import os
from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

_executors: dict[int, ThreadPoolExecutor] = {}
"""By process: after a fork, the parent's has no thread."""


def in_background(function: Callable[P, R]) -> Callable[P, R]:
    """Lets a function take `run_as_future`; its type is that of a call without."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs.pop("run_as_future", False):
            return function(*args, **kwargs)
        future: Any = _executor().submit(function, *args, **kwargs)
        return future  # type: ignore[no-any-return] # what the caller has asked for

    return call


def _executor() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    # One that isn't kept has no thread yet.
    return _executors.setdefault(os.getpid(), ThreadPoolExecutor(1, "xet_ffi.hub"))
