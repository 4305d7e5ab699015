"""The half of the file system that reads: what repos hold, and what is in files."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fsspec import asyn
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import isfilelike

from xet_ffi import EntryNotFoundError
from xet_ffi.fs.files import PlacedFile
from xet_ffi.fs.hub import Shared, shared
from xet_ffi.fs.paths import PROTOCOLS, Place, parse, strip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from datetime import datetime

    from xet_ffi import Progress
    from xet_ffi.fs.trees import Tree

_PIECE = 4 << 20
"""What is copied at a time, in bytes."""


class ReadingFileSystem(asyn.AsyncFileSystem):
    """Reads. `XetFileSystem` says what its arguments are."""

    _pid: int
    protocol = PROTOCOLS
    root_marker = ""

    def __init__(
        self,
        *args: Any,
        endpoint: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        transport: str | None = None,
        offline: bool = False,
        require_proof: bool = False,
        readahead: bool = True,
        window: int | None = None,
        asynchronous: bool = False,
        **storage_options: Any,
    ) -> None:
        super().__init__(*args, asynchronous=asynchronous, **storage_options)
        self._client = {
            "endpoint": endpoint,
            "token": None if token is True else token,
            "cache_dir": None if cache_dir is None else os.fspath(cache_dir),
            "transport": transport,
            "offline": offline,
        }
        self._options = {"require_proof": require_proof, "readahead": readahead, "window": window}
        self._hub = shared(self._client, self._options)
        self._hub_pid = os.getpid()

    @property
    def hub(self) -> Shared:
        """What all file systems of these options share in this process."""
        if self._hub_pid != os.getpid():
            self._hub, self._hub_pid = shared(self._client, self._options), os.getpid()
        return self._hub

    @property
    def loop(self) -> Any:
        """The event loop for calls that aren't coroutines; a forked process has one of its own."""
        if self._pid != os.getpid():
            # Older ones don't see that the loop's thread hasn't come along.
            if asyn.iothread[0] is not None and not asyn.iothread[0].is_alive():
                asyn.iothread[0] = asyn.loop[0] = None
            self._loop = None if self.asynchronous else asyn.get_loop()
            self._pid = os.getpid()
        return self._loop

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return strip(os.fspath(path))

    # What there is.

    async def _tree(self, place: Place, *, refresh: bool = False) -> Tree:
        hub = self.hub
        known = hub.trees.known(place.repo)
        if known is not None and not refresh:
            return known
        return await hub.threads.run(hub.trees.get, place.repo, refresh=refresh)

    async def _info(
        self, path: str, *, revision: str | None = None, refresh: bool = False, **_: Any
    ) -> dict[str, Any]:
        place = parse(path, revision)
        return (await self._tree(place, refresh=refresh)).info(place)

    async def _ls(
        self,
        path: str,
        detail: bool = True,
        *,
        revision: str | None = None,
        refresh: bool = False,
        **_: Any,
    ) -> list[Any]:
        place = parse(path, revision)
        found = (await self._tree(place, refresh=refresh)).children(place)
        return found if detail else [info["name"] for info in found]

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        *,
        detail: bool = False,
        revision: str | None = None,
        refresh: bool = False,
        **_: Any,
    ) -> Any:
        if maxdepth is not None and maxdepth < 1:
            message = "maxdepth must be at least 1"
            raise ValueError(message)
        place = parse(path, revision)
        tree = await self._tree(place, refresh=refresh)
        found: list[dict[str, Any]] = []
        if tree.is_folder(place.path):
            found = [tree.info(place)] if withdirs else []
            found += [
                info
                for info in tree.below(place, maxdepth)
                if withdirs or info["type"] != "directory"
            ]
        elif place.path in tree.files:
            found = [tree.info(place)]
        by_name = {info["name"]: info for info in sorted(found, key=lambda info: info["name"])}
        return by_name if detail else list(by_name)

    async def _glob(
        self, path: str, maxdepth: int | None = None, *, revision: str | None = None, **more: Any
    ) -> Any:
        slash = "/" if path.endswith("/") else ""
        return await super()._glob(parse(path, revision).name + slash, maxdepth, **more)

    async def _walk(
        self, path: str, *args: Any, revision: str | None = None, **more: Any
    ) -> AsyncIterator[Any]:
        async for found in super()._walk(parse(path, revision).name, *args, **more):
            yield found

    def walk(
        self, path: str, *args: Any, revision: str | None = None, **more: Any
    ) -> Iterator[Any]:
        """Goes through a folder and all below it. The arguments are those of fsspec."""
        yield from super().walk(parse(path, revision).name, *args, **more)

    async def _exists(self, path: str, **more: Any) -> bool:
        return await self._type(path, **more) is not None

    async def _isdir(self, path: str, **more: Any) -> bool:
        return await self._type(path, **more) == "directory"

    async def _isfile(self, path: str, **more: Any) -> bool:
        return await self._type(path, **more) == "file"

    async def _type(self, path: str, **more: Any) -> str | None:
        """Returns what it is; None if it isn't there. A Hub that can't be asked is an error."""
        try:
            kind: str = (await self._info(path, **more))["type"]
        except FileNotFoundError:
            return None
        return kind

    def modified(self, path: str, revision: str | None = None) -> datetime:
        """Returns a time until which a file was modified: when it was listed.

        A listing tells no times. Whoever keeps what a file had by this one will not miss a change.
        """
        place = parse(path, revision)
        tree: Tree = asyn.sync(self.loop, self._tree, place)
        tree.info(place)
        return tree.seen

    def url(self, path: str, revision: str | None = None) -> str:
        """Returns the address of a file's content, or of a folder's page."""
        place = parse(path, revision)
        repo = place.repo
        at = "" if repo.type == "model" else f"{repo.type}s/"
        route = "tree" if self.isdir(place.name) else "resolve"
        endpoint = self.hub.client.info().endpoint
        location = f"{endpoint}/{at}{repo.id}/{route}/{quote(repo.revision, safe='')}"
        return f"{location}/{quote(place.path)}".rstrip("/")

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forgets what a repo has at a revision, or what all have: they are listed anew."""
        self.hub.forget(None if path is None else parse(path).repo)

    # What is in files.

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,  # noqa: ARG002 - the library knows better
        autocommit: bool = True,  # noqa: ARG002 - nothing is written
        cache_options: dict[str, Any] | None = None,  # noqa: ARG002 - the same
        *,
        revision: str | None = None,
        **_: Any,
    ) -> Any:
        if mode != "rb":
            message = f"mode {mode!r}: files of a repo are read, written anew, or appended to"
            raise ValueError(message)
        place = parse(path, revision)
        return PlacedFile(self.hub.open(place), self, place)

    def cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        *,
        revision: str | None = None,
        **_: Any,
    ) -> bytes:
        """Returns a file's content, or a part of it, on this thread: the event loop is no help."""
        [data] = self.hub.cat(parse(path, revision), [(start, end)])
        return data

    async def _cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        *,
        revision: str | None = None,
        **_: Any,
    ) -> bytes:
        hub, place = self.hub, parse(path, revision)
        [data] = await hub.threads.run(hub.cat, place, [(start, end)])
        return data

    async def _cat(
        self,
        path: Any,
        recursive: bool = False,
        on_error: str = "raise",
        batch_size: int | None = None,
        **more: Any,
    ) -> Any:
        if recursive:  # what is in folders, and not the folders
            found = await self._expand_path(path, recursive=True)
            path = [one for one in found if not await self._isdir(one)]
        return await super()._cat(path, on_error=on_error, batch_size=batch_size, **more)

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,  # noqa: ARG002 - the library knows which are neighbours
        batch_size: int | None = None,  # noqa: ARG002 - there is one call for each file
        on_error: str = "return",
        *,
        revision: str | None = None,
        **_: Any,
    ) -> list[Any]:
        if not isinstance(paths, list):
            message = "paths: expected a list"
            raise TypeError(message)
        bounds = [
            list(ends_) if hasattr(ends_, "__iter__") else [ends_] * len(paths)
            for ends_ in (starts, ends)
        ]
        if {len(paths)} != {*map(len, bounds)}:
            message = "paths, starts and ends: expected as many of each"
            raise ValueError(message)
        wanted: dict[str, list[int]] = {}
        for at, path in enumerate(paths):
            wanted.setdefault(path, []).append(at)
        out: list[Any] = [None] * len(paths)

        async def read(path: str, places: list[int]) -> None:
            hub = self.hub
            ranges = [(bounds[0][at], bounds[1][at]) for at in places]
            try:
                parts: Sequence[Any] = await hub.threads.run(hub.cat, parse(path, revision), ranges)
            except Exception as error:
                if on_error != "return":
                    raise
                parts = [error] * len(places)
            for at, part in zip(places, parts, strict=True):
                out[at] = part

        await _all(*(read(path, places) for path, places in wanted.items()))
        return out

    async def _get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Any = DEFAULT_CALLBACK,
        *,
        revision: str | None = None,
        outfile: Any = None,
        **_: Any,
    ) -> None:
        hub, place = self.hub, parse(rpath, revision)
        target = outfile if outfile is not None else lpath
        if isfilelike(target):
            await hub.threads.run(_copy_into, hub, place, target, callback)
            return
        tree = hub.trees.known(place.repo)
        if place.path and not (tree is not None and tree.is_folder(place.path)):
            try:
                await hub.threads.run(_download, hub, place, os.path.abspath(target), callback)
            except EntryNotFoundError:
                # Who wants a file needs no listing; a folder is seen in one.
                if not (await self._tree(place)).is_folder(place.path):
                    raise
            else:
                return
        os.makedirs(target, exist_ok=True)


