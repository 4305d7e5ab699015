"""A real redis-server, for what nodes share, which tests stop, freeze, fill and spoil.

with RedisServer.start(folder) as redis:
    Client(hub.endpoint, shared_cache=redis.url)
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import IO, TYPE_CHECKING, Any

from tls_front import DEADLINE, await_port, find_program, free_port

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self


class RedisServer:
    """A running redis-server. Use `RedisServer.start`, as a context manager.

    Attributes:
        url: As `shared_cache` takes it.
        port: On 127.0.0.1.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port
        self.url = f"redis://127.0.0.1:{port}"

    @classmethod
    def start(cls, folder: Path, *settings: str) -> RedisServer:
        """Starts one with these settings, as on its command line; it keeps nothing on the disk."""
        port = free_port()
        command = [find_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--dir", str(folder), "--loglevel", "warning", *settings]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        await_port(port, process)
        return cls(process, port)

    def ask(self, *words: bytes | str | int) -> Any:
        """Asks it something, and returns what it answers; an error is a `RuntimeError`."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        request = b"*%d\r\n" % len(parts)
        request += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as line:
            line.sendall(request)
            with line.makefile("rb") as answer:
                return _read(answer)

    def names(self) -> list[bytes]:
        """The names of all pieces that are in it."""
        return sorted(name for name in self.ask("KEYS", "*") if not name.endswith(b":lease"))

    def get(self, key: bytes) -> bytes:
        """The value of a name."""
        value: bytes = self.ask("GET", key)
        return value

    def calls(self, command: str) -> int:
        """How often it was asked so since it was started or asked to forget that."""
        stats: bytes = self.ask("INFO", "commandstats")
        for line in stats.decode().splitlines():
            if line.startswith(f"cmdstat_{command}:calls="):
                return int(line.split("=")[1].split(",")[0])
        return 0

    def freeze(self) -> None:
        """It answers nothing more, and keeps its connections."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGCONT)
            self.kill()


def _read(answer: IO[bytes]) -> Any:
    line = answer.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        length = int(rest)
        return None if length < 0 else answer.read(length + 2)[:-2]
    if kind == b"*":
        return [_read(answer) for _ in range(int(rest))]
    return rest
