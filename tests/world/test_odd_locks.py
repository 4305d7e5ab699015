"""Locks that lie or fail: nobody ever writes to a finished file, and nobody waits for ever."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from published import MIB, noise
from slow_disk import SlowDisk
from world.stage import publish

if TYPE_CHECKING:
    from pathlib import Path

    from hub import Hub

#: Large enough to be taken up again: one of LFS's, and one of Xet's.
FILES = {"large.bin": noise(6 * MIB, "odd"), "model.safetensors": noise(6 * MIB, "xet")}

#: Downloads a file, or all of a repo, and says how it ended.
DOWNLOAD = """
import logging, sys
from xet_ffi import Client, XetError
logging.basicConfig(format="%(levelname)s %(message)s", level="WARNING", stream=sys.stderr)
endpoint, repo, cache, local, limits, *name = sys.argv[1:]
limits = dict.fromkeys(["connect_timeout", "first_byte_timeout", "read_timeout"], float(limits))
with Client(endpoint, token=False, cache_dir=cache, **limits) as client:
    try:
        if name:
            print(client.download_file(repo, name[0], local_dir=local or None).path)
        else:
            print(client.download_snapshot(repo, local_dir=local or None).path)
    except XetError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with a large file of each kind."""
    return publish(hub, FILES)[0]


@pytest.fixture(params=["cache", "local"])
def place(request: pytest.FixtureRequest, disk: SlowDisk) -> tuple[Path, str]:
    """A cache, and a folder to download to unless it's empty; both on the odd disk."""
    local = str(disk.folder / "out") if request.param == "local" else ""
    return disk.folder / "hub", local


def start(
    disk: SlowDisk,
    hub: Hub,
    repo: str,
    place: tuple[Path, str],
    *name: str,
    limits: float = 10,
    transport: str = "auto",
) -> subprocess.Popen[str]:
    """Starts a download to the odd disk."""
    cache, local = place
    environment = {**os.environ, **disk.environment(), "XET_FFI_TRANSPORT": transport}
    arguments = [hub.endpoint, repo, str(cache), local, str(limits), *name]
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(program: subprocess.Popen[str]) -> tuple[str, str]:
    """What a program that must succeed has said, and what its log said."""
    out, messages = program.communicate(timeout=120)
    assert program.returncode == 0, messages
    return out.strip(), messages


def finished(disk: SlowDisk, size: int = 6 * MIB) -> dict[str, tuple[int, int]]:
    """The files that have their names, each with its inode and the time of the last write."""
    found = {}
    for path in disk.folder.rglob("*"):
        is_ours = ".xet" in path.parts or "download" in path.parts
        if path.is_file() and not path.is_symlink() and not is_ours and path.stat().st_size == size:
            found[str(path)] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


@pytest.mark.parametrize("transport", ["xet", "http"])
def test_a_lock_that_everyone_gets_costs_nobody_a_file(
    hub: Hub,
    repo: str,
    disk: SlowDisk,
    place: tuple[Path, str],
    transport: str,
    running: list[subprocess.Popen[str]],
) -> None:
    """Several processes bring in the same files at once: each succeeds, with the right content."""
    disk.rule("flock", "lock", pretend=True)
    hub.fault("storage", drip=8 * MIB)
    running += [start(disk, hub, repo, place, transport=transport) for _ in range(4)]
    said = [end(program) for program in running]
    assert len({path for path, _ in said}) == 1
    for name, content in FILES.items():
        path = disk.folder / said[0][0] / name
        assert path.read_bytes() == content
    assert all("grants a lock to everyone" in log for _, log in said)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_finished_file_is_left_alone(
    hub: Hub,
    repo: str,
    disk: SlowDisk,
    place: tuple[Path, str],
    tmp_path: Path,
    links: bool,
    running: list[subprocess.Popen[str]],
) -> None:
    """A slow writer that has lost returns what the fast one has finished."""
    gate = tmp_path / "gate"
    disk.rule("flock", "lock", pretend=True)
    if not links:
        disk.rule("link", error=errno.EPERM)
    fast = SlowDisk(tmp_path / "tools", disk.folder)
    fast.rule("flock", "lock", pretend=True)
    disk.rule("fdatasync", delay_ms=600_000, match="partial", until_exists=gate)
    running.append(start(disk, hub, repo, place, "large.bin"))
    disk.wait_for(
        lambda calls: any(call.name == "fdatasync" for call in calls), "the slow one to be done"
    )
    path, _ = end(start(fast, hub, repo, place, "large.bin"))
    before = finished(disk)
    assert before
    gate.touch()
    assert end(running[0])[0] == path
    assert finished(disk) == before
    assert (disk.folder / path).read_bytes() == FILES["large.bin"]
    assert not list(disk.folder.rglob("*.partial")), "nothing is left of the loser"


@pytest.mark.parametrize("name", FILES)
def test_a_killed_download_is_taken_up_where_locks_lie(
    hub: Hub,
    repo: str,
    disk: SlowDisk,
    place: tuple[Path, str],
    name: str,
    running: list[subprocess.Popen[str]],
) -> None:
    """By reading what it has left: it may still be somebody's."""
    disk.rule("flock", "lock", pretend=True)
    hub.fault("storage", drip=2 * MIB)
    running.append(start(disk, hub, repo, place, name, transport="http"))
    hub.wait_for(lambda stats: stats.bytes_sent("storage") > 4 * MIB, "most of the file")
    running[0].send_signal(signal.SIGKILL)
    running[0].wait()
    left = [path.name for path in disk.folder.rglob("*.partial")]
    assert len(left) == 1
    hub.clear_faults()
    hub.reset_stats()
    path, _ = end(start(disk, hub, repo, place, name, transport="http"))
    assert (disk.folder / path).read_bytes() == FILES[name]
    assert hub.stats().bytes_sent("storage") < 4 * MIB
    assert [path.name for path in disk.folder.rglob("*.partial")] == left, "it isn't ours"


