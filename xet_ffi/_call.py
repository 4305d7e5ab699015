"""One call into the library: its callbacks, its exceptions, its result.

The library runs callbacks on the thread that made the call, at least every 50 ms. CFFI releases
the GIL for the call and takes it for each callback. The function pointers that C gets are made once
per process and outlive every call, so none can be called too late; which call one of them is about,
it learns from `user_data`. Every call has a cancel callback, even if its caller asked for none,
because that is where Python gets to act meanwhile:

- Ctrl-C: signal handlers run when the callback's first bytecode does, in the main thread.
- An exception out of a callback can't cross C. CFFI hands it to `to_the_call`, the cancel callback
  answers true from then on, and `run` raises it when the library has returned.
- At interpreter exit, a daemon thread that is inside a call must not be in a callback when the
  interpreter is torn down, since it would be unwound through the library's frames. So `_finish`
  ends those calls first, and the thread quietly with them (SystemExit), as it would have been.
"""

from __future__ import annotations

import atexit
import os
import time
from _thread import get_ident

from xet_ffi import _logs
from xet_ffi._errors import check, take
from xet_ffi._lib import ffi
from xet_ffi._progress import Bar, Progress, as_callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from xet_ffi._errors import XetError
    from xet_ffi._handle import Handle
    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel


