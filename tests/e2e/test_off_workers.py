"""No thread of the network's touches a file: on some disks each call takes as long as it likes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from published import MIB, noise, publish
from slow_disk import Call, SlowDisk

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub, Token

#: The name of a thread that must not block. Those that may are called otherwise.
WORKER = "xet"

#: Four times the longest of them is how long a holder of a lock that does nothing is waited for.
SHORT = "connect_timeout=0.5, first_byte_timeout=0.5, read_timeout=0.5"

DOWNLOAD = f"""
import sys
from xet_ffi import Client
endpoint, repo, cache = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=cache, {SHORT}) as client:
    client.download_snapshot(repo)
"""

#: Downloads a snapshot, and ends the call once some of it has come. Then again, to its end.
TWICE = """
import sys
from xet_ffi import CancelledError, Client
endpoint, repo, cache = sys.argv[1:]
came = []
with Client(endpoint, token=False, cache_dir=cache) as client:
    try:
        client.download_snapshot(
            repo, progress=lambda p: came.append(p.bytes_network), cancel=lambda: any(came)
        )
    except CancelledError:
        print("cancelled")
    client.download_snapshot(repo)
"""

#: Uploads a folder, and ends the call once some of it has been read.
LEAVE = """
import sys
from xet_ffi import CancelledError, Client
endpoint, repo, folder, token = sys.argv[1:]
read = []
with Client(endpoint, token=token, cache_dir=folder + "/../cache") as client:
    try:
        client.upload_folder(
            folder,
            repo,
            progress=lambda p: read.append(p.bytes_network or p.bytes_completed),
            cancel=lambda: any(read),
        )
    except CancelledError:
        print("cancelled")
"""

#: Uploads a folder.
UPLOAD = """
import sys
from xet_ffi import Client
endpoint, repo, folder, token = sys.argv[1:]
with Client(endpoint, token=token, cache_dir=folder + "/../cache") as client:
    client.upload_folder(folder, repo)
"""


@pytest.fixture
def disk(tmp_path: Path) -> SlowDisk:
    """A folder of which each call is written down."""
    return SlowDisk(tmp_path / "tools", tmp_path / "disk")


def run(disk: SlowDisk, program: str, *arguments: object) -> tuple[str, list[Call]]:
    """Runs a Python program; returns what it prints, and which files its workers touched."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), [call for call in disk.calls() if call.thread == WORKER]


def test_a_lock_that_is_taken_is_not_looked_at_by_a_worker(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk
) -> None:
    """Nor is the work of whoever has it, until that one is passed by."""
    content = noise(MIB, "off workers/lock")
    publish(hf_api, repo_id, {"weights.bin": content}, lfs=True)
    locks = disk.folder / ".locks" / f"models--{repo_id.replace('/', '--')}"
    locks.mkdir(parents=True)
    path = locks / f"{hashlib.sha256(content).hexdigest()}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _, touched = run(disk, DOWNLOAD, hub.endpoint, repo_id, disk.folder)
    assert disk.count("flock", path=path) > 3
    assert not touched


@pytest.mark.parametrize("lfs", [False, True], ids=["xet", "lfs"])
def test_an_upload_that_is_left_closes_its_files_elsewhere(
    hub: Hub, hf_api: HfApi, tokens: dict[str, Token], repo_id: str, disk: SlowDisk, lfs: bool
) -> None:
    """Whatever a task has open when it is ended is given up by a thread that may block."""
    folder = disk.folder / "folder"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.bin").write_bytes(noise(8 * MIB, f"off workers/{lfs}/{number}"))
    hf_api.create_repo(repo_id)
    hub.set_settings(repo_id, xet=not lfs)
    hub.delay(2, "cas", "storage")
    said, touched = run(disk, LEAVE, hub.endpoint, repo_id, folder, tokens["alice"].secret)
    assert said == "cancelled"
    assert disk.count("close", path=folder / "0.bin")
    assert not touched


def test_an_upload_without_the_xet_cache_leaves_its_own_folder_elsewhere(
    hub: Hub,
    hf_api: HfApi,
    tokens: dict[str, Token],
    repo_id: str,
    disk: SlowDisk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is removed with a session is removed by a thread that may block."""
    monkeypatch.setenv("HF_XET_CACHE", "/dev/null/xet")
    monkeypatch.setenv("TMPDIR", str(disk.folder))
    hf_api.create_repo(repo_id)
    folder = disk.folder.parent / "folder"
    folder.mkdir()
    (folder / "a.bin").write_bytes(noise(MIB, "off workers/private"))
    said, touched = run(disk, UPLOAD, hub.endpoint, repo_id, folder, tokens["alice"].secret)
    assert not said
    removed = [call for call in disk.calls("unlink") if "/xet-ffi-" in call.path]
    assert removed
    # What xet-core does to its files as it sends them is its own.
    assert not [call for call in touched if call in removed]


@pytest.mark.parametrize("lfs", [False, True], ids=["xet", "lfs"])
def test_a_download_touches_its_files_elsewhere(
    hub: Hub,
    hf_api: HfApi,
    repo_id: str,
    disk: SlowDisk,
    monkeypatch: pytest.MonkeyPatch,
    lfs: bool,
) -> None:
    """Also those of the reuse index, when it is left and when it is done."""
    monkeypatch.setenv("HF_XET_CACHE", str(disk.folder / "xet"))
    content = {f"{i}.bin": noise(2 * MIB, f"off workers/{lfs}/{i}") for i in range(4)}
    publish(hf_api, repo_id, {**content, "small.txt": b"small"}, lfs=lfs)
    hub.fault("storage", method="GET", times=4, drip=MIB)
    said, touched = run(disk, TWICE, hub.endpoint, repo_id, disk.folder / "hub")
    assert said == "cancelled"
    assert disk.count("close") > 8
    assert not touched


def test_what_is_known_of_chunks_is_looked_for_elsewhere(
    hub: Hub,
    hf_api: HfApi,
    tokens: dict[str, Token],
    repo_id: str,
    disk: SlowDisk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An upload whose chunks an earlier one has sent reads of them in the Xet cache."""
    monkeypatch.setenv("HF_XET_CACHE", str(disk.folder / "xet"))
    hf_api.create_repo(repo_id)
    folder = disk.folder.parent / "folder"
    folder.mkdir()
    parts = [noise(4 * MIB, f"off workers/known/{number}") for number in range(6)]
    (folder / "a.bin").write_bytes(b"".join(parts))
    arguments = (hub.endpoint, repo_id, folder, tokens["alice"].secret)
    _, before = run(disk, UPLOAD, *arguments)
    (folder / "a.bin").write_bytes(b"".join([*parts[3:], noise(MIB, "off workers/more"), *parts]))
    sent = hub.stats().raw["xorb_bytes_received"]
    _, touched = run(disk, UPLOAD, *arguments)
    assert hub.stats().raw["xorb_bytes_received"] - sent < 4 * MIB
    # xet-core reads each shard when it begins, on threads of the runtime that may block.
    shards = [call.path for call in touched[len(before) :] if call.name == "open"]
    assert shards
    assert len(shards) == len(set(shards))
