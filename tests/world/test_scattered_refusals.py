"""Servers that refuse some requests and let others through: each waits for itself."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from published import MIB, noise
from world.stage import TOKEN, publish
from xet_ffi import Client, NetworkError

if TYPE_CHECKING:
    from hub import Hub

COUNT = 60
#: Requests that are needed: each file, and where its redirect leads.
NEEDED = 2 * COUNT
FILES = {f"{i:02}.txt": b"%d\n" % i * 50 for i in range(COUNT)}

#: Both hops of a file of Git's.
BOTH = "/resolve/|/resolve-cache/"
CACHE = "/resolve-cache/"

#: Which of the requests are refused (by rules, each of which takes each so-many-th of what those
#: before it left), how, and the most seconds that this may take: a few times of what it does take.
SOME = [
    pytest.param([3], BOTH, 429, {}, 20, id="a third"),
    pytest.param([5], BOTH, 429, {}, 20, id="a fifth"),
    pytest.param([3], CACHE, 429, {}, 20, id="a third of the second hops"),
    pytest.param([3, 2], BOTH, 429, {}, 75, id="two thirds"),
    pytest.param([3], BOTH, 503, {}, 20, id="a third, 503"),
    pytest.param([3], BOTH, 429, {"Retry-After": "1"}, 45, id="a third, for a second"),
    pytest.param([3], BOTH, 503, {"Retry-After": "1"}, 45, id="a third, 503 for a second"),
]


@pytest.mark.parametrize(("every", "hops", "status", "headers", "seconds"), SOME)
def test_a_snapshot_comes_all_the_same(
    hub: Hub,
    tmp_path: Path,
    every: list[int],
    hops: str,
    status: int,
    headers: dict[str, str],
    seconds: float,
) -> None:
    """Soon, and nothing that was let through is asked for again."""
    repo_id, _ = publish(hub, FILES)
    for n in every:
        hub.fault("any", method="GET", path_regex=hops, every=n, status=status, headers=headers)
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        begun = time.monotonic()
        transfer = client.download_snapshot(repo_id, timeout=120)
        took = time.monotonic() - begun
    for path, content in FILES.items():
        assert (Path(transfer) / path).read_bytes() == content
    refused = sum(rule["fired"] for rule in hub.faults())
    asked = hub.stats().requests("hub", "resolve", "resolve-cache")
    assert refused > NEEDED // 10
    # `.gitattributes` is a file, too; the first may begin anew, before others are seen to pass.
    assert asked - refused <= NEEDED + 2 + 4
    assert took < seconds


def test_each_that_is_refused_twice_comes(hub: Hub, tmp_path: Path) -> None:
    """Nothing passes until one has been asked for three times, and then the others do, too."""
    repo_id, _ = publish(hub, FILES)
    for path in FILES:
        for hop in ("resolve", "resolve-cache"):
            hub.fault(hop, method="GET", path_regex=f"/{path}$", times=2, status=429)
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        begun = time.monotonic()
        transfer = client.download_snapshot(repo_id, timeout=120)
        took = time.monotonic() - begun
    assert transfer.retries == 2 * NEEDED
    assert took < 75


def test_a_second_hop_that_is_refused_for_other_reasons_is_led_to_anew(
    hub: Hub, tmp_path: Path
) -> None:
    """What the redirect led to may have expired while it was waited for."""
    repo_id, _ = publish(hub, {"a.txt": b"a"})
    hub.fault("resolve-cache", times=1, status=429)
    hub.fault("resolve-cache", times=1, status=403)
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        transfer = client.download_snapshot(repo_id, allow_patterns="a.txt")
    assert (Path(transfer) / "a.txt").read_bytes() == b"a"
    stats = hub.stats()
    assert (stats.requests("hub", "resolve"), stats.requests("hub", "resolve-cache")) == (2, 3)


def test_one_that_always_fails_ends_with_its_attempts(hub: Hub, tmp_path: Path) -> None:
    """Also while others pass: it's no chance that hits it."""
    repo_id, _ = publish(hub, FILES)
    hub.fault("any", method="GET", path_regex="/07.txt$", status=503)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path, max_attempts=3) as client,
        pytest.raises(NetworkError, match="503"),
    ):
        client.download_snapshot(repo_id, timeout=60)
    assert hub.faults()[0]["fired"] == 3


@pytest.mark.parametrize("transport", ["http", "xet"])
def test_parts_of_one_content_are_refused_by_chance(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, transport: Literal["http", "xet"]
) -> None:
    """Each waits for itself, and it's said once: parts of a large file, and files of one xorb."""
    if transport == "http":
        files = {"large.bin": noise(150 * MIB, "scattered")}
    else:
        files = {f"{number:02}.bin": noise(300_000, number) for number in range(40)}
    repo_id, _ = publish(hub, files)
    hub.fault("storage", method="GET", skip=1, every=2, status=429)
    with (
        caplog.at_level("WARNING", "xet_ffi"),
        Client(hub.endpoint, TOKEN.secret, tmp_path, transport=transport) as client,
    ):
        transfer = client.download_snapshot(repo_id, timeout=60)
    for path, content in files.items():
        assert (Path(transfer) / path).read_bytes() == content
    said = [r.getMessage() for r in caplog.records if "refuse" in r.getMessage()]
    assert sum("refuses some file content" in message for message in said) == 1
    # Before a second one is refused, nobody knows that it's chance.
    assert len(said) <= 2


def test_nothing_that_passes_is_seen(hub: Hub, tmp_path: Path) -> None:
    """All second hops are refused: one asks now and then, and progress says what is waited for."""
    repo_id, _ = publish(hub, FILES)
    hub.fault("resolve-cache", method="GET", status=429)
    shown, cancel = threading.Event(), threading.Event()

    def look(progress: object) -> None:
        if getattr(progress, "rate_limited_seconds", 0):
            shown.set()

    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path) as client,
        pytest.raises(TimeoutError, match="limits requests"),
    ):
        client.download_snapshot(repo_id, timeout=8, progress=look, cancel=cancel)
    assert shown.is_set()
    assert hub.faults()[0]["fired"] < COUNT
