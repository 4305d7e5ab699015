"""Servers that limit requests (429, or 503 with a time): waited for, visibly, and by everybody."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hub import Hub
from world.stage import TOKEN, Model
from xet_ffi import (
    CancelledError,
    Client,
    CommitAdd,
    Progress,
    RateLimitedError,
    TransferTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

#: A time that no test waits for.
LONG = "3600"

#: Seconds after which a test that hangs is a failure.
DEADLINE = 60.0


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    """One that makes each request once: waits for rate limits are no attempts."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache", max_attempts=1) as client:
        yield client


class Limited:
    """A call in a thread, and its rate limit as its progress shows it."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.seconds: list[int] = []
        self._shown = threading.Event()
        self._cancel = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        how = {"progress": self._look, "cancel": self._cancel}
        self.outcome = self._pool.submit(call, *arguments, **how)

    def _look(self, progress: Progress) -> None:
        if progress.rate_limited_seconds:
            self.seconds.append(progress.rate_limited_seconds)
            self._shown.set()

    def wait(self) -> None:
        """Until it is seen to wait."""
        assert self._shown.wait(DEADLINE)

    def cancel(self) -> None:
        """Ends it where it waits."""
        self._cancel.set()
        with pytest.raises(CancelledError):
            self.outcome.result(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel.set()
        self._pool.shutdown()


def in_two_seconds(form: str) -> str:
    """A date for Retry-After in one of HTTP's three forms."""
    at = time.time() + 2
    if form == "IMF-fixdate":
        return formatdate(at, usegmt=True)
    return time.strftime(
        "%A, %d-%b-%y %H:%M:%S GMT" if form == "RFC 850" else "%a %b %e %H:%M:%S %Y",
        time.gmtime(at),
    )


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["IMF-fixdate", "RFC 850", "asctime"])
def test_dates_are_understood(
    hub: Hub, model: Model, client: Client, status: int, form: str
) -> None:
    """In each form that HTTP has for them; the next attempt comes no sooner."""
    after = in_two_seconds(form)
    due = time.time() + 1
    hub.fault("revision", times=1, status=status, headers={"Retry-After": after})
    transfer = client.download_snapshot(model.repo_id)
    assert time.time() >= due
    assert transfer.retries == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "1"},
        {"RateLimit": '"api";r=0;t=1'},
        {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"Retry-After": "0"},
        {},
    ],
)
def test_each_way_to_say_it_is_waited_for(
    hub: Hub, model: Model, client: Client, headers: dict[str, str]
) -> None:
    """Two refusals in a row; a date that has passed means now, and nothing means a while."""
    hub.fault("tree", times=2, status=429, headers=headers)
    assert client.download_snapshot(model.repo_id).retries == 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "route",
    [
        *("revision", "tree", "resolve", "resolve-cache", "xet-token"),
        *("reconstruction", "storage", "preupload", "commit"),
    ],
)
def test_every_request_waits(
    hub: Hub, model: Model, tmp_path: Path, route: str, status: int
) -> None:
    """Whatever is refused in a download and an upload, neither fails nor goes another way."""
    hub.fault(route, times=1, status=status, headers={"Retry-After": "1"})
    with Client(
        hub.endpoint, TOKEN.secret, tmp_path / "cache", max_attempts=1, transport="xet"
    ) as client:
        transfer = client.download_snapshot(model.repo_id)
        for path, content in model.files.items():
            assert (Path(transfer) / path).read_bytes() == content
        client.create_commit(model.repo_id, [CommitAdd("new.json", b"[1]")])
    assert hub.faults()[0]["fired"] == 1
    assert hub.stats().statuses(status) == 1


def test_xet_storage_that_limits_uploads_is_waited_for(
    hub: Hub, model: Model, client: Client
) -> None:
    """Ever longer, where it doesn't say for how long."""
    hub.fault("xorb", times=2, status=429)
    seen: set[int] = set()

    def look(progress: Progress) -> None:
        seen.add(progress.rate_limited_seconds)

    client.upload_file(os.urandom(700_000), "new.safetensors", model.repo_id, progress=look)
    assert hub.faults()[0]["fired"] == 2
    assert {1, 2} <= seen


