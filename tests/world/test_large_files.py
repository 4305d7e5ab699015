"""Large files over plain HTTP come in parts, several at a time, from servers that give no more.

The real CDN answers 400 to a GET of more than 50 GB (hub-protocol.md 10, "Big files"); here it's
less.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from gateway import Gateway
from published import MIB, noise
from world.stage import TOKEN
from xet_ffi import (
    CancelledError,
    ChecksumMismatchError,
    Client,
    CommitAdd,
    Progress,
    XetError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub import Hub

#: Not a multiple of anything, and enough for several parts.
LARGE = 75 * MIB + 12_345
CONTENT = {"small.bin": noise(5 * MIB + 1, "parts"), "large.bin": noise(LARGE, "parts")}
KINDS = ("lfs", "xet")
#: As storage's paths and its counters have them.
ROUTES = {"lfs": "lfs", "xet": "files"}


def publish(hub: Hub) -> dict[str, str]:
    """A repo for each kind of storage."""
    repos = {kind: f"alice/parts-{kind}-{os.urandom(4).hex()}" for kind in KINDS}
    with Client(hub.endpoint, TOKEN.secret) as client:
        for kind, repo_id in repos.items():
            client.create_repo(repo_id)
            if kind == "lfs":
                hub.set_settings(repo_id, xet=False)
            client.create_commit(repo_id, [CommitAdd(p, data) for p, data in CONTENT.items()])
    hub.reset_stats()
    return repos


@pytest.fixture(scope="module")
def repos(_session_hub: Hub) -> dict[str, str]:
    """The repos on the hub that all tests share, which gives 50 GB at once."""
    return publish(_session_hub)


#: What a CDN gives at once: bytes of a whole file, bytes of a range.
LIMITS: dict[str, dict[str, int]] = {
    "no whole file": {"largest_whole": 2 * MIB},
    "no long range, either": {"largest_whole": 2 * MIB, "longest_range": 3 * MIB},
}


@pytest.fixture(scope="module", params=LIMITS)
def limited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Hub, dict[str, str]]]:
    """A hub that gives less at once, and the repos there."""
    from hub import Hub

    data = tmp_path_factory.mktemp("limited") / "data"
    with Hub.start(data, [TOKEN], config=LIMITS[request.param]) as hub:
        yield hub, publish(hub)


def plain(endpoint: str, cache: Path, **options: Any) -> Client:
    """A client that gets all over plain HTTP."""
    return Client(endpoint, token=False, cache_dir=cache, transport="http", **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_comes_from_a_cdn_that_does_not_give_it_at_once(
    limited: tuple[Hub, dict[str, str]], tmp_path: Path, kind: str
) -> None:
    """Each byte once; the Hub is asked a few times, whatever the number of parts."""
    hub, repos = limited
    hub.reset_stats()
    with plain(hub.endpoint, tmp_path) as client:
        for path, content in CONTENT.items():
            transfer = client.download_file(repos[kind], path)
            assert Path(transfer).read_bytes() == content
            assert transfer.retries == 0
    stats = hub.stats()
    assert stats.fetched_bytes(ROUTES[kind]) - stats.statuses(400) * 200 <= sum(
        map(len, CONTENT.values())
    )
    # What is refused is halved, twice for a part of 16 MiB; then each part is one request.
    assert stats.statuses(400) <= 2 * 6
    assert stats.requests("hub", "resolve") <= 2 * 10
    assert not list(tmp_path.rglob("*.part*"))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_come_side_by_side_and_a_small_file_in_one(
    hub: Hub, repos: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """As far as the client's budget goes."""
    hub.fault("storage", method="GET", drip=20_000_000)
    with plain(hub.endpoint, tmp_path) as client:
        client.download_file(repos[kind], "small.bin")
        assert hub.stats().fetched(ROUTES[kind]) == hub.stats().peak("storage") == 1
        assert (
            Path(client.download_file(repos[kind], "large.bin")).read_bytes()
            == CONTENT["large.bin"]
        )
    stats = hub.stats()
    assert stats.peak("storage") > 2
    assert stats.fetched(ROUTES[kind]) <= 1 + LARGE // (16 * MIB) + 1
    # Of the large file only the first part is asked for at the Hub, and those while it comes.
    assert stats.requests("hub", "resolve") <= 4


