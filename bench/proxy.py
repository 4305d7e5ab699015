"""A forward proxy that counts and, if asked to, slows down what comes through it.

What a client receives is counted here, outside of its process, with headers and listings and from
whichever origin; and a link is as slow for all of a client's connections together as a real one is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

PIECE = 64 * 1024
LONGEST_HEAD = 64 * 1024


class Proxy:
    """A running proxy on loopback. Use as a context manager; clients get it as `HTTP_PROXY`."""

    def __init__(self, bytes_per_second: float | None = None) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.received = 0
        """Bytes that clients have received since the last `reset`."""
        self.watch: Callable[[int], None] | None = None
        """Called with `received` as it grows."""
        self.address = ""
        self._serving: set[asyncio.Task[object] | None] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LONGEST_HEAD)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def reset(self) -> None:
        """Begins to count anew."""
        self.received = 0
        self.watch = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The loop itself holds its tasks but weakly.
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, url, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
            parts = urlsplit(url.decode())
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            upstream_reader, upstream = await asyncio.open_connection(parts.hostname, parts.port)
            lines = [line for line in head.split(b"\r\n")[1:] if line]
            kept = [
                line for line in lines if not line.lower().startswith((b"connection", b"proxy-"))
            ]
            # One request for each connection: no need to know where an answer ends.
            first = b"%s %s HTTP/1.1" % (method, path.encode())
            upstream.write(b"\r\n".join([first, *kept, b"Connection: close", b"", b""]))
            sending = asyncio.ensure_future(self._relay(reader, upstream, counted=False))
            try:
                await self._relay(upstream_reader, writer, counted=True)
            finally:
                sending.cancel()
                upstream.close()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the same, at another moment
        finally:
            writer.close()
            self._serving.discard(task)

    async def _relay(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with suppress(ConnectionError):  # of a client that was killed
            while piece := await source.read(PIECE):
                if counted:
                    await self._count(len(piece))
                target.write(piece)
                await target.drain()

    async def _count(self, size: int) -> None:
        self.received += size
        if self.watch is not None:
            self.watch(self.received)
        if self._rate is not None:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + size / self._rate
            await asyncio.sleep(self._free_at - now)