def test_a_token_that_is_limited_in_the_middle_of_an_upload_is_waited_for(tmp_path: Path) -> None:
    """By then it is the Hub that has us wait, for longer than storage may be silent."""
    with (
        Hub.start(tmp_path / "hub", [TOKEN], args=["--token-ttl", "2"]) as hub,
        Client(
            hub.endpoint,
            TOKEN.secret,
            tmp_path / "cache",
            max_attempts=1,
            connect_timeout=1.0,
            first_byte_timeout=1.0,
            read_timeout=1.0,
        ) as client,
    ):
        client.create_repo("alice/limited")
        # One to see that there is storage, and one for the session: the next are xet-core's.
        limit = {"Retry-After": "4"}
        hub.fault("xet-token", skip=2, times=1, status=429, headers=limit)
        client.upload_file(os.urandom(700_000), "new.safetensors", "alice/limited")
        assert hub.faults()[0]["fired"] == 1


@pytest.mark.parametrize("route", ["revision", "commit", "storage"])
def test_a_wait_beyond_the_timeout_is_not_begun(
    hub: Hub, model: Model, client: Client, route: str
) -> None:
    """The error comes at once, and names the wait and the timeout."""
    hub.fault(route, status=429, headers={"Retry-After": LONG})
    calls: dict[str, Callable[[], object]] = {
        "commit": lambda: client.upload_file(b"[1]", "new.json", model.repo_id, timeout=50),
        "storage": lambda: client.download_file(model.repo_id, "large.bin", timeout=50),
        "revision": lambda: client.download_snapshot(model.repo_id, timeout=50),
    }
    with pytest.raises(RateLimitedError, match=r"360\d s.*timeout of 50s") as caught:
        calls[route]()
    assert caught.value.retry_after is not None
    assert int(LONG) <= caught.value.retry_after <= int(LONG) + 1
    assert caught.value.http_status == 429


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", [None, "0", "Sun, 06 Nov 1994 08:49:37 GMT", "soon"])
def test_a_timeout_that_ends_a_wait_says_so(
    hub: Hub, model: Model, client: Client, status: int, after: str | None
) -> None:
    """Where the server names no time, or "now", it is asked until the call's time is over."""
    if status == 503 and after in {None, "soon"}:
        pytest.skip("a failure, and no limit")
    hub.fault("revision", status=status, headers={"Retry-After": after} if after else {})
    with pytest.raises(TransferTimeoutError, match="limits requests"):
        client.download_snapshot(model.repo_id, timeout=1.5)
    assert hub.faults()[0]["fired"] >= 2


def test_a_wait_is_seen_and_can_be_ended(hub: Hub, model: Model, client: Client) -> None:
    """Progress counts the seconds down."""
    hub.fault("revision", status=429, headers={"Retry-After": LONG})
    with Limited(client.download_snapshot, model.repo_id) as call:
        call.wait()
        call.cancel()
        assert int(LONG) - DEADLINE < call.seconds[0] <= int(LONG) + 2
        assert call.seconds == sorted(call.seconds, reverse=True)


def test_one_refusal_is_for_all_calls(hub: Hub, model: Model, client: Client) -> None:
    """What is of its sort isn't even sent, whichever call asks; what isn't goes on."""
    others = [CommitAdd(path, b"[1]") for path in ("a.json", "b.json")]
    client.create_commit(model.repo_id, others)
    hub.fault("resolve", method="GET", status=429, headers={"Retry-After": LONG})
    with Limited(client.download_file, model.repo_id, "a.json") as first:
        first.wait()
        with Limited(client.download_file, model.repo_id, "b.json") as second:
            second.wait()
            assert len(client.list_files(model.repo_id)) > len(model.files)
            with Limited(client.download_file, model.repo_id, "config.json") as third:
                third.wait()
                assert hub.faults()[0]["fired"] == 1
                for call in (first, second, third):
                    call.cancel()


def test_those_that_waited_come_one_after_the_other(hub: Hub, model: Model, client: Client) -> None:
    """Of those that were refused together, few are asked for at once afterwards."""
    count = 12  # with what the model has, as many as are asked for at once
    files = [CommitAdd(f"{i}.txt", str(i).encode()) for i in range(count)]
    client.create_commit(model.repo_id, files)
    hub.fault("resolve", method="GET", times=count, status=429, headers={"Retry-After": "3"})
    hub.delay(0.05, "hub")
    try:
        with Limited(client.download_snapshot, model.repo_id) as call:
            call.wait()
            while hub.stats().in_flight("hub"):
                pass
            hub.reset_stats()
            call.outcome.result(DEADLINE)
        assert hub.stats().peak("hub") <= count // 2
    finally:
        hub.delay()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("place", ["cache", "local_dir"])
