"""Progress of the deprecated functions: increments, told on the thread that called them."""

from __future__ import annotations

import time

from xet_ffi.hf_xet._legacy_types import PyItemProgressUpdate, PyTotalProgressUpdate
from xet_ffi.hf_xet._records import GroupProgressReport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from xet_ffi._groups import Downloads, GroupReport, GroupTask, Uploads
    from xet_ffi.hf_xet._polling import Rates

_DETAILED = ["total_update", "item_updates"]
_NOTHING = GroupProgressReport(
    total_bytes=0,
    total_bytes_completed=0,
    total_bytes_completion_rate=None,
    total_transfer_bytes=0,
    total_transfer_bytes_completed=0,
    total_transfer_bytes_completion_rate=None,
)


class Updater:
    """A function that is told of progress: by one number, or by two objects in all detail."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            message = f"update func: {function!r} is not callable"
            raise TypeError(message)
        from inspect import signature

        names = list(signature(function).parameters)
        if len(names) not in {1, 2}:
            message = f"Function {function!r} must take exactly 1 or 2 arguments, not {len(names)}"
            raise TypeError(message)
        if len(names) == len(_DETAILED) and names != _DETAILED:
            message = (
                f"Function {function!r} must have either one argument or two named arguments "
                f"({', '.join(_DETAILED)})"
            )
            raise TypeError(message)
        self._function = function
        self._is_detailed = len(names) == len(_DETAILED)
        self._told = _NOTHING
        self._items: dict[int, int] = {}

    def tell(self, total: GroupProgressReport, tasks: Sequence[GroupTask]) -> None:
        """Tells the function what is new. What it raises is logged: the transfer goes on."""
        before, self._told = self._told, total
        items = []
        for task in tasks:
            done = task.bytes_completed
            increment = done - self._items.get(task.task, 0)
            if increment > 0 or task.task not in self._items:
                items.append(_item(task, increment))
                self._items[task.task] = done
        if total == before and not items:
            return
        try:
            if self._is_detailed:
                self._function(total_update=_total(total, before), item_updates=items)
            else:
                self._function(sum(item.bytes_completion_increment for item in items))
        except Exception:
            import logging

            logging.getLogger("xet_ffi").exception("Python exception updating progress")


class Ticker:
    """Tells updaters of a group's progress, every `interval` seconds."""

    def __init__(
        self,
        group: Downloads | Uploads,
        updaters: Sequence[tuple[Updater, slice]],
        interval: float,
        rates: Rates,
    ) -> None:
        self._group = group
        self._updaters = updaters
        self._interval = interval
        self._rates = rates
        self._next = 0.0

    def __call__(self, _: object = None) -> None:
        """Is a progress callback of xet_ffi."""
        if time.monotonic() >= self._next:
            self.tell(self._group.report())
            self._next = time.monotonic() + self._interval

    def tell(self, report: GroupReport) -> None:
        """Tells them of a report."""
        total = GroupProgressReport.of(report, self._rates.add(report))
        for updater, which in self._updaters:
            updater.tell(total, report.tasks[which])


def _item(task: GroupTask, increment: int) -> PyItemProgressUpdate:
    return PyItemProgressUpdate(
        item_name=task.name,
        total_bytes=task.bytes_total,
        bytes_completed=task.bytes_completed,
        bytes_completion_increment=increment,
    )


def _total(now: GroupProgressReport, before: GroupProgressReport) -> PyTotalProgressUpdate:
    def more(name: str) -> int:
        return max(0, int(getattr(now, name)) - int(getattr(before, name)))

    return PyTotalProgressUpdate(
        total_bytes=now.total_bytes,
        total_bytes_increment=more("total_bytes"),
        total_bytes_completed=now.total_bytes_completed,
        total_bytes_completion_increment=more("total_bytes_completed"),
        total_bytes_completion_rate=now.total_bytes_completion_rate,
        total_transfer_bytes=now.total_transfer_bytes,
        total_transfer_bytes_increment=more("total_transfer_bytes"),
        total_transfer_bytes_completed=now.total_transfer_bytes_completed,
        total_transfer_bytes_completion_increment=more("total_transfer_bytes_completed"),
        total_transfer_bytes_completion_rate=now.total_transfer_bytes_completion_rate,
    )
