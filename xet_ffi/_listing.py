"""The files of a repo, as a listing returns them."""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xet_ffi._lib import CData


class FileInfo(Record):
    """One file of a repo at a revision. Immutable.

    Attributes:
        path: Relative to the repo, with "/".
        size: Of the content, in bytes.
        hash: The oid of the tree entry: the git blob id (for LFS and Xet files, of the pointer).
        kind: How the Hub stores it: "git", "lfs" or "xet".
        sha256: Of the content, as hex; None for git files.
        xet_hash: Merkle hash of the content, as hex; None unless `kind` is "xet".
    """

    __slots__ = ("path", "size", "hash", "kind", "sha256", "xet_hash")

    path: str
    size: int
    hash: str
    kind: str
    sha256: str | None
    xet_hash: str | None

    @classmethod
    def from_native(cls, entry: CData) -> FileInfo:
        """Copies a `const XetEntry *`."""
        return cls(**_layout.file_info(entry))
