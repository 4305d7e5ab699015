"""The library's logs, as records of Python's logger "xet_ffi".

The library is told the logger's level, so that it formats nothing that nobody reads. Python doesn't
announce level changes, hence `follow`, which each call begins with. `logging` is not imported
here: while nobody has imported it, nobody can have asked for logs, and importing it takes longer
than all of xet_ffi.
"""

from __future__ import annotations

import sys
from _thread import interrupt_main

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


class _Bridge:
    """What is registered with the library: a callback, and the level it was registered for."""

    __slots__ = ("_callback", "_logger", "_registered")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._registered: int | None = None
        self._callback = ffi.callback("XetLogCallback", self._on_record, onerror=self._on_error)

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
            check(lib.xet_set_log_callback(self._callback, ffi.NULL, level))
            self._registered = level

    def detach(self) -> None:
        """Makes sure that the library calls no Python any more."""
        check(lib.xet_set_log_callback(ffi.NULL, ffi.NULL, lib.XET_LOG_OFF))

    def _on_record(self, level: int, target: CData, message: CData, _: CData) -> None:
        number = _PYTHON_LEVEL.get(level, TRACE)
        if self._logger.isEnabledFor(number):
            # Not logger.log: it would walk the stack for a Python line, of which there is none.
            name = text(target)
            args = (name, text(message))
            record = self._logger.makeRecord(
                self._logger.name, number, name, 0, "%s: %s", args, None
            )
            self._logger.handle(record)

    def _on_error(self, cls: type[BaseException], error: BaseException, tb: TracebackType) -> None:
        from xet_ffi import _call

        # Ctrl-C, or a filter's exception. Outside a call there is nobody to raise it to.
        if _call.report(error, tb):
            return
        if isinstance(error, KeyboardInterrupt):
            interrupt_main()
        else:
            sys.excepthook(cls, error, tb)


_bridge: _Bridge | None = None


def follow() -> None:
    """Makes the library's log level that of the logger "xet_ffi"."""
    global _bridge  # noqa: PLW0603 - the library has one log callback per process
    if _bridge is None:
        if "logging" not in sys.modules:
            return
        import logging

        logger = logging.getLogger("xet_ffi")
        # Without it, warnings of an application that doesn't configure logging would go to stderr.
        logger.addHandler(logging.NullHandler())
        _bridge = _Bridge(logger)
    _bridge.follow()


def detach() -> None:
    """Ends the delivery of records, at interpreter exit."""
    if _bridge is not None:
        _bridge.detach()
