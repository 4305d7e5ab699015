"""Puts a gateway or mirror before an xet-hub, with a real nginx that is told what to spoil.

    locations = "location ~ /tree/ { return 404; } location / { proxy_pass {hub}; }"
    with Gateway.start(hub, folder, locations) as gateway:
        Client(gateway.endpoint)

`{hub}`, `{cas}`, `{storage}`, `{other}` and `{here}` stand for the hub's origins, for a second
origin of the gateway's that leads to the hub, and for the gateway itself.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tls_front import DEADLINE, SETTLED, await_port, find_program, free_port, written

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from hub import Hub

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
  log_format wire '$server_port\t$request_method\t$uri\t$status\t$http_authorization'
      '\t$http_x_custom';
  access_log {folder}/access.log wire;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  limit_conn_zone $server_port zone=connections:1m;
  proxy_buffering off;
  proxy_request_buffering off;
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_redirect off;
  types {{}}
  default_type text/html;
  server {{ listen 127.0.0.1:{port}; {locations} }}
  server {{ listen 127.0.0.1:{other_port}; location / {{ proxy_pass {hub}; }} }}
  {settled}
}}
"""


class Gateway:
    """A running nginx. Use `Gateway.start`, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._other = free_port()
        self._settled = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, hub: Hub, folder: Path, locations: str) -> Self:
        """Serves with locations in nginx's language."""
        folder.mkdir(parents=True, exist_ok=True)
        gateway = cls(folder)
        names = {
            "hub": hub.endpoint,
            "cas": hub.cas,
            "storage": hub.storage,
            "other": gateway.other,
            "here": gateway.endpoint,
        }
        for name, value in names.items():
            locations = locations.replace("{" + name + "}", value)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                port=gateway._port,
                other_port=gateway._other,
                settled=SETTLED.format(port=gateway._settled),
                hub=hub.endpoint,
                locations=locations,
            )
        )
        nginx = find_program("nginx")
        command = [nginx, "-e", "stderr", "-c", str(configuration), "-p", str(folder)]
        gateway._process = subprocess.Popen(command)
        await_port(gateway._port, gateway._process)
        return gateway

    @property
    def endpoint(self) -> str:
        """Where the gateway is."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def other(self) -> str:
        """Another origin, which is the hub without changes."""
        return f"http://127.0.0.1:{self._other}"

    def requests(self) -> list[tuple[str, str, str, str]]:
        """Method, path, status and token of each request that was answered at the gateway."""
        return self._requests(self._port)

    def custom_headers(self) -> set[str]:
        """What requests to the gateway had as X-Custom; "-" for none."""
        return {line[-1] for line in self._lines(self._port)}

    def requests_to_other(self) -> list[tuple[str, str, str, str]]:
        """The same of the other origin."""
        return self._requests(self._other)

    def _requests(self, port: int) -> list[tuple[str, str, str, str]]:
        return [(line[1], line[2], line[3], line[4]) for line in self._lines(port)]

    def _lines(self, port: int) -> list[list[str]]:
        log = written(self._folder / "access.log", self._settled)
        return [fields for line in log if (fields := line.split("\t"))[0] == str(port)]

    def stop(self) -> None:
        """Ends nginx."""
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
