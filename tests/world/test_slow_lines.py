"""Slow lines: a peer that acknowledges what was sent is alive, whatever the system still holds."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from forward_proxy import http_proxy
from tls_front import TlsFront
from toxiproxy import Toxiproxy
from world.stage import TOKEN
from xet_ffi import Client, TransferTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

    from hub import Hub

#: Kilobytes per second of the line, and what is sent on it: less than a system holds, and more
#: than comes through in the time that a server may be silent.
RATE = 200
SIZE = 2_400_000

#: A server may take nothing for 1.5 s, and say nothing for 3 s.
QUICK: dict[str, Any] = {"connect_timeout": 1.0, "first_byte_timeout": 1.0, "read_timeout": 1.0}

#: Seconds until what should have ended hasn't.
PROMISE = 60


@pytest.fixture
def toxiproxy() -> Iterator[Toxiproxy]:
    """Wires that can be slow."""
    with Toxiproxy.start() as toxiproxy:
        yield toxiproxy


@pytest.fixture
def repo(hub: Hub) -> Iterator[str]:
    """An empty one."""
    repo_id = f"alice/slow-{uuid.uuid4().hex[:12]}"
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.create_repo(repo_id)
    hub.reset_stats()
    yield repo_id
    hub.announce()


def slow(toxiproxy: Toxiproxy, url: str) -> str:
    """The same server behind a slow line, which itself holds up to a megabyte."""
    wire = toxiproxy.wire(url)
    wire.add("bandwidth", upstream=True, rate=RATE)
    return wire.url


@pytest.mark.parametrize("way", ["plain HTTP", "HTTPS", "a proxy", "a tunnel"])
def test_a_commit_may_take_as_long_as_the_line_needs(
    hub: Hub,
    repo: str,
    authority: trustme.CA,
    bundle: str,
    toxiproxy: Toxiproxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """It is made once, and not looked for."""
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    text = os.urandom(SIZE // 2).hex().encode()
    with (
        TlsFront.start(hub, authority.issue_cert("127.0.0.1"), tmp_path / "nginx") as front,
        http_proxy(tmp_path / "proxy") as proxy,
    ):
        hub.announce()
        if way.startswith("a "):
            line = slow(toxiproxy, f"http://{proxy.address}")
            monkeypatch.setenv("ALL_PROXY", line)
            mapped = hub.endpoint.replace("127.0.0.1", "[::ffff:127.0.0.1]")
            endpoint = mapped if way == "a proxy" else front.endpoint
        else:
            endpoint = slow(toxiproxy, front.endpoint if way == "HTTPS" else hub.endpoint)
        with Client(endpoint, TOKEN.secret, tmp_path / "cache", **QUICK) as client:
            commit = client.upload_file(text, "a.txt", repo)
    assert commit.retries == 0
    assert hub.stats().requests("hub", "commit") == 1


@pytest.mark.parametrize("kind", ["xet", "lfs"])
def test_storage_may_take_as_long_as_the_line_needs(
    hub: Hub, repo: str, toxiproxy: Toxiproxy, tmp_path: Path, kind: str
) -> None:
    """Content that the system takes as a whole, at once."""
    hub.set_settings(repo, xet=kind == "xet")
    hub.announce(cas=slow(toxiproxy, hub.cas), storage=slow(toxiproxy, hub.storage))
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache", **QUICK) as client:
        commit = client.upload_file(os.urandom(SIZE), "a.bin", repo)
    assert (commit.retries, commit.bytes_sent >= SIZE) == (0, True)


@pytest.mark.parametrize("kind", ["commit", "xet", "lfs"])
def test_who_takes_all_and_is_silent_is_given_up(
    hub: Hub, repo: str, toxiproxy: Toxiproxy, tmp_path: Path, kind: str
) -> None:
    """The slow line is no excuse for a server that has it all."""
    hub.set_settings(repo, xet=kind == "xet")
    hub.announce(cas=slow(toxiproxy, hub.cas), storage=slow(toxiproxy, hub.storage))
    hub.fault({"commit": "commit", "xet": "xorb", "lfs": "storage"}[kind], stall_before=600)
    hub.fault("storage", stall_before=600)
    text = os.urandom(SIZE // 2).hex().encode()
    endpoint = slow(toxiproxy, hub.endpoint) if kind == "commit" else hub.endpoint
    with (
        Client(endpoint, TOKEN.secret, tmp_path / "cache", **QUICK) as client,
        pytest.raises(TransferTimeoutError) as caught,
    ):
        client.upload_file(text, "a.txt" if kind == "commit" else "a.bin", repo, timeout=PROMISE)
    assert "the call" not in str(caught.value)
