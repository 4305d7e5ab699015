"""The file system: what it writes becomes commits."""

from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync
from fsspec.callbacks import DEFAULT_CALLBACK

from xet_ffi.fs.changes import Batch, CommitTransaction
from xet_ffi.fs.files import StagedFile, compressed, text
from xet_ffi.fs.paths import Place, parse
from xet_ffi.fs.reading import ReadingFileSystem
from xet_ffi.fs.trees import absent, is_folder_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_batch: ContextVar[tuple[XetFileSystem, Batch] | None] = ContextVar("xet_ffi.fs", default=None)
"""What the running call of a file system is going to commit."""


class XetFileSystem(ReadingFileSystem):
    """Repos of the Hub as a file system, over Xet, verified.

    What is read is read in place. A revision is listed once, and then stands at the commit that it
    had: all that is read of it, by all file systems of this process that have the same options, is
    of that commit, until something is written to it here, or `invalidate_cache` or `refresh=True`
    look again. Each call that writes makes one commit, however many files it's about; so does a
    transaction. A file that is open for writing becomes a commit when it's closed, unless an
    exception has ended its `with`.

    Calls take `revision=`, where the path says none; those that write `commit_message=` and
    `commit_description=`, too. Errors are those of the package: a repo, revision or file that isn't
    there is a FileNotFoundError, and `exists` is False only then.

    Args:
        endpoint: As for `Client`; so are `token` (True: the default one), `cache_dir`,
            `transport` and `offline`.
        require_proof: As for `Client.open`; so are `readahead` and `window`.
        asynchronous: Its coroutines are called from a running event loop, as in all of fsspec.
    """

    transaction_type = CommitTransaction

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **more: Any,
    ) -> Any:
        """Opens a file. The arguments are those of fsspec.

        Of what is around a file that is written (text, a compression), fsspec tells the file
        neither when it's closed, nor which exception has left it; this does.
        """
        if "r" in mode or ("b" in mode and compression is None):
            return super().open(path, mode, block_size, cache_options, compression, **more)
        names = ("encoding", "errors", "newline")
        as_text = {name: more.pop(name) for name in names if name in more}
        binary = mode.replace("t", "").replace("b", "") + "b"
        staged: StagedFile = super().open(path, binary, block_size, cache_options, **more)
        file = compressed(staged, path, compression)
        return file if "b" in mode else text(file, staged, as_text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        *,
        revision: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        **_: Any,
    ) -> Any:
        if mode not in {"wb", "ab", "xb"}:
            return super()._open(
                path, mode, block_size, autocommit, cache_options, revision=revision
            )
        hub, place = self.hub, parse(path, revision)
        # Who only writes needs no listing: of a folder that it doesn't know, the Hub tells it.
        tree = hub.trees.known(place.repo)
        if not place.path or (tree is not None and tree.is_folder(place.path)):
            raise is_folder_error(place)
        before = None if mode == "wb" else hub.find(place)
        if before is not None and mode == "xb":
            raise FileExistsError(errno.EEXIST, "is there already", place.name)

        def deliver(staged: str) -> None:
            batch = (
                self.transaction.batch
                if not autocommit
                else Batch(commit_message=commit_message, commit_description=commit_description)
            )
            batch.add(place, staged)
            if autocommit:
                hub.commit(batch)

        return StagedFile(place, mode, deliver, before, is_kept=not autocommit)

    @asynccontextmanager
    async def _one_commit(
        self, commit_message: str | None = None, commit_description: str | None = None, **_: Any
    ) -> AsyncIterator[Batch]:
        """Collects what is changed within it, and commits that at its end, unless it fails."""
        running = _batch.get()
        if self._intrans:
            yield self.transaction.batch
            return
        if running is not None and running[0] is self:
            yield running[1]
            return
        batch = Batch(commit_message=commit_message, commit_description=commit_description)
        token = _batch.set((self, batch))
        try:
            yield batch
        finally:
            _batch.reset(token)
        hub = self.hub
        await hub.threads.run(hub.commit, batch)

    async def _has(self, batch: Batch, place: Place, *, now: bool = False) -> bool:
        """Whether there is such a file, or will be; `now`: whatever is known of the repo."""
        will = batch.has(place)
        if will is not None:
            return will
        hub = self.hub
        tree = None if now else hub.trees.known(place.repo)
        if tree is not None:
            return place.path in tree.files
        return await hub.threads.run(hub.find, place) is not None

    async def _pipe_file(
        self,
        path: str,
        value: Any,
        mode: str = "overwrite",
        *,
        revision: str | None = None,
        **message: Any,
    ) -> None:
        await self._add(parse(path, revision), value, mode, message)

    async def _add(self, place: Place, source: Any, mode: str, message: dict[str, Any]) -> None:
        async with self._one_commit(**message) as batch:
            if mode == "create" and await self._has(batch, place, now=True):
                raise FileExistsError(errno.EEXIST, "is there already", place.name)
            batch.add(place, source)

    async def _pipe(
        self, path: Any, value: Any = None, batch_size: int | None = None, **more: Any
    ) -> Any:
        async with self._one_commit(**more):
            return await super()._pipe(path, value, batch_size, **more)

    async def _put_file(
        self,
        lpath: str,
        rpath: str,
        mode: str = "overwrite",
        callback: Any = DEFAULT_CALLBACK,
        *,
        revision: str | None = None,
        **message: Any,
    ) -> None:
        if os.path.isdir(lpath):
            return
        size = os.path.getsize(lpath)
        callback.set_size(size)
        await self._add(parse(rpath, revision), os.path.abspath(lpath), mode, message)
        callback.absolute_update(size)

    async def _put(self, lpath: Any, rpath: Any, *args: Any, **more: Any) -> Any:
        async with self._one_commit(**more):
            return await super()._put(lpath, rpath, *args, **more)

    async def _cp_file(
        self, path1: str, path2: str, *, revision: str | None = None, **message: Any
    ) -> None:
        source, place = parse(path1, revision), parse(path2)
        async with self._one_commit(**message) as batch:
            if not await self._has(batch, source):
                if (await self._tree(source)).is_folder(source.path):
                    return  # folders come with their files
                raise absent(source)
            batch.copy(source, place, self.hub)

    async def _copy(self, path1: Any, path2: Any, *args: Any, **more: Any) -> Any:
        async with self._one_commit(**more):
            return await super()._copy(path1, path2, *args, **more)

    async def _rm_file(self, path: str, *, revision: str | None = None, **message: Any) -> None:
        place = parse(path, revision)
        async with self._one_commit(**message) as batch:
            if not await self._has(batch, place):
                is_folder = (await self._tree(place)).is_folder(place.path)
                raise is_folder_error(place) if is_folder else absent(place)
            batch.delete(place, is_there=await self._has(Batch(), place))

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,  # noqa: ARG002 - it's one commit
        maxdepth: int | None = None,
        *,
        revision: str | None = None,
        **message: Any,
    ) -> None:
        given = [path] if isinstance(path, str) else path
        given = [parse(one, revision).name for one in given]
        async with self._one_commit(**message):
            for one in await self._expand_path(given, recursive=recursive, maxdepth=maxdepth):
                if not (recursive and await self._isdir(one)):
                    await self._rm_file(one)

    async def _mv_file(self, path1: str, path2: str, **message: Any) -> None:
        async with self._one_commit(**message):
            await self._cp_file(path1, path2)
            await self._rm_file(path1)

    async def _mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **message: Any,
    ) -> None:
        if path1 == path2:
            return
        async with self._one_commit(**message):
            await self._copy(path1, path2, recursive, "raise", maxdepth)
            await self._rm(path1, recursive=recursive, maxdepth=maxdepth)

    def mv(self, path1: Any, path2: Any, *args: Any, **more: Any) -> None:
        """Moves files, in one commit. The arguments are those of fsspec."""
        sync(self.loop, self._mv, path1, path2, *args, **more)
