"""Streams that are written to a group of uploads: what a disk does to them, and to nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from frozen_disk import freezable_disk
from published import MIB, noise
from xet_ffi import CancelledError, Client, InvalidConfigError, TransferTimeoutError, XetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hub import Hub
    from storage_access import Access
    from xet_ffi.storage import Uploads

#: Three times the longest of them, and 5 s, is what something that stands still is given.
SHORT: dict[str, Any] = {"connect_timeout": 0.5, "first_byte_timeout": 0.5, "read_timeout": 0.5}
LIMIT = 6.5
SOON = 3.0

#: Writes more than files may have here, and says what each says of it.
TOO_LONG = """
import os, resource, signal, sys
from xet_ffi import Client, IoError
endpoint, url, secret = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, resource.RLIM_INFINITY))
headers = {"authorization": f"Bearer {secret}"}
with Client(endpoint, token=False) as client:
    uploads = client.storage(refresh_url=url, refresh_headers=headers).uploads()
    long, other = uploads.add(None, name="long"), uploads.add(b"other")
    def say(ask):
        try:
            ask()
        except IoError as error:
            print(error)
    def write():
        while True:
            uploads.write(long, os.urandom(1 << 20))
    say(write)
    for ask in (write, lambda: uploads.end(long), lambda: uploads.wait_task(long), uploads.wait):
        say(ask)
    print(*[task.state for task in uploads.report().tasks])
"""


def test_a_stream_that_can_not_be_staged_says_why(hub: Hub, access: Access, tmp_path: Path) -> None:
    """Whoever asks, and however late; it fails alone."""
    secret = access.write["refresh_headers"]["authorization"].removeprefix("Bearer ")
    done = subprocess.run(
        [sys.executable, "-c", TOO_LONG, hub.endpoint, access.write["refresh_url"], secret],
        env={**os.environ, "HF_HOME": str(tmp_path)},
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *said, states = done.stdout.splitlines()
    assert len(said) == 5
    assert len(set(said)) == 1
    assert "File too large" in said[0]
    assert states == "failed done"


def within(seconds: float, ask: Callable[[], object]) -> None:
    """What `ask` does takes no longer."""
    begun = time.monotonic()
    ask()
    assert time.monotonic() - begun < seconds


class Writer(threading.Thread):
    """Writes to a stream until that fails."""

    def __init__(self, uploads: Uploads, task: int) -> None:
        super().__init__(daemon=True)
        self._uploads, self._task = uploads, task
        self.error: XetError | None = None
        self.at = 0.0
        """When it has written last."""
        self.start()

    def run(self) -> None:
        """Is the thread."""
        piece = noise(MIB, "piece")
        while self.error is None:
            self.at = time.monotonic()
            try:
                self._uploads.write(self._task, piece)
            except XetError as error:
                self.error = error

    def until_held_up(self) -> None:
        """Waits until one write takes long."""
        until = time.monotonic() + 20
        while not (self.at and time.monotonic() - self.at > 0.5):
            assert time.monotonic() < until
            time.sleep(0.01)


WAYS = ["cancel the task", "cancel the group", "time out", "wait", "stand still"]


@pytest.mark.parametrize("way", WAYS)
def test_a_disk_that_hangs_holds_nobody_up_for_ever(
    hub: Hub, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Neither who writes, nor who waits or cancels."""
    with freezable_disk(tmp_path, 256) as disk:
        monkeypatch.setenv("HF_XET_CACHE", str(disk.folder / "xet"))
        with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
            storage = client.storage(**access.write, **SHORT)
            uploads = storage.uploads(timeout=4 if way == "time out" else None)
            task = uploads.add(None, name="held up")
            uploads.write(task, bytes(6 * MIB))
            disk.freeze()
            writer = Writer(uploads, task)
            writer.until_held_up()
            expected: type[XetError] = CancelledError
            if way == "cancel the task":
                within(SOON, lambda: uploads.cancel(task))
                within(SOON, uploads.wait)
            elif way == "cancel the group":
                within(SOON, uploads.cancel)
            elif way == "time out":
                expected = TransferTimeoutError
            elif way == "wait":
                # The stream was to be ended before that.
                expected = InvalidConfigError
                within(SOON, lambda: uploads.wait(check=False))
            else:
                expected = TransferTimeoutError
            writer.join(3 * LIMIT)
            assert isinstance(writer.error, expected)
            ended = "failed" if way in {"wait", "stand still"} else "cancelled"
            assert uploads.report().tasks[0].state == ended
            within(SOON, uploads.close)
