"""Storage that an upload can't reach at first: one that is restarted is waited for."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

import pytest

from out_of_reach import out_of_reach
from toxiproxy import Toxiproxy
from world.stage import TOKEN, Model
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hub import Hub

#: A file, and a xorb, of its own upload.
SIZE = 300_000


def upload(client: Client, model: Model) -> None:
    """Uploads something that nobody has."""
    client.upload_file(os.urandom(SIZE), "new.bin", model.repo_id)


@pytest.fixture
def front(hub: Hub) -> Iterator[Toxiproxy]:
    """A place that the storage's host is known by."""
    with Toxiproxy.start() as front:
        yield front
    hub.announce()


class Trigger(logging.Handler):
    """Acts when a line of the log has a text in it, the first time."""

    def __init__(self, text: str, act: Callable[[], None]) -> None:
        super().__init__()
        self._text = text
        self._act = act
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Looks at a line."""
        if self._text in record.getMessage() and not self.seen.is_set():
            self.seen.set()
            self._act()


def acting(text: str, act: Callable[[], None], upload: Callable[[], None]) -> bool:
    """Does both, the first when that is in the log; whether it was."""
    log = logging.getLogger("xet_ffi")
    trigger = Trigger(text, act)
    log.addHandler(trigger)
    try:
        upload()
    finally:
        log.removeHandler(trigger)
    return trigger.seen.is_set()


def test_connections_that_break_at_first_are_made_again(
    hub: Hub, model: Model, tmp_path: Path, front: Toxiproxy
) -> None:
    """As while a balancer is up, and the server behind it isn't yet."""
    wire = front.wire(hub.cas)
    hub.announce(cas=wire.url)
    wire.add("reset_peer", timeout=0)
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        assert acting("failures=3", front.heal, lambda: upload(client, model))


def test_storage_that_is_restarted_is_waited_for(
    hub: Hub, model: Model, tmp_path: Path, front: Toxiproxy
) -> None:
    """It has answered before, so the third failure isn't the last."""
    wire = front.wire(hub.cas)
    hub.announce(cas=wire.url)
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        upload(client, model)
        wire.cut()
        assert acting("attempt=3, of=", wire.mend, lambda: upload(client, model))


@pytest.mark.parametrize(("way", "attempts"), [("refused", 2), ("dropped", 1)])
def test_a_place_where_nobody_was_is_told_soon(
    hub: Hub, model: Model, tmp_path: Path, way: str, attempts: int
) -> None:
    """The system has tried a connection again and again by the time that it's given up."""
    with (
        out_of_reach(hub, way, origin="cas") as host,
        Client(hub.endpoint, TOKEN.secret, tmp_path / "cache", connect_timeout=2.0) as client,
        pytest.raises(XetError, match=host) as caught,
    ):
        upload(client, model)
    assert caught.value.kind == ("timeout" if way == "dropped" else "connection")
    assert caught.value.details["attempts"] == attempts
