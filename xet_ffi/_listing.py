"""Listing the files of a repo: a method of `Client`, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass

from xet_ffi import _layout
from xet_ffi._call import run
from xet_ffi._lib import lib
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Unpack

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel
    from xet_ffi._structs import Deadlines
    from xet_ffi.client import Client

_LISTING = ("XetEntryList", lib.xet_entry_list_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One file of a repo at a revision. Immutable.

    Attributes:
        path: Relative to the repo, with "/".
        size: Of the content, in bytes.
        hash: The oid of the tree entry: the git blob id (for LFS and Xet files, of the pointer).
        kind: How the Hub stores it: "git", "lfs" or "xet".
        sha256: Of the content, as hex; None for git files.
        xet_hash: Merkle hash of the content, as hex; None unless `kind` is "xet".
    """

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


def list_files(
    self: Client,
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> list[FileInfo]:
    """Lists the files of a repo, in the Hub's order.

    Args:
        repo_id: "name" or "namespace/name".
        repo_type: "model" (the default), "dataset" or "space".
        revision: Branch, tag, commit or "refs/pr/N". Default: main.
        timeout: Longest time for the whole call, in seconds. Default: none.
        cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
        **deadlines: `connect_timeout`, `first_byte_timeout`, `read_timeout` and `min_speed`, as
            for `Client`, for this call.

    >>> [file.path for file in client.list_files("alice/model")]
    ['.gitattributes', 'config.json', 'model.safetensors']
    """
    options = Struct("XetListOptions")
    options.text("repo_id", repo_id)
    options.text("repo_type", repo_type)
    options.text("revision", revision)
    options.seconds("timeout", timeout)
    options.deadlines(deadlines)
    listing = run(lib.xet_client_list_files, self._handle, options.pointer, _LISTING, cancel=cancel)
    return [FileInfo.from_native(listing.entries[i]) for i in range(listing.count)]
