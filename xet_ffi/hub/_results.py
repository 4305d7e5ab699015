"""What the functions return: huggingface_hub's types, by name and by fields."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from xet_ffi._errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self


@dataclass
class DryRunFileInfo:
    """What a download of a file would do.

    Attributes:
        commit_hash: The commit that the revision stands for.
        file_size: Size of the file, in bytes.
        filename: Its path in the repo.
        local_path: Where it would be; absolute.
        is_cached: Whether its content is on this machine.
        will_download: Whether it would be fetched: it isn't cached, or `force_download` is given.
    """

    commit_hash: str
    file_size: int | None
    filename: str
    local_path: str
    is_cached: bool
    will_download: bool


_SEGMENTS = {"dataset": "datasets/", "space": "spaces/"}
_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space", "buckets": "bucket"}


def page(endpoint: str, repo_id: str, repo_type: str | None) -> str:
    """Returns the URL of a repo's page on the Hub."""
    return f"{endpoint}/{_SEGMENTS.get(repo_type or '', '')}{repo_id}"


class RepoUrl(str):
    """The page of a repo on the Hub: a string that knows what it names.

    It may also be "hf://datasets/namespace/name", the name alone, or the URL of something in the
    repo. What names no repo is a ValueError.

    Attributes:
        endpoint: Address of the Hub, without a slash at its end.
        namespace: User or organization.
        repo_name: Name of the repo, without the namespace.
        repo_id: "namespace/name".
        repo_type: "model", "dataset" or "space".
        url: The string itself.
    """

    __slots__ = ("endpoint", "namespace", "repo_id", "repo_name", "repo_type", "url")

    endpoint: str
    namespace: str
    repo_name: str
    repo_id: str
    repo_type: str
    url: str

    def __new__(cls, url: str, endpoint: str | None = None) -> Self:
        self = super().__new__(cls, url)
        self.url = str(url)
        endpoint = endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        self.endpoint = endpoint.rstrip("/")
        path = url.removeprefix(self.endpoint)
        scheme, mark, rest = path.partition("://")
        if mark:  # of another host, or without one
            path = rest if scheme == "hf" else rest.partition("/")[2]
        parts = path.partition("?")[0].partition("#")[0].strip("/").split("/")
        self.repo_type = _KINDS.get(parts[0], "model")
        # Behind the name there may be a revision, and a file of it.
        names = [part.partition("@")[0] for part in parts[parts[0] in _KINDS :][:2]]
        if not all(names) or not names:
            raise invalid("url", f"names no repo: {url!r}")
        self.repo_id = "/".join(names)
        self.namespace, _, self.repo_name = self.repo_id.rpartition("/")
        return self

    def __repr__(self) -> str:
        return (
            f"RepoUrl({str(self)!r}, endpoint={self.endpoint!r}, "
            f"repo_type={self.repo_type!r}, repo_id={self.repo_id!r})"
        )

    def __reduce__(self) -> tuple[type[RepoUrl], tuple[str, str]]:
        return (type(self), (self.url, self.endpoint))


@dataclass(eq=False)  # equal as strings are
class CommitInfo(str):  # noqa: SLOT000 - its fields are a dataclass's
    """A commit that was made: its URL, as a string with fields.

    Attributes:
        commit_url: Its page on the Hub; with nothing to commit, that of the last one.
        commit_message: Its title, as it was asked for.
        commit_description: The rest of its message; may be empty.
        oid: The commit.
        pr_url: The page of the pull request that was opened, or None.
        repo_url: The repo.
        pr_revision: Revision of that pull request, such as "refs/pr/1", or None.
        pr_num: Its number, or None.
    """

    commit_url: str
    commit_message: str
    commit_description: str
    oid: str
    _endpoint: str | None = field(default=None, repr=False)
    pr_url: str | None = None
    repo_url: RepoUrl = field(init=False)
    pr_revision: str | None = field(init=False)
    pr_num: int | None = field(init=False)

    def __new__(cls, commit_url: str, *_: Any, **__: Any) -> Self:
        return str.__new__(cls, commit_url)

    def __post_init__(self) -> None:
        """Fills in what the others say."""
        self.repo_url = RepoUrl(self.commit_url.partition("/commit/")[0], self._endpoint)
        number = self.pr_url.rstrip("/").rpartition("/")[2] if self.pr_url else None
        self.pr_num = None if number is None else int(number)
        self.pr_revision = None if number is None else f"refs/pr/{number}"

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.commit_url, self.commit_message, self.commit_description, self.oid)
        return (type(self), (*fields, self._endpoint, self.pr_url))


@dataclass
class BlobLfsInfo(dict):  # type: ignore[type-arg] # as theirs
    """What git keeps of a large file instead of its content: also a dict of the same.

    Attributes:
        size: Of the content, in bytes.
        sha256: Of the content, as hex.
        pointer_size: Of the text that git keeps, in bytes.
    """

    size: int
    sha256: str
    pointer_size: int

    def __post_init__(self) -> None:
        """Fills the dict."""
        self.update(size=self.size, sha256=self.sha256, pointer_size=self.pointer_size)


@dataclass
class RepoFile:
    """A file of a repo.

    Attributes:
        path: Relative to the repo, with "/".
        size: Of the content, in bytes.
        blob_id: Its oid in git; of a large file, that of its pointer.
        lfs: Of a large file; else None.
        xet_hash: Of a file in Xet storage, as hex; else None.
        last_commit: None: the listing doesn't say it.
        security: None: the listing doesn't say it.
        rfilename: The path, by its older name.
    """

    path: str
    size: int
    blob_id: str
    lfs: BlobLfsInfo | None = None
    xet_hash: str | None = None
    last_commit: None = None
    security: None = None

    @property
    def rfilename(self) -> str:
        """The path."""
        return self.path


@dataclass
class RepoFolder:
    """A folder of a repo.

    Attributes:
        path: Relative to the repo, with "/".
        tree_id: None: the listing of files doesn't say it.
        last_commit: None, likewise.
    """

    path: str
    tree_id: str | None = None
    last_commit: None = None
