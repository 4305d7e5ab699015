"""HTTP/2 servers that end a connection after some requests, as nginx does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tls_front import TlsFront
from world.stage import TOKEN
from xet_ffi import Client, CommitAdd

if TYPE_CHECKING:
    import trustme

    from hub import Hub

FILES = 400


@pytest.mark.parametrize("requests", [1, 10])
def test_a_connection_that_ends_costs_nobody_an_attempt(
    hub: Hub,
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    requests: int,
) -> None:
    """However many small files share it, and however soon the next one ends."""
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    repo = f"alice/many-{os.urandom(4).hex()}"
    files = {f"{number % 20}/{number}.json": b"%d" % number for number in range(FILES)}
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.create_repo(repo)
        client.create_commit(repo, [CommitAdd(path, content) for path, content in files.items()])
    limit = f"keepalive_requests {requests};"
    certificate = authority.issue_cert("127.0.0.1")
    with (
        TlsFront.start(hub, certificate, tmp_path / "nginx", limit) as front,
        Client(front.endpoint, TOKEN.secret, tmp_path / "cache", max_attempts=1) as client,
    ):
        transfer = client.download_snapshot(repo)
        assert any("HTTP/2.0" in line for line in front.requests("endpoint"))
    assert transfer.retries == 0
    assert {path: (Path(transfer) / path).read_bytes() for path in files} == files
