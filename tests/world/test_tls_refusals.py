"""Servers with which TLS isn't spoken, or which don't speak it: final, and in plain words."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from gateway import Gateway
from tls_front import TlsFront
from world.stage import TOKEN, Model, server
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hub import Hub

HOST = "127.0.0.1"


def tls(
    certificate: trustme.LeafCert, adapt: Callable[[ssl.SSLContext], object]
) -> Callable[[socket.socket], None]:
    """Speaks TLS in some way, and empty listings over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    adapt(context)

    def speak(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(4096)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")

    return speak


def wants_certificate(context: ssl.SSLContext) -> None:
    """The server asks its clients who they are."""
    context.verify_mode = ssl.CERT_REQUIRED
    trustme.CA().configure_trust(context)


def wants_certificate_before(context: ssl.SSLContext) -> None:
    """The same in TLS 1.2, where the handshake itself fails."""
    wants_certificate(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def is_old(context: ssl.SSLContext) -> None:
    """TLS 1.1 at most."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1


def has_other_ciphers(context: ssl.SSLContext) -> None:
    """Those of TLS 1.2 without forward secrecy."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")


def failure(endpoint: str, folder: Path, repo_id: str = "a/b") -> XetError:
    """What a listing fails with."""
    with (
        Client(endpoint, TOKEN.secret, folder / "cache") as client,
        pytest.raises(XetError) as caught,
    ):
        client.list_files(repo_id)
    return caught.value


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(
    ("adapt", "kind", "words"),
    [
        (wants_certificate, "certificate", "certificate"),
        (wants_certificate_before, "connection", "certificate"),
        (is_old, "connection", "TLS"),
        (has_other_ciphers, "connection", "cipher"),
    ],
)
def test_a_refusal_is_final(
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    adapt: Callable[[ssl.SSLContext], None],
    kind: str,
    words: str,
) -> None:
    """One attempt; the error names the server and what it wants."""
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with server(tls(authority.issue_cert(HOST), adapt)) as place:
        error = failure(f"https://{place}", tmp_path)
    assert error.details.get("attempts", 1) == 1, error
    assert error.kind in {kind, "certificate"}
    assert place in str(error)
    assert words in str(error)


def test_https_at_a_plain_port(hub: Hub, model: Model, tmp_path: Path) -> None:
    """Says that the port doesn't speak TLS."""
    error = failure(hub.endpoint.replace("http:", "https:"), tmp_path, model.repo_id)
    assert error.details.get("attempts", 1) == 1
    assert "doesn't speak TLS" in str(error)
    assert "http://" in str(error)


def test_plain_http_at_a_port_for_tls(
    hub: Hub, model: Model, authority: trustme.CA, tmp_path: Path
) -> None:
    """Says that the port speaks TLS."""
    with TlsFront.start(hub, authority.issue_cert(HOST), tmp_path / "nginx") as front:
        error = failure(front.endpoint.replace("https:", "http:"), tmp_path, model.repo_id)
    assert error.details.get("attempts", 1) == 1
    assert "this port speaks TLS" in str(error)
    assert "https://" in str(error)


def test_storage_at_a_plain_port_is_known_at_once(
    hub: Hub, model: Model, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload doesn't knock twice."""
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    hub.announce(cas=hub.cas.replace("http:", "https:"))
    try:
        with (
            Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client,
            pytest.raises(XetError, match="doesn't speak TLS") as caught,
        ):
            client.upload_file(b"x" * 700_000, "new.safetensors", model.repo_id)
    finally:
        hub.announce()
    assert caught.value.details.get("attempts", 1) == 1


def test_other_answers_of_http_400_say_nothing_of_tls(
    hub: Hub, model: Model, tmp_path: Path
) -> None:
    """They are about something else."""
    with Gateway.start(
        hub, tmp_path / "nginx", 'location / { return 400 "https is fine"; }'
    ) as gate:
        error = failure(gate.endpoint, tmp_path, model.repo_id)
    assert "TLS" not in str(error)
