"""Listing: methods of `Client` that say what a repo has, and what they return."""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._call import run
from xet_ffi._dataclass import dataclass
from xet_ffi._lib import lib
from xet_ffi._strings import text
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Unpack

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel
    from xet_ffi._structs import Deadlines
    from xet_ffi.client import Client

_LISTING = ("XetEntryList", lib.xet_entry_list_free)
_COMMIT = ("char", lib.xet_free_string)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One file of a repo at a revision. Immutable.

    Attributes:
        path: Relative to the repo, with "/". As the Hub says it, which may be a path that can't be
            written, such as "../x": don't join it to a folder unseen.
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


class Listing(list[FileInfo]):
    """The files of a repo, in the Hub's order: a list that says which commit it is of.

    Attributes:
        commit: The commit that the revision stands for. A branch may move before the next call, so
            that one is better made with `revision=listing.commit`.
    """

    __slots__ = ("commit",)

    commit: str

    def __init__(self, files: Iterable[FileInfo], commit: str) -> None:
        super().__init__(files)
        self.commit = commit

    @classmethod
    def from_native(cls, listing: CData) -> Listing:
        """Copies a `const XetEntryList *`."""
        files = (FileInfo.from_native(listing.entries[i]) for i in range(listing.count))
        return cls(files, **_layout.listing(listing))

    def __reduce__(self) -> tuple[type[Listing], tuple[list[FileInfo], str]]:
        return (type(self), (list(self), self.commit))


def list_files(
    self: Client,
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> Listing:
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
    options = _options(repo_id, repo_type, revision, timeout, deadlines)
    return Listing.from_native(
        run(lib.xet_client_list_files, self._handle, options.pointer, _LISTING, cancel=cancel)
    )


def resolve(
    self: Client,
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> str:
    """Asks which commit a revision stands for now, and nothing else.

    The arguments are those of `list_files`.

    >>> commit = client.resolve("alice/model")
    >>> client.resolve("alice/model", revision=commit) == commit
    True
    """
    options = _options(repo_id, repo_type, revision, timeout, deadlines)
    return text(run(lib.xet_client_resolve, self._handle, options.pointer, _COMMIT, cancel=cancel))


def _options(
    repo_id: str,
    repo_type: str | None,
    revision: str | None,
    timeout: float | None,
    deadlines: Deadlines,
) -> Struct:
    options = Struct("XetListOptions")
    options.required("repo_id", repo_id)
    options.text("repo_type", repo_type)
    options.text("revision", revision)
    options.seconds("timeout", timeout)
    options.deadlines(deadlines)
    return options
