"""Files into storage: a commit of uploads, and a handle on each."""

from __future__ import annotations

import os

from xet_ffi._errors import XetError
from xet_ffi.hf_xet._arguments import expect, octets
from xet_ffi.hf_xet._errors import raise_translated, translated
from xet_ffi.hf_xet._group import Group, Standing, state_of
from xet_ffi.hf_xet._ids import Sealed, XetTaskState
from xet_ffi.hf_xet._records import (
    DeduplicationMetrics,
    GroupProgressReport,
    ItemProgressReport,
    XetCommitReport,
    XetFileMetadata,
    known_content,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, TypeVar

    from typing_extensions import Self

    from xet_ffi._groups import GroupTask, Sha256
    from xet_ffi.hf_xet._ids import UniqueId

    H = TypeVar("H", bound="_Handle")

_HEX = frozenset("0123456789abcdefABCDEF")


class _ComputeSha256Type(Sealed):
    """The type of COMPUTE_SHA256."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "COMPUTE_SHA256"


class _SkipSha256Type(Sealed):
    """The type of SKIP_SHA256."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SKIP_SHA256"


COMPUTE_SHA256: _ComputeSha256Type = object.__new__(_ComputeSha256Type)
"""As `sha256` of an upload: it is that of the content."""
SKIP_SHA256: _SkipSha256Type = object.__new__(_SkipSha256Type)
"""As `sha256` of an upload: the file is stored without one."""


def given_sha256(value: object) -> Sha256:
    """Returns what xet_ffi calls what hf_xet is given. Digits that are no SHA-256 mean nothing."""
    if value is None or isinstance(value, _ComputeSha256Type):
        return None
    if isinstance(value, _SkipSha256Type):
        return False
    if not isinstance(value, str):
        message = "sha256 must be a str, COMPUTE_SHA256, or SKIP_SHA256"
        raise TypeError(message)
    return value.lower() if len(value) == 64 and _HEX.issuperset(value) else None  # noqa: PLR2004


class XetUploadCommit(Group):
    """Files that are uploaded together; `XetSession.new_upload_commit` begins one.

    They are in storage when `wait_to_finish` has returned, and not before. As a context manager it
    waits at its end; an exception in the block aborts it.
    """

    __slots__ = ("_names", "_streams")
    _names: dict[int, str | None]
    _streams: list[XetStreamUpload]

    def _prepare(self) -> None:
        self._names = {}
        self._streams = []

    def start_upload_file(self, path: str, sha256: Any = None) -> XetFileUpload:
        """Begins to upload a file, and returns a handle on it.

        Args:
            path: The file. One that isn't there is an OSError at once.
            sha256: 64 hex digits, COMPUTE_SHA256 (the default) or SKIP_SHA256.
        """
        known = given_sha256(sha256)
        expect(path, str)
        self._standing.check_open()
        path = os.path.abspath(path)
        os.stat(path)
        return self._begin(XetFileUpload, path, path, known)

    def start_upload_bytes(
        self, data: bytes, sha256: Any = None, name: str | None = None
    ) -> XetFileUpload:
        """Begins to upload bytes, and returns a handle on them.

        Args:
            data: The bytes, a buffer of bytes, or a sequence of numbers from 0 to 255.
            sha256: As for `start_upload_file`.
            name: What progress calls them.
        """
        known = given_sha256(sha256)
        content = octets(data)
        self._standing.check_open()
        return self._begin(XetFileUpload, content, name, known)

    def start_upload_stream(self, name: str | None = None, sha256: Any = None) -> XetStreamUpload:
        """Begins an upload whose bytes are written to what this returns.

        Args:
            name: What progress calls it.
            sha256: As for `start_upload_file`.
        """
        known = given_sha256(sha256)
        self._standing.check_open()
        stream = self._begin(XetStreamUpload, None, name, known)
        stream._open()
        self._streams.append(stream)
        return stream

    def _begin(
        self, cls: type[H], source: str | bytes | None, name: str | None, sha256: Sha256
    ) -> H:
        try:
            number = self._native.add(source, name=name, sha256=sha256)
        except XetError as error:
            if error.field is not None:  # of an argument
                raise_translated(error)
            self._standing.check_open()
            # It has failed. hf_xet finds that out when one waits, and there it is told why.
            number = self.refuse(name or "", error)
        else:
            self._register(number)
        self._names[number] = name
        made = object.__new__(cls)
        made._commit, made._number, made._id = self, number, self._ids[number]
        made._known = None
        return made

    @property
    def _has_failed(self) -> bool:
        """Whether it can't succeed, whatever is done with it."""
        report = self.report()
        return report.state == "failed" or any(task.error is not None for task in report.tasks)

    def wait_to_finish(self) -> XetCommitReport:
        """Waits until all uploads are in storage.

        Raises:
            OSError: And its subclasses, for what has failed, as hf_xet has them; the `__cause__`
                is xet_ffi's error.
            RuntimeError: A stream wasn't finished, or the commit has ended already, or was
                cancelled.
        """
        self._standing.check_open()
        is_open = any(not stream._is_finished for stream in self._streams)
        if is_open and not self._has_failed:
            failure = RuntimeError("Internal error: stream upload not finished before commit")
            for stream in self._streams:
                stream.abort()
            self._native.cancel()
            self._stop(XetTaskState.Completed, failure)
            raise failure
        report = self._wait()
        tasks = (*report.tasks, *self._refused.values())
        failed = next((task.error for task in tasks if task.error is not None), None)
        if failed is not None:
            self._stop(XetTaskState.Completed, translated(failed))
            raise_translated(failed)
        self._succeed()
        return XetCommitReport(
            dedup_metrics=DeduplicationMetrics.of(report.dedup),
            progress=GroupProgressReport.of(report),
            uploads={self._ids[task.task]: self.metadata(task) for task in report.tasks},
        )

    _finish = wait_to_finish

    def metadata(self, task: GroupTask) -> XetFileMetadata:
        """Returns what is known of an upload that has been cut. Not of hf_xet."""
        return XetFileMetadata(
            task_id=self._ids[task.task],
            xet_info=known_content(task.hash or "", task.bytes_total, task.sha256),
            dedup_metrics=DeduplicationMetrics.of(task.dedup),
            tracking_name=self._names[task.task],
        )

    def __repr__(self) -> str:
        return self._described("uploads")


class _Handle(Sealed):
    """A handle on an upload."""

    __slots__ = ("_commit", "_id", "_known", "_number")
    _commit: XetUploadCommit
    _number: int
    _id: UniqueId
    _known: XetFileMetadata | None
    """Its result, once somebody was told it: it stays, whatever becomes of the commit."""

    def _check(self) -> None:
        refused = self._commit.refused(self._number)
        if refused is not None and refused.error is not None:
            raise_translated(refused.error)

    def _wait(self) -> XetFileMetadata:
        if self._known is not None:
            return self._known
        task = self._commit.wait_task(self._number)
        if task.error is not None:
            raise_translated(task.error)
        if task.state == "cancelled":
            message = "User cancelled: this upload was cancelled by its user"
            raise RuntimeError(message)
        self._known = self._commit.metadata(task)
        return self._known

    def progress(self) -> ItemProgressReport | None:
        """How far it is."""
        return ItemProgressReport.of(self._commit.task(self._number))

    def task_id(self) -> UniqueId:
        """Its key in the commit's report, and in what callbacks are told."""
        return self._id

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task_id={self._id._number})"


