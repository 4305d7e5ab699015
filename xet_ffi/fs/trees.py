"""What repos hold: one listing for each revision, kept until something is written to it."""

from __future__ import annotations

import errno
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from xet_ffi._errors import make
from xet_ffi._lib import lib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xet_ffi import Client, FileInfo, Listing
    from xet_ffi.fs.paths import Place, Repo

_TURN = 0.05
"""How often a thread that waits for another one's listing asks whether it should, in seconds."""


class Tree:
    """The files and folders of a repo at a commit.

    Attributes:
        commit: The commit.
        files: The files, by path.
        seen: When the Hub had told of it.
    """

    def __init__(self, listing: Listing) -> None:
        self.commit = listing.commit
        self.seen = datetime.now(timezone.utc)
        self.files: dict[str, FileInfo] = {file.path: file for file in listing}
        # What is in a folder, by its path: names, and whether each is a folder.
        self._folders: dict[str, dict[str, bool]] = {"": {}}
        for path in self.files:
            name, is_folder = path, False
            while name:
                folder, _, last = name.rpartition("/")
                known = self._folders.setdefault(folder, {})
                if last in known:
                    break
                known[last] = is_folder
                name, is_folder = folder, True

    def is_folder(self, path: str) -> bool:
        """Whether there is such a folder; git keeps none that is empty, but the repo itself."""
        return path in self._folders

    def info(self, place: Place) -> dict[str, Any]:
        """Describes a file or a folder, as fsspec has it.

        Raises:
            EntryNotFoundError: There is none.
        """
        if (file := self.files.get(place.path)) is not None:
            return _file_info(place.to(file.path), file)
        if self.is_folder(place.path):
            return {"name": place.name, "size": 0, "type": "directory"}
        raise absent(place)

    def children(self, place: Place) -> list[dict[str, Any]]:
        """Describes what is in a folder, by name; of a file, itself."""
        if not self.is_folder(place.path):
            return [self.info(place)]
        return [self._described(place, path) for path, _ in self._within(place.path)]

    def below(self, place: Place, depth: int | None) -> list[dict[str, Any]]:
        """Describes all that is in a folder, and down to `depth` in folders of it."""
        return [self._described(place, path) for path in self._walk(place.path, depth)]

    def _described(self, place: Place, path: str) -> dict[str, Any]:
        name = place.to(path)
        if path in self._folders and path not in self.files:
            return {"name": name, "size": 0, "type": "directory"}
        return _file_info(name, self.files[path])

    def _within(self, folder: str) -> list[tuple[str, bool]]:
        prefix = f"{folder}/" if folder else ""
        return [
            (f"{prefix}{name}", is_folder)
            for name, is_folder in sorted(self._folders[folder].items())
        ]

    def _walk(self, folder: str, depth: int | None) -> Iterator[str]:
        # Not by recursion: whoever publishes a file chooses how deep it is.
        ahead = [(folder, 1)]
        while ahead:
            folder, level = ahead.pop()
            for path, is_folder in self._within(folder):
                yield path
                if is_folder and (depth is None or level < depth):
                    ahead.append((path, level + 1))


def absent(place: Place) -> Exception:
    """Returns the error for a file or folder that isn't there."""
    repo = place.repo
    message = f"{repo.type} {repo.id} has no {place.path} at {repo.revision}"
    details = {
        "kind": "entry_not_found",
        "repo": repo.id,
        "revision": repo.revision,
        "file": place.path,
    }
    return make(lib.XET_CODE_NOT_FOUND, message, details)


def is_folder_error(place: Place) -> IsADirectoryError:
    """Returns the error for a folder where a file is wanted."""
    return IsADirectoryError(errno.EISDIR, "is a folder", place.name)


def _file_info(name: str, file: FileInfo) -> dict[str, Any]:
    lfs = None if file.sha256 is None else {"size": file.size, "sha256": file.sha256}
    return {
        "name": name,
        "size": file.size,
        "type": "file",
        "blob_id": file.hash,
        "lfs": lfs,
        "xet_hash": file.xet_hash,
    }


class Trees:
    """The trees that are known, by repo and revision. Many threads may ask; one of them lists."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[Repo, Tree] = {}
        self._turns: dict[Repo, threading.Lock] = {}
        self._lock = threading.Lock()
        self._forgotten = 0

    def known(self, repo: Repo) -> Tree | None:
        """Returns what is known, and asks nobody."""
        return self._known.get(repo)

    def get(
        self, repo: Repo, *, refresh: bool = False, cancel: Callable[[], bool] | None = None
    ) -> Tree:
        """Returns what is known, or asks the Hub; with `refresh`, in any case."""
        before = self._known.get(repo)
        with self._lock:
            turn = self._turns.setdefault(repo, threading.Lock())
        while not turn.acquire(timeout=_TURN):
            if cancel is not None and cancel():
                break  # the call below says so
        else:
            try:
                return self._look(repo, before if refresh else None, cancel)
            finally:
                turn.release()
        return self._look(repo, before, cancel)

    def _look(self, repo: Repo, outdated: Tree | None, cancel: Callable[[], bool] | None) -> Tree:
        known = self._known.get(repo)
        if known is not None and known is not outdated:
            return known
        forgotten = self._forgotten
        listing = self._client.list_files(
            repo.id, repo_type=repo.type, revision=repo.revision, cancel=cancel
        )
        tree = Tree(listing)
        with self._lock:
            # What was written meanwhile may be missing in it.
            if forgotten == self._forgotten:
                self._known[repo] = tree
        return tree

    def forget(self, repo: Repo | None = None) -> None:
        """Forgets a tree, or all of them."""
        with self._lock:
            self._forgotten += 1
            if repo is None:
                self._known.clear()
            else:
                self._known.pop(repo, None)
