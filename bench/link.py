"""The way between clients and a hub: it counts what comes through and, if asked to, slows it down.

What a client receives is counted here, outside of its process, with headers and listings and from
all three origins of the hub; and a slow link is shared by all of a client's connections, as a real
one is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

    from hub import Hub

PIECE = 64 * 1024
T = TypeVar("T")


class Link:
    """Forwards connections on loopback to the origins of a hub. Use as a context manager.

    The hub's answers name this link's addresses only after `announce`.
    """

    def __init__(self, hub: Hub, bytes_per_second: float | None = None) -> None:
        self._hub = hub
        self._rate = bytes_per_second
        self._free_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._fronts: dict[str, str] = {}
        self._open: set[asyncio.StreamWriter] = set()
        self.received = 0
        """Bytes that clients have received since the last `reset`."""
        self.watch: Callable[[int], None] | None = None
        """Called with `received` as it grows."""

    @property
    def endpoint(self) -> str:
        """The hub's endpoint behind this link."""
        return self._fronts["endpoint"]

    def announce(self) -> None:
        """Sends clients of the hub through this link, wherever its answers lead them."""
        self._hub.announce(**self._fronts)

    def reset(self) -> None:
        """Begins to count anew."""
        self.received = 0
        self.watch = None

    def __enter__(self) -> Self:
        self._thread.start()
        for name in ("endpoint", "cas", "storage"):
            self._fronts[name] = self._call(self._front(getattr(self._hub, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _front(self, origin: str) -> str:
        """Begins to forward to an origin, and returns the address that stands in for it."""
        target = urlsplit(origin)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._forward(reader, writer, str(target.hostname), int(target.port or 80))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        # Whoever reads from them comes to an end by itself.
        for writer in self._open:
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        with suppress(OSError):  # either side may go away at any time, a killed client for one
            up_reader, up = await asyncio.open_connection(host, port)
            both = {writer, up}
            self._open |= both
            try:
                await asyncio.gather(
                    self._relay(reader, up, counted=False),
                    self._relay(up_reader, writer, counted=True),
                )
            finally:
                self._open -= both
                up.close()
                writer.close()

    async def _relay(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE):
                if counted:
                    await self._count(len(piece))
                target.write(piece)
                await target.drain()
            target.write_eof()

    async def _count(self, size: int) -> None:
        self.received += size
        if self.watch is not None:
            self.watch(self.received)
        if self._rate is not None:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + size / self._rate
            await asyncio.sleep(self._free_at - now)
