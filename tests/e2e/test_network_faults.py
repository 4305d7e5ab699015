"""Failures of the network and of servers: what passes is retried, what stays is a typed error."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from published import MIB, noise, publish
from xet_ffi import (
    Client,
    NetworkError,
    RateLimitedError,
    Transfer,
    TransferTimeoutError,
    XetError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 2 * MIB
XET = noise(SIZE, "xet")
LFS = noise(SIZE, "lfs")
GIT = b"text\n" * 20_000
FILES = {"xet.bin": XET, "lfs.bin": LFS, "git.txt": GIT}


@pytest.fixture
def repo(hf_api: HfApi, hub: Hub, repo_id: str) -> str:
    """A repo with a file of each kind of storage."""
    publish(hf_api, repo_id, {"lfs.bin": LFS}, lfs=True)
    hf_api.upload_file(path_or_fileobj=XET, path_in_repo="xet.bin", repo_id=repo_id)
    hf_api.upload_file(path_or_fileobj=GIT, path_in_repo="git.txt", repo_id=repo_id)
    hub.reset_stats()
    return repo_id


@pytest.fixture
def client(hub: Hub, cache_dir: Path) -> Iterator[Client]:
    """A client of little patience, so that tests take little time."""
    with Client(
        hub.endpoint, token=False, cache_dir=cache_dir, read_timeout=1, max_attempts=3
    ) as client:
        yield client


def fetch(client: Client, repo: str, path: str) -> Transfer:
    """Downloads a file, and checks it."""
    transfer = client.download_file(repo, path)
    assert Path(transfer).read_bytes() == FILES[path]
    return transfer


#: Where the bytes of each file come from.
ROUTES = {"xet.bin": "storage", "lfs.bin": "storage", "git.txt": "resolve-cache"}


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    "fault",
    [
        {"cut_after_bytes": 0},
        {"cut_after_bytes": 70_000},
        {"truncate": 70_000},
        {"stall_after_bytes": 70_000},
        {"stall_before": 30},
        {"status": 500},
        {"status": 502},
        {"status": 503},
        {"status": 504},
        {"status": 408},
    ],
    ids=lambda fault: "-".join(map(str, *fault.items())),
)
def test_a_passing_fault_is_retried(
    hub: Hub, repo: str, client: Client, path: str, fault: dict[str, Any]
) -> None:
    """A broken, stalled or refused transfer is taken up again, and the retry is counted."""
    hub.fault(ROUTES[path], method="GET", times=1, **fault)
    transfer = fetch(client, repo, path)
    assert transfer.retries == 1
    assert transfer.fallbacks == 0
    assert hub.faults()[0]["fired"] == 1


@pytest.mark.parametrize("path", FILES)
def test_what_arrived_before_a_cut_is_not_fetched_again(
    hub: Hub, repo: str, client: Client, path: str
) -> None:
    """After a cut in the middle, the rest is asked for, not the whole."""
    hub.fault(ROUTES[path], method="GET", times=1, cut_after_bytes=len(FILES[path]) * 3 // 4)
    transfer = fetch(client, repo, path)
    # A Xet file may lose the chunk (up to 128 KiB) that the cut fell into.
    assert transfer.bytes_network < len(FILES[path]) + 200_000
    assert transfer.bytes_network >= len(FILES[path])


@pytest.mark.parametrize(
    "route", ["revision", "tree", "resolve", "xet-token", "reconstruction", "storage"]
)
def test_every_request_is_retried(hub: Hub, repo: str, client: Client, route: str) -> None:
    """Each sort of request survives two 503s in a row."""
    hub.fault(route, times=2, status=503)
    transfer = client.download_snapshot(repo)
    assert transfer.retries == 2
    assert hub.faults()[0]["fired"] == 2


def test_a_server_that_asks_to_wait_is_obeyed(hub: Hub, repo: str, client: Client) -> None:
    """After a 429 with Retry-After, the next attempt comes no sooner."""
    hub.fault("revision", times=1, status=429, headers={"Retry-After": "1"})
    started = time.monotonic()
    transfer = client.download_snapshot(repo, allow_patterns="git.txt")
    assert time.monotonic() - started >= 1
    assert transfer.retries == 1


def test_a_lasting_rate_limit_is_its_own_error(hub: Hub, repo: str, client: Client) -> None:
    """Who is asked to wait for longer than there is time hears so at once."""
    hub.fault("revision", status=429, headers={"RateLimit": '"api";r=0;t=290'})
    started = time.monotonic()
    with pytest.raises(RateLimitedError, match="290 s") as caught:
        client.download_snapshot(repo, timeout=100)
    assert time.monotonic() - started < 1
    assert caught.value.retry_after == 290
    assert caught.value.http_status == 429
    assert hub.faults()[0]["fired"] == 1


@pytest.mark.parametrize("route", ["revision", "tree", "resolve-cache"])
def test_a_server_that_stays_broken_is_a_network_error(
    hub: Hub, repo: str, client: Client, route: str
) -> None:
    """A 500 for ever ends after the attempts allowed, and the error counts them."""
    hub.fault(route, status=500)
    with pytest.raises(NetworkError) as caught:
        client.download_snapshot(repo, allow_patterns="git.txt")
    error = caught.value
    assert (error.kind, error.http_status) == ("server_error", 500)
    assert error.details["attempts"] == 3
    assert error.request_id
    assert error.repo == repo
    assert hub.faults()[0]["fired"] == 3


def test_a_server_that_stays_silent_is_a_timeout(hub: Hub, repo: str, cache_dir: Path) -> None:
    """A server that accepts and never answers is noticed within the read timeout."""
    hub.fault("revision", stall_before=60)
    with Client(
        hub.endpoint, token=False, cache_dir=cache_dir, read_timeout=0.5, max_attempts=1
    ) as client:
        started = time.monotonic()
        with pytest.raises(TransferTimeoutError) as caught:
            client.download_snapshot(repo)
        assert time.monotonic() - started < 5
    assert isinstance(caught.value, TimeoutError)


def test_a_stalled_body_is_a_timeout(hub: Hub, repo: str, cache_dir: Path) -> None:
    """Storage that stops sending, time after time, ends in a timeout that names the file."""
    hub.fault("storage", stall_after_bytes=0)
    with (
        Client(
            hub.endpoint, token=False, cache_dir=cache_dir, read_timeout=0.5, max_attempts=2
        ) as client,
        pytest.raises(TransferTimeoutError) as caught,
    ):
        client.download_file(repo, "lfs.bin")
    assert caught.value.file == "lfs.bin"


def test_the_callers_timeout_ends_the_call(hub: Hub, repo: str, cache_dir: Path) -> None:
    """`timeout` is a limit for the whole call, however it spends its time."""
    hub.fault("storage", drip=1000)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        started = time.monotonic()
        with pytest.raises(TransferTimeoutError, match="timeout of 500ms"):
            client.download_snapshot(repo, timeout=0.5)
        assert 0.5 <= time.monotonic() - started < 2


def test_nobody_listening_is_a_network_error(cache_dir: Path) -> None:
    """An endpoint that can't be reached is named with its host and port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with Client(
            f"http://127.0.0.1:{port}", token=False, cache_dir=cache_dir, max_attempts=2
        ) as client:
            for call in (
                lambda: client.list_files("a/b"),
                lambda: client.download_file("a/b", "c"),
                lambda: client.download_snapshot("a/b"),
            ):
                with pytest.raises(NetworkError, match=rf"127\.0\.0\.1:{port}") as caught:
                    call()
                assert isinstance(caught.value, ConnectionError)
                assert caught.value.details["attempts"] == 2


