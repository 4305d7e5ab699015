"""Puts HTTPS before the three origins of an xet-hub, with a real nginx.

    authority = trustme.CA()
    with TlsFront.start(hub, authority.issue_cert("127.0.0.1"), folder) as front:
        Client(front.endpoint)

nginx speaks HTTP/2 and HTTP/1.1 to clients, as they wish, and plain HTTP/1.1 to the hub.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

    import trustme
    from typing_extensions import Self

    from hub import Hub

#: Seconds until a server that isn't ready is a failure.
DEADLINE = 30.0

_SERVER = """
  server {{
    listen 127.0.0.1:{port} ssl http2;
    location / {{ proxy_pass {origin}; }}
  }}
"""

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
  log_format wire '$server_port $server_protocol $request_method $status';
  access_log {folder}/access.log wire;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  proxy_buffering off;
  proxy_request_buffering off;
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  {directives}
  ssl_certificate {folder}/certificate.pem;
  ssl_certificate_key {folder}/key.pem;
  {servers}
}}
"""


def free_port() -> int:
    """A port of loopback that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until a server that was started listens."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    msg = f"nothing listens on port {port} (exit code {process.poll()})"
    raise RuntimeError(msg)


def find_program(name: str) -> str:
    """The path of a program of Debian's, which may be among those for administrators."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        msg = f"no {name}: install it as .ci/run does"
        raise RuntimeError(msg)
    return found


#: A server that answers nothing else; each configuration has one, for `written`.
SETTLED = "server {{ listen 127.0.0.1:{port}; return 204; }}"


def written(log: Path, port: int) -> list[str]:
    """The lines of nginx's log, up to now. `port`: that of its `SETTLED`, with which lines begin.

    A line comes after its answer, one after the other, so that of a request made now is the last.
    """

    def lines() -> list[str]:
        return log.read_text().splitlines()

    def settled(lines: list[str]) -> int:
        return sum(line.split(maxsplit=1)[0] == str(port) for line in lines)

    before = settled(lines())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("GET", "/")
    assert connection.getresponse().status == 204
    connection.close()
    deadline = time.monotonic() + DEADLINE
    while settled(found := lines()) == before:
        assert time.monotonic() < deadline, "nginx writes nothing down"
        time.sleep(0.01)
    return found


class TlsFront:
    """A running nginx. Use `TlsFront.start`, as a context manager."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        origins = {"endpoint": hub.endpoint, "cas": hub.cas, "storage": hub.storage}
        self._ports = {name: free_port() for name in origins}
        self._origins = origins
        self._settled = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        hub: Hub,
        certificate: trustme.LeafCert | tuple[bytes, bytes],
        folder: Path,
        directives: str = "",
    ) -> Self:
        """Serves with a certificate, given as such or as PEM of key and chain.

        `directives` are more of nginx's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        front = cls(hub, folder)
        if isinstance(certificate, tuple):
            key, chain = certificate
        else:
            key = certificate.private_key_pem.bytes()
            chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        (folder / "key.pem").write_bytes(key)
        (folder / "certificate.pem").write_bytes(chain)
        servers = "".join(
            _SERVER.format(port=front._ports[name], origin=origin)
            for name, origin in front._origins.items()
        )
        servers += SETTLED.format(port=front._settled)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(folder=folder, directives=directives, servers=servers)
        )
        command = [
            find_program("nginx"),
            "-e",
            "stderr",
            "-c",
            str(configuration),
            "-p",
            str(folder),
        ]
        front._process = subprocess.Popen(command)
        await_port(front._ports["endpoint"], front._process)
        hub.announce(**{name: front.url(name) for name in front._ports})
        return front

    def url(self, origin: str) -> str:
        """Where an origin is: endpoint, cas or storage."""
        return f"https://127.0.0.1:{self._ports[origin]}"

    @property
    def endpoint(self) -> str:
        """Where the Hub is."""
        return self.url("endpoint")

    def requests(self, origin: str) -> list[str]:
        """The protocol, method and status of each request that was answered by an origin."""
        lines = written(self._folder / "access.log", self._settled)
        port = str(self._ports[origin])
        return [line.partition(" ")[2] for line in lines if line.startswith(port + " ")]

    def stop(self) -> None:
        """Ends nginx; the hub announces its own origins again."""
        self._hub.announce()
        if self._process is not None:
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


def port_of(url: str) -> int:
    """The port in a URL."""
    port = urlsplit(url).port
    assert port is not None
    return port