def test_a_narrow_client_takes_one_part_at_a_time(
    hub: Hub, repos: dict[str, str], tmp_path: Path
) -> None:
    """Its budget is what it was told: two streams for each file at a time."""
    hub.fault("storage", method="GET", drip=20_000_000)
    with plain(hub.endpoint, tmp_path, max_concurrent_downloads=1) as client:
        client.download_file(repos["lfs"], "large.bin")
    assert hub.stats().peak("storage") <= 2


#: Downloads, and prints how many bytes it has, until it is killed.
CHILD = """
import sys
from xet_ffi import Client

endpoint, cache, repo = sys.argv[1:]
client = Client(endpoint, token=False, cache_dir=cache, transport="http")
client.download_file(repo, "large.bin", progress=lambda p: print(p.bytes_completed, flush=True))
"""


@pytest.mark.parametrize(("kind", "then"), [("lfs", "http"), ("xet", "http"), ("xet", "xet")])
@pytest.mark.parametrize("part", [0.3, 0.8])
def test_a_kill_costs_what_was_on_its_way(
    hub: Hub,
    repos: dict[str, str],
    tmp_path: Path,
    kind: str,
    part: float,
    then: Literal["http", "xet"],
) -> None:
    """Whatever the order in which the parts came, and whichever way the rest comes."""
    # The first part is the slowest: nearly all that is here lies behind it.
    hub.fault("storage", method="GET", times=1, drip=1_000_000)
    hub.fault("storage", method="GET", drip=30_000_000)
    command = [sys.executable, "-c", CHILD, hub.endpoint, str(tmp_path), repos[kind]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        at = next(done for done in map(int, child.stdout) if done >= LARGE * part * 0.8)
        child.kill()
    assert child.returncode < 0, "it finished before it could be killed"
    hub.clear_faults()
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=tmp_path, transport=then) as client:
        plan = client.plan_snapshot(repos[kind], allow_patterns="large.bin")
        transfer = client.download_file(repos[kind], "large.bin")
    assert Path(transfer).read_bytes() == CONTENT["large.bin"]
    # A mebibyte of each stream, and what of the last chunk isn't here.
    if then == "http":
        assert hub.stats().fetched_bytes(ROUTES[kind]) <= LARGE - at + 16 * MIB
    assert transfer.bytes_network <= LARGE - at + 16 * MIB
    assert transfer.bytes_reused >= at - 16 * MIB
    assert transfer.refetches == 0
    assert plan.bytes_present >= at - 16 * MIB
    assert not list(tmp_path.rglob("*.part*"))


