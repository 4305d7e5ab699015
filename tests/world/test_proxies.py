"""Proxies: the ways through, and what is said of one that isn't there or doesn't let in."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from forward_proxy import http_proxy, socks_proxy
from tls_front import TlsFront, free_port, port_of
from world.stage import TOKEN, Model, server
from xet_ffi import Client, InvalidConfigError, XetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

    from hub import Hub

#: Characters that mean something in URLs.
PASSWORD = "p@s#w/r?d:&"


def mapped(url: str) -> str:
    """The same server under an address that isn't taken for this machine's own."""
    return url.replace("127.0.0.1", "[::ffff:127.0.0.1]")


@pytest.fixture
def plain(hub: Hub, model: Model) -> Iterator[str]:
    """The hub's endpoint for plain HTTP through a proxy."""
    del model  # Made before.
    hub.announce(endpoint=mapped(hub.endpoint), cas=mapped(hub.cas), storage=mapped(hub.storage))
    yield mapped(hub.endpoint)
    hub.announce()


@pytest.fixture
def secure(
    hub: Hub,
    model: Model,
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TlsFront]:
    """The hub behind HTTPS that is trusted."""
    del model  # Made before.
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with TlsFront.start(hub, authority.issue_cert("127.0.0.1"), tmp_path / "nginx") as front:
        yield front


def check(endpoint: str, model: Model, folder: Path) -> None:
    """Downloads and uploads."""
    with Client(endpoint, TOKEN.secret, folder / "cache") as client:
        transfer = client.download_snapshot(model.repo_id)
        for path, content in model.files.items():
            assert (Path(transfer) / path).read_bytes() == content
        client.upload_file(b"x" * 700_000, "new.safetensors", model.repo_id)


