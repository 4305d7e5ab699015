"""Xet's servers out of reach while the Hub answers: found out once, for all files and calls."""

from __future__ import annotations

import logging
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from out_of_reach import out_of_reach
from world.stage import TOKEN, Model
from xet_ffi import Client, CommitAdd, NetworkError, XetError

if TYPE_CHECKING:
    from hub import Hub

COUNT = 40
SIZE = 600 << 10
#: Deadlines of a client that has little patience with silence.
QUICK: dict[str, Any] = {"connect_timeout": 2.0, "read_timeout": 3.0}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Xet files that are no small ones."""
    return {f"{i}.bin": os.urandom(SIZE) for i in range(COUNT)}


@pytest.fixture
def many(hub: Hub, files: dict[str, bytes]) -> Model:
    """A repo with these files."""
    repo_id = f"alice/many-{uuid.uuid4().hex[:12]}"
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.create_repo(repo_id)
        client.create_commit(repo_id, [CommitAdd(path, data) for path, data in files.items()])
    hub.reset_stats()
    return Model(repo_id, files)


#: What storage answers for xorbs.
ANSWERS: dict[str, dict[str, Any]] = {
    "refused signatures": {"status": 403},
    "another page": {"status": 200, "body": "<html>Log in</html>"},
    "unavailable": {"status": 503},
    "silence": {"stall_before": 60},
    "silence in mid-body": {"stall_after_bytes": 100},
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as one."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("way", ["refused", "unknown host", "dropped", "not TLS", *ANSWERS])
def test_a_host_is_found_out_of_reach_once(
    hub: Hub, many: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """All files come, most of them without another attempt; one warning names host and way out."""
    with (
        out_of_reach(hub, way) as host,
        Client(hub.endpoint, token=False, cache_dir=tmp_path, **QUICK) as client,
    ):
        if way in ANSWERS:
            hub.fault("storage", path_regex="^/xorbs/", **ANSWERS[way])
        transfer = client.download_snapshot(many.repo_id)
        for path, content in many.files.items():
            assert (Path(transfer) / path).read_bytes() == content
        assert transfer.fallbacks == COUNT
        # Eight files at a time, which have a few attempts until it is clear.
        assert transfer.retries <= 8 * 4
        if way in ANSWERS:
            asked = hub.faults()[0]["fired"]
            assert asked <= 8 * 5
            # The next call on the client knows.
            again = client.download_snapshot(many.repo_id, local_dir=tmp_path / "again")
            assert hub.faults()[0]["fired"] == asked
            assert again.retries == 0
    (warning,) = warnings(caplog)
    assert host in warning
    assert "XET_FFI_TRANSPORT=http" in warning


@pytest.mark.parametrize("way", ["refused", "unavailable", "refused signatures"])
def test_without_another_way_the_error_names_the_host(
    hub: Hub, model: Model, tmp_path: Path, way: str
) -> None:
    """Over Xet alone."""
    with (
        out_of_reach(hub, way) as host,
        Client(
            hub.endpoint, token=False, cache_dir=tmp_path, transport="xet", max_attempts=2
        ) as client,
    ):
        if way in ANSWERS:
            hub.fault("storage", path_regex="^/xorbs/", **ANSWERS[way])
        with pytest.raises(XetError, match=host):
            client.download_file(model.repo_id, "model.safetensors")


def test_a_hiccup_is_none(hub: Hub, many: Model, tmp_path: Path) -> None:
    """Single failures among files that come change nothing."""
    for skip in range(0, COUNT, 5):
        hub.fault("storage", path_regex="^/xorbs/", skip=skip, times=1, cut_after_bytes=0)
    with Client(hub.endpoint, token=False, cache_dir=tmp_path) as client:
        transfer = client.download_snapshot(many.repo_id)
    assert transfer.fallbacks == 0
    assert {file.way for file in transfer.file_transfers} >= {"xet"}


def test_the_cas_is_found_out_of_reach_once(
    hub: Hub, many: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For all calls on the client."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path, max_attempts=3) as client:
        hub.fault("reconstruction", status=503)
        assert client.download_snapshot(many.repo_id).fallbacks == COUNT
        asked = hub.faults()[0]["fired"]
        client.download_snapshot(many.repo_id, local_dir=tmp_path / "again")
        assert hub.faults()[0]["fired"] == asked <= 8 * 3
    (warning,) = [line for line in warnings(caplog) if "plain HTTP instead" in line]
    assert hub.cas.partition("://")[2] in warning
    # One that answers is in reach, and no proxy helps.
    assert "answers HTTP 503" in warning
    assert "PROXY" not in warning


def test_a_cas_that_does_not_speak_tls_is_found_out_once(
    hub: Hub, many: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a failure is final: no file asks again."""
    with (
        out_of_reach(hub, "not TLS", origin="cas") as host,
        Client(hub.endpoint, token=False, cache_dir=tmp_path) as client,
    ):
        transfer = client.download_snapshot(many.repo_id)
    assert (transfer.fallbacks, transfer.retries) == (COUNT, 0)
    (warning,) = warnings(caplog)
    assert host in warning


@pytest.mark.parametrize("way", ["refused", "unknown host", "dropped", "not TLS"])
def test_an_upload_says_whom_it_cannot_reach(
    hub: Hub, model: Model, tmp_path: Path, way: str
) -> None:
    """It is a failure of the network, and names the host."""
    with (
        out_of_reach(hub, way, origin="cas") as host,
        Client(hub.endpoint, TOKEN.secret, tmp_path, connect_timeout=1.0) as client,
        pytest.raises(XetError, match=host) as caught,
    ):
        client.upload_file(os.urandom(SIZE), "new.bin", model.repo_id)
    assert caught.value.kind in {"connection", "timeout"}
    assert caught.value.details["attempts"] <= 2


@pytest.mark.parametrize("route", ["xorb", "shard"])
def test_an_upload_names_a_cas_that_fails(
    hub: Hub, model: Model, tmp_path: Path, route: str
) -> None:
    """With its answer."""
    hub.fault(route, status=502)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path, max_attempts=1) as client,
        pytest.raises(NetworkError, match=hub.cas.partition("://")[2]) as caught,
    ):
        client.upload_file(os.urandom(SIZE), "new.bin", model.repo_id)
    assert caught.value.http_status == 502


def test_an_upload_over_lfs_says_whom_it_cannot_reach(
    hub: Hub, model: Model, tmp_path: Path
) -> None:
    """The storage that the Hub has named."""
    hub.set_settings(model.repo_id, xet=False)
    with (
        out_of_reach(hub, "refused") as host,
        Client(hub.endpoint, TOKEN.secret, tmp_path, max_attempts=2) as client,
        pytest.raises(NetworkError, match=host),
    ):
        client.upload_file(os.urandom(SIZE), "new.bin", model.repo_id)
