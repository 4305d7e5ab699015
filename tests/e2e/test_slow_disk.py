"""The slow disk that other tests stand on is slow, where and as long as they ask for."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import MIB, noise, publish
from slow_disk import SlowDisk

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

#: Downloads a snapshot into a cache and says where it is.
DOWNLOAD = """
import sys
from xet_ffi import Client
endpoint, repo, cache = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=cache) as client:
    print(client.download_snapshot(repo).path)
"""


@pytest.fixture
def disk(tmp_path: Path) -> SlowDisk:
    """An empty folder that can be slow."""
    return SlowDisk(tmp_path / "tools", tmp_path / "slow")


def start(disk: SlowDisk, program: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a Python program for which the disk is slow."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, **disk.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(disk: SlowDisk, program: str, *arguments: object) -> str:
    """Runs such a program; returns what it prints."""
    process = start(disk, program, *arguments)
    out, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    return out.strip()


def test_calls_below_the_folder_are_written_down_and_no_others(
    disk: SlowDisk, tmp_path: Path
) -> None:
    """Each call under its kind, with the thread that made it, in order."""
    elsewhere = tmp_path / "elsewhere"
    program = """
import os, sys
slow, elsewhere = sys.argv[1:]
for folder in (slow, elsewhere):
    os.mkdir(f"{folder}/d")
    with open(f"{folder}/d/new", "w") as file:
        os.fsync(file.fileno())
    os.rename(f"{folder}/d/new", f"{folder}/d/x")
    os.symlink("x", f"{folder}/d/link")
    os.readlink(f"{folder}/d/link")
    os.stat(f"{folder}/d/x")
    os.utime(f"{folder}/d/x")
    os.listdir(f"{folder}/d")
    os.unlink(f"{folder}/d/x")
"""
    elsewhere.mkdir()
    run(disk, program, disk.folder, elsewhere)
    [slow, x] = [disk.folder / "d", disk.folder / "d" / "x"]
    expected = [
        ("mkdir", slow),
        ("open", slow / "new"),
        ("fsync", slow / "new"),
        ("close", slow / "new"),
        ("rename", x),
        ("symlink", slow / "link"),
        ("readlink", slow / "link"),
        ("stat", x),
        ("utime", x),
        ("opendir", slow),
        ("readdir", slow),
        ("unlink", x),
    ]
    made = [(call.name, Path(call.path)) for call in disk.calls() if call.name != "fstat"]
    assert made == expected
    assert {call.thread for call in disk.calls()} == {Path(sys.executable).name[:15]}
    assert disk.count("stat", path=x) == disk.count("stat") == 1
    disk.forget()
    assert disk.calls() == []


def test_metadata_takes_as_long_as_asked(disk: SlowDisk) -> None:
    """Twenty calls of 10 ms are 200 ms; other calls aren't slowed."""
    program = """
import os, sys, time
def seconds(work):
    begun = time.monotonic()
    for _ in range(20):
        work()
    return time.monotonic() - begun
with open(sys.argv[1] + "/x", "w") as file:
    print(seconds(lambda: os.stat(sys.argv[1] + "/x")))
    begun = time.monotonic()
    os.fsync(file.fileno())
"""
    disk.rule("metadata", delay_ms=10)
    disk.rule("sync", delay_ms=1, only="folder")
    assert float(run(disk, program, disk.folder)) >= 0.2
    assert disk.count("stat") == 20


def test_a_rule_can_fail_calls_on_folders_alone(disk: SlowDisk) -> None:
    """After `skip` calls, `times` calls fail with the errno; files aren't meant."""
    program = """
import os, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
file = os.open(sys.argv[1] + "/x", os.O_CREAT | os.O_RDWR)
for descriptor in (file, folder, folder, folder, folder):
    try:
        os.fsync(descriptor)
        print(0)
    except OSError as error:
        print(error.errno)
"""
    disk.rule("fsync", error=errno.EIO, only="folder", skip=1, times=2)
    failed = [int(line) for line in run(disk, program, disk.folder).split()]
    assert failed == [0, 0, errno.EIO, errno.EIO, 0]
    assert disk.count("fsync", path=disk.folder) == 4


def test_a_rule_holds_while_a_file_is_there(disk: SlowDisk, tmp_path: Path) -> None:
    """What begins or ends a rule can happen at any time, also in the middle of a delay."""
    program = """
import os, sys
os.close(os.open(sys.argv[1] + "/x", os.O_CREAT))
"""
    gate = tmp_path / "gate"
    disk.rule("close", delay_ms=1_000_000, match="/x", while_exists=gate)
    run(disk, program, disk.folder)
    disk.forget()
    gate.touch()
    process = start(disk, program, disk.folder)
    disk.wait_for(lambda calls: any(call.name == "close" for call in calls), "the close")
    assert process.poll() is None
    gate.unlink()
    assert process.wait(60) == 0
    process.communicate()


def test_a_rule_that_cannot_be_read_ends_the_program(disk: SlowDisk) -> None:
    """Otherwise a test with a dead rule would prove nothing."""
    disk.rule("fsink", delay_ms=1)
    process = start(disk, "")
    _, messages = process.communicate(timeout=60)
    assert (process.returncode, messages) == (97, "slow_disk: no such call: fsink\n")
    with pytest.raises(ValueError, match="no blanks"):
        disk.rule("fsync", match="a b")


@pytest.mark.parametrize("lfs", [False, True])
def test_what_libxet_does_passes_through_it(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk, tmp_path: Path, lfs: bool
) -> None:
    """A download waits in a rename until the test lets it go on, and its calls are written down."""
    content = noise(MIB, "slow disk")
    publish(hf_api, repo_id, {"d/weights.bin": content, "readme.txt": b"x"}, lfs=lfs)
    gate = tmp_path / "gate"
    cache = disk.folder / "cache"
    disk.rule("rename", delay_ms=1_000_000, match="/blobs/", until_exists=gate)
    process = start(disk, DOWNLOAD, hub.endpoint, repo_id, cache)
    disk.wait_for(
        lambda calls: any(call.name == "rename" and "/blobs/" in call.path for call in calls),
        "a rename",
    )
    [held] = [call for call in disk.calls("rename") if "/blobs/" in call.path][:1]
    assert process.poll() is None
    assert not Path(held.path).exists()
    gate.touch()
    out, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    assert Path(held.path).exists()
    snapshot = Path(out.strip())
    assert (snapshot / "d" / "weights.bin").read_bytes() == content
    made = {call.name for call in disk.calls()}
    assert made >= {"open", "close", "stat", "mkdir", "rename", "symlink", "fsync", "flock"}


def test_a_download_is_not_faster_than_its_calls(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk
) -> None:
    """It can't end before its ref is written, and that is one rename."""
    publish(hf_api, repo_id, {"readme.txt": b"x"})
    disk.rule("rename", match="/refs/", delay_ms=1000)
    begun = time.monotonic()
    run(disk, DOWNLOAD, hub.endpoint, repo_id, disk.folder / "cache")
    assert time.monotonic() - begun >= 1
    [renamed] = [call for call in disk.calls("rename") if "/refs/" in call.path]
    assert renamed.path.endswith("/refs/main")