class XetFileUpload(_Handle):
    """A handle on an upload of a file, or of bytes."""

    __slots__ = ()

    def result(self) -> XetFileMetadata:
        """Waits until its hash is known. It's in storage once its commit has finished."""
        return self._wait()

    def try_result(self) -> XetFileMetadata | None:
        """Returns what `result` would, or None if it isn't known yet, or failed."""
        task = self._commit.task(self._number)
        return self._commit.metadata(task) if task.state in {"finalizing", "done"} else None

    def status(self) -> XetTaskState:
        """How it is: completed once its hash is known. Raises a RuntimeError if it has failed."""
        state = state_of(self._commit.task(self._number))
        return XetTaskState.Completed if state is XetTaskState.Finalizing else state


class XetStreamUpload(_Handle):
    """An upload whose bytes are written to it. It must be finished before its commit.

    As a context manager it is finished at its end; an exception in the block aborts it.
    """

    __slots__ = ("_result", "_standing")
    _result: XetFileMetadata | None
    _standing: Standing

    def _open(self) -> None:
        self._result = None
        self._standing = Standing("stream")

    @property
    def _is_finished(self) -> bool:
        return self._result is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        _exc_val: BaseException | None,
        _exc_tb: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.abort()
        elif not self._is_finished:
            self.finish()

    def write(self, data: bytes) -> None:
        """Writes the next bytes."""
        expect(data, bytes)
        self._standing.check_open()
        self._check()
        try:
            self._commit._native.write(self._number, data)
        except XetError as error:
            raise_translated(error)

    def finish(self) -> XetFileMetadata:
        """Ends it, and waits until its hash is known."""
        self._standing.finalize()
        try:
            self._check()
            self._commit._native.end(self._number)
            self._result = self._wait()
        except BaseException as error:
            self._standing.ends(XetTaskState.Completed, error)
            if isinstance(error, XetError):
                raise_translated(error)
            raise
        self._standing.ends(XetTaskState.Completed)
        return self._result

    def try_finish(self) -> XetFileMetadata | None:
        """Returns what `finish` has returned; None before that."""
        return self._result

    def status(self) -> XetTaskState:
        """How it is. Raises a RuntimeError if it has failed."""
        return self._standing.status()

    def abort(self) -> None:
        """Cancels it, unless it's finished. Its commit can't be finished then."""
        if not self._is_finished:
            self._standing.cancelled()
            self._commit.cancel_task(self._number)
