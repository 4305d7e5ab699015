"""Progress callbacks that don't return: the official module waits for them for ever. Ours alone."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hf_xet_face.conftest import Stored
    from hub import Hub


@pytest.fixture
def hang() -> Iterator[tuple[Any, threading.Event]]:
    """A callback that waits for what its caller does later, and when it was called."""
    called, goes_on = threading.Event(), threading.Event()

    def callback(*_: Any) -> None:
        called.set()
        goes_on.wait(60)

    yield callback, called
    goes_on.set()


def begun(ours: Any, hub: Hub, stored: Stored, path: Path, callback: Any) -> Any:
    """A group whose download doesn't end by itself."""
    hub.fault("storage", method="GET", stall_before=60)
    group = ours.XetSession().new_file_download_group(
        **stored.read, progress_callback=callback, progress_interval_ms=1
    )
    group.start_download_file(ours.XetFileInfo(stored.hash, stored.size), str(path))
    return group


def test_who_gives_a_group_up_does_not_wait_for_its_callback(
    ours: Any, hub: Hub, stored: Stored, tmp_path: Path, hang: tuple[Any, threading.Event]
) -> None:
    """It may hold what the callback waits for."""
    callback, called = hang
    group = begun(ours, hub, stored, tmp_path / "a", callback)
    assert called.wait(20)
    at = time.monotonic()
    group.abort()
    assert time.monotonic() - at < 10
    assert group.status() == ours.XetTaskState.UserCancelled


def test_ctrl_c_does_not_wait_for_a_callback(
    ours: Any, hub: Hub, stored: Stored, tmp_path: Path, hang: tuple[Any, threading.Event]
) -> None:
    """One is enough."""
    callback, called = hang
    group = begun(ours, hub, stored, tmp_path / "a", callback)
    assert called.wait(20)
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    at = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        group.wait_to_finish()
    assert time.monotonic() - at < 10
    timer.join()
