"""The client for asyncio: the same methods, to be awaited.

    import asyncio
    from xet_ffi.aio import AsyncClient

    async def main():
        async with AsyncClient() as client:
            transfer = await client.download_snapshot("org/name")

    asyncio.run(main())

A task that is cancelled ends its call in the library: `await` comes back when that has stopped,
which takes some 50 ms, and nothing goes on behind its back. So do `asyncio.timeout`, and Ctrl-C
under `asyncio.run`.
"""

from __future__ import annotations

import functools

from xet_ffi._reading import File
from xet_ffi._threads import Threads
from xet_ffi.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any, Concatenate, ParamSpec, TypeVar

    from typing_extensions import Self

    from xet_ffi._reading import FileReport
    from xet_ffi.client import ClientInfo

    P = ParamSpec("P")
    T = TypeVar("T")
    Sync = TypeVar("Sync")

__all__ = ["AsyncClient", "AsyncFile"]


def _awaited(
    method: Callable[Concatenate[Sync, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Returns the method of the same name and arguments that runs on a thread."""

    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(method, *args, **kwargs)  # type: ignore[no-any-return] # of any class

    functools.update_wrapper(call, method)
    return call


def _like(
    _: Callable[Concatenate[Client, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[AsyncClient, P], None]]:
    """Gives a method the arguments of one of the client's, for type checkers and help()."""

    def give(method: Callable[..., None]) -> Callable[..., None]:
        functools.update_wrapper(method, Client.__init__, assigned=("__doc__",))
        return method

    return give


def _opened(
    method: Callable[Concatenate[Client, P], File],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, AsyncFile]]:
    """Is `_awaited` for what opens a file."""

    async def call(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncFile:
        file = await self._run(method, *args, **kwargs)
        return AsyncFile(file, self._threads)

    functools.update_wrapper(call, method)
    return call


class AsyncFile:
    """A file that is open to be read in place, by coroutines. `AsyncClient.open` opens it.

    It has no position: each read says where. They may run side by side, and one whose task is
    cancelled ends in the library, too.

    Attributes:
        file: The `File`; what it says of itself waits for nothing.
    """

    __slots__ = ("_threads", "file")

    def __init__(self, file: File, threads: Threads) -> None:
        self.file = file
        self._threads = threads

    read_at = _awaited(File.read_at)
    readinto_at = _awaited(File.readinto_at)
    read_ranges = _awaited(File.read_ranges)
    readinto_ranges = _awaited(File.readinto_ranges)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.file.size

    def report(self) -> FileReport:
        """Says what it is, and what was read of it so far. Waits for nothing."""
        return self.file.report()

    def close(self) -> None:
        """Closes it. Reads that are under way end normally."""
        self.file.close()

    async def _run(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self.file.readable()  # refuses, if it's closed
        return await self._threads.run(method, self.file, *args, **kwargs)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self.file).replace("xet_ffi.File", "xet_ffi.AsyncFile")


class AsyncClient:
    """A `Client` whose methods are coroutines. Its arguments are those of `Client`.

    Each call has a thread of its own. Callbacks (`progress`, `cancel`) run on it, and not in the
    event loop: what they do there goes by way of `loop.call_soon_threadsafe`. A call that was
    cancelled raises `asyncio.CancelledError`; what an upload had committed until then is in the
    `commits` of its `__context__`.

    >>> async def main():
    ...     async with AsyncClient("http://127.0.0.1:9", token=False, offline=True) as client:
    ...         return client.info().endpoint
    >>> asyncio.run(main())
    'http://127.0.0.1:9'
    """

    __slots__ = ("_client", "_threads")

    @_like(Client.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._client = Client(*args, **kwargs)
        self._threads = Threads()

    list_files = _awaited(Client.list_files)
    resolve = _awaited(Client.resolve)
    download_file = _awaited(Client.download_file)
    download_snapshot = _awaited(Client.download_snapshot)
    plan_snapshot = _awaited(Client.plan_snapshot)
    open = _opened(Client.open)
    upload_file = _awaited(Client.upload_file)
    upload_folder = _awaited(Client.upload_folder)
    create_commit = _awaited(Client.create_commit)
    create_repo = _awaited(Client.create_repo)
    create_branch = _awaited(Client.create_branch)
    cache_usage = _awaited(Client.cache_usage)
    cache_verify = _awaited(Client.cache_verify)
    cache_remove = _awaited(Client.cache_remove)
    cache_prune = _awaited(Client.cache_prune)
    cache_index = _awaited(Client.cache_index)

    def info(self) -> ClientInfo:
        """Says what the client works with. Waits for nothing."""
        return self._client.info()

    async def _run(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self._client.__enter__()  # refuses, if it's closed: so would the threads, in other words
        return await self._threads.run(method, self._client, *args, **kwargs)

    async def close(self) -> None:
        """Closes the client, after its calls have ended. Later ones fail."""
        self._client.close()
        await self._threads.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._client.closed

    async def __aenter__(self) -> Self:
        self._client.__enter__()
        return self

    async def __aexit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._client).replace("xet_ffi.Client", "xet_ffi.AsyncClient")
