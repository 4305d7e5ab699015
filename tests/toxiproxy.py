"""Starts and drives toxiproxy: faults of TCP between a client and an xet-hub.

    with Toxiproxy.start() as toxiproxy:
        wires = toxiproxy.wires(hub)
        wires["storage"].add("latency", latency=200)
        client = Client(wires["hub"].url)

What a toxic does and takes is in https://github.com/Shopify/toxiproxy#toxics; times are in
milliseconds, rates in kilobytes per second.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from hub import Hub

#: Seconds until a server that isn't ready is a failure.
DEADLINE = 30.0

#: Ports to try: another program may take one between our asking for it and toxiproxy's.
ATTEMPTS = 5


class ToxiproxyError(Exception):
    """Toxiproxy didn't start, or refused a request."""


def find_binary() -> Path:
    """The toxiproxy to run: `$TOXIPROXY_BINARY`, else beside Python, else on PATH."""
    named = os.environ.get("TOXIPROXY_BINARY")
    if named:
        return Path(named)
    name = "toxiproxy-server"
    for found in (Path(sys.executable).parent / name, shutil.which(name)):
        if found and Path(found).is_file():
            return Path(found)
    msg = "no toxiproxy-server: run `make .venv/bin/toxiproxy-server`"
    raise ToxiproxyError(msg)


class Wire:
    """The way to one origin of a hub; its faults are those of every connection on it."""

    def __init__(self, toxiproxy: Toxiproxy, name: str, url: str) -> None:
        self._toxiproxy = toxiproxy
        self._name = name
        #: Where clients connect.
        self.url = url

    def add(
        self,
        toxic: str,
        *,
        upstream: bool = False,
        toxicity: float = 1.0,
        **attributes: int,
    ) -> None:
        """Adds a fault to new and open connections; `upstream`: to what clients send.

        `toxicity` is the share of new connections that get it.
        """
        body = {
            "type": toxic,
            "stream": "upstream" if upstream else "downstream",
            "toxicity": toxicity,
            "attributes": attributes,
        }
        self._toxiproxy.request("POST", f"/proxies/{self._name}/toxics", body)

    def cut(self) -> None:
        """Closes all connections and refuses new ones."""
        self._toxiproxy.request("POST", f"/proxies/{self._name}", {"enabled": False})

    def mend(self) -> None:
        """Takes connections again after `cut`."""
        self._toxiproxy.request("POST", f"/proxies/{self._name}", {"enabled": True})


class Toxiproxy:
    """A running toxiproxy. Use `Toxiproxy.start`, best as a context manager."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process = process
        self._address = address

    @classmethod
    def start(cls) -> Toxiproxy:
        """Serves its API on a port of loopback that is free."""
        for _ in range(ATTEMPTS):
            toxiproxy = cls._try_start(_free_port())
            if toxiproxy is not None:
                return toxiproxy
        msg = "toxiproxy-server did not start"
        raise ToxiproxyError(msg)

    @classmethod
    def _try_start(cls, port: int) -> Self | None:
        # A proxy of this name shows that it is ours that answers on the port. (If the port was
        # taken, ours runs on without an API.)
        name = uuid.uuid4().hex
        with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
            json.dump([{"name": name, "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}], config)
            config.flush()
            process = subprocess.Popen(
                [find_binary(), "-host", "127.0.0.1", "-port", str(port), "-config", config.name],
                env={**os.environ, "LOG_LEVEL": "fatal"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            toxiproxy = cls(process, f"http://127.0.0.1:{port}")
            end = time.monotonic() + DEADLINE
            pause = threading.Event()
            while time.monotonic() < end and process.poll() is None:
                try:
                    is_ours = name in toxiproxy.request("GET", "/proxies")
                except (OSError, ToxiproxyError):
                    pause.wait(0.01)
                    continue
                if not is_ours:
                    break
                toxiproxy.request("DELETE", f"/proxies/{name}")
                return toxiproxy
        toxiproxy.stop()
        return None

    def wires(self, hub: Hub) -> dict[str, Wire]:
        """Puts a wire before each origin (hub, cas, storage), and has the hub announce them."""
        upstreams = {"hub": hub.endpoint, "cas": hub.cas, "storage": hub.storage}
        wires = {origin: self.wire(url) for origin, url in upstreams.items()}
        hub.announce(endpoint=wires["hub"].url, cas=wires["cas"].url, storage=wires["storage"].url)
        return wires

    def wire(self, url: str) -> Wire:
        """Puts a wire before any server."""
        scheme, netloc = urlsplit(url)[:2]
        name = f"{netloc}-{uuid.uuid4().hex[:8]}"
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": netloc}
        made = self.request("POST", "/proxies", body)
        return Wire(self, name, f"{scheme}://{made['listen']}")

    def heal(self) -> None:
        """Takes all faults away, and takes connections again."""
        self.request("POST", "/reset")

    def stop(self) -> None:
        """Ends it, and with it all connections."""
        self._process.terminate()
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Calls the API and returns the answer's JSON (None if it is empty)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=DEADLINE) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read().decode()
            msg = f"{method} {path}: {error.code} {reason}"
            raise ToxiproxyError(msg) from None
        return json.loads(text) if text else None


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])
