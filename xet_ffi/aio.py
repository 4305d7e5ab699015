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

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

from xet_ffi._progress import as_callable
from xet_ffi.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any, Concatenate, ParamSpec, TypeVar

    from typing_extensions import Self

    from xet_ffi.client import ClientInfo

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["AsyncClient"]

_CALLS = 64
"""Calls of one client at a time; others wait for one of these to end."""


def _awaited(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Returns the method of the same name and arguments that runs on a thread."""

    async def call(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(method, *args, **kwargs)

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
        self._threads = ThreadPoolExecutor(_CALLS, thread_name_prefix="xet_ffi.aio")

    list_files = _awaited(Client.list_files)
    resolve = _awaited(Client.resolve)
    download_file = _awaited(Client.download_file)
    download_snapshot = _awaited(Client.download_snapshot)
    plan_snapshot = _awaited(Client.plan_snapshot)
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
        stop = Event()
        asked = as_callable(kwargs.get("cancel"))
        kwargs["cancel"] = lambda: stop.is_set() or (asked is not None and asked())
        work = functools.partial(method, self._client, *args, **kwargs)
        begun = self._threads.submit(work)
        call = asyncio.wrap_future(begun)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError as cancelled:
            stop.set()
            # One that waits for a thread needn't.
            begun.cancel()
            # Cancelled once more meanwhile: it still ends before this does.
            while not call.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([call])
            if not call.cancelled() and (error := call.exception()) is not None:
                cancelled.__context__ = error
            raise

    async def close(self) -> None:
        """Closes the client, after its calls have ended. Later ones fail."""
        self._client.close()
        await asyncio.to_thread(self._threads.shutdown)

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
