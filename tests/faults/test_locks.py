"""A process that holds a lock and hangs keeps nobody from the file for longer than its patience."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faults.checks import unfinished, wrong_files
from faults.content import NEW, REPO
from faults.processes import Program
from xet_ffi import CancelledError, Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.stage import Stage

#: Bytes per second of a download that is stopped in the middle.
SLOWLY = 300_000

#: The deadlines of those who wait, from which their patience follows: four times the longest.
SHORT: dict[str, Any] = {"connect_timeout": 0.5, "first_byte_timeout": 0.5, "read_timeout": 0.5}

OURS = """
client().download_file(REPO, REST[0])
say("done")
"""

#: Downloads, and has a child that was forked in the middle of that; REST[0] says which.
LEAVES_A_CHILD = """
flowing = threading.Event()
progress = lambda progress: progress.bytes_network and flowing.set()
download = lambda: client().download_snapshot(REPO, progress=progress)
threading.Thread(target=download, daemon=True).start()
flowing.wait()
if (child := os.fork()) == 0:
    signal.pause()
Path(REST[0]).write_text(str(child))
say("forked")
signal.pause()
"""

OFFICIAL = """
os.environ["HF_HUB_DISABLE_XET"] = REST[1]
from huggingface_hub import hf_hub_download
hf_hub_download(REPO, REST[0], endpoint=ENDPOINT, token=False, cache_dir=CACHE)
say("done")
"""


@pytest.fixture
def hold(stage: Stage, tmp_path: Path) -> Callable[..., Program]:
    """Starts a program that downloads, and stops it in the middle of the file."""

    def start(code: str, *arguments: str) -> Program:
        stage.hub.fault("storage", method="GET", times=1, drip=SLOWLY)
        program = Program(code, stage.hub.endpoint, str(tmp_path), REPO, *arguments)
        stage.hub.wait_for(lambda stats: stats.bytes_sent("storage") > 100_000, "some of the file")
        program.send(signal.SIGSTOP)
        stage.hub.clear_faults()
        return program

    return start


@pytest.mark.parametrize("file", ["xet.bin", "lfs.bin"])
@pytest.mark.parametrize(
    ("code", "no_xet"), [(OURS, ""), (OFFICIAL, "0"), (OFFICIAL, "1")], ids=["ours", "xet", "http"]
)
def test_a_stopped_holder_is_passed_by_and_finishes_later(
    stage: Stage,
    tmp_path: Path,
    hold: Callable[..., Program],
    caplog: pytest.LogCaptureFixture,
    file: str,
    code: str,
    no_xet: str,
) -> None:
    """Whoever waits ends without it; the file is right, and stays right when it goes on."""
    with hold(code, file, no_xet) as holder:
        path = tmp_path / "models--alice--faults" / "snapshots" / stage.new / file
        with Client(stage.hub.endpoint, token=False, cache_dir=tmp_path, **SHORT) as client:
            transfer = client.download_file(REPO, file)
            assert transfer.bytes_network > 0
            assert path.read_bytes() == NEW[file]
            assert "going on without it" in caplog.text
            assert f"process={holder.pid}" in caplog.text
            holder.send(signal.SIGCONT)
            holder.wait_for("done")
            assert holder.end()[0] == 0
            assert path.read_bytes() == NEW[file]
            assert client.download_file(REPO, file).bytes_network == 0
    assert wrong_files(tmp_path, stage.published) == []
    assert unfinished(tmp_path) == []


def test_a_failure_without_the_lock_leaves_nothing(
    stage: Stage, tmp_path: Path, hold: Callable[..., Program]
) -> None:
    """A partial file that nobody could take up isn't left beside the one of the holder."""
    with hold(OURS, "lfs.bin") as holder:
        stage.hub.fault("storage", method="GET", status=404)
        with (
            Client(stage.hub.endpoint, token=False, cache_dir=tmp_path, **SHORT) as client,
            pytest.raises(FileNotFoundError),
        ):
            client.download_file(REPO, "lfs.bin")
        stage.hub.clear_faults()
        assert len(unfinished(tmp_path)) == 1
        holder.send(signal.SIGCONT)
        holder.wait_for("done")
    assert unfinished(tmp_path) == []


def test_a_file_that_waits_for_a_lock_leaves_its_slot_to_others(
    stage: Stage, tmp_path: Path, hold: Callable[..., Program]
) -> None:
    """Whoever waits for another process keeps no slot: what stands behind it comes first."""
    snapshot = tmp_path / "models--alice--faults" / "snapshots" / stage.new
    with hold(OURS, "lfs.bin") as holder:
        with (
            Client(
                stage.hub.endpoint, token=False, cache_dir=tmp_path, max_concurrent_downloads=1
            ) as client,
            pytest.raises(CancelledError),
        ):
            client.download_snapshot(REPO, cancel=(snapshot / "xet.bin").exists)
        assert not (snapshot / "lfs.bin").exists()
        holder.send(signal.SIGCONT)
        holder.wait_for("done")
    with Client(stage.hub.endpoint, token=False, cache_dir=tmp_path) as client:
        assert client.download_snapshot(REPO).bytes_network == 0
    assert wrong_files(tmp_path, stage.published) == []
    assert unfinished(tmp_path) == []


def test_a_child_keeps_no_lock_of_a_parent_that_was_killed(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It lives on without its parent's files, and the next one needs no patience."""
    cache, note = tmp_path / "cache", tmp_path / "child"
    stage.hub.fault("storage", method="GET", drip=SLOWLY)
    with Program(LEAVES_A_CHILD, stage.hub.endpoint, str(cache), REPO, str(note)) as parent:
        parent.wait_for("forked")
        parent.send(signal.SIGKILL)
        child = int(note.read_text())
        try:
            stage.hub.clear_faults()
            kept = [number.readlink() for number in Path(f"/proc/{child}/fd").iterdir()]
            assert [path for path in kept if path.is_relative_to(cache)] == []
            with Client(stage.hub.endpoint, token=False, cache_dir=cache, **SHORT) as client:
                client.download_snapshot(REPO)
            assert "going on without it" not in caplog.text
        finally:
            os.kill(child, signal.SIGKILL)
    assert wrong_files(cache, stage.published) == []
    assert unfinished(cache) == []