async def _all(*coroutines: Any) -> None:
    """Waits for all of them. If one fails, so does this, when the others have been cancelled."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _copy_into(
    hub: Shared, place: Place, target: Any, callback: Any, *, cancel: Callable[[], bool]
) -> None:
    """Writes a file's content to a file object."""
    with hub.open(place, cancel=cancel) as file:
        callback.set_size(file.size)
        for start in range(0, file.size, _PIECE):
            piece = file.read_at(start, min(_PIECE, file.size - start), cancel=cancel)
            target.write(piece)
            callback.relative_update(len(piece))


def _download(
    hub: Shared, place: Place, target: str, callback: Any, *, cancel: Callable[[], bool]
) -> None:
    """Downloads a file, verified, beside its place, and then moves it there."""
    repo, tree = place.repo, hub.trees.known(place.repo)
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)

    def watch(progress: Progress) -> None:
        callback.set_size(progress.bytes_total)
        callback.absolute_update(progress.bytes_completed)

    aside = tempfile.mkdtemp(prefix=".xet-ffi-", dir=folder)
    try:
        transfer = hub.client.download_file(
            repo.id,
            place.path,
            repo_type=repo.type,
            revision=repo.revision if tree is None else tree.commit,
            local_dir=aside,
            progress=watch,
            cancel=cancel,
        )
        os.replace(transfer.path, target)
    finally:
        shutil.rmtree(aside)
