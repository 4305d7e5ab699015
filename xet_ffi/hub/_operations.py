"""The changes of a commit under huggingface_hub's names, and what they are here."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass

from xet_ffi._errors import invalid
from xet_ffi._operations import CommitAdd, CommitCopy, CommitDelete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

    from xet_ffi._operations import Operation, Source


@dataclass
class CommitOperationAdd:
    """Adds a file, or replaces it.

    Attributes:
        path_in_repo: Where the file shall be.
        path_or_fileobj: The path of a file; its content, as bytes; or a binary file object, which
            is read from its beginning if it can go there, else from where it stands.
    """

    path_in_repo: str
    path_or_fileobj: Source

    def __post_init__(self) -> None:
        """Refuses at once what can't be read later."""
        self.path_in_repo = _path_in_repo(self.path_in_repo)
        source: Any = self.path_or_fileobj
        if isinstance(source, str) or hasattr(source, "__fspath__"):
            self.path_or_fileobj = path = os.path.normpath(os.path.expanduser(os.fspath(source)))
            if not os.path.isfile(path):
                raise invalid("path_or_fileobj", f"there is no file {path}")
        elif isinstance(source, io.TextIOBase):
            raise invalid("path_or_fileobj", "is a file of text; open it with mode 'rb'")
        elif not isinstance(source, (bytes, bytearray, memoryview)) and not callable(
            getattr(source, "read", None)
        ):
            problem = f"must be a path, bytes or a binary file, not {type(source).__name__}"
            raise invalid("path_or_fileobj", problem)


@dataclass
class CommitOperationDelete:
    """Deletes a file, or a folder with all that is in it.

    Attributes:
        path_in_repo: What goes.
        is_folder: Whether that is a folder. "auto": if it ends in "/".
    """

    path_in_repo: str
    is_folder: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        """Decides which it is."""
        self.path_in_repo = _path_in_repo(self.path_in_repo)
        if self.is_folder == "auto":
            self.is_folder = self.path_in_repo.endswith("/")
        if not isinstance(self.is_folder, bool):
            raise invalid("is_folder", f"must be True, False or 'auto', not {self.is_folder!r}")


@dataclass
class CommitOperationCopy:
    """Copies a file of the same repo.

    Attributes:
        src_path_in_repo: The file.
        path_in_repo: Where the copy shall be.
        src_revision: At which revision the file is. Default: where the commit goes.
        src_repo_id: None, or the repo of the commit: no copies are made from one repo to another.
        src_repo_type: That repo's type.
    """

    src_path_in_repo: str
    path_in_repo: str
    src_revision: str | None = None
    src_repo_id: str | None = None
    src_repo_type: str | None = None

    def __post_init__(self) -> None:
        """Refuses half a repo."""
        self.src_path_in_repo = _path_in_repo(self.src_path_in_repo)
        self.path_in_repo = _path_in_repo(self.path_in_repo)
        if (self.src_repo_id is None) != (self.src_repo_type is None):
            raise invalid("src_repo_id", "and src_repo_type are given together, or not at all")


_FORBIDDEN = frozenset({".git", ".cache"})
"""Folders that huggingface_hub lets nobody write to."""

if TYPE_CHECKING:
    CommitOperation = CommitOperationAdd | CommitOperationDelete | CommitOperationCopy


def native(operations: Iterable[Any], repo_id: str, repo_type: str | None) -> list[Operation]:
    """Returns operations as `Client.create_commit` takes them.

    They may be those of this module, huggingface_hub's own, which have the same attributes, or
    `CommitAdd`, `CommitDelete` and `CommitCopy`. Of files that are added twice the last one counts.
    """
    changes = [_native(operation, repo_id, repo_type) for operation in operations]
    last = {each.path_in_repo: i for i, each in enumerate(changes) if isinstance(each, CommitAdd)}
    counts = []
    for i, each in enumerate(changes):
        if isinstance(each, CommitAdd) and last[each.path_in_repo] != i:
            message = (
                f"{each.path_in_repo!r} is added more than once by one commit: the last one counts"
            )
            warnings.warn(message, UserWarning, stacklevel=4)
        else:
            counts.append(each)
    return counts


def _native(operation: Any, repo_id: str, repo_type: str | None) -> Operation:
    if hasattr(operation, "path_or_fileobj"):
        rewind(operation.path_or_fileobj)
        return CommitAdd(operation.path_in_repo, operation.path_or_fileobj)
    if hasattr(operation, "src_repo_id"):
        source = (operation.src_repo_id, operation.src_repo_type)
        if source not in {(None, None), (repo_id, repo_type or "model")}:
            raise invalid("src_repo_id", f"copies from another repo ({source[0]}) aren't supported")
        return CommitCopy(
            operation.src_path_in_repo, operation.path_in_repo, operation.src_revision
        )
    if hasattr(operation, "is_folder"):
        path = operation.path_in_repo.rstrip("/")
        return CommitDelete(f"{path}/" if operation.is_folder else path)
    own: Operation = operation  # or what `create_commit` refuses
    return own


def rewind(source: Any) -> None:
    """Puts a file object to its beginning, as huggingface_hub does before and after an upload."""
    if not hasattr(source, "__fspath__") and hasattr(source, "seekable") and source.seekable():
        source.seek(0)


def _path_in_repo(path: str) -> str:
    """Returns a path without "/" or "./" before it; refuses at once what huggingface_hub refuses.

    The rules for the rest are the library's.
    """
    shown, path = path, path.removeprefix("/")
    parts = path.split("/")
    if path == "." or ".." in parts:
        raise invalid("path_in_repo", f"must be a path in the repo, not {shown!r}")
    forbidden = next((part for part in parts if part in _FORBIDDEN), None)
    if forbidden is not None:
        raise invalid("path_in_repo", f"can't be in a folder {forbidden}/, as {shown!r} is")
    return path.removeprefix("./")
