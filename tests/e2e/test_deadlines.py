"""Every wait has its limit, by client and by call; and what is slow is told from what is silent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from published import MIB, noise, publish
from xet_ffi import Client, InvalidConfigError, NetworkError, TransferTimeoutError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 2 * MIB
CONTENT = {"xet": noise(SIZE, "deadlines/xet"), "lfs": noise(SIZE, "deadlines/lfs")}


@pytest.fixture(params=CONTENT)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of storage."""
    return str(request.param)


@pytest.fixture
def repo(hf_api: HfApi, hub: Hub, repo_id: str, kind: str) -> str:
    """A repo with a file of that kind."""
    publish(hf_api, repo_id, {"weights.bin": CONTENT[kind]}, lfs=kind == "lfs")
    hub.reset_stats()
    return repo_id


def client_at(endpoint: str, **options: Any) -> Client:
    """A client with options that need not make sense."""
    return Client(endpoint, token=False, **options)


def client_of(hub: Hub, cache_dir: Path, **options: Any) -> Client:
    """An anonymous client."""
    return client_at(hub.endpoint, cache_dir=cache_dir, **options)


@pytest.mark.parametrize("per_call", [False, True], ids=["client", "call"])
def test_a_stalled_stream_is_given_up_and_counted(
    hub: Hub, repo: str, kind: str, cache_dir: Path, *, per_call: bool
) -> None:
    """A body that stops is taken up on another connection after the read timeout."""
    hub.fault("storage", method="GET", times=1, stall_after_bytes=SIZE // 2)
    limits: dict[str, Any] = {"read_timeout": 0.5}
    with client_of(hub, cache_dir, **({} if per_call else limits)) as client:
        transfer = client.download_file(repo, "weights.bin", **(limits if per_call else {}))
    assert Path(transfer).read_bytes() == CONTENT[kind]
    assert (transfer.stalls, transfer.retries, transfer.fallbacks) == (1, 1, 0)
    assert transfer.seconds < 10


def test_a_trickle_counts_as_a_stall(hub: Hub, repo: str, kind: str, cache_dir: Path) -> None:
    """1 KiB a second is no download: the stream is given up for one that flows."""
    hub.fault("storage", method="GET", times=1, drip=1024)
    with client_of(hub, cache_dir, read_timeout=1) as client:
        transfer = client.download_file(repo, "weights.bin")
    assert Path(transfer).read_bytes() == CONTENT[kind]
    assert transfer.stalls >= 1
    assert transfer.seconds < 60


def test_a_trickle_that_stays_is_an_error_that_lists_what_was_tried(
    hub: Hub, repo: str, kind: str, cache_dir: Path
) -> None:
    """If nothing flows, whichever way it is asked for, the call ends and says so."""
    hub.fault("storage", drip=1024)
    with (
        client_of(hub, cache_dir, read_timeout=0.4, max_attempts=2) as client,
        pytest.raises(TransferTimeoutError, match="less than 2048 bytes per second") as caught,
    ):
        client.download_file(repo, "weights.bin")
    assert [tried.split(":")[0] for tried in caught.value.tried] == ["Xet"] * (kind == "xet")
    assert not list(cache_dir.rglob("weights.bin"))


def test_who_is_content_with_a_trickle_waits(hub: Hub, repo: str, cache_dir: Path) -> None:
    """With min_speed=0, only silence is a stall."""
    hub.fault("storage", drip=1024)
    with client_of(hub, cache_dir, read_timeout=0.4, min_speed=0) as client:
        with pytest.raises(TransferTimeoutError, match="timeout of 3s"):
            client.download_file(repo, "weights.bin", timeout=3)
        with pytest.raises(TransferTimeoutError, match="bytes per second"):
            client.download_file(repo, "weights.bin", timeout=60, min_speed=5000)


def test_the_first_byte_has_a_limit_of_its_own(hub: Hub, repo: str, cache_dir: Path) -> None:
    """A server may think for longer than it may be silent within an answer, and the other way."""
    hub.fault("resolve", method="HEAD", stall_before=1.2, times=1)
    with client_of(hub, cache_dir, read_timeout=0.4, first_byte_timeout=20) as client:
        assert client.download_file(repo, "weights.bin").retries == 0
    hub.fault("revision", stall_before=60)
    with client_of(hub, cache_dir / "2", max_attempts=1) as client:
        started = time.monotonic()
        with pytest.raises(TransferTimeoutError, match="sent no answer for 300ms"):
            client.list_files(repo, first_byte_timeout=0.3)
        assert time.monotonic() - started < 10


def test_a_speed_limit_holds(hub: Hub, repo: str, kind: str, cache_dir: Path) -> None:
    """A client receives no more than it may, and hardly less."""
    with client_of(hub, cache_dir, max_bytes_per_second=SIZE) as client:
        transfer = client.download_file(repo, "weights.bin")
    assert Path(transfer).read_bytes() == CONTENT[kind]
    # One burst, a fiftieth of a second's worth, is free.
    assert transfer.seconds >= 0.95
    assert transfer.stalls == 0


@pytest.mark.parametrize(
    "name", ["connect_timeout", "first_byte_timeout", "read_timeout", "max_bytes_per_second"]
)
def test_limits_that_make_no_sense_are_refused_by_name(name: str) -> None:
    """Zero isn't "none", and a negative time is none either."""
    for value in (0, -1):
        with pytest.raises(InvalidConfigError, match=name):
            client_at("http://127.0.0.1:9", **{name: value})


def test_a_limit_that_does_not_exist_is_a_type_error() -> None:
    """A misspelt keyword is not swallowed."""
    with Client("http://127.0.0.1:9") as client, pytest.raises(TypeError, match="reed_timeout"):
        client.list_files("a/b", reed_timeout=1)  # type: ignore[call-arg]


def test_a_silent_host_is_a_timeout_of_connecting(cache_dir: Path) -> None:
    """A backlog that is full, or a host that drops packets, is noticed by the connect timeout."""
    import socket

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        try:
            for one in waiting:
                one.setblocking(False)  # noqa: FBT003 - it has no name
                one.connect_ex(("127.0.0.1", port))
            with (
                Client(
                    f"http://127.0.0.1:{port}", token=False, cache_dir=cache_dir, max_attempts=1
                ) as client,
                pytest.raises((TransferTimeoutError, NetworkError), match="no connection"),
            ):
                client.list_files("a/b", connect_timeout=0.5)
        finally:
            for one in waiting:
                one.close()