@pytest.mark.parametrize("kind", KINDS)
def test_streams_that_break_cost_nothing_twice(
    hub: Hub, repos: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """Each is taken up where it ended."""
    for skip in (0, 1, 3):
        hub.fault("storage", method="GET", skip=skip, times=1, close_after_bytes=5 * MIB)
    with plain(hub.endpoint, tmp_path) as client:
        transfer = client.download_file(repos[kind], "large.bin")
    assert Path(transfer).read_bytes() == CONTENT["large.bin"]
    assert transfer.retries == 3
    assert transfer.bytes_network <= LARGE + 3 * MIB


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [204, 300, 304, 400, 404, 405, 410, 416, 451])
@pytest.mark.parametrize("skip", [0, 2])
def test_one_odd_answer_costs_a_question(
    hub: Hub, repos: dict[str, str], tmp_path: Path, kind: str, status: int, skip: int
) -> None:
    """It's no habit of the server: neither for the file's other parts, nor for other files."""
    hub.fault("storage", method="GET", skip=skip, times=1, status=status)
    hub.fault("storage", method="GET", drip=60_000_000)
    parts = -(-LARGE // (16 * MIB))
    with plain(hub.endpoint, tmp_path) as client:
        root = Path(client.download_snapshot(repos[kind]))
        assert {path: (root / path).read_bytes() for path in CONTENT} == CONTENT
    stats = hub.stats()
    assert stats.statuses(status) == 1
    assert stats.peak("storage") > 1
    assert stats.fetched(ROUTES[kind]) <= parts + 1 + 1


#: What becomes of a request with a range, in nginx's language.
HABITS = {
    "416": "if ($http_range) { return 416; }",
    "400": "if ($http_range) { return 400; }",
    "403": "if ($http_range) { return 403; }",
    "405": "if ($http_range) { return 405; }",
    "501": "if ($http_range) { return 501; }",
    "another part": """set $part ''; if ($http_range) { set $part 'bytes=0-99'; }
        proxy_set_header Range $part;""",
    "a part without its place": "proxy_hide_header Content-Range;",
    "all": "proxy_set_header Range '';",
    "all, but for the first part": """set $part ''; if ($http_range ~ '^bytes=0-') {
        set $part $http_range; } proxy_set_header Range $part;""",
    "a part that is cut short": """set $part $http_range; if ($http_range ~ '^bytes=16777216-') {
        set $part 'bytes=16777216-20000000'; } proxy_set_header Range $part;""",
    "another ETag for each": "proxy_hide_header ETag; add_header ETag $request_id;",
    "one connection": "limit_conn connections 1;",
    "one connection, 429": "limit_conn connections 1; limit_conn_status 429;",
    "two connections": "limit_conn connections 2;",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("habit", HABITS)
def test_a_large_file_comes_from_servers_with_habits(
    hub: Hub, repos: dict[str, str], tmp_path: Path, kind: str, habit: str
) -> None:
    """Those that do no ranges, or others, or not several at a time."""
    with through(hub, tmp_path, HABITS[habit]) as gateway:
        with plain(gateway.endpoint, tmp_path / "cache") as client:
            transfer = client.download_file(repos[kind], "large.bin")
        assert Path(transfer).read_bytes() == CONTENT["large.bin"]
        assert not list((tmp_path / "cache").rglob("*.part*"))
        asked = [r for r in gateway.requests() if r[1].startswith("/storage/")]
    assert len(asked) < 40


def through(hub: Hub, folder: Path, rule: str) -> Gateway:
    """A gateway before the hub and its storage, whose answers obey `rule`."""
    locations = f"""
        location /storage/ {{ {rule} proxy_pass {{storage}}/; proxy_set_header Authorization ''; }}
        location / {{ proxy_pass {{hub}}; }}"""
    gateway = Gateway.start(hub, folder / "nginx", locations)
    hub.announce(bridge=gateway.endpoint + "/storage")
    return gateway


@pytest.fixture(autouse=True)
def _announced(hub: Hub) -> Iterator[None]:
    yield
    hub.announce()


def test_parts_of_another_file_are_no_file(hub: Hub, repos: dict[str, str], tmp_path: Path) -> None:
    """What doesn't have the hash is not kept, and the error says so."""
    hub.fault("storage", method="GET", skip=2, times=1, invert=True)
    with plain(hub.endpoint, tmp_path) as client, pytest.raises(ChecksumMismatchError):
        client.download_file(repos["lfs"], "large.bin")
    assert not [path for path in tmp_path.rglob("*.part*") if path.stat().st_size]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_gives_neither_whole_nor_parts(
    hub: Hub, repos: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """It's asked a few times, and the error has its answer."""
    hub.fault("storage", method="GET", status=400)
    with plain(hub.endpoint, tmp_path) as client, pytest.raises(XetError) as caught:
        client.download_file(repos[kind], "large.bin")
    assert caught.value.http_status == 400
    assert hub.storage.partition("://")[2] in str(caught.value)
    assert hub.faults()[0]["fired"] <= 20


def test_a_server_that_fails_for_good_is_tried_as_often_as_the_policy_has_it(
    hub: Hub, repos: dict[str, str], tmp_path: Path
) -> None:
    """Each part that was on its way once more, and then one of them to the end of its attempts."""
    hub.fault("storage", method="GET", drip=20_000_000, times=2)
    hub.fault("any", method="GET", path_regex="/resolve/|^/lfs/", skip=2, status=500)
    parts, attempts = -(-LARGE // (16 * MIB)), 4
    with (
        plain(hub.endpoint, tmp_path, max_attempts=attempts) as client,
        pytest.raises(XetError) as caught,
    ):
        client.download_file(repos["lfs"], "large.bin")
    assert caught.value.http_status == 500
    assert caught.value.details["attempts"] == attempts
    assert hub.faults()[1]["fired"] <= 2 * (parts - 1) + attempts


def test_a_part_that_is_refused_holds_back_no_other(
    hub: Hub, repos: dict[str, str], tmp_path: Path
) -> None:
    """All others come while it waits, one after the other."""
    rule = "if ($http_range ~ '^bytes=16777216-') { return 429; }"
    came = 0

    def look(progress: Progress) -> None:
        nonlocal came
        came = progress.bytes_completed

    with (
        through(hub, tmp_path, rule) as gateway,
        plain(gateway.endpoint, tmp_path / "c", max_concurrent_downloads=1) as client,
    ):
        with pytest.raises(CancelledError):
            client.download_file(
                repos["lfs"],
                "large.bin",
                progress=look,
                cancel=lambda: came >= LARGE - 16 * MIB,
                timeout=30,
            )
        asked = [request for request in gateway.requests() if request[1].startswith("/storage/")]
    assert len(asked) < 40


def test_a_url_that_expires_is_replaced(hub: Hub, repos: dict[str, str], tmp_path: Path) -> None:
    """By one question, between parts as within one."""
    hub.fault("storage", method="GET", skip=2, times=2, status=403)
    with plain(hub.endpoint, tmp_path) as client:
        transfer = client.download_file(repos["lfs"], "large.bin")
    assert Path(transfer).read_bytes() == CONTENT["large.bin"]
    assert transfer.bytes_network == LARGE


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[int], None]:
    """Changes a byte of what an earlier call has left at that place."""

    def change(place: int) -> None:
        (partial,) = tmp_path.rglob("*.partial")
        with partial.open("r+b") as file:
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 1]))

    return change


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_left_and_is_damaged_comes_again(
    hub: Hub,
    repos: dict[str, str],
    tmp_path: Path,
    kind: str,
    changed: Callable[[int], None],
) -> None:
    """A file with one hash as a whole, one of chunks in part."""
    hub.fault("storage", method="GET", drip=20_000_000)
    done = 0

    def look(progress: Progress) -> None:
        nonlocal done
        done = progress.bytes_completed

    with plain(hub.endpoint, tmp_path) as client:
        with pytest.raises(CancelledError):
            client.download_file(
                repos[kind], "large.bin", progress=look, cancel=lambda: done >= LARGE // 2
            )
        hub.clear_faults()
        changed(1000)
        transfer = client.download_file(repos[kind], "large.bin")
    assert Path(transfer).read_bytes() == CONTENT["large.bin"]


def test_what_another_client_has_left_and_is_damaged_is_taken_once(
    hub: Hub, repos: dict[str, str], tmp_path: Path
) -> None:
    """It stays where it is, and isn't ours to remove."""
    repo_id = repos["lfs"]
    blobs = tmp_path / f"models--{repo_id.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    with plain(hub.endpoint, tmp_path) as client:
        (entry,) = (entry for entry in client.list_files(repo_id) if entry.path == "large.bin")
        (blobs / f"{entry.sha256}.1234abcd.incomplete").write_bytes(bytes(40 * MIB))
        transfer = client.download_file(repo_id, "large.bin", timeout=30)
    assert Path(transfer).read_bytes() == CONTENT["large.bin"]
    assert transfer.bytes_network <= 2 * LARGE