@pytest.mark.parametrize("route", ["revision", "tree", "xet-token", "reconstruction"])
def test_garbage_instead_of_json_is_said_to_be_that(
    hub: Hub, repo: str, client: Client, route: str
) -> None:
    """An answer that isn't what the protocol says is an error, or for Xet's servers a fallback."""
    hub.fault(route, garbage_json=True)
    if route in {"revision", "tree"}:
        with pytest.raises(NetworkError) as caught:
            client.download_snapshot(repo)
        assert caught.value.kind == "invalid_response"
    else:
        assert fetch(client, repo, "xet.bin").fallbacks == 1


@pytest.mark.parametrize("route", ["revision", "tree", "resolve", "storage"])
def test_a_redirect_loop_ends(hub: Hub, repo: str, client: Client, route: str) -> None:
    """Redirects that lead to themselves are refused at once."""
    hub.fault(route, redirect_loop=True)
    with pytest.raises(NetworkError):
        client.download_snapshot(repo, allow_patterns=["git.txt", "lfs.bin"])
    assert hub.faults()[0]["fired"] <= 4


def test_an_expired_url_is_renewed(
    own_hub: Callable[..., Hub], repo_id: str, cache_dir: Path
) -> None:
    """A signed URL that storage no longer takes costs a new one, not the file."""
    from huggingface_hub import HfApi

    hub = own_hub()
    publish(HfApi(endpoint=hub.endpoint, token="hf_alice_secret"), repo_id, {"xet.bin": XET})
    hub.fault("storage", times=1, status=403)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = fetch(client, repo_id, "xet.bin")
    assert (transfer.retries, transfer.fallbacks) == (1, 0)
    assert hub.stats().requests("cas", "reconstruction") == 2


