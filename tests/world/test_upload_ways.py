"""What an upload sends goes where proxies and certificates say, all of it.

xet-core sends it, and would by itself read the environment by other rules than ours. What the proxy
passed on is counted against what arrived: what it has not seen went past it.
"""

from __future__ import annotations

import http.client
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit, urlunsplit

import pytest
import trustme

from forward_proxy import ForwardProxy, http_proxy
from tls_front import TlsFront, free_port, port_of
from world.stage import TOKEN, Model, name_certificates
from xet_ffi import Client, InvalidConfigError, NetworkError, XetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub

#: The interface for shards that storage has.
VERSIONS = pytest.mark.parametrize("version", [2, 1])


@pytest.fixture
def plain(hub: Hub, model: Model) -> Iterator[str]:
    """The hub's endpoint, under an address that isn't taken for this machine's own."""
    del model  # Made before.

    def mapped(url: str) -> str:
        return url.replace("127.0.0.1", "[::ffff:127.0.0.1]")

    hub.announce(endpoint=mapped(hub.endpoint), cas=mapped(hub.cas), storage=mapped(hub.storage))
    yield mapped(hub.endpoint)
    hub.announce()


@pytest.fixture
def front(hub: Hub, model: Model, authority: trustme.CA, tmp_path: Path) -> Iterator[TlsFront]:
    """The hub behind HTTPS, with a certificate of the authority's."""
    del model  # Made before.
    with TlsFront.start(hub, authority.issue_cert("127.0.0.1"), tmp_path / "nginx") as front:
        yield front


def serve(hub: Hub, version: int) -> None:
    """Has storage take shards by this version of the interface."""
    if version == 1:
        hub.fault("shard", path_regex="^/v2/", status=501)


def upload(endpoint: str, model: Model, folder: Path) -> None:
    """Uploads a file that nobody has, in one attempt."""
    with Client(endpoint, TOKEN.secret, folder / "cache", max_attempts=1) as client:
        client.upload_file(os.urandom(700_000), "new.safetensors", model.repo_id)


def passed_on(proxy: ForwardProxy, origin: str) -> list[str]:
    """The method and path of each request to an origin that the proxy has seen."""
    found = re.findall(rf": (\S+) http://[^/ ]*:{port_of(origin)}(/\S*)", proxy.log())
    return [f"{method} {path}" for method, path in found]


