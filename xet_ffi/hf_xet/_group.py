"""What groups of downloads and commits of uploads have in common."""

from __future__ import annotations

import os
import threading
import weakref

from xet_ffi._errors import CancelledError, ClosedError, XetError
from xet_ffi._groups import GroupTask
from xet_ffi.hf_xet._errors import raise_translated
from xet_ffi.hf_xet._ids import STATES, Sealed, XetTaskState, new_id
from xet_ffi.hf_xet._polling import Poller, Rates
from xet_ffi.hf_xet._records import GroupProgressReport, ItemProgressReport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from xet_ffi._groups import Downloads, GroupReport, Uploads
    from xet_ffi.hf_xet._ids import UniqueId
    from xet_ffi.hf_xet._polling import Snapshot


class Standing:
    """How a group is, and what it refuses therefore. For any thread."""

    __slots__ = ("_failure", "_lock", "_name", "_process", "_state")

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._state = XetTaskState.Running
        self._failure: str | None = None

    def check_process(self) -> None:
        """Refuses a forked child, in which nothing of the group runs."""
        if self._process != os.getpid():
            message = (
                f"Wrong process: this {self._name} was begun by the process {self._process}, of "
                "which this one is a fork. Begin another one here"
            )
            raise RuntimeError(message)

    @property
    def is_of_parent(self) -> bool:
        """Whether this process is a fork of the one that has begun it."""
        return self._process != os.getpid()

    def check_open(self) -> None:
        """Refuses a group that has ended, or is ending."""
        self.check_process()
        with self._lock:
            self._refuse()

    def finalize(self) -> None:
        """It is ending; refused if it has ended already."""
        self.check_process()
        with self._lock:
            self._refuse()
            self._state = XetTaskState.Finalizing

    def _refuse(self) -> None:
        if self._failure is not None:
            message = f"Previous task error: {self._failure}"
        elif self._state is XetTaskState.UserCancelled:
            message = f"User cancelled: this {self._name} was cancelled by its user"
        elif self._state is not XetTaskState.Running:
            message = f"Already completed: this {self._name} is already finalized; begin another"
        else:
            return
        raise RuntimeError(message)

    def ends(self, state: XetTaskState, failure: BaseException | None = None) -> None:
        """It has ended so. Once it's cancelled, that stays."""
        with self._lock:
            if self._state is not XetTaskState.UserCancelled:
                self._state = state
                self._failure = None if failure is None else str(failure)

    def cancelled(self) -> None:
        """It was cancelled, even after its end."""
        with self._lock:
            self._state, self._failure = XetTaskState.UserCancelled, None

    @property
    def is_completed(self) -> bool:
        """Whether it has ended without being cancelled."""
        return self._state is XetTaskState.Completed

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._state is XetTaskState.UserCancelled

    def status(self) -> XetTaskState:
        """Returns how it is; raises what made it fail.

        Without the lock, which a fork may have caught in another thread's hands.
        """
        failure, state = self._failure, self._state
        if failure is not None:
            message = f"Task error: {failure}"
            raise RuntimeError(message)
        return state

    def __str__(self) -> str:
        return self._failure or self._state.name


