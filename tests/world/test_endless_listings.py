"""Listings that don't end, however new each page of them looks."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from xet_ffi import Client, NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMIT = "0" * 40
TREE = f"/api/models/a/b/tree/{COMMIT}"


class Endless(ThreadingHTTPServer):
    """A mirror whose listing goes on and on, `by` pages or by folders."""

    def __init__(self, by: str) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.by = by
        self.asked = 0
        self.endpoint = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """What it answers to one client."""

    protocol_version = "HTTP/1.1"
    server: Endless

    def do_GET(self) -> None:
        """Pages with the same names and another address each, or folders of folders."""
        self.server.asked += 1
        path = self.path.split("?")[0]
        body: Any = {"id": "a/b", "sha": COMMIT, "siblings": []}
        link = None
        if path.startswith(TREE) and self.server.by == "pages":
            body = [
                {"type": "file", "path": f"{i}.txt", "oid": COMMIT, "size": 5} for i in range(9)
            ]
            link = f'<{self.server.endpoint}{TREE}?cursor={self.server.asked}>; rel="next"'
        elif path.startswith(TREE):
            above = path.removeprefix(TREE).lstrip("/").replace("%2F", "/")
            names = [f"{above}/{i}".lstrip("/") for i in range(200)]
            body = [{"type": "directory", "path": name, "oid": COMMIT, "size": 0} for name in names]
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if link:
            self.send_header("Link", link)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(params=["pages", "folders"])
def endless(request: pytest.FixtureRequest) -> Iterator[Endless]:
    """Such a server."""
    with Endless(request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_listing_without_an_end_is_none(endless: Endless, tmp_path: Path) -> None:
    """Before it fills the memory, and whatever deadlines there are."""
    with (
        Client(endless.endpoint, token=False, cache_dir=tmp_path) as client,
        pytest.raises(NetworkError, match="a listing that never ends") as caught,
    ):
        client.list_files("a/b")
    assert caught.value.kind == "invalid_response"
    assert endless.asked < 1000
