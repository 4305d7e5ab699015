"""Groups: many downloads from Xet storage, or uploads to it, and how each of them is."""

from __future__ import annotations

from os import fspath

from xet_ffi import _layout
from xet_ffi._call import run, run_shown
from xet_ffi._dataclass import dataclass
from xet_ffi._errors import AuthError, check, from_native, invalid
from xet_ffi._handle import Handle, Owner
from xet_ffi._lib import ffi, lib
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType
    from typing import Literal, TypeAlias

    from xet_ffi._errors import XetError
    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._tokens import TokenSource

    Sha256: TypeAlias = str | Literal[False] | None
    """64 hex digits that the caller vouches for; False: none; None: that of the content."""

_REPORT = ("XetGroupReport", lib.xet_group_report_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupStats:
    """What an upload had to send. Immutable.

    Of chunks that are known, `deduped` ones need not be sent; of those, `by_global_dedup` ones were
    learnt of by asking storage.

    Attributes:
        total_bytes: All content.
        deduped_bytes: Of known chunks.
        new_bytes: Of the others.
        deduped_bytes_by_global_dedup: Of chunks that storage told of.
        defrag_prevented_dedup_bytes: Of known chunks that were sent all the same, so that a file
            isn't in too many pieces.
        total_chunks: All chunks.
        deduped_chunks: Known ones.
        new_chunks: The others.
        deduped_chunks_by_global_dedup: Those that storage told of.
        defrag_prevented_dedup_chunks: Known ones that were sent all the same.
        xorb_bytes_uploaded: As sent, compressed; 0 of one task, as xorbs have chunks of many.
        shard_bytes_uploaded: What describes them; 0 of one task.
    """

    total_bytes: int
    deduped_bytes: int
    new_bytes: int
    deduped_bytes_by_global_dedup: int
    defrag_prevented_dedup_bytes: int
    total_chunks: int
    deduped_chunks: int
    new_chunks: int
    deduped_chunks_by_global_dedup: int
    defrag_prevented_dedup_chunks: int
    xorb_bytes_uploaded: int
    shard_bytes_uploaded: int

    @classmethod
    def from_native(cls, stats: CData) -> DedupStats | None:
        """Copies a `const XetDedupStats *`; NULL is None."""
        return cls(**_layout.dedup_stats(stats)) if stats else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStats:
    """How far storage is with the shards that describe an upload. Immutable; nothing goes down.

    They go last: once all are completed, what was uploaded can be had.

    Attributes:
        total_shard_bytes: Of all that were begun.
        total_shard_bytes_upload_completed: Of those, sent.
        total_shards: Begun up to now.
        total_shard_validation_entries: What storage has found in them to check; it finds more as
            it goes. 0 where it doesn't tell.
        total_shard_validation_entries_completed: Of those, checked.
        total_shards_uploaded_to_store: Written by storage.
        total_shards_synced: Made to last.
        total_shards_completed: Registered.
    """

    total_shard_bytes: int
    total_shard_bytes_upload_completed: int
    total_shards: int
    total_shard_validation_entries: int
    total_shard_validation_entries_completed: int
    total_shards_uploaded_to_store: int
    total_shards_synced: int
    total_shards_completed: int

    @classmethod
    def from_native(cls, stats: CData) -> ShardStats | None:
        """Copies a `const XetShardStats *`; NULL is None."""
        return cls(**_layout.shard_stats(stats)) if stats else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTask:
    """How one task of a group is. Immutable.

    Attributes:
        task: The number that `add` has returned.
        name: The path of a download; of an upload its name.
        state: "running", "finalizing" (all has been sent, storage is yet to register it), "done",
            "failed" or "cancelled".
        hash: The Xet hash; None until an upload's is known.
        sha256: Of an upload that has one, once it is known; else None.
        bytes_total: Content; 0 until it's known.
        bytes_completed: Verified bytes; of an upload, read and processed.
        bytes_network: Received as content, as sent; of an upload, sent, before compression.
        bytes_reused: Taken from files on this machine; of an upload, of what storage has.
        error: Why it has failed, or None.
        dedup: Of an upload whose content has been cut; else None.
    """

    task: int
    name: str
    state: str
    hash: str | None
    sha256: str | None
    bytes_total: int
    bytes_completed: int
    bytes_network: int
    bytes_reused: int
    error: XetError | None
    dedup: DedupStats | None

    @classmethod
    def from_native(cls, task: CData) -> GroupTask:
        """Copies a `const XetGroupTask *`."""
        return cls(
            error=from_native(task.error) if task.error else None,
            dedup=DedupStats.from_native(task.dedup),
            **_layout.group_task(task),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """How a group is. Immutable.

    Attributes:
        state: As of a task: "finalizing" once all has been added; "failed" if the group can't go
            on, not if one of its tasks has failed.
        bytes_total: Content of all tasks that were added.
        bytes_completed: As of a task.
        bytes_network: As of a task.
        bytes_reused: As of a task.
        retries: Requests that were made again.
        stalls: Streams that stalled, or only trickled, and were given up for another.
        refreshes: Tokens and signed URLs that were refused, and fetched anew.
        refetches: Ranges fetched again because the hash of a complete file was wrong.
        sources_dropped: Files on this machine that were to be reused and had changed.
        failed: How many tasks have failed.
        seconds: Since its beginning; up to its end, if it has ended.
        tasks: In the order in which they were added.
        dedup: Of a group of uploads; else None.
        shards: Of a group of uploads; else None.
    """

    state: str
    bytes_total: int
    bytes_completed: int
    bytes_network: int
    bytes_reused: int
    retries: int
    stalls: int
    refreshes: int
    refetches: int
    sources_dropped: int
    failed: int
    seconds: float
    tasks: tuple[GroupTask, ...]
    dedup: DedupStats | None
    shards: ShardStats | None

    @classmethod
    def from_native(cls, report: CData) -> GroupReport:
        """Copies a `const XetGroupReport *`."""
        return cls(
            tasks=tuple([GroupTask.from_native(report.tasks[i]) for i in range(report.tasks_len)]),
            dedup=DedupStats.from_native(report.dedup),
            shards=ShardStats.from_native(report.shards),
            **_layout.group_report(report),
        )


class _Group(Owner):
    """What is added begins at once, and goes on whether anybody waits or not.

    As a context manager it waits at its end; an exception in the block cancels it. One group serves
    many threads at a time.
    """

    __slots__ = ("__weakref__", "_keep", "_tokens")
    _kind: int

    def __init__(self, storage: Handle, tokens: TokenSource | None, timeout: float | None) -> None:
        options = Struct("XetGroupOptions")
        options.pointer.kind = self._kind
        options.seconds("timeout", timeout)
        out = ffi.new("XetGroup **")
        check(lib.xet_storage_begin_group(storage.pointer(), options.pointer, out))
        keep: list[CData] = []

        def free(group: CData) -> None:
            lib.xet_group_free(group)
            keep.clear()

        self._handle = Handle(out[0], free, "group")
        # Bytes that are on their way: the library has them until the group is freed.
        self._keep = keep
        self._tokens = tokens

    def wait(
        self,
        *,
        check: bool = True,
        progress: ProgressCallback | bool | None = None,
        cancel: Cancel | None = None,
    ) -> GroupReport:
        """Waits until all that was added has ended. Nothing can be added after that.

        Uploads are in storage when it has returned, and not before.

        Args:
            check: Raise the error of the first task that has failed. If not, the report has it.
            progress: As for `Client.download_file`.
            cancel: As for `Client.download_file`; true cancels the group.

        What a callback raises, and Ctrl-C, cancel the group and are raised here.
        """
        try:
            native = run_shown(_wait, self._handle, ffi.NULL, _REPORT, progress, cancel)
        except AuthError as error:  # uploads can't go on without a token, none of them
            raise self._explained(error)  # noqa: B904 - it is `error`, with its own cause
        report = GroupReport.from_native(native)
        failed = next((task.error for task in report.tasks if task.error is not None), None)
        if check and failed is not None:
            raise self._explained(failed)
        return report

    def wait_task(
        self, task: int, *, check: bool = True, cancel: Cancel | None = None
    ) -> GroupTask:
        """Waits for one task; for an upload, until its hash is known.

        Args:
            task: What `add` has returned.
            check: Raise its error, if it has failed.
            cancel: As for `Client.download_file`; true ends the wait, and nothing else.
        """

        def wait(group: CData, _: CData, callbacks: CData, out: CData) -> CData:
            return lib.xet_group_wait_task(group, task, callbacks, out)

        try:
            report = run(wait, self._handle, ffi.NULL, _REPORT, cancel=cancel)
        except AuthError as error:
            raise self._explained(error)  # noqa: B904 - as in `wait`
        found = GroupTask.from_native(report.tasks[0])
        if check and found.error is not None:
            raise self._explained(found.error)
        return found

    def report(self) -> GroupReport:
        """How the group is now. Doesn't wait."""
        out = ffi.new("XetGroupReport **")
        check(lib.xet_group_report(self._handle.pointer(), out))
        return GroupReport.from_native(ffi.gc(out[0], lib.xet_group_report_free))

    def cancel(self, task: int | None = None) -> None:
        """Cancels one task, or all. What has ended stays as it is. Returns at once."""
        if task is not None and task < 1:  # 0 would be all
            raise invalid("task", f"must be what `add` has returned, not {task}")
        check(lib.xet_group_cancel(self._handle.pointer(), task or 0))

    def close(self) -> None:
        """Gives the group up, and cancels what still runs. Closing twice is fine."""
        self._handle.close()

    def _explained(self, error: XetError) -> XetError:
        """Returns a task's error; what a token callback has raised is its cause."""
        if self._tokens is not None and error.kind == "token_callback":
            error.__cause__ = self._tokens.error
        return error

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if cls is None:
            self.wait()
        elif not self.closed:
            self.cancel()


def _wait(group: CData, _: CData, callbacks: CData, out: CData) -> CData:
    return lib.xet_group_wait(group, callbacks, out)


class Downloads(_Group):
    """Files on their way out of storage: `Storage.downloads` begins a group."""

    __slots__ = ()
    _kind = lib.XET_GROUP_DOWNLOADS

    def add(
        self,
        hash: str,  # noqa: A002 - as in Storage.open
        path: str | PathLike[str],
        *,
        size: int | None = None,
    ) -> int:
        """Adds a download, and returns its number.

        Args:
            hash: The Xet hash, 64 hex digits.
            path: Where it goes. Its folder has to exist. A file that is there is replaced once the
                content is complete and verified; a link is followed.
            size: Of the content, in bytes. Default: storage is asked.
        """
        download = Struct("XetGroupDownload")
        download.required("hash", hash)
        download.required("path", path)
        download.count("size", size, least=0)
        task = ffi.new("uint64_t *")
        check(lib.xet_group_add_download(self._handle.pointer(), download.pointer, task))
        return int(task[0])


class Uploads(_Group):
    """Files on their way into storage: `Storage.uploads` begins a group."""

    __slots__ = ()
    _kind = lib.XET_GROUP_UPLOADS

    def add(
        self,
        source: str | PathLike[str] | bytes | bytearray | memoryview | None,
        *,
        name: str | None = None,
        sha256: Sha256 = None,
    ) -> int:
        """Adds an upload, and returns its number.

        Args:
            source: A path, or the bytes themselves. None: they come by `write`, up to `end`.
            name: What reports call it. Default: the path, or "".
            sha256: That of the content, which storage keeps beside it. Default: it is computed.
                False: there is none.
        """
        upload = Struct("XetGroupUpload")
        kept: list[CData] = []
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = ffi.from_buffer(source if isinstance(source, bytes) else bytes(source))
            upload.pointer.data, upload.pointer.data_len = data, len(data)
            kept.append(data)
        elif source is not None:
            path = fspath(source)
            if not path:  # which would begin one whose bytes come by `write`
                raise invalid("source", "is an empty path")
            upload.required("path", path)
        upload.text("name", name)
        if sha256 is False:
            upload.pointer.sha256_from = lib.XET_SHA256_NONE
        elif sha256 is not None:
            upload.pointer.sha256_from = lib.XET_SHA256_GIVEN
            upload.required("sha256", sha256)
        task = ffi.new("uint64_t *")
        self._keep.extend(kept)
        check(lib.xet_group_add_upload(self._handle.pointer(), upload.pointer, task))
        return int(task[0])

    def write(self, task: int, data: bytes) -> None:
        """Writes the next bytes of an upload without a source. They are copied, to disk if many.

        It ends with its upload and its group, and with a disk that stands still. An upload of which
        a piece couldn't be kept has failed: its error is that of later writes, too.
        """
        # Released at once: see `_operations`.
        with ffi.from_buffer(data) as buffer:
            check(lib.xet_group_write(self._handle.pointer(), task, buffer, len(buffer)))

    def end(self, task: int) -> None:
        """An upload without a source has all its bytes. One that isn't ended fails at the end."""
        check(lib.xet_group_end_stream(self._handle.pointer(), task))