class Group(Sealed):
    """A group of downloads, or a commit of uploads."""

    __slots__ = (
        "__weakref__",
        "_ids",
        "_native",
        "_poller",
        "_rates",
        "_refused",
        "_report",
        "_standing",
    )

    _native: Any  # Downloads | Uploads
    _ids: dict[int, UniqueId]
    _refused: dict[int, GroupTask]
    _report: GroupReport | None
    _poller: Poller | None
    _rates: Rates
    _standing: Standing

    @classmethod
    def begin(
        cls,
        native: Downloads | Uploads,
        name: str,
        callback: Callable[..., Any] | None,
        interval: float,
        rates: Rates,
    ) -> Self:
        """Makes one of a group of `xet_ffi.storage`, called `name` in errors.

        Args:
            native: The group.
            name: What errors call it.
            callback: Is called every `interval` seconds, or None.
            interval: In seconds.
            rates: What its rates are taken with.
        """
        self: Self = object.__new__(cls)
        self._native = native
        self._ids = {}
        self._refused = {}
        self._report = None
        self._standing = Standing(name)
        self._rates = rates
        self._poller = None
        self._prepare()
        if callback is not None:
            self._poller = Poller(callback, interval, _looking(weakref.ref(self)))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        _exc_val: BaseException | None,
        _exc_tb: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self._finish()
        else:
            self.abort()

    def abort(self) -> None:
        """Cancels all that still runs. Twice is fine."""
        if self._standing.is_of_parent:  # in whose hands it is
            return
        if self._poller is not None:
            self._poller.end()
        self._standing.cancelled()
        if self._report is None:
            self._native.cancel()

    def progress(self) -> GroupProgressReport:
        """How far it is. Doesn't wait."""
        return GroupProgressReport.of(self.report())

    def status(self) -> XetTaskState:
        """How it is. Raises a RuntimeError if it has failed."""
        return self._standing.status()

    def report(self) -> GroupReport:
        """Returns how it is, from its end on what it was then. Not of hf_xet."""
        if self._report is None:
            try:
                report: GroupReport = self._native.report()
            except ClosedError:
                pass  # its end came in between
            else:
                return report
        return self._ended()

    def _ended(self) -> GroupReport:
        report = self._report
        if report is None:
            message = "Internal error: a group was closed without a report"
            raise RuntimeError(message)
        return report

    def task(self, number: int) -> GroupTask:
        """Returns how one task is. Not of hf_xet."""
        return self.refused(number) or self.report().tasks[number - 1]

    def refuse(self, name: str, error: Exception) -> int:
        """Keeps what can't be added as a task that has failed. Not of hf_xet.

        Returns:
            Its number, which is below 0: no task of the library has such a one.
        """
        made = new_id()
        number = -made._number
        self._ids[number] = made
        self._refused[number] = GroupTask(
            task=number,
            name=name,
            state="failed",
            hash=None,
            sha256=None,
            bytes_total=0,
            bytes_completed=0,
            bytes_network=0,
            bytes_reused=0,
            error=error,  # type: ignore[arg-type] # a folder that can't be made is an OSError
            dedup=None,
        )
        return number

    def refused(self, number: int) -> GroupTask | None:
        """Returns a task that couldn't be added; None for all others. Not of hf_xet."""
        return self._refused.get(number)

    def wait_task(self, number: int) -> GroupTask:
        """Waits for one task. Not of hf_xet."""
        self._standing.check_process()
        if number not in self._refused and self._report is None:
            try:
                task: GroupTask = self._native.wait_task(number, check=False)
            except ClosedError:
                pass  # the group's end came in between
            except XetError as error:
                raise_translated(error)
            else:
                return task
        return self.task(number)

    def cancel_task(self, number: int) -> None:
        """Cancels one task. Not of hf_xet."""
        is_going_on = self._report is None and not self._standing.is_of_parent
        if is_going_on and number not in self._refused:
            self._native.cancel(number)

    def _register(self, number: int) -> UniqueId:
        made = self._ids[number] = new_id()
        return made

    def _prepare(self) -> None:
        """Sets what a kind of group has besides."""

    def _finish(self) -> object:
        raise NotImplementedError

    def _wait(self) -> GroupReport:
        """Waits for the end of all that was added.

        Raises:
            RuntimeError: It has ended already, or was cancelled.
            Exception: What `translated` makes of what it couldn't go on for.
        """
        self._standing.finalize()
        try:
            self._report = self._native.wait(check=False)
        except CancelledError as error:
            self._stop(XetTaskState.UserCancelled, error)
            message = f"User cancelled: {error}"
            raise RuntimeError(message) from error
        except XetError as error:
            self._stop(XetTaskState.Completed, error)
            raise_translated(error)
        except BaseException:  # Ctrl-C
            self._stop(XetTaskState.UserCancelled)
            raise
        return self._report

    def _stop(self, state: XetTaskState, failure: BaseException | None = None) -> None:
        """It has ended without success: the callback isn't called any more.

        Who was interrupted, or has cancelled it, doesn't wait for one that may hang.
        """
        if state is XetTaskState.UserCancelled:
            self._standing.cancelled()
            if self._poller is not None:
                self._poller.end()
            return
        self._standing.ends(state, failure)
        if self._poller is not None:
            self._poller.stop()

    def _succeed(self) -> None:
        """It has ended with success: the callback is told, on this thread."""
        self._standing.ends(XetTaskState.Completed)
        self._native.close()
        if self._poller is not None:
            self._poller.stop()
            self._poller.emit(self.snapshot())

    def snapshot(self) -> Snapshot:
        """Returns what callbacks are told. Not of hf_xet."""
        report = self.report()
        progress = GroupProgressReport.of(report, self._rates.add(report))
        ids = self._ids
        # What was added a moment ago may have no id yet.
        items = {ids[t.task]: ItemProgressReport.of(t) for t in report.tasks if t.task in ids}
        return progress, items

    def _described(self, kind: str) -> str:
        tasks = [] if self._standing.is_of_parent else self.report().tasks
        each = ", ".join(
            f'({self._ids[task.task]._number}, "{task.name}", '
            f"bytes_completed={task.bytes_completed}/{task.bytes_total})"
            for task in tasks
            if task.task in self._ids and task.state == "running"
        )
        return f'{type(self).__name__}(status="{self._standing}", {kind}=[{each}])'


def _looking(of: weakref.ref[Group]) -> Callable[[], Snapshot | None]:
    """Returns what asks a group for what its callback is told, as long as it's there and runs."""

    def snapshot() -> Snapshot | None:
        group = of()
        if group is None:
            return None
        try:
            is_going_on = int(group.status()) <= int(XetTaskState.Finalizing)
        except RuntimeError:
            return None
        return group.snapshot() if is_going_on else None

    return snapshot


def state_of(task: GroupTask) -> XetTaskState:
    """Returns how a task is; raises its text, if it has failed."""
    if task.error is not None:
        message = f"Task error: {task.error}"
        raise RuntimeError(message) from task.error
    return STATES[task.state]
