"""Servers that are away for a moment are waited for, longer than those that never were there."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from hub import Hub
from odd_names import OddNames
from world.stage import TOKEN, Model, publish
from xet_ffi import Client, NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALL = """
import json, sys
from xet_ffi import Client, XetError
endpoint, token, cache, repo, what = sys.argv[1:]
with Client(endpoint, token, cache) as client:
    try:
        if what == "list":
            done = {"files": len(client.list_files(repo))}
        elif what == "upload":
            done = {"oid": client.upload_file(b"x", "x", repo).oid}
        else:
            done = {"files": client.download_snapshot(repo).files}
    except XetError as error:
        done = {"kind": error.kind, "attempts": error.details.get("attempts")}
print(json.dumps(done))
"""


@pytest.fixture
def names(tmp_path: Path) -> OddNames:
    """A resolver that works."""
    return OddNames(tmp_path)


def run(hub: Hub, names: OddNames, repo: str, cache: Path, what: str = "snapshot") -> Any:
    """Makes a call in a process of its own, at the hub by a name."""
    endpoint = f"http://hub.test:{urlsplit(hub.endpoint).port}"
    arguments = [endpoint, TOKEN.secret, str(cache), repo, what]
    command = [sys.executable, "-c", CALL, *arguments]
    environment = {**os.environ, **names.environment}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", ["snapshot", "list", "upload"])
def test_a_resolver_that_is_not_up_yet_is_waited_for(
    hub: Hub, model: Model, names: OddNames, tmp_path: Path, what: str
) -> None:
    """The first look-ups of the first call fail."""
    names.fail("aaaa")
    done = run(hub, names, model.repo_id, tmp_path / "cache", what)
    assert "kind" not in done
    assert not names.left


def test_a_name_that_nobody_has_is_given_up_soon(
    hub: Hub, model: Model, names: OddNames, tmp_path: Path
) -> None:
    """After three attempts."""
    names.fail("n" * 99)
    done = run(hub, names, model.repo_id, tmp_path / "cache")
    assert done == {"kind": "connection", "attempts": 3}


def test_what_is_here_is_given_without_a_resolver(
    hub: Hub, model: Model, names: OddNames, tmp_path: Path
) -> None:
    """After the first attempt."""
    run(hub, names, model.repo_id, tmp_path / "cache")
    names.fail("a" * 99)
    done = run(hub, names, model.repo_id, tmp_path / "cache")
    assert done["files"] == len(model.files) + 1
    assert len(names.left) == 98


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Hub]:
    """A hub that can be ended."""
    with Hub.start(tmp_path / "own" / "data", [TOKEN]) as hub:
        yield hub


class Trigger(logging.Handler):
    """Acts when a line of the log has a text in it."""

    def __init__(self, text: str, act: Callable[[], None]) -> None:
        super().__init__()
        self._text = text
        self._act = act
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Only the first time."""
        if self._text in record.getMessage() and not self.seen.is_set():
            self.seen.set()
            self._act()


def test_a_hub_that_is_restarted_is_waited_for(own: Hub, tmp_path: Path) -> None:
    """It has answered before: the next call on the client knows that it's the right one."""
    repo, _ = publish(own, {"a.json": b"{}", "b.bin": os.urandom(300_000)})
    own_log = logging.getLogger("xet_ffi")
    # The third attempt of a call has failed: for a hub that was never seen, it's the last one.
    trigger = Trigger("attempt=2, of=", own.restart)
    own_log.addHandler(trigger)
    try:
        with Client(own.endpoint, TOKEN.secret, tmp_path / "cache") as client:
            client.list_files(repo)
            own.kill()
            transfer = client.download_snapshot(repo)
        assert trigger.seen.is_set()
        assert (Path(transfer) / "a.json").read_bytes() == b"{}"
    finally:
        own_log.removeHandler(trigger)


def test_a_port_where_nobody_was_is_given_up_soon(own: Hub, tmp_path: Path) -> None:
    """After three attempts."""
    own.kill()
    with (
        Client(own.endpoint, TOKEN.secret, tmp_path / "cache") as client,
        pytest.raises(NetworkError) as caught,
    ):
        client.download_snapshot("alice/x")
    assert caught.value.details["attempts"] == 3