@pytest.mark.parametrize("error", ["EBADF", "ENOLCK", "ENOSYS", "ENOTSUP", "EINVAL"])
def test_where_locks_fail_one_goes_on_without(
    hub: Hub, repo: str, disk: SlowDisk, place: tuple[Path, str], error: str
) -> None:
    """One warning says so."""
    disk.rule("flock", "lock", error=getattr(errno, error))
    path, log = end(start(disk, hub, repo, place))
    assert {name: (disk.folder / path / name).read_bytes() for name in FILES} == FILES
    assert log.count("the file system has no locks") == 1, log


def test_an_interrupted_lock_is_asked_for_again(
    hub: Hub, repo: str, disk: SlowDisk, place: tuple[Path, str]
) -> None:
    """`EINTR` says nothing about the lock."""
    disk.rule("flock", error=errno.EINTR, times=5)
    assert "no locks" not in end(start(disk, hub, repo, place))[1]


def test_a_lock_that_is_refused_is_somebody_elses(
    hub: Hub,
    repo: str,
    disk: SlowDisk,
    place: tuple[Path, str],
    tmp_path: Path,
    running: list[subprocess.Popen[str]],
) -> None:
    """NFS and SMB servers say `EACCES`: it is waited for."""
    gate = tmp_path / "gate"
    disk.rule("flock", error=errno.EACCES, match="lock", until_exists=gate)
    running.append(start(disk, hub, repo, place, "large.bin"))
    disk.wait_for(
        lambda calls: sum(call.name == "flock" for call in calls) > 20, "the lock to be asked for"
    )
    assert running[0].poll() is None
    assert not finished(disk)
    gate.touch()
    path, _ = end(running[0])
    assert (disk.folder / path).read_bytes() == FILES["large.bin"]


def test_a_lock_that_is_always_refused_is_not_waited_for_for_ever(
    hub: Hub, repo: str, disk: SlowDisk, place: tuple[Path, str]
) -> None:
    """After four times the longest deadline one goes on without it, and says so."""
    disk.rule("flock", error=errno.EACCES)
    path, log = end(start(disk, hub, repo, place, "large.bin", limits=0.5))
    assert (disk.folder / path).read_bytes() == FILES["large.bin"]
    assert "going on without it" in log


@pytest.mark.parametrize("calls", ["flock", "flock,lock"])
def test_where_every_lock_is_refused_one_goes_on_without(
    hub: Hub,
    repo: str,
    disk: SlowDisk,
    place: tuple[Path, str],
    calls: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the cache, the local folder and the Xet cache: once found out, it holds for all files."""
    monkeypatch.setenv("HF_XET_CACHE", str(disk.folder / "xet"))
    disk.rule(*calls.split(","), error=errno.EACCES)
    begun = time.monotonic()
    path, log = end(start(disk, hub, repo, place))
    # Five seconds; it was a minute for the files, and ten seconds for the repo and each content.
    assert time.monotonic() - begun < 40
    assert {name: (disk.folder / path / name).read_bytes() for name in FILES} == FILES
    assert log.count("every lock is refused here") == 1, log
    left = [path.name for path in disk.folder.rglob("*")]
    assert not [name for name in left if re.search(r"^\.[0-9a-f]{8}\.lock$|\.partial$", name)]


def test_those_who_wait_for_slow_locks_do_not_keep_them_from_each_other(
    hub: Hub,
    repo: str,
    disk: SlowDisk,
    place: tuple[Path, str],
    running: list[subprocess.Popen[str]],
) -> None:
    """A look at a lock has it for as long as two calls of the lock server take."""
    disk.rule("flock", delay_ms=100, match="lock")
    begun = time.monotonic()
    running.extend(start(disk, hub, repo, place) for _ in range(4))
    for process in running:
        path, _ = end(process)
        assert {name: (disk.folder / path / name).read_bytes() for name in FILES} == FILES
    # Some seconds; three of them went on until their patience was over.
    assert time.monotonic() - begun < 100


def test_other_machines_content_is_not_replaced(
    hub: Hub, repo: str, disk: SlowDisk, tmp_path: Path
) -> None:
    """What all repos share is only changed under a lock that other machines see, too."""
    place = (disk.folder / "hub", "")
    trusting = SlowDisk(tmp_path / "tools", disk.folder)
    end(start(trusting, hub, repo, place, "model.safetensors"))
    store = disk.folder / "hub" / "blobs"

    def shared() -> dict[Path, tuple[int, int, int]]:
        found = [path for path in store.rglob("*") if path.is_file() and path.suffix != ".lock"]
        looked = {path: path.stat() for path in found}
        return {path: (at.st_ino, at.st_size, at.st_mtime_ns) for path, at in looked.items()}

    before = shared()
    assert len(before) == 3, "the marker, the content, and whose it is"
    # Its locks are this machine's own.
    disk.rule("statfs", lies="fuse")
    files = {"here.safetensors": FILES["model.safetensors"], "new.bin": noise(2 * MIB, repo)}
    other = publish(hub, files)[0]
    path, _ = end(start(disk, hub, other, place))
    assert {name: (disk.folder / path / name).read_bytes() for name in files} == files
    assert shared() == before