def test_a_refused_xet_token_is_renewed(hub: Hub, repo: str, client: Client) -> None:
    """A Xet token that the CAS doesn't take is fetched anew, once."""
    hub.fault("reconstruction", times=1, status=401)
    transfer = fetch(client, repo, "xet.bin")
    assert (transfer.retries, transfer.fallbacks) == (1, 0)
    assert hub.stats().requests("hub", "xet-token") == 2


def test_tokens_that_expire_at_once_are_no_obstacle(
    own_hub: Callable[..., Hub], repo_id: str, cache_dir: Path
) -> None:
    """With Xet tokens of two seconds, each request has one that lives."""
    from huggingface_hub import HfApi

    hub = own_hub(args=["--token-ttl", "2"])
    publish(HfApi(endpoint=hub.endpoint, token="hf_alice_secret"), repo_id, {"xet.bin": XET})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        assert fetch(client, repo_id, "xet.bin").fallbacks == 0


@pytest.mark.parametrize("route", ["xet-token", "reconstruction"])
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 403}, {"cut_after_bytes": 0}], ids=str
)
def test_without_xet_files_come_over_plain_http(
    hub: Hub, repo: str, cache_dir: Path, route: str, fault: dict[str, Any]
) -> None:
    """When Xet's servers fail, Xet files come the other way, verified, and are counted."""
    hub.fault(route, **fault)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=2) as client:
        transfer = fetch(client, repo, "xet.bin")
    assert transfer.fallbacks == 1
    assert transfer.bytes_network == SIZE


def test_xorbs_that_cannot_be_fetched_come_over_plain_http(
    hub: Hub, repo: str, cache_dir: Path
) -> None:
    """The same if only the storage of xorbs is down."""
    hub.fault("storage", path_regex="^/xorbs/", status=503)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=2) as client:
        assert fetch(client, repo, "xet.bin").fallbacks == 1


def test_everything_down_is_one_clear_error(hub: Hub, repo: str, cache_dir: Path) -> None:
    """With both ways closed, the error is about the file, and nothing is left under its name."""
    hub.fault("storage", status=503)
    host = urlsplit(hub.storage).netloc
    with (
        Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=2) as client,
        pytest.raises(XetError) as caught,
    ):
        client.download_file(repo, "xet.bin")
    assert isinstance(caught.value, NetworkError)
    assert caught.value.file == "xet.bin"
    assert host in str(caught.value)
    assert list(cache_dir.rglob("xet.bin")) == []
