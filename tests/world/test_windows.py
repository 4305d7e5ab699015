"""Windows in which a Hub takes so many requests: hub-protocol.md 10, "Rate limits"."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, Model, publish
from xet_ffi import Client, Progress, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub

COUNT = 90

#: Each needs a request.
FILES = {f"{n // 10}/{n}.txt": b"%d" % n for n in range(COUNT)}

#: Seconds that no test waits for.
LONG = 300


@pytest.fixture(scope="module")
def _published() -> dict[str, str]:
    return {}


@pytest.fixture
def repo(hub: Hub, _published: dict[str, str]) -> str:
    """A repo with many plain files."""
    if hub.endpoint not in _published:
        _published[hub.endpoint] = publish(hub, FILES)[0]
    return _published[hub.endpoint]


@pytest.fixture(autouse=True)
def _unlimited(hub: Hub) -> Iterator[None]:
    yield
    hub.limit()


@pytest.fixture
def anonymous(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    """A client without a token, which makes each request once."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache", max_attempts=1) as client:
        yield client


class Seconds:
    """What a call's progress shows of its rate limit."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, progress: Progress) -> None:
        """Looks at it."""
        if progress.rate_limited_seconds:
            self.seen.append(progress.rate_limited_seconds)


def check(snapshot: os.PathLike[str]) -> None:
    """Reads what came."""
    for path, content in FILES.items():
        assert (Path(snapshot) / path).read_bytes() == content


def test_a_snapshot_of_several_windows_is_one_call(hub: Hub, repo: str, anonymous: Client) -> None:
    """It sees each window's end coming, waits for the next one, and is refused nothing."""
    hub.limit(window=4, anonymous={"resolvers": COUNT // 3 + 5})
    shown = Seconds()
    done = anonymous.download_snapshot(repo, progress=shown)
    check(done)
    assert shown.seen
    assert max(shown.seen) <= 6
    assert hub.stats().statuses(429) == 0
    assert done.retries == 0


def test_what_fits_into_a_window_is_not_held_up(hub: Hub, repo: str, anonymous: Client) -> None:
    """Not even its last request, though the next one would have to wait."""
    hub.limit(window=LONG, anonymous={"resolvers": COUNT + 1})
    shown = Seconds()
    check(anonymous.download_snapshot(repo, progress=shown, timeout=LONG / 2))
    assert not shown.seen
    with pytest.raises(RateLimitedError) as caught:
        anonymous.download_snapshot(repo, force_download=True, timeout=LONG / 2)
    assert hub.stats().statuses(429) == 0
    assert caught.value.retry_after is not None
    assert LONG / 2 < caught.value.retry_after <= LONG + 2


def test_a_window_that_ends_after_the_deadline_is_not_waited_for(
    hub: Hub, repo: str, anonymous: Client
) -> None:
    """The error says so at once, with its seconds; another call goes on where that one was."""
    hub.limit(window=LONG, anonymous={"resolvers": COUNT // 2})
    begun = time.monotonic()
    with pytest.raises(RateLimitedError, match=r"window.*timeout of 100s") as caught:
        anonymous.download_snapshot(repo, timeout=100)
    assert time.monotonic() - begun < 100
    assert caught.value.retry_after is not None
    assert 100 < caught.value.retry_after <= LONG + 2
    hub.limit()
    with Client(hub.endpoint, token=False, cache_dir=anonymous.info().cache_dir) as another:
        done = another.download_snapshot(repo)
    check(done)
    assert done.bytes_reused > 0


def test_a_plan_says_how_many_windows_it_takes(hub: Hub, repo: str, anonymous: Client) -> None:
    """By the headers of the Hub, which is asked about one file if it hasn't said yet."""
    hub.limit(window=LONG, anonymous={"resolvers": COUNT // 3})
    plan = anonymous.plan_snapshot(repo, allow_patterns="*.txt")
    assert (plan.requests, plan.windows) == (COUNT, 4)
    few = anonymous.plan_snapshot(repo, allow_patterns="0/*.txt")
    assert (few.requests, few.windows) == (10, 1)
    hub.limit(headers=False)
    with Client(hub.endpoint, token=False, cache_dir=anonymous.info().cache_dir) as another:
        assert another.plan_snapshot(repo, allow_patterns="*.txt").windows == 0
    command = [sys.executable, "-m", "xet_ffi", "download", repo, "--dry-run"]
    hub.limit(window=LONG, anonymous={"resolvers": COUNT // 2})
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint}
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert f"{COUNT + 1} requests need 3 of the Hub's windows" in said.stdout


def test_xet_files_need_no_requests_of_files(model: Model, anonymous: Client) -> None:
    """Only what comes over plain HTTP counts."""
    plan = anonymous.plan_snapshot(model.repo_id)
    assert plan.requests == 2  # .gitattributes and config.json


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit": '"resolvers";r=0;t=200'},
        {"RateLimit": '"resolvers";r=1;t=200'},
        {"RateLimit": '"resolvers";r=0;t=200', "RateLimit-Policy": '"resolvers";q=1;w=200'},
        {"RateLimit": '"resolvers";r=0;t=99999999999999'},
        {"RateLimit": '"resolvers";r=18446744073709551615;t=18446744073709551615'},
        {"RateLimit": '"resolvers";r=-1;t=-1'},
        {"RateLimit": "resolvers;r=0"},
        {"RateLimit": ""},
    ],
)
def test_headers_that_lie_hold_up_nobody(
    hub: Hub, repo: str, anonymous: Client, headers: dict[str, str]
) -> None:
    """What nothing speaks for but the header itself isn't waited for."""
    hub.limit(headers=False)
    hub.fault("resolve", headers=headers)
    shown = Seconds()
    check(anonymous.download_snapshot(repo, progress=shown, timeout=100))
    assert not shown.seen


def test_clients_that_share_an_address_all_finish(hub: Hub, repo: str, tmp_path: Path) -> None:
    """What others use up shows as a 429, in spite of what was left, and is waited for."""
    hub.limit(window=3, anonymous={"resolvers": COUNT})

    def download(number: int) -> None:
        cache = tmp_path / f"cache{number}"
        with Client(hub.endpoint, token=False, cache_dir=cache, max_attempts=1) as client:
            check(client.download_snapshot(repo))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(download, range(3)))


def test_a_refusal_with_requests_left_is_waited_for(hub: Hub, repo: str, anonymous: Client) -> None:
    """It is one of another limit, or of others."""
    headers = {"RateLimit": '"resolvers";r=2000;t=250'}
    hub.fault("resolve", skip=20, times=2, status=429, headers=headers)
    shown = Seconds()
    check(anonymous.download_snapshot(repo, progress=shown))
    assert shown.seen


def test_a_quota_of_commits_is_not_waited_for(hub: Hub, model: Model, tmp_path: Path) -> None:
    """The Hub's words say when; the same call, made then, sends nothing again but the commit."""
    content = os.urandom(400_000)
    hub.limit(commits=1)
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        client.upload_file(b"[1]", "first.json", model.repo_id)
        for _ in range(2):
            with pytest.raises(RateLimitedError, match="in about 1 hour") as caught:
                client.upload_file(content, "new.safetensors", model.repo_id)
            assert "sends none of it again" in str(caught.value)
            assert caught.value.retry_after == 3600
        assert hub.stats().statuses(429) == 2
        hub.limit()
        done = client.upload_file(content, "new.safetensors", model.repo_id)
        assert (done.bytes_new, done.bytes_on_hub, done.xorbs) == (0, len(content), 0)