def test_https_goes_through_a_tunnel(
    secure: TlsFront, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it: the Hub, the CAS and storage."""
    with http_proxy(tmp_path / "proxy") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        check(secure.endpoint, model, tmp_path)
        for origin in ("endpoint", "cas", "storage"):
            assert f"CONNECT 127.0.0.1:{port_of(secure.url(origin))}" in proxy.log(), origin


def test_plain_http_goes_through_a_proxy(
    plain: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named without a scheme, as many do."""
    with http_proxy(tmp_path / "proxy") as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        check(plain, model, tmp_path)
        assert 'to host "::ffff:7f00:1"' in proxy.log()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_is_spoken(
    scheme: str,
    secure: TlsFront,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a password of any characters."""
    password = quote(PASSWORD, safe="")
    with socks_proxy(tmp_path / "proxy", user="ada", password=PASSWORD) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://ada:{password}@{proxy.address}")
        check(secure.endpoint, model, tmp_path)
        assert "connected to 127.0.0.1" in proxy.log()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_reaches_an_ipv6_address(
    scheme: str, plain: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to look up, whoever would do that."""
    with socks_proxy(tmp_path / "proxy") as proxy:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://{proxy.address}")
        check(plain, model, tmp_path)
        assert "connected to ::ffff:" in proxy.log()


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8", "*"])
def test_exempt_hosts_are_reached_without_the_proxy(
    entry: str, secure: TlsFront, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, by name and port, or as part of a network."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", entry.format(port=port_of(secure.endpoint)))
    with Client(secure.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        assert client.list_files(model.repo_id)


def failure(endpoint: str, model: Model, folder: Path) -> XetError:
    """What a listing fails with."""
    with (
        Client(endpoint, TOKEN.secret, folder / "cache", max_attempts=2) as client,
        pytest.raises(XetError) as caught,
    ):
        client.list_files(model.repo_id)
    return caught.value


@pytest.mark.parametrize("wire", ["https", "http"])
def test_a_proxy_that_is_down_is_named(
    wire: str,
    request: pytest.FixtureRequest,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not the Hub."""
    place = f"127.0.0.1:{free_port()}"
    variable = f"{wire}_proxy".upper()
    monkeypatch.setenv(variable, f"http://ada:secret@{place}")
    endpoint = _endpoint(request, wire)
    error = failure(endpoint, model, tmp_path)
    assert f"the proxy {place} ({variable})" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize("wire", ["https", "http"])
def test_a_proxy_that_wants_a_password_is_named(
    wire: str,
    request: pytest.FixtureRequest,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It's asked once: the password won't get better."""
    endpoint = _endpoint(request, wire)
    with http_proxy(tmp_path / "proxy", user="ada", password="right") as proxy:
        variable = f"{wire}_proxy".upper()
        monkeypatch.setenv(variable, f"http://{proxy.address}")
        error = failure(endpoint, model, tmp_path)
    assert error.kind == "proxy_refused"
    assert f"the proxy {proxy.address} ({variable})" in str(error)
    assert "user name and password" in str(error)


def test_a_proxy_that_forbids_a_host_is_named(
    secure: TlsFront, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP 403 to CONNECT, which is final."""
    with http_proxy(tmp_path / "proxy", connect_to=1) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        error = failure(secure.endpoint, model, tmp_path)
    assert f"the proxy {proxy.address} (HTTPS_PROXY) refused to connect to 127.0.0.1" in str(error)
    assert (error.kind, error.http_status) == ("proxy_refused", 403)
    assert error.details.get("attempts", 1) == 1


def test_a_proxy_that_limits_connections_is_named(
    secure: TlsFront, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP 429 to CONNECT: it's no limit of the host's."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")

    with server(refuse) as address:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        error = failure(secure.endpoint, model, tmp_path)
    assert (error.kind, error.http_status) == ("rate_limited", 429)
    assert f"the proxy {address} (HTTPS_PROXY) limits how often it connects" in str(error)


def test_a_proxy_that_cannot_reach_a_host_is_tried_again(
    secure: TlsFront, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP 500 to CONNECT: the host may come back."""
    del secure  # For its certificates.
    with http_proxy(tmp_path / "proxy") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        error = failure(f"https://127.0.0.1:{free_port()}", model, tmp_path)
    assert f"the proxy {proxy.address} (HTTPS_PROXY) can't reach 127.0.0.1" in str(error)
    assert error.details["attempts"] == 2


@pytest.mark.parametrize("given", ["", "ada:wrong@"])
def test_a_socks_proxy_that_wants_a_password_is_named(
    secure: TlsFront, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """It speaks no HTTP, and so it says no HTTP 407."""
    with socks_proxy(tmp_path / "proxy", user="ada", password="right") as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://{given}{proxy.address}")
        error = failure(secure.endpoint, model, tmp_path)
    assert error.kind == "proxy_refused"
    assert f"the proxy {proxy.address} (ALL_PROXY)" in str(error)
    assert "user name and password" in str(error)
    assert "HTTP" not in str(error)
    assert "wrong" not in str(error)


#: What a SOCKS5 proxy may say of a connection, and what is told of it: None for what is final.
SOCKS_ANSWERS = {
    1: "made no connection to 127.0.0.1",
    2: None,
    3: "can't reach 127.0.0.1",
    4: "can't reach 127.0.0.1",
    5: "can't reach 127.0.0.1",
    6: "can't reach 127.0.0.1",
    7: "makes no connections",
    8: "socks5h://",
}


@pytest.mark.parametrize("status", SOCKS_ANSWERS)
def test_what_a_socks_proxy_says_is_told(
    secure: TlsFront, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Of the host behind it, or of itself."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"\x05\x02")
        connection.recv(4096)
        connection.sendall(b"\x01\x00")
        connection.recv(4096)
        connection.sendall(bytes([5, status, 0, 1, 0, 0, 0, 0, 0, 0]))

    with server(refuse) as address:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://ada:secret@{address}")
        error = failure(secure.endpoint, model, tmp_path)
    assert f"the proxy {address} (ALL_PROXY)" in str(error)
    assert "secret" not in str(error) + str(error.details)
    told = SOCKS_ANSWERS[status]
    assert error.kind == ("connection" if told else "proxy_refused")
    assert (told or "refused to connect to 127.0.0.1") in str(error)


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "can't connect to the proxy"),
        (b"", "broke off before it had a connection to 127.0.0.1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is it a SOCKS proxy"),
    ],
    ids=["down", "silent", "http"],
)
def test_what_is_no_socks_proxy_is_named(
    secure: TlsFront,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    answer: bytes | None,
    told: str,
) -> None:
    """And not the host behind it."""

    def speak(connection: socket.socket) -> None:
        connection.recv(4096)
        if answer:
            connection.sendall(answer)

    with server(speak) as running:
        address = f"127.0.0.1:{free_port()}" if answer is None else running
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://ada:secret@{address}")
        error = failure(secure.endpoint, model, tmp_path)
    assert f"the proxy {address} (ALL_PROXY)" in str(error)
    assert told in str(error)
    assert "secret" not in str(error) + str(error.details)


#: What something in a proxy's place answers to everything.
PORTALS = {
    "a login": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "a page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
    "garbage": b"\x05\xff\x00\x00",
    "nothing": b"",
    "HTTP 403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "HTTP 451": b"HTTP/1.1 451 Legal\r\nContent-Length: 0\r\n\r\n",
    "HTTP 502": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nnope",
    "HTTP 511": b"HTTP/1.1 511 Log In\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("wire", ["https", "http"])
@pytest.mark.parametrize("portal", PORTALS)
def test_what_answers_in_a_proxys_place_is_named(
    wire: str,
    portal: str,
    request: pytest.FixtureRequest,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever reads that has to look at the proxy first."""
    endpoint = _endpoint(request, wire)

    def speak(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(PORTALS[portal])

    variable = f"{wire}_proxy".upper()
    with server(speak) as place:
        monkeypatch.setenv(variable, f"http://ada:secret@{place}")
        error = failure(endpoint, model, tmp_path)
        assert f"the proxy {place} ({variable})" in str(error)
    assert "secret" not in str(error)


def _endpoint(request: pytest.FixtureRequest, wire: str) -> str:
    if wire == "http":
        return str(request.getfixturevalue("plain"))
    front: TlsFront = request.getfixturevalue("secure")
    return front.endpoint


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    [
        r"p\s",
        " ",
        "::::",
        "ftp://secret@proxy",
        "http://a:secret#@proxy",
        "http://proxy:1\n",
        "http:/proxy:1",
    ],
)
def test_a_proxy_that_cannot_be_understood_is_refused(
    hub: Hub,
    model: Model,
    tmp_path: Path,
    variable: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Going past it would send the token where it isn't meant to go."""
    monkeypatch.setenv(variable, value)
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        for call in (client.list_files, client.download_snapshot, client.create_repo):
            with pytest.raises(InvalidConfigError, match=variable) as caught:
                call(model.repo_id)
            assert "secret" not in str(caught.value)
        with pytest.raises(InvalidConfigError, match=variable):
            client.upload_file(b"x", "x", model.repo_id)
    assert hub.stats().requests("hub") == 0


def test_an_empty_variable_is_none(
    secure: TlsFront, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And doesn't hide the other spelling."""
    with http_proxy(tmp_path / "proxy") as proxy:
        monkeypatch.setenv("https_proxy", "")
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        with Client(secure.endpoint, TOKEN.secret, tmp_path / "cache") as client:
            assert client.list_files(model.repo_id)
        assert "CONNECT" in proxy.log()
