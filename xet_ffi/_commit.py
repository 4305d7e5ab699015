"""Commits: the changes that make one, and the report of one that was made."""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import BinaryIO, TypeAlias

    from xet_ffi._lib import CData

    Source: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO


class CommitAdd(Record):
    """Adds a file, or replaces it.

    Attributes:
        path_in_repo: Where the file shall be.
        source: The path of a file; its content, as bytes; or a binary file object, which is read
            once, from where it stands to its end, on the thread that makes the call.
    """

    __slots__ = ("path_in_repo", "source")

    path_in_repo: str
    source: Source

    def __init__(self, path_in_repo: str, source: Source) -> None:
        super().__init__(path_in_repo=path_in_repo, source=source)


class CommitDelete(Record):
    """Deletes a file, or a folder with all that is in it.

    Attributes:
        path_in_repo: What goes. A path that ends in "/" is a folder's.
    """

    __slots__ = ("path_in_repo",)

    path_in_repo: str

    def __init__(self, path_in_repo: str) -> None:
        super().__init__(path_in_repo=path_in_repo)


class CommitCopy(Record):
    """Copies a file of the same repo.

    Attributes:
        src_path_in_repo: The file.
        path_in_repo: Where the copy shall be.
        src_revision: At which revision the file is. Default: where the commit goes.
    """

    __slots__ = ("src_path_in_repo", "path_in_repo", "src_revision")

    src_path_in_repo: str
    path_in_repo: str
    src_revision: str | None

    def __init__(
        self, src_path_in_repo: str, path_in_repo: str, src_revision: str | None = None
    ) -> None:
        super().__init__(
            src_path_in_repo=src_path_in_repo, path_in_repo=path_in_repo, src_revision=src_revision
        )


if TYPE_CHECKING:
    Operation: TypeAlias = CommitAdd | CommitDelete | CommitCopy


class Commit(Record):
    """What a finished upload did. Immutable.

    `bytes_total` is the sum of `bytes_new`, `bytes_on_hub` and `bytes_repeated`.

    Attributes:
        oid: The commit, the last one if there are several; with nothing to commit, the one that
            the revision stands for.
        commit_url: Its page on the Hub.
        pr_url: The page of the pull request that was opened, or None.
        commits: How many commits were made; 0 if there was nothing to commit.
        files: How many files the call was about.
        files_changed: How many of them were added or replaced.
        bytes_total: Content of these files.
        bytes_new: Content that neither the Hub nor an earlier file of the call had.
        bytes_on_hub: Content that the Hub had, in whatever file.
        bytes_repeated: Content that stood earlier in the files of the call.
        bytes_sent: Sent as content, as sent: compressed or in base64, with its description for the
            storage.
        xorbs: Xorbs (blocks of Xet storage) that were sent.
        retries: Requests, and whole sessions with Xet storage, that were made again.
        seconds: Wall time of the call.
    """

    __slots__ = (
        "oid",
        "commit_url",
        "pr_url",
        "commits",
        "files",
        "files_changed",
        "bytes_total",
        "bytes_new",
        "bytes_on_hub",
        "bytes_repeated",
        "bytes_sent",
        "xorbs",
        "retries",
        "seconds",
    )

    oid: str
    commit_url: str
    pr_url: str | None
    commits: int
    files: int
    files_changed: int
    bytes_total: int
    bytes_new: int
    bytes_on_hub: int
    bytes_repeated: int
    bytes_sent: int
    xorbs: int
    retries: int
    seconds: float

    @property
    def nothing_to_commit(self) -> bool:
        """Whether the Hub had everything already, so that no commit was made."""
        return self.commits == 0

    @classmethod
    def from_native(cls, report: CData) -> Commit:
        """Copies a `const XetCommitReport *`."""
        return cls(**_layout.commit(report))


class RepoUrl(Record):
    """A repo that `create_repo` has made, or found.

    Attributes:
        repo_id: "namespace/name".
        url: Its page on the Hub.
    """

    __slots__ = ("repo_id", "url")

    repo_id: str
    url: str

    @classmethod
    def from_native(cls, report: CData) -> RepoUrl:
        """Copies a `const XetRepoReport *`."""
        return cls(**_layout.repo_url(report))
