"""The report of a finished transfer."""

from __future__ import annotations

from xet_ffi._record import Record
from xet_ffi._strings import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xet_ffi._lib import CData


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
        seconds: Wall time of the call.
        commit: The commit that the revision stands for.
        sources_dropped: Files on this machine that were to be reused and had changed, shrunk or
            rotted.
    """

    __slots__ = (
        "path",
        "files",
        "bytes_total",
        "bytes_network",
        "bytes_reused",
        "retries",
        "fallbacks",
        "seconds",
        "commit",
        "sources_dropped",
    )

    path: str
    files: int
    bytes_total: int
    bytes_network: int
    bytes_reused: int
    retries: int
    fallbacks: int
    seconds: float
    commit: str
    sources_dropped: int

    def __fspath__(self) -> str:
        return self.path

    @classmethod
    def from_native(cls, transfer: CData) -> Transfer:
        """Copies a `const XetTransfer *`."""
        return cls(
            path=text(transfer.path),
            files=transfer.files,
            bytes_total=transfer.bytes_total,
            bytes_network=transfer.bytes_network,
            bytes_reused=transfer.bytes_reused,
            retries=transfer.retries,
            fallbacks=transfer.fallbacks,
            seconds=transfer.seconds,
            commit=text(transfer.commit),
            sources_dropped=transfer.sources_dropped,
        )
