"""Tokens of Xet storage that a Python function gets.

The library asks on a thread that waits for work of that storage, which must stay free to report, to
be cancelled and to keep the time. A function that gets a token takes as long as its server, so it
runs on a thread of its own, which ends with the answer.
"""

from __future__ import annotations

import os
import threading
import time
from queue import Empty, SimpleQueue

from xet_ffi import _call
from xet_ffi._lib import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from xet_ffi._lib import CData

    TokenCallback: TypeAlias = Callable[[], tuple[str, int]]
    """Returns a token, and its end in seconds since 1970."""

_PATIENCE = 0.01
"""How long the waiting thread waits for a token at a time, in seconds; xet.h allows 20 ms."""
LONGEST = 120.0
"""After how many seconds a function that hasn't returned is given up: its request hangs."""


class TokenSource:
    """A function that gets tokens, and the user_data that GET_TOKEN finds it by."""

    __slots__ = ("_answers", "_asker", "_callback", "_since", "error", "user_data")

    def __init__(self, callback: TokenCallback) -> None:
        if not callable(callback):
            message = f"token_callback: expected a callable, not {type(callback).__name__}"
            raise TypeError(message)
        self._callback = callback
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._asker = 0
        """The process that has asked and has no answer yet: a thread isn't forked."""
        self._since = 0.0
        self.error: BaseException | None = None
        """What the function raised last."""
        self.user_data: CData = ffi.new_handle(self)

    def get(self) -> int:
        """Is what the C token callback does."""
        if self._asker != os.getpid():
            self._answers = SimpleQueue()
            args = (self._callback, self._answers)
            threading.Thread(target=_ask, args=args, name="xet_ffi token", daemon=True).start()
            self._asker, self._since = os.getpid(), time.monotonic()
        try:
            answer = self._answers.get(timeout=_PATIENCE)
        except Empty:
            if time.monotonic() < self._since + LONGEST:
                again: int = lib.XET_TOKEN_AGAIN
                return again
            answer = TimeoutError(f"token_callback: has not returned for {LONGEST:.0f} seconds")
        self._asker = 0
        if isinstance(answer, BaseException):
            self.error = answer
            reason = f"{type(answer).__name__}: {answer}".encode(errors="replace")
            failed: int = lib.xet_token_fail(reason.replace(b"\0", b""))
            return failed
        token, expires = answer
        given: int = lib.xet_token_give(token, expires)
        return given


def _ask(callback: TokenCallback, answers: SimpleQueue[Any]) -> None:
    """Runs the function, and hands on what it returns or raises."""
    try:
        answers.put(_checked(callback()))
    except BaseException as error:  # noqa: BLE001 - the call that needs the token tells of it
        answers.put(error)


def _checked(answer: Any) -> tuple[bytes, int]:
    """Returns what the function has returned, if that is what it may."""
    if isinstance(answer, tuple) and [type(value) for value in answer] == [str, int]:
        token, expires = answer
        if 0 <= expires < 2**64:
            return token.encode(), expires
    # Not the value itself, which may hold a token.
    kind = type(answer).__name__
    message = (
        f"token_callback: expected a tuple of a str and an int (seconds since 1970), not {kind}"
    )
    raise TypeError(message)


def _get_token(user_data: CData) -> int:
    source: TokenSource = ffi.from_handle(user_data)
    return source.get()


GET_TOKEN = ffi.callback(
    "XetTokenCallback", _get_token, error=lib.XET_TOKEN_AGAIN, onerror=_call.to_the_call
)
"""Made once per process, as those of _call: Ctrl-C may strike in it, and is raised by the call."""
