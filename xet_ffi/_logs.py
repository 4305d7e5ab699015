"""The library's logs, as records of Python's logger "xet_ffi".

The library is told the logger's level, so that it formats nothing that nobody reads. Python doesn't
announce level changes, hence `follow`, which each call begins with. `logging` is not imported
here: while nobody has imported it, nobody can have asked for logs, and importing it takes longer
than all of xet_ffi.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, interrupt_main

from xet_ffi._errors import check
from xet_ffi._lib import ffi, lib
from xet_ffi._strings import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from types import TracebackType

    from xet_ffi._lib import CData

TRACE = 5
"""Python has no level below DEBUG; this is the number that others use for it."""

_PYTHON_LEVEL = {
    lib.XET_LOG_TRACE: TRACE,
    lib.XET_LOG_DEBUG: 10,
    lib.XET_LOG_INFO: 20,
    lib.XET_LOG_WARN: 30,
    lib.XET_LOG_ERROR: 40,
}
"""By XET_LOG_*, least important first."""


class Bridge:
    """What the library's records go to: a logger, and the level that it was registered with."""

    __slots__ = ("_logger", "_registered", "_user_data")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._registered: int | None = None
        self._user_data = ffi.new_handle(self)

    def follow(self) -> None:
        """Registers the callback for the level that the logger has now."""
        level = next(
            (
                native
                for native, python in _PYTHON_LEVEL.items()
                if self._logger.isEnabledFor(python)
            ),
            lib.XET_LOG_OFF,
        )
        if level != self._registered:
            check(lib.xet_set_log_callback(_LOG, self._user_data, level))
            self._registered = level

    def on_record(self, level: int, target: CData, message: CData) -> None:
        """Is what the C log callback does."""
        number = _PYTHON_LEVEL.get(level, TRACE)
        if self._logger.isEnabledFor(number):
            # Not logger.log: it would walk the stack for a Python line, of which there is none.
            name = text(target)
            args = (name, text(message))
            record = self._logger.makeRecord(
                self._logger.name, number, name, 0, "%s: %s", args, None
            )
            self._logger.handle(record)


def _on_record(level: int, target: CData, message: CData, user_data: CData) -> None:
    bridge: Bridge = ffi.from_handle(user_data)
    bridge.on_record(level, target, message)


def _on_error(cls: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
    from xet_ffi import _call

    # Ctrl-C, or a filter's exception. Outside a call there is nobody to raise it to.
    if _call.report(error, tb):
        return
    if isinstance(error, KeyboardInterrupt):
        interrupt_main()
    else:
        sys.excepthook(cls, error, tb)


_LOG = ffi.callback("XetLogCallback", _on_record, onerror=_on_error)
"""Made once, and never freed: the library may hold it for as long as there is a process."""

_bridge: Bridge | None = None
"""Made once, with the first call after `logging` was imported, and never replaced."""

_following = allocate_lock()
"""Held by the thread that registers.

Nobody waits for it. Whoever finds it taken may be a log handler that makes a call, and the thread
that has it may be waiting, in the library, for that handler to return.
"""


def follow() -> None:
    """Makes the library's log level that of the logger "xet_ffi"."""
    global _bridge  # noqa: PLW0603 - the library has one log callback per process
    if _bridge is None and "logging" not in sys.modules:
        return
    if not _following.acquire(blocking=False):
        return
    try:
        if _bridge is None:
            import logging

            logger = logging.getLogger("xet_ffi")
            # Without it, warnings of an application that doesn't configure logging would go to
            # stderr.
            logger.addHandler(logging.NullHandler())
            _bridge = Bridge(logger)
        _bridge.follow()
    finally:
        _following.release()


def detach() -> None:
    """Makes sure that the library calls no Python any more, at interpreter exit."""
    if _bridge is not None:
        check(lib.xet_set_log_callback(ffi.NULL, ffi.NULL, lib.XET_LOG_OFF))


def _after_fork_in_child() -> None:
    """Releases what another thread of the parent may have held."""
    global _following  # noqa: PLW0603 - a lock that was inherited can't be released for sure
    _following = allocate_lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
