"""Paths of the file system, as huggingface_hub's HfFileSystem writes them.

    [models/ | datasets/ | spaces/]NAMESPACE/NAME[@REVISION][/PATH]

A revision with a slash in it is written with %2F, but for refs/pr/N and refs/convert/NAME.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

PROTOCOLS = ("xet", "hf")

_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
_UNSUPPORTED = ("kernels", "buckets")
_SPECIAL = re.compile(r"refs/convert/[\w.-]+|refs/pr/\d+")
_LOCATION = re.compile(
    rf"(?P<id>[^/@:\s]+/[^/@:\s]+)(?:@(?P<revision>{_SPECIAL.pattern}|[^/]+))?(?:/(?P<path>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Repo:
    """A repo at a revision.

    Attributes:
        type: "model", "dataset" or "space".
        id: "namespace/name".
        revision: Branch, tag, commit or "refs/pr/N".
    """

    type: str
    id: str
    revision: str = "main"


@dataclass(frozen=True)
class Place:
    """What a path stands for.

    Attributes:
        repo: The repo, at its revision.
        root: How paths of it begin, such as "datasets/org/name@v1".
        path: The file or folder in it; "" for all of it.
    """

    repo: Repo
    root: str
    path: str

    @property
    def name(self) -> str:
        """The whole path, as the file system says it."""
        return f"{self.root}/{self.path}" if self.path else self.root

    def to(self, path: str) -> str:
        """Returns the whole path of another file or folder of the same repo."""
        return f"{self.root}/{path}"


def strip(path: str) -> str:
    """Returns a path without protocol, and without slashes at its end."""
    for protocol in PROTOCOLS:
        path = path.removeprefix(f"{protocol}://")
    return path.rstrip("/")


def parse(path: str, revision: str | None = None) -> Place:
    """Returns what a path stands for. It asks nobody whether that exists.

    Args:
        path: The path, with protocol or without.
        revision: The revision, where the path may say none, or the same.

    Raises:
        ValueError: It is no such path, or says another revision.
        NotImplementedError: It names no repo, or something of which this knows nothing.
    """
    stripped = strip(path)
    if not stripped:
        message = "there is no list of repos: a path begins with NAMESPACE/NAME"
        raise NotImplementedError(message)
    first, _, rest = stripped.partition("/")
    if first in _UNSUPPORTED:
        message = f"{path!r}: {first} are not supported"
        raise NotImplementedError(message)
    if first in _TYPES.values():
        message = f"{path!r}: did you mean {first}s/{rest}?"
        raise ValueError(message)
    repo_type = _TYPES.get(first)
    found = _LOCATION.fullmatch(rest if repo_type else stripped)
    if not found or "//" in f"/{found['path'] or ''}":
        message = f"{path!r} is not [datasets/]NAMESPACE/NAME[@REVISION][/PATH]"
        raise ValueError(message)
    written, in_repo = found["revision"], found["path"] or ""
    if written and revision is not None and unquote(written) != revision:
        # A branch may be called "refs" and have a folder "pr".
        head, _, tail = f"{written}/{in_repo}".partition("/")
        if unquote(head) != revision:
            message = f"{path!r} is of the revision {unquote(written)}, and not {revision}"
            raise ValueError(message)
        written, in_repo = head, tail.rstrip("/")
    prefix = "" if repo_type in {None, "model"} else f"{first}/"
    if written is None and revision not in {None, "main"}:
        written = revision if _SPECIAL.fullmatch(revision) else quote(revision, safe="")
    root = f"{prefix}{found['id']}{'' if written is None else f'@{written}'}"
    repo = Repo(repo_type or "model", found["id"], unquote(written) if written else "main")
    return Place(repo, root, in_repo)
