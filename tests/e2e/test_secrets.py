"""Tokens and signatures: never shown, and never sent to whom they aren't meant for."""

from __future__ import annotations

import json
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from published import VARIETY, VARIETY_LFS, publish
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message

    from huggingface_hub import HfApi

    from hub import Hub

#: alice's token.
SECRET = "hf_alice_secret"


class Stranger:
    """A server on another origin, which remembers what it was sent and answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Message]] = []
        self.status, self.body = 200, b"{}"
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stranger.requests.append((self.path, self.headers))
                self.send_response(stranger.status)
                self.send_header("Content-Length", str(len(stranger.body)))
                self.end_headers()
                self.wfile.write(stranger.body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Says nothing: a call that has failed drops the connections of its other files."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def sent(self) -> str:
        """All that it was sent, as text."""
        return "\n".join(f"{path}\n{headers}" for path, headers in self.requests)


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A server that nothing secret is meant for."""
    stranger = Stranger()
    yield stranger
    stranger.close()


@pytest.fixture
def private(hf_api: HfApi, hub: Hub, repo_id: str) -> str:
    """A private repo with a file of every sort."""
    publish(hf_api, repo_id)
    hub.set_settings(repo_id, private=True)
    hub.reset_stats()
    return repo_id


def test_storage_never_sees_a_token(hub: Hub, private: str, tmp_path: Path) -> None:
    """Of a private repo's files, over Xet, LFS and plain HTTP, none costs a leaked token."""
    expected = {**VARIETY, **VARIETY_LFS}
    for way in ("xet", "plain"):
        if way == "plain":
            hub.fault("reconstruction", status=403)
        with Client(hub.endpoint, token=SECRET, cache_dir=tmp_path / way) as client:
            folder = Path(client.download_snapshot(private).path)
        assert all((folder / path).read_bytes() == expected[path] for path in expected)
    stats = hub.stats()
    assert stats.requests("storage") > 0
    assert stats.leaked_authorization == 0


@pytest.mark.parametrize("route", ["revision", "tree", "resolve", "resolve-cache"])
def test_a_redirect_to_another_origin_gets_no_token(
    hub: Hub, private: str, stranger: Stranger, cache_dir: Path, route: str
) -> None:
    """Wherever the Hub sends us, the token stays with the Hub."""
    hub.fault(route, status=302, headers={"Location": f"{stranger.url}/elsewhere"})
    with (
        Client(hub.endpoint, token=SECRET, cache_dir=cache_dir, max_attempts=1) as client,
        pytest.raises(XetError),
    ):
        client.download_snapshot(private)
    assert stranger.requests, "the redirect wasn't followed, so this shows nothing"
    assert SECRET not in stranger.sent()
    assert "authorization" not in stranger.sent().lower()


def test_a_next_page_on_another_origin_is_asked_for_at_the_hub(
    hub: Hub, private: str, stranger: Stranger, cache_dir: Path
) -> None:
    """A listing doesn't go on at a stranger's, since the token would have to go along.

    The hub has no such page, and gives the first one again.
    """
    hub.fault("tree", headers={"Link": f'<{stranger.url}/more>; rel="next"'})
    with (
        Client(hub.endpoint, token=SECRET, cache_dir=cache_dir, max_attempts=1) as client,
        pytest.raises(XetError, match="never ends") as caught,
    ):
        client.list_files(private)
    assert caught.value.repo == private
    assert stranger.requests == []


def test_the_cas_gets_its_own_token_only(
    hub: Hub, private: str, stranger: Stranger, cache_dir: Path
) -> None:
    """The CAS that the Hub names is sent the token for the CAS, not the Hub's."""
    token = {"casUrl": stranger.url, "accessToken": "cas-token", "exp": 2_000_000_000}
    hub.fault("xet-token", status=200, body=json.dumps(token))
    with Client(hub.endpoint, token=SECRET, cache_dir=cache_dir, max_attempts=1) as client:
        client.download_file(private, "model.safetensors")
    assert {headers["Authorization"] for _, headers in stranger.requests} == {"Bearer cas-token"}
    assert SECRET not in stranger.sent()


def failures(hub: Hub, private: str, cache_dir: Path) -> list[XetError]:
    """The errors of many calls that go wrong, some of them with servers that repeat the token."""
    errors: list[XetError] = []

    def fails(call: Callable[[], object]) -> None:
        with pytest.raises(XetError) as caught:
            call()
        errors.append(caught.value)

    with Client(
        hub.endpoint, token=SECRET, cache_dir=cache_dir, max_attempts=1, read_timeout=0.5
    ) as client:
        fails(lambda: client.download_snapshot("alice/missing"))
        fails(lambda: client.download_snapshot(private, revision="missing"))
        fails(lambda: client.download_file(private, "missing"))
        faults: list[tuple[str, dict[str, Any]]] = [
            ("revision", {"status": 500, "body": json.dumps({"error": f"who is {SECRET}?"})}),
            ("revision", {"status": 403, "headers": {"X-Error-Message": f"Bearer {SECRET}"}}),
            ("tree", {"status": 500, "body": f"Authorization: Bearer {SECRET}"}),
            ("tree", {"garbage_json": True}),
            ("resolve-cache", {"redirect_loop": True}),
            ("storage", {"status": 403}),
            ("storage", {"cut_after_bytes": 10}),
            ("storage", {"stall_before": 30}),
        ]
        for route, action in faults:
            hub.fault(route, **action)
            fails(lambda: client.download_snapshot(private))
            hub.clear_faults()
    with Client(hub.endpoint, token="hf_not_known", cache_dir=cache_dir) as client:
        fails(lambda: client.list_files(private))
    return errors


def test_nothing_secret_is_logged_or_told(
    hub: Hub, private: str, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the finest log level, after success and failure: no token, no signature, no signed URL."""
    caplog.set_level(1, "xet_ffi")
    errors = failures(hub, private, cache_dir)
    with Client(hub.endpoint, token=SECRET, cache_dir=cache_dir) as client:
        transfer = client.download_snapshot(private)
        shown = [repr(client), repr(transfer), repr(client.list_files(private))]
    assert len(caplog.records) > 20, "nothing was logged, so this shows nothing"
    told = [caplog.text, *shown]
    for error in errors:
        told += [str(error), repr(error), repr(error.args), json.dumps(error.details)]
        told += ["".join(traceback.format_exception(error))]
    everything = "\n".join(told)
    assert SECRET not in everything
    assert "hf_not_known" not in everything
    # What makes a URL of the storage a signed one.
    assert "Signature=" not in everything
    assert "Expires=" not in everything
    # Xet tokens differ from call to call, but begin alike.
    assert a_xet_token(hub, private)[:12] not in everything


def a_xet_token(hub: Hub, repo_id: str) -> str:
    """A Xet token for a repo, to see how they begin."""

    def get(path: str) -> dict[str, str]:
        request = Request(hub.endpoint + path, headers={"Authorization": f"Bearer {SECRET}"})
        with build_opener(ProxyHandler({})).open(request) as answer:
            found: dict[str, str] = json.load(answer)
        return found

    commit = get(f"/api/models/{repo_id}")["sha"]
    return get(f"/api/models/{repo_id}/xet-read-token/{commit}")["accessToken"]
