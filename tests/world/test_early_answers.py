"""Servers that answer before they have read all of an upload, and close the connection."""

from __future__ import annotations

import os
import re
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, Model, server
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from pathlib import Path

    from hub import Hub

#: More than all that lies between the two holds.
SIZE = 24_000_000

#: What a server says, and the kind of the error that comes of it.
ANSWERS = {
    401: "forbidden",
    403: "forbidden",
    413: "invalid_response",
    429: "rate_limited",
    503: "server_error",
}


def refusal(status: int, read: int) -> tuple[bytes, int]:
    """An answer, and how much of a request is read before it."""
    words = b'{"error": "that is enough"}'
    head = f"HTTP/1.1 {status} No\r\nConnection: close\r\nContent-Length: {len(words)}\r\n"
    # Longer than anybody waits.
    after = "Retry-After: 9999\r\n" if status == 429 else ""
    return f"{head}{after}\r\n".encode() + words, read


@pytest.mark.parametrize("read", [0, 1_000_000])
@pytest.mark.parametrize("status", ANSWERS)
def test_an_early_refusal_is_heard(
    hub: Hub, model: Model, tmp_path: Path, status: int, read: int
) -> None:
    """Whatever of the content is on its way by then: it's no connection that broke."""
    answer, enough = refusal(status, read)
    content = threading.Event()

    def speak(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1 << 16)
        if head.startswith(b"GET"):
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        content.set()
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        assert int(length[1]) >= SIZE
        left = enough
        while left > 0:
            left -= len(connection.recv(1 << 16))
        connection.sendall(answer)

    hub.set_settings(model.repo_id, xet=False)
    with server(speak) as host:
        hub.announce(storage=f"http://{host}")
        try:
            with (
                # One may get lost, where a thread has no processor in the wrong moment.
                Client(hub.endpoint, TOKEN.secret, tmp_path / "cache", max_attempts=3) as client,
                pytest.raises(XetError) as caught,
            ):
                client.upload_file(os.urandom(SIZE), "new.bin", model.repo_id)
        finally:
            hub.announce()
    assert content.is_set()
    assert caught.value.kind == ANSWERS[status], caught.value
    assert caught.value.details["http_status"] == status