@pytest.mark.parametrize("route", ["resolve", "revision", "tree"])
def test_the_cache_does_not_stand_in_for_a_hub_that_will_answer(
    hub: Hub, model: Model, client: Client, tmp_path: Path, route: str, place: str, status: int
) -> None:
    """What it says in a moment is newer than what is here."""
    where = tmp_path / "here" if place == "local_dir" else None

    def download() -> str:
        if route == "resolve":
            file = client.download_file(model.repo_id, "config.json", local_dir=where)
            assert Path(file).read_bytes() == expected
            return file.commit
        snapshot = client.download_snapshot(model.repo_id, local_dir=where)
        assert (Path(snapshot) / "config.json").read_bytes() == expected
        return snapshot.commit

    expected = model.files["config.json"]
    download()
    expected = b"[1]"
    new = client.create_commit(model.repo_id, [CommitAdd("config.json", expected)]).oid
    hub.fault(route, times=1, status=status, headers={"Retry-After": "1"})
    assert download() == new
    assert hub.faults()[0]["fired"] == 1


@pytest.mark.parametrize("headers", [{"Retry-After": LONG}, {}])
def test_the_cache_stands_in_for_a_hub_that_will_not_answer_in_time(
    hub: Hub, model: Model, client: Client, headers: dict[str, str]
) -> None:
    """Whether it says for how long, or the call's time is over before it is asked again."""
    here = client.download_snapshot(model.repo_id).commit
    client.create_commit(model.repo_id, [CommitAdd("config.json", b"[1]")])
    hub.fault("any", path_regex="revision|resolve", status=429, headers=headers)
    assert client.download_snapshot(model.repo_id, timeout=3).commit == here
    assert client.download_file(model.repo_id, "config.json", timeout=3).commit == here


def test_a_file_that_is_always_refused_does_not_hold_up_the_others(
    hub: Hub, model: Model, client: Client
) -> None:
    """It is refused for what it is, and whoever was refused goes last."""
    count = 100
    files = [CommitAdd(f"{i}.txt", str(i).encode()) for i in range(count)]
    poison = [CommitAdd(f"poison{i}.txt", b"poison %d" % i) for i in range(3)]
    client.create_commit(model.repo_id, files + poison)
    hub.fault("any", method="GET", path_regex="poison", status=429)
    done, cancel = threading.Event(), threading.Event()

    def look(progress: Progress) -> None:
        left = progress.files_total - progress.files_completed
        if progress.files_total and left <= len(poison):
            done.set()
            cancel.set()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.download_snapshot, model.repo_id, progress=look, cancel=cancel)
        others_are_here = done.wait(DEADLINE)
        cancel.set()
        with pytest.raises(CancelledError):
            call.result(DEADLINE)
    assert others_are_here


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_beyond_patience_is_not_begun(
    hub: Hub, model: Model, client: Client, status: int
) -> None:
    """More than two hours is an error at once, with the server's words; the next call asks anew."""
    hub.fault("revision", status=status, headers={"Retry-After": "864000"})
    for call in (client.list_files, client.resolve, client.download_snapshot):
        with pytest.raises(ConnectionError, match=r"864000 s.*120 minutes") as caught:
            call(model.repo_id, timeout=DEADLINE)
        assert getattr(caught.value, "http_status", None) == status
    assert hub.faults()[0]["fired"] == 3
    hub.clear_faults()
    client.download_snapshot(model.repo_id)


def test_a_long_wait_is_named_in_the_log(hub: Hub, model: Model, client: Client) -> None:
    """A call without progress says that it waits for what another one has found out."""
    hub.fault("revision", status=429, headers={"Retry-After": LONG})
    said = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.WARNING and "waiting 36" in record.getMessage():
                said.set()

    listener, log = Listener(), logging.getLogger("xet_ffi")
    log.addHandler(listener)
    cancel = threading.Event()
    try:
        with (
            Limited(client.download_snapshot, model.repo_id) as first,
            ThreadPoolExecutor(1) as pool,
        ):
            first.wait()
            call = pool.submit(client.list_files, model.repo_id, cancel=cancel)
            was_said = said.wait(DEADLINE)
            cancel.set()
            with pytest.raises(CancelledError):
                call.result(DEADLINE)
            first.cancel()
    finally:
        log.removeHandler(listener)
    assert was_said