class Call:
    """The Python side of a running call."""

    __slots__ = ("_cancel", "_outer", "_progress", "error", "has_ended", "stop")

    def __init__(
        self,
        progress: Callable[[Progress], object] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> None:
        self._progress = progress
        self._cancel = cancel
        self._outer: Call | None = None
        self.error: BaseException | None = None
        """The first exception that left a callback."""
        self.has_ended = False
        self.stop = False
        """Set by the thread that ends the interpreter, to end this one's call."""

    def __enter__(self) -> Self:
        ident = get_ident()
        if _exiting not in (None, ident):
            raise SystemExit
        self._outer = _running.get(ident)
        _running[ident] = self
        return self

    def __exit__(self, *_: object) -> None:
        self.has_ended = True
        if self._outer is None:
            _running.pop(get_ident(), None)
        else:
            _running[get_ident()] = self._outer

    def on_progress(self, progress: CData) -> None:
        """Is what the C progress callback does."""
        if self.error is None and self._progress is not None:
            self._progress(Progress.from_native(progress))

    def on_cancel(self) -> bool:
        """Is what the C cancel callback does."""
        if self.stop or self.error is not None:
            return True
        return self._cancel is not None and bool(self._cancel())

    def on_error(self, error: BaseException) -> None:
        """Keeps what left a callback."""
        if self.error is None:
            self.error = error

    def callbacks(self) -> tuple[CData, tuple[CData, ...]]:
        """Returns a new XetCallbacks *, and what must live as long as it.

        The functions are among that for a thread which is stuck in the library when the interpreter
        ends, and with it this module.
        """
        user_data = ffi.new_handle(self)
        struct = ffi.new("XetCallbacks *")
        struct.struct_size = ffi.sizeof("XetCallbacks")
        struct.user_data = user_data
        struct.cancel = _CANCEL
        if self._progress is not None:
            struct.progress = _PROGRESS
        return struct, (user_data, _CANCEL, _PROGRESS)


_running: dict[int, Call] = {}
"""The innermost call of each thread, by thread identifier."""

_exiting: int | None = None
"""The thread that is ending the interpreter."""


def run(
    function: Callable[..., CData],
    handle: Handle,
    options: CData,
    release: tuple[str, Callable[[CData], None]],
    progress: Callable[[Progress], object] | None = None,
    cancel: Cancel | None = None,
) -> CData:
    """Makes the call `function(handle, options, callbacks, &out)`.

    Returns:
        What the library wrote to `out`, owned: `release` names its C type and destructor.

    Raises:
        XetError: The call failed.
        BaseException: Whatever left a callback, unchanged. If it ended an upload that had made
            commits, or may have, its `__context__` is the XetError that says so.
        SystemExit: The interpreter is exiting, and this is not its last thread.
    """
    ctype, free = release
    out = ffi.new(f"{ctype} **")
    try:
        act(
            lambda *arguments: function(*arguments, out),
            handle,
            options,
            progress=progress,
            cancel=cancel,
        )
    except BaseException:
        if out[0]:
            free(out[0])
        raise
    return ffi.gc(out[0], free)


def act(
    function: Callable[[CData, CData, CData], CData],
    handle: Handle,
    options: CData,
    *,
    progress: Callable[[Progress], object] | None = None,
    cancel: Cancel | None = None,
) -> None:
    """Makes the call `function(handle, options, callbacks)`, which gives nothing out.

    Raises:
        As `run` does.
    """
    with Call(progress, as_callable(cancel)) as call:
        _logs.follow()
        callbacks, keep = call.callbacks()
        error = function(handle.pointer(), options, callbacks)
        del keep
    if call.error is not None or call.stop:
        raised = call.error or SystemExit()
        if error:
            _tell(raised, take(error))
        raise raised
    check(error)


def _tell(raised: BaseException, failure: XetError) -> None:
    """Lets what a callback has raised tell what became of an upload that it ended."""
    if raised.__context__ is None and (failure.commits or failure.kind == "commit_unknown"):
        raised.__context__ = failure


def run_shown(
    function: Callable[[CData, CData, CData, CData], CData],
    handle: Handle,
    options: CData,
    release: tuple[str, Callable[[CData], None]],
    progress: Callable[[Progress], object] | bool | None = None,
    cancel: Cancel | None = None,
) -> CData:
    """Is `run` with a progress bar, if `progress` is True."""
    bar = Bar() if progress is True else None
    callback = bar or progress or None
    if callback is not None and not callable(callback):
        message = f"progress: expected a callable or a bool, not {type(progress).__name__}"
        raise TypeError(message)
    try:
        return run(function, handle, options, release, callback, cancel)
    finally:
        if bar is not None:
            bar.close()


def report(error: BaseException, traceback: TracebackType | None) -> bool:
    """Hands an exception of a callback to this thread's running call, if there is one."""
    call = _running.get(get_ident())
    if call is None:
        return False
    call.on_error(error.with_traceback(traceback))
    return True


def current() -> Call | None:
    """Returns the innermost call of this thread."""
    return _running.get(get_ident())


def to_the_call(
    _: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Makes the running call raise what left a callback; CFFI would print it.

    Not in the callback itself, since Ctrl-C may strike at its first bytecode.
    """
    report(error, traceback)


def _on_cancel(user_data: CData) -> bool:
    call: Call = ffi.from_handle(user_data)
    return call.on_cancel()


def _on_progress(progress: CData, user_data: CData) -> None:
    call: Call = ffi.from_handle(user_data)
    call.on_progress(progress)


_CANCEL = ffi.callback("XetCancellationCallback", _on_cancel, error=True, onerror=to_the_call)
_PROGRESS = ffi.callback("XetCallProgressCallback", _on_progress, onerror=to_the_call)


def _finish() -> None:
    """Ends the calls of daemon threads, as the module's docstring explains.

    They answer within one callback interval. The limit is for a library that is stuck: exiting is
    worth more than waiting for it.
    """
    global _exiting  # noqa: PLW0603 - there is one interpreter exit
    _exiting = get_ident()
    limit = time.monotonic() + 2
    while others := [call for ident, call in _running.copy().items() if ident != _exiting]:
        for call in others:
            call.stop = True
        if time.monotonic() > limit:
            break
        time.sleep(0.005)
    _logs.detach()


def _after_fork_in_child() -> None:
    """Forgets the calls of the parent's other threads, which don't exist here."""
    own = _running.get(get_ident())
    _running.clear()
    if own is not None:
        _running[get_ident()] = own


atexit.register(_finish)
os.register_at_fork(after_in_child=_after_fork_in_child)
