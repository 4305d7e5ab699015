"""What hf_xet's groups and handles return. All of it is immutable."""

from __future__ import annotations

from xet_ffi._dataclass import dataclass
from xet_ffi.hf_xet._arguments import expect, unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from xet_ffi._groups import DedupStats, GroupReport, GroupTask, ShardStats
    from xet_ffi.hf_xet._ids import UniqueId


class XetFileInfo:
    """Content by its Xet hash. Immutable.

    Args:
        hash: The Xet hash, 64 hex digits.
        file_size: In bytes, if it's known.
    """

    __slots__ = ("_file_size", "_hash", "_sha256")

    def __init__(self, hash: str, file_size: int | None = None) -> None:  # noqa: A002 - hf_xet's name
        if file_size is not None:
            file_size = unsigned("file_size", file_size)
        self._hash = expect(hash, str)
        self._file_size = file_size
        self._sha256: str | None = None

    @property
    def hash(self) -> str:
        """The Xet hash."""
        return self._hash

    @property
    def file_size(self) -> int | None:
        """In bytes; None if it isn't known."""
        return self._file_size

    @property
    def sha256(self) -> str | None:
        """Of an upload that has one; else None."""
        return self._sha256

    def __repr__(self) -> str:
        return f"XetFileInfo(hash={self._hash!r}, file_size={self._file_size})"


def known_content(hash: str, file_size: int, sha256: str | None = None) -> XetFileInfo:  # noqa: A002
    """Returns what is known of content that was moved."""
    info = XetFileInfo(hash, file_size)
    info._sha256 = sha256
    return info


@dataclass(frozen=True, slots=True, kw_only=True)
class DeduplicationMetrics:
    """What an upload had to send. The names are those of `xet_ffi.storage.DedupStats`."""

    total_bytes: int = 0
    deduped_bytes: int = 0
    new_bytes: int = 0
    deduped_bytes_by_global_dedup: int = 0
    defrag_prevented_dedup_bytes: int = 0
    total_chunks: int = 0
    deduped_chunks: int = 0
    new_chunks: int = 0
    deduped_chunks_by_global_dedup: int = 0
    defrag_prevented_dedup_chunks: int = 0
    xorb_bytes_uploaded: int = 0
    shard_bytes_uploaded: int = 0
    total_bytes_uploaded: int = 0

    @classmethod
    def of(cls, stats: DedupStats | None) -> DeduplicationMetrics:
        """Makes them of what is known."""
        if stats is None:
            return cls()
        values = {name: getattr(stats, name) for name in _SHARED}
        sent = stats.xorb_bytes_uploaded + stats.shard_bytes_uploaded
        return cls(total_bytes_uploaded=sent, **values)


