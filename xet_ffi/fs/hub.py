"""What the file systems of a process share: one client, and what is known of repos by it.

fsspec makes an instance for each thread. Those of the same options have the same `Shared`, so that
a repo is listed once, and what one of them writes the others don't miss. A forked process makes
its own: threads and locks don't come along.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

from xet_ffi import Client, EntryNotFoundError, LocalEntryNotFoundError
from xet_ffi._threads import Threads
from xet_ffi.fs.columns import Columns
from xet_ffi.fs.trees import Trees, absent

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from xet_ffi import File
    from xet_ffi.fs.changes import Batch
    from xet_ffi.fs.paths import Place, Repo

_FILES = 32
"""Files that are kept open for `cat_file` and `cat_ranges`."""

_WINDOW = 4 << 20
"""The memory that each of those may keep, in bytes; who wants all of a file reads it at once."""

_AHEAD = 20 << 20
"""The most that is read ahead of who reads columns, in bytes: half of a file's default window."""

_FOOTERS = 32
"""Files of which it's kept where their columns are: some hundred bytes for each part of one."""


class Shared:
    """A client, the trees that it has listed, and files that are open.

    Attributes:
        client: The client.
        trees: The trees.
        threads: Where calls of coroutines run.
        options: How files are opened: keyword arguments of `Client.open`.
        ahead: The most that is read ahead of who reads columns of a file, in bytes.
    """

    def __init__(self, client: dict[str, Any], options: dict[str, Any]) -> None:
        self.client = Client(**client, user_agent="xet-ffi-fs")
        self.trees = Trees(self.client)
        self.threads = Threads()
        self.options = options
        self.ahead = min(_AHEAD, (options["window"] or 2 * _AHEAD) // 2)
        self._columns: OrderedDict[tuple[str, str, str, str], Future[Columns | None]]
        self._columns = OrderedDict()
        self._files: OrderedDict[tuple[Repo, str], File] = OrderedDict()
        self._lock = threading.Lock()
        self._commits: dict[tuple[str, str], threading.Lock] = {}

    def open(self, place: Place, *, cancel: Callable[[], bool] | None = None, **more: Any) -> File:
        """Opens a file. If its tree is known, it's at the commit of that one.

        Raises:
            EntryNotFoundError: There is no such file.
        """
        repo, tree = place.repo, self.trees.known(place.repo)
        if not place.path or (tree is not None and place.path not in tree.files):
            raise absent(place)
        revision = repo.revision if tree is None else tree.commit
        return self._open(place, revision, cancel, **more)

    def find(self, place: Place, *, cancel: Callable[[], bool] | None = None) -> File | None:
        """Opens a file as its revision has it now, whatever is known; None if it isn't there."""
        if not place.path:
            return None
        try:
            return self._open(place, place.repo.revision, cancel)
        except LocalEntryNotFoundError:
            raise  # without the Hub nobody knows
        except EntryNotFoundError:
            return None

    def _open(
        self, place: Place, revision: str, cancel: Callable[[], bool] | None, **more: Any
    ) -> File:
        return self.client.open(
            place.repo.id,
            place.path,
            repo_type=place.repo.type,
            revision=revision,
            cancel=cancel,
            **{**self.options, **more},
        )

    def cat(
        self,
        place: Place,
        ranges: list[tuple[int | None, int | None]],
        *,
        cancel: Callable[[], bool] | None = None,
    ) -> list[bytes]:
        """Returns parts of a file; each range is a slice's."""
        file = self._kept(place, cancel)
        bounds = [slice(start, end).indices(file.size) for start, end in ranges]
        wanted = [(start, max(end - start, 0)) for start, end, _ in bounds]
        if len(wanted) == 1:
            return [file.read_at(*wanted[0], cancel=cancel)]
        return file.read_ranges(wanted, cancel=cancel)

    def _kept(self, place: Place, cancel: Callable[[], bool] | None) -> File:
        """Returns the file, which the next reader finds open."""
        key = (place.repo, place.path)
        with self._lock:
            if (file := self._files.get(key)) is not None:
                self._files.move_to_end(key)
                return file
        file = self.open(place, cancel=cancel, readahead=False, window=_WINDOW)
        with self._lock:
            self._files[key] = file
            # Whoever reads from one that goes has it as long as that takes.
            while len(self._files) > _FILES:
                self._files.popitem(last=False)
        return file

    def columns(self, place: Place, commit: str) -> Future[Columns | None] | None:
        """Returns where a file has its columns, which may be on its way; None: nobody has asked."""
        return self._columns.get((place.repo.type, place.repo.id, commit, place.path))

    def learn_columns(self, place: Place, file: File) -> None:
        """Begins to look where a file has its columns, for all that open it."""

        def look(*, cancel: Callable[[], bool]) -> Columns | None:
            return Columns.of(file.size, partial(file.read_at, cancel=cancel))

        key = (place.repo.type, place.repo.id, file.commit, place.path)
        with self._lock:
            if key in self._columns:
                return
            self._columns[key], _ = self.threads.begin(look)
            while len(self._columns) > _FOOTERS:
                self._columns.popitem(last=False)

    def commit(self, batch: Batch, *, cancel: Callable[[], bool] | None = None) -> None:
        """Makes a commit of what a batch has for each repo; of a repo one at a time."""
        for repo, operations in batch.take():
            with self._lock:
                turn = self._commits.setdefault((repo.type, repo.id), threading.Lock())
            try:
                with turn:
                    self.client.create_commit(
                        repo.id,
                        operations,
                        repo_type=repo.type,
                        revision=repo.revision,
                        cancel=cancel,
                        **batch.message,
                    )
            finally:
                # If it's known to have failed or not: there may be a commit.
                self.forget(repo)

    def forget(self, repo: Repo | None = None) -> None:
        """Forgets what a repo has at a revision, or what all have."""
        self.trees.forget(repo)
        with self._lock:
            for key in [key for key in self._files if repo in {None, key[0]}]:
                del self._files[key]


_shared: weakref.WeakValueDictionary[tuple[Any, ...], Shared] = weakref.WeakValueDictionary()


def shared(client: dict[str, Any], options: dict[str, Any]) -> Shared:
    """Returns what this process has for these options, or makes it."""
    key = (os.getpid(), *sorted(client.items()), *sorted(options.items()))
    found = _shared.get(key)
    if found is None:
        # Two threads may both make one; then the first one's stays.
        found = _shared.setdefault(key, Shared(client, options))
    return found
