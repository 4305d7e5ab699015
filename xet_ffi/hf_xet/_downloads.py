"""Files out of storage: a group of downloads, and a handle on each."""

from __future__ import annotations

import os

from xet_ffi._errors import XetError
from xet_ffi.hf_xet._arguments import expect
from xet_ffi.hf_xet._errors import task_error
from xet_ffi.hf_xet._group import Group, state_of
from xet_ffi.hf_xet._ids import Sealed, XetTaskState
from xet_ffi.hf_xet._records import (
    GroupProgressReport,
    ItemProgressReport,
    XetDownloadGroupReport,
    XetDownloadReport,
    XetFileInfo,
    known_content,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xet_ffi._groups import GroupTask
    from xet_ffi.hf_xet._ids import UniqueId


class XetFileDownloadGroup(Group):
    """Files that are downloaded together; `XetSession.new_file_download_group` begins one.

    As a context manager it waits at its end; an exception in the block aborts it.
    """

    __slots__ = ()

    def start_download_file(self, file_info: XetFileInfo, dest_path: str) -> XetFileDownload:
        """Begins a download, and returns a handle on it.

        Folders that are missing are made. What is wrong with it is told at the end, as any failure,
        but for a path that is empty.

        Args:
            file_info: The content. Its size is asked for, if it isn't known.
            dest_path: Where it goes. A file that is there is replaced once the content is complete
                and verified.
        """
        expect(file_info, XetFileInfo)
        expect(dest_path, str)
        self._standing.check_open()
        if not dest_path:
            message = "I/O error: cannot make an empty path absolute"
            raise OSError(message)
        path = os.path.abspath(dest_path)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            number = self._native.add(file_info.hash, path, size=file_info.file_size)
        except (XetError, OSError) as error:
            number = self.refuse(path, error)
        else:
            self._register(number)
        made: XetFileDownload = object.__new__(XetFileDownload)
        made._group, made._number, made._id = self, number, self._ids[number]
        made._path = path
        return made

    def wait_to_finish(self) -> XetDownloadGroupReport:
        """Waits for all downloads.

        Raises:
            RuntimeError: "Task error: ..." for one that has failed, whatever it failed with; that
                is the `__cause__`. Or the group has ended already, or was cancelled.
        """
        report = self._wait()
        tasks = (*report.tasks, *self._refused.values())
        failed = next((task.error for task in tasks if task.error is not None), None)
        if failed is not None:
            raised = task_error(failed)
            self._stop(XetTaskState.Completed, raised)
            raise raised
        if any(task.state == "cancelled" for task in report.tasks):
            self._stop(XetTaskState.UserCancelled)
            message = "User cancelled: a download of this group was cancelled by its user"
            raise RuntimeError(message)
        self._succeed()
        return XetDownloadGroupReport(
            progress=GroupProgressReport.of(report),
            downloads={
                self._ids[task.task]: _downloaded(self._ids[task.task], task)
                for task in report.tasks
            },
        )

    _finish = wait_to_finish

    def __repr__(self) -> str:
        return self._described("downloads")


class XetFileDownload(Sealed):
    """A handle on a download."""

    __slots__ = ("_group", "_id", "_number", "_path")
    _group: XetFileDownloadGroup
    _number: int
    _id: UniqueId
    _path: str

    def result(self) -> XetDownloadReport:
        """Waits for the download.

        Raises:
            RuntimeError: "Task error: ..." if it has failed, or it was cancelled.
        """
        task = self._group.wait_task(self._number)
        if task.error is not None:
            raise task_error(task.error)
        if task.state == "cancelled":
            message = f"User cancelled: the download of {self._path} was cancelled by its user"
            raise RuntimeError(message)
        return _downloaded(self._id, task)

    def try_result(self) -> XetDownloadReport | None:
        """Returns its report; None if it hasn't ended, or was cancelled. Raises as `result`."""
        task = self._group.task(self._number)
        if task.error is not None:
            raise task_error(task.error)
        return _downloaded(self._id, task) if task.state == "done" else None

    def progress(self) -> ItemProgressReport | None:
        """How far it is."""
        return ItemProgressReport.of(self._group.task(self._number))

    def status(self) -> XetTaskState:
        """How it is. Raises a RuntimeError if it has failed."""
        return state_of(self._group.task(self._number))

    def task_id(self) -> UniqueId:
        """Its key in the group's report, and in what callbacks are told."""
        return self._id

    def cancel(self) -> None:
        """Cancels this download alone."""
        self._group.cancel_task(self._number)

    def __repr__(self) -> str:
        return f"XetFileDownload(task_id={self._id._number}, path={self._path!r})"


def _downloaded(task_id: UniqueId, task: GroupTask) -> XetDownloadReport:
    from pathlib import Path

    return XetDownloadReport(
        task_id=task_id,
        path=Path(task.name),
        file_info=known_content(task.hash or "", task.bytes_total),
        progress=ItemProgressReport.of(task),
    )