_SHARED = tuple(DeduplicationMetrics.__annotations__)[:-1]
"""What DedupStats knows, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemProgressReport:
    """How far one file is.

    Attributes:
        item_name: Its absolute path, or the name of an upload of bytes; of a stream, "stream".
        total_bytes: Content; 0 until it's known.
        bytes_completed: Of those, verified; of an upload, read and processed.
    """

    item_name: str
    total_bytes: int
    bytes_completed: int

    @classmethod
    def of(cls, task: GroupTask) -> ItemProgressReport:
        """Makes one of a task's report."""
        return cls(
            item_name=task.name, total_bytes=task.bytes_total, bytes_completed=task.bytes_completed
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardUploadProgressReport:
    """How far storage is with what describes an upload: see `xet_ffi.storage.ShardStats`."""

    total_shard_bytes: int
    total_shard_bytes_upload_completed: int
    total_shards: int
    total_shard_validation_entries: int
    total_shard_validation_entries_completed: int
    total_shards_uploaded_to_store: int
    total_shards_synced: int
    total_shards_completed: int

    @classmethod
    def of(cls, stats: ShardStats | None) -> ShardUploadProgressReport | None:
        """Makes one of what is reported of a group; of one that has none, None."""
        if stats is None:
            return None
        return cls(**{name: getattr(stats, name) for name in cls.__annotations__})


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProgressReport:
    """How far a group is.

    Attributes:
        total_bytes: Content of all that was added.
        total_bytes_completed: Of those, verified; of uploads, read and processed.
        total_bytes_completion_rate: Of those, per second; None if it isn't known yet.
        total_transfer_bytes: What goes over the network: of downloads, what has come and what is
            yet to come; of uploads, what storage turns out not to have.
        total_transfer_bytes_completed: Of those, received or sent.
        total_transfer_bytes_completion_rate: Of those, per second; None if it isn't known yet.
        shard: What describes a commit's uploads; of downloads None.
    """

    total_bytes: int
    total_bytes_completed: int
    total_bytes_completion_rate: float | None
    total_transfer_bytes: int
    total_transfer_bytes_completed: int
    total_transfer_bytes_completion_rate: float | None
    shard: ShardUploadProgressReport | None = None

    @classmethod
    def of(
        cls, report: GroupReport, rates: tuple[float | None, float | None] = (None, None)
    ) -> GroupProgressReport:
        """Makes one of a group's report, and of what is known of its rates."""
        network = report.bytes_network
        if report.state == "done":
            # A folder as storage has no network.
            new = 0 if report.dedup is None else report.dedup.new_bytes
            expected = network = max(network, new)
        elif report.dedup is None:
            expected = network + max(0, report.bytes_total - report.bytes_completed)
        else:
            expected = max(network, report.dedup.new_bytes)
        return cls(
            total_bytes=report.bytes_total,
            total_bytes_completed=report.bytes_completed,
            total_bytes_completion_rate=rates[0],
            total_transfer_bytes=expected,
            total_transfer_bytes_completed=network,
            total_transfer_bytes_completion_rate=rates[1],
            shard=ShardUploadProgressReport.of(report.shards),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class XetFileMetadata:
    """A file that is in storage, or will be when its commit has finished.

    Attributes:
        task_id: The upload.
        xet_info: Its content.
        dedup_metrics: What it had to send.
        tracking_name: Its absolute path, or the name that bytes were given; else None.
    """

    task_id: UniqueId
    xet_info: XetFileInfo
    dedup_metrics: DeduplicationMetrics
    tracking_name: str | None

    def __repr__(self) -> str:
        info = self.xet_info
        return (
            f'XetFileMetadata(task_id={self.task_id._number}, name="{self.tracking_name}", '
            f'hash="{info.hash}", size={info.file_size})'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class XetCommitReport:
    """What a commit has done: its deduplication, its progress, and each upload by its id."""

    dedup_metrics: DeduplicationMetrics
    progress: GroupProgressReport
    uploads: dict[UniqueId, XetFileMetadata]

    def __repr__(self) -> str:
        metrics = self.dedup_metrics
        return (
            f"XetCommitReport(files={len(self.uploads)}, total_bytes={metrics.total_bytes}, "
            f"deduped_bytes={metrics.deduped_bytes}, uploads={list(self.uploads.values())})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class XetDownloadReport:
    """A file that was downloaded.

    Attributes:
        task_id: The download.
        path: Where it is; absolute.
        file_info: Its content.
        progress: How far it was at its end.
    """

    task_id: UniqueId
    path: Path
    file_info: XetFileInfo
    progress: ItemProgressReport | None

    def __repr__(self) -> str:
        return (
            f'XetDownloadReport(task_id={self.task_id._number}, hash="{self.file_info.hash}", '
            f'path="{self.path}")'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class XetDownloadGroupReport:
    """What a group of downloads has done: its progress, and each download by its id."""

    progress: GroupProgressReport
    downloads: dict[UniqueId, XetDownloadReport]

    def __repr__(self) -> str:
        done, total = self.progress.total_bytes_completed, self.progress.total_bytes
        return (
            f"XetDownloadGroupReport(files={len(self.downloads)}, bytes_completed={done}/{total}, "
            f"downloads={list(self.downloads.values())})"
        )