@VERSIONS
@pytest.mark.parametrize("value", ["http://{}", "{}", "HTTP://{}/", "http://u:p%40q@{}"])
def test_all_that_is_sent_goes_through_the_proxy(
    value: str,
    version: int,
    plain: str,
    hub: Hub,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Xorbs and shards, and to either version of the interface."""
    serve(hub, version)
    with http_proxy(tmp_path / "proxy") as proxy:
        monkeypatch.setenv("http_proxy", value.format(proxy.address))
        upload(plain, model, tmp_path)
        seen = passed_on(proxy, hub.cas)
    assert f"POST /v{version}/shards" in seen
    assert any("xorb" in request for request in seen)
    assert len(seen) == hub.stats().requests("cas"), "something went past the proxy"


#: What reqwest takes for no proxy at all, or for another one, and we don't.
ODD = [
    {"HTTP_PROXY": "", "http_proxy": "http://{}"},
    {"HTTP_PROXY": "http://{dead}", "http_proxy": "http://{}"},
    {"http_proxy": "http://u:p@q@{}"},
    {"http_proxy": "http://dom\\u:secret@{}"},
    {"http_proxy": "http://u:secret^q@{}"},
    {"http_proxy": "http://u:secretä@{}"},
    {"REQUEST_METHOD": "", "http_proxy": "http://{}"},
    {"NO_PROXY": "::ffff:127.0.0.1", "no_proxy": "elsewhere", "http_proxy": "http://{}"},
]


def name_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: ForwardProxy
) -> None:
    """Sets variables to `proxy`, and where they say so to one that nobody listens at."""
    for name, text in variables.items():
        dead = f"127.0.0.1:{free_port()}"
        monkeypatch.setenv(name, text.format(proxy.address, dead=dead))


class Meddler(BaseHTTPRequestHandler):
    """A proxy that answers in the place of storage's interface, and passes on the rest."""

    status: ClassVar[int]

    def do_GET(self) -> None:
        """Answers, or passes on."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if re.match("/v[12]/", url.path):
            self._answer(self.status, {}, b"no")
            return
        assert url.hostname is not None
        onward = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
        target = urlunsplit(("", "", url.path, url.query, ""))
        onward.request(self.command, target, body, dict(self.headers))
        came = onward.getresponse()
        dropped = {"transfer-encoding", "content-length", "connection"}
        kept = {name: v for name, v in came.getheaders() if name.lower() not in dropped}
        self._answer(came.status, kept, came.read())
        onward.close()

    do_POST = do_GET  # noqa: N815 - the base class has it so

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize("status", [401, 403, 502])
def test_an_answer_that_may_be_the_proxys_says_so(
    plain: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """It has no number, as answers of storage have one."""
    handler = type("Handler", (Meddler,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        address = f"127.0.0.1:{proxy.server_address[1]}"
        monkeypatch.setenv("http_proxy", f"http://{address}")
        try:
            with pytest.raises(XetError, match=f"may be that of the proxy {address}"):
                upload(plain, model, tmp_path)
        finally:
            proxy.shutdown()
            thread.join()


@VERSIONS
@pytest.mark.parametrize("variables", ODD, ids=str)
def test_what_others_would_read_otherwise_makes_no_difference(
    variables: dict[str, str],
    version: int,
    plain: str,
    hub: Hub,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All goes through the proxy; a token that goes past it is lost."""
    serve(hub, version)
    with http_proxy(tmp_path / "proxy") as proxy:
        name_proxy(monkeypatch, variables, proxy)
        upload(plain, model, tmp_path)
        seen = passed_on(proxy, hub.cas)
    assert f"POST /v{version}/shards" in seen
    assert len(seen) == hub.stats().requests("cas"), "something went past the proxy"


@VERSIONS
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_plain_http_to_this_machine_needs_no_proxy(
    variable: str,
    version: int,
    hub: Hub,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be sent the token; and if it's down, nothing would arrive."""
    serve(hub, version)
    with http_proxy(tmp_path / "proxy") as proxy:
        monkeypatch.setenv(variable, f"http://{proxy.address}")
        upload(hub.endpoint, model, tmp_path)
        assert "POST" not in proxy.log()


def test_hosts_that_are_exempt_by_their_port_are_uploaded_to(
    front: TlsFront, model: Model, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy isn't even there."""
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    urls = [front.url(origin) for origin in ("endpoint", "cas", "storage")]
    monkeypatch.setenv("NO_PROXY", ",".join(f"127.0.0.1:{port_of(url)}" for url in urls))
    upload(front.endpoint, model, tmp_path)


@VERSIONS
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, b"", b"not PEM\n"])
def test_plain_http_needs_no_certificates(
    variable: str,
    content: bytes | None,
    version: int,
    hub: Hub,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is in the files that are named, or isn't."""
    serve(hub, version)
    name_certificates(monkeypatch, variable, content, tmp_path / "certificates")
    upload(hub.endpoint, model, tmp_path)


@VERSIONS
@pytest.mark.parametrize(
    "variables",
    [
        {"SSL_CERT_FILE": "{bundle}"},
        {"SSL_CERT_FILE": "~/authority.pem"},
        {"SSL_CERT_DIR": "{folder}"},
        {"REQUESTS_CA_BUNDLE": "{bundle}"},
        {"CURL_CA_BUNDLE": "{bundle}"},
        {"SSL_CERT_FILE": "", "SSL_CERT_DIR": "", "REQUESTS_CA_BUNDLE": "{bundle}"},
        {"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "{folder}"},
    ],
    ids=str,
)
def test_authorities_are_those_of_downloads(
    variables: dict[str, str],
    version: int,
    front: TlsFront,
    hub: Hub,
    model: Model,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By whichever variable, for all that is sent."""
    serve(hub, version)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "authority.pem").write_bytes(Path(bundle).read_bytes())
    for name, text in variables.items():
        monkeypatch.setenv(name, text.format(bundle=bundle, folder=tmp_path / "folder"))
    upload(front.endpoint, model, tmp_path)
    assert hub.stats().shards_received == 1


def test_storage_that_cannot_be_trusted_is_final(
    front: TlsFront,
    hub: Hub,
    model: Model,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the Hub can. It is said in plain words, once, and nothing is sent."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    certificate = trustme.CA().issue_cert("127.0.0.1")
    with TlsFront.start(hub, certificate, tmp_path / "other") as other:
        hub.announce(endpoint=front.endpoint, cas=other.url("cas"), storage=front.url("storage"))
        with (
            Client(front.endpoint, TOKEN.secret, tmp_path / "cache") as client,
            pytest.raises(NetworkError, match="signed by nobody who is trusted") as caught,
        ):
            client.upload_file(os.urandom(700_000), "new.safetensors", model.repo_id)
    assert caught.value.kind == "certificate"
    assert caught.value.details.get("attempts", 1) == 1
    assert hub.stats().xorbs_received == 0


@pytest.mark.parametrize("content", [None, b"", b"not PEM\n"])
def test_a_useless_file_is_named_before_anything_is_sent(
    content: bytes | None,
    front: TlsFront,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its variable, as by downloads."""
    place = tmp_path / "certificates"
    if content is not None:
        place.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    with pytest.raises(XetError, match="SSL_CERT_FILE") as caught:
        upload(front.endpoint, model, tmp_path)
    assert isinstance(caught.value, InvalidConfigError)
    assert str(place) in str(caught.value)
