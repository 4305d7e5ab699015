"""Xet storage whose answers aren't what was asked for: found out once, not by each file."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from world.stage import TOKEN, publish
from xet_ffi import Client

if TYPE_CHECKING:
    from hub import Hub

COUNT = 24
SIZE = 600 << 10
XORBS = "^/xorbs/"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Xet files, each with a xorb of its own and more than one chunk."""
    return {f"{i}.bin": os.urandom(SIZE) for i in range(COUNT)}


def download(
    hub: Hub, files: dict[str, bytes], cache: Path, *, each: bool = False, **options: Any
) -> tuple[int, int, int]:
    """A snapshot of files in one xorb, or each in its own: fallbacks, retries, bytes received."""
    commits = [{path: content} for path, content in files.items()] if each else [files]
    repo_id = None
    for commit in commits:
        repo_id, _ = publish(hub, commit, repo_id)
    assert repo_id is not None
    with Client(hub.endpoint, TOKEN.secret, cache, **options) as client:
        transfer = client.download_snapshot(repo_id, timeout=100)
    for path, content in files.items():
        assert (Path(transfer) / path).read_bytes() == content
    return transfer.fallbacks, transfer.retries, transfer.bytes_network


#: Ways that cost nothing but requests.
HONEST: dict[str, dict[str, Any]] = {
    # Less than a chunk has at least.
    "a part of a chunk": {"at_most": 3000},
    "a few chunks": {"at_most": 200_000},
    "more than was asked for": {"append": 500},
}


@pytest.mark.parametrize("way", HONEST)
def test_what_is_right_is_taken(
    hub: Hub, files: dict[str, bytes], tmp_path: Path, way: str
) -> None:
    """A shorter range is asked on from where it ends; what is behind a range isn't looked at."""
    few = dict(list(files.items())[:4])
    hub.fault("storage", path_regex=XORBS, **HONEST[way])
    fallbacks, retries, received = download(hub, few, tmp_path, transport="xet")
    assert (fallbacks, retries) == (0, 0)
    assert received < 1.1 * sum(map(len, few.values()))


def warnings(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    """What was logged as one, with these words."""
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    return [line for line in said if words in line]


@pytest.mark.parametrize("each", [False, True])
def test_storage_that_gives_only_what_is_wrong_is_left_alone(
    hub: Hub, files: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture, each: bool
) -> None:
    """Its bytes come to no avail a few times, not for each file; one warning names it."""
    hub.fault("storage", path_regex=XORBS, invert=True)
    fallbacks, _, _ = download(hub, files, tmp_path, each=each)
    assert fallbacks == COUNT
    # Those on their way when it became clear had theirs, twice.
    assert hub.faults()[0]["fired"] < 1.5 * COUNT
    (warning,) = warnings(caplog, "plain HTTP instead")
    assert hub.storage.partition("://")[2] in warning
    assert "gives what is wrong" in warning


def test_a_xorb_that_is_wrong_says_nothing_of_others(
    hub: Hub, files: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its file comes over plain HTTP, and the others over Xet."""
    few = dict(list(files.items())[:8])
    hub.fault("storage", path_regex=XORBS, times=1, invert=True)
    assert download(hub, few, tmp_path)[0] == 0
    assert not warnings(caplog, "plain HTTP instead")


def test_a_cas_that_refuses_is_asked_no_more(
    hub: Hub, files: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By a few of a call's files, in both versions of the question; one warning names it."""
    hub.fault("reconstruction", status=403, body="<Error><Code>AccessDenied</Code></Error>")
    fallbacks, _, _ = download(hub, files, tmp_path)
    assert fallbacks == COUNT
    assert hub.faults()[0]["fired"] < COUNT
    (warning,) = warnings(caplog, "plain HTTP instead")
    assert hub.cas.partition("://")[2] in warning
