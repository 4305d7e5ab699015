"""The report of a finished transfer, and what it says of each file."""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xet_ffi._lib import CData


class FileTransfer(Record):
    """What one file of a finished download took. Immutable.

    Attributes:
        path: Relative to the repo, with "/".
        way: Which way it came: "local" (it was on this machine, or is empty), "xet", "http", or
            "xet+http" (Xet failed, and plain HTTP brought in what was missing).
        bytes_total: Content of the file.
        bytes_network: Received as file content, as sent.
        bytes_reused: Content that was on this machine already.
        retries: Requests that were made again for this file.
        fallbacks: 1 if it was fetched another way than the Hub proposed first.
    """

    __slots__ = (
        "path",
        "way",
        "bytes_total",
        "bytes_network",
        "bytes_reused",
        "retries",
        "fallbacks",
    )

    path: str
    way: str
    bytes_total: int
    bytes_network: int
    bytes_reused: int
    retries: int
    fallbacks: int

    @classmethod
    def from_native(cls, file: CData) -> FileTransfer:
        """Copies a `const XetFileTransfer *`."""
        return cls(**_layout.file_transfer(file))


class Transfer(Record):
    """What a finished download did. Immutable, and a path: `open(transfer)` opens the file.

    Attributes:
        path: The file, the snapshot folder, or `local_dir`; absolute.
        files: How many files the call was about.
        bytes_total: Content of those files.
        bytes_network: Received as file content, as sent: with Xet's compression, without HTTP
            headers and listings.
        bytes_reused: Content that was on this machine already.
        retries: Requests that were made again.
        fallbacks: Files fetched another way than the Hub proposed first.
        stalls: Streams that stalled, or only trickled, and were given up for another.
        refreshes: Tokens and signed URLs that were refused, and fetched anew.
        refetches: Ranges fetched again because the hash of a complete file was wrong.
        seconds: Wall time of the call.
        commit: The commit that the revision stands for.
        file_transfers: What each file took and which way it came, in the order of the listing.
        sources_dropped: Files on this machine that were to be reused and had changed, shrunk,
            rotted or gone.
    """

    __slots__ = (
        "path",
        "files",
        "bytes_total",
        "bytes_network",
        "bytes_reused",
        "retries",
        "fallbacks",
        "stalls",
        "refreshes",
        "refetches",
        "seconds",
        "commit",
        "file_transfers",
        "sources_dropped",
    )

    path: str
    files: int
    bytes_total: int
    bytes_network: int
    bytes_reused: int
    retries: int
    fallbacks: int
    stalls: int
    refreshes: int
    refetches: int
    seconds: float
    commit: str
    file_transfers: tuple[FileTransfer, ...]
    sources_dropped: int

    def __fspath__(self) -> str:
        return self.path

    @classmethod
    def from_native(cls, transfer: CData) -> Transfer:
        """Copies a `const XetTransfer *`."""
        return cls(
            file_transfers=tuple(
                FileTransfer.from_native(transfer.file_transfers[i]) for i in range(transfer.files)
            ),
            **_layout.transfer(transfer),
        )
