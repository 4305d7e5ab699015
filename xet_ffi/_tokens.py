"""Tokens of Xet storage that a Python function gets.

The library asks on a thread that waits for work of that storage, which must stay free to report, to
be cancelled and to keep the time. A function that gets a token takes as long as its server, so it
runs on a thread of its own, which ends with the answer.
"""

from __future__ import annotations

import os
import threading
import time

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
_UNCLAIMED = 1.0
"""For how many seconds an answer that came when nobody waited is good for the next who does."""


class TokenSource:
    """A function that gets tokens, and the user_data that GET_TOKEN finds it by."""

    __slots__ = ("_callback", "_question", "error", "user_data")

    def __init__(self, callback: TokenCallback) -> None:
        if not callable(callback):
            message = f"token_callback: expected a callable, not {type(callback).__name__}"
            raise TypeError(message)
        self._callback = callback
        self._question: _Question | None = None
        """The one that nobody has an answer to yet."""
        self.error: BaseException | None = None
        """What the function raised last."""
        self.user_data: CData = ffi.new_handle(self)

    def get(self) -> int:
        """Is what the C token callback does."""
        question = self._question
        if question is None or question.is_of_the_past:
            question = self._question = _Question(self._callback)
        answer = question.answer()
        if answer is None:
            again: int = lib.XET_TOKEN_AGAIN
            return again
        self._question = None
        if isinstance(answer, BaseException):
            self.error = answer
            reason = f"{type(answer).__name__}: {answer}".encode(errors="replace")
            failed: int = lib.xet_token_fail(reason.replace(b"\0", b""))
            return failed
        token, expires = answer
        given: int = lib.xet_token_give(token, expires)
        return given


class _Question:
    """One call of the function, on a thread of its own."""

    __slots__ = ("_answer", "_answered", "_asker", "_begun", "_ended", "_process")

    def __init__(self, callback: TokenCallback) -> None:
        self._process = os.getpid()
        self._asker: _call.Call | None = None
        """The call that has waited for the answer last."""
        self._answer: tuple[bytes, int] | BaseException | None = None
        self._answered = threading.Event()
        self._begun = self._ended = time.monotonic()
        threading.Thread(
            target=self._ask, args=(callback,), name="xet_ffi token", daemon=True
        ).start()

    def _ask(self, callback: TokenCallback) -> None:
        try:
            self._answer = _checked(callback())
        except BaseException as error:  # noqa: BLE001 - the call that needs the token tells of it
            self._answer = error
        self._ended = time.monotonic()
        self._answered.set()

    @property
    def is_of_the_past(self) -> bool:
        """Whether its answer isn't one to the next question.

        It came when nobody waited any more: by now the token may have expired, or what went wrong
        may be over. Or another process has asked: a thread isn't forked.
        """
        if self._process != os.getpid():
            return True
        is_unclaimed = self._asker is None or self._asker.has_ended
        is_late = self._answered.is_set() and time.monotonic() > self._ended + _UNCLAIMED
        return is_unclaimed and is_late

    def answer(self) -> tuple[bytes, int] | BaseException | None:
        """Returns the answer, if there is one by now: it doesn't wait for long."""
        self._asker = _call.current()
        if self._answered.wait(_PATIENCE):
            return self._answer
        if time.monotonic() < self._begun + LONGEST:
            return None
        return TimeoutError(f"token_callback: has not returned for {LONGEST:.0f} seconds")


def _checked(answer: Any) -> tuple[bytes, int]:
    """Returns what the function has returned, if that is what it may.

    No error has the value itself, which holds a token.
    """
    is_pair = isinstance(answer, tuple) and [type(value) for value in answer] == [str, int]
    if not is_pair or not 0 <= answer[1] < 2**64:
        kind = type(answer).__name__
        if isinstance(answer, tuple):
            kind += f" ({', '.join([type(value).__name__ for value in answer])})"
        if is_pair:
            kind += " with a time that isn't one"
        message = (
            f"token_callback: expected a tuple of a str and an int (seconds since 1970), not {kind}"
        )
        raise TypeError(message)
    token, expires = answer
    if not token or not all("!" <= letter <= "~" for letter in token):
        message = (
            "token_callback: what it returned isn't a token: that is empty, or has spaces, control "
            "characters or non-ASCII characters"
        )
        raise ValueError(message)
    return token.encode(), expires


def _get_token(user_data: CData) -> int:
    source: TokenSource = ffi.from_handle(user_data)
    return source.get()


GET_TOKEN = ffi.callback(
    "XetTokenCallback", _get_token, error=lib.XET_TOKEN_AGAIN, onerror=_call.to_the_call
)
"""Made once per process, as those of _call: Ctrl-C may strike in it, and is raised by the call."""
