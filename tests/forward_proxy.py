"""Starts and reads forward proxies: a real tinyproxy, and a real microsocks.

with http_proxy(folder, user="ada", password="secret") as proxy:
    os.environ["HTTPS_PROXY"] = f"http://ada:secret@{proxy.address}"
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tls_front import DEADLINE, await_port, find_program, free_port

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self


class ForwardProxy:
    """A running proxy."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        await_port(port, self._process)

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def log(self) -> str:
        """What it has written of its work."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def http_proxy(
    folder: Path, *, user: str = "", password: str = "", connect_to: int | None = None
) -> ForwardProxy:
    """A proxy for plain HTTP and CONNECT, the latter perhaps to one port only.

    It takes letters and digits in a password.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    lines = [f"Port {port}", "Listen 127.0.0.1", "LogLevel Connect", "Timeout 60", "MaxClients 100"]
    if user:
        lines.append(f"BasicAuth {user} {password}")
    if connect_to is not None:
        lines.append(f"ConnectPort {connect_to}")
    configuration = folder / "tinyproxy.conf"
    configuration.write_text("\n".join(lines) + "\n")
    command = [find_program("tinyproxy"), "-d", "-c", str(configuration)]
    return ForwardProxy(command, port, folder / "tinyproxy.log")


def socks_proxy(folder: Path, *, user: str = "", password: str = "") -> ForwardProxy:
    """A SOCKS5 proxy."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [find_program("microsocks"), "-i", "127.0.0.1", "-p", str(port)]
    if user:
        command += ["-u", user, "-P", password]
    return ForwardProxy(command, port, folder / "microsocks.log")
