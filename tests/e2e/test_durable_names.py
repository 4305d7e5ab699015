"""Names survive a power cut: each folder that got new ones is synced, once, before success."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import MIB, noise, publish
from slow_disk import SlowDisk

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

FILES = {
    "config.json": b"{}\n",
    "model.bin": noise(MIB, "durable"),
    **{f"nested/deep/{i}.txt": b"%d\n" % i for i in range(12)},
}

DOWNLOAD = """
import os, sys, time
from xet_ffi import Client, XetError
endpoint, repo, root, local_dir, stop = sys.argv[1:]
def at_work():
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as comm:
                names.append(comm.read().strip())
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has just ended, before or after it was opened
    return any(name.startswith("xet") for name in names)
done = 0
def look(progress):
    global done
    done = progress.files_completed
with Client(endpoint, token=False, cache_dir=root, max_attempts=1, read_timeout=3.0,
            min_speed=100_000) as client:
    try:
        print(client.download_snapshot(
            repo, local_dir=local_dir or None, progress=look,
            cancel=lambda: done >= int(stop or 1_000_000)).path)
    except XetError as error:
        print(error.kind)
while at_work():
    time.sleep(0.01)
"""


@pytest.fixture
def disk(tmp_path: Path) -> SlowDisk:
    """An empty folder whose calls are written down."""
    return SlowDisk(tmp_path / "tools", tmp_path / "slow")


def download(
    disk: SlowDisk, hub: Hub, repo_id: str, local_dir: str = "", *, stop: int | None = None
) -> Path:
    """Downloads to that disk, until so many files are there; returns what is printed."""
    root = disk.folder / "cache"
    done = subprocess.run(
        [sys.executable, "-c", DOWNLOAD, hub.endpoint, repo_id, root, local_dir, str(stop or "")],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def synced_folders(disk: SlowDisk) -> Counter[Path]:
    """How often each folder was synced."""
    calls = disk.calls("fsync", "fdatasync")
    return Counter(path for path in (Path(call.path) for call in calls) if path.is_dir())


def test_each_folder_of_the_cache_is_synced_once(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk
) -> None:
    """Blobs, pointers, refs, the shared store, and the folders above that are new."""
    publish(hf_api, repo_id, FILES)
    snapshot = download(disk, hub, repo_id)
    repo = snapshot.parent.parent
    shared = (snapshot / "model.bin").resolve()
    expected = {
        repo.parent.parent,
        repo.parent,
        repo,
        repo / "blobs",
        repo / "refs",
        snapshot.parent,
        snapshot,
        snapshot / "nested",
        snapshot / "nested" / "deep",
        shared.parent,
        shared.parent.parent,
    }
    assert synced_folders(disk) == Counter(dict.fromkeys(expected, 1))
    last = max(i for i, call in enumerate(disk.calls()) if call.name in {"rename", "symlink"})
    syncs = [i for i, c in enumerate(disk.calls()) if c.name == "fsync" and Path(c.path).is_dir()]
    assert min(syncs) > last
    disk.forget()
    download(disk, hub, repo_id)
    assert synced_folders(disk) == Counter()


def test_each_folder_of_a_local_dir_is_synced_once(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk
) -> None:
    """Also those of the user's that the files go to."""
    publish(hf_api, repo_id, FILES)
    root = download(disk, hub, repo_id, str(disk.folder / "local"))
    found = synced_folders(disk)
    expected = {root.parent, root, root / "nested", root / "nested" / "deep"}
    assert {path: found[path] for path in expected} == dict.fromkeys(expected, 1)
    # What the folder holds is noted there after the last look at the files.
    twice = {path for path, times in found.items() if times > 1}
    assert twice <= {root / ".cache" / "huggingface"}


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_a_disk_that_cannot_sync_folders_is_good_enough(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk, error: int
) -> None:
    """Some network file systems can't; they bring names to the disk by themselves."""
    publish(hf_api, repo_id, FILES)
    disk.rule("fsync", error=error, only="folder")
    assert (download(disk, hub, repo_id) / "config.json").read_bytes() == FILES["config.json"]


def test_a_disk_that_loses_names_is_an_error(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk
) -> None:
    """What can't be brought to the disk isn't called done."""
    publish(hf_api, repo_id, FILES)
    disk.rule("fsync", error=errno.EIO, only="folder")
    assert download(disk, hub, repo_id).name == "io"


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("ended", ["cancelled", "failed"])
def test_the_finished_files_of_a_call_that_was_not_are_durable(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk, ended: str, *, local: bool
) -> None:
    """The next attempt counts on them, also after a power cut."""
    publish(hf_api, repo_id, FILES)
    # The large file comes far too slowly.
    hub.fault("storage", drip=5_000)
    local_dir = str(disk.folder / "local") if local else ""
    small = {Path(name).name for name in FILES} - {"model.bin"}
    stop = len(small) if ended == "cancelled" else None
    kind = str(download(disk, hub, repo_id, local_dir, stop=stop))
    assert kind == ("cancelled" if stop else "timeout")
    calls = disk.calls()
    named = {
        call.path: i
        for i, call in enumerate(calls)
        if call.name in {"rename", "symlink"} and Path(call.path).name in small
    }
    assert {Path(path).name for path in named} == small
    for path, i in named.items():
        synced = {call.path for call in calls[i:] if call.name == "fsync"}
        assert str(Path(path).parent) in synced


AGAIN = """
import os, sys
from xet_ffi import Client, XetError
endpoint, repo, root, local_dir, gate = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=root) as client:
    for attempt in range(2):
        try:
            print(client.download_snapshot(repo, local_dir=local_dir or None).files)
        except XetError as error:
            print(error.kind)
        os.makedirs(gate, exist_ok=True)
"""


@pytest.mark.parametrize("local", [False, True])
def test_names_that_did_not_reach_the_disk_are_not_counted_on(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk, *, local: bool
) -> None:
    """The next call finds the files, and says so only when the disk has taken their names."""
    publish(hf_api, repo_id, FILES)
    gate = disk.folder / "gate"
    disk.rule("fsync", error=errno.EIO, only="folder", until_exists=gate)
    local_dir = disk.folder / "local" if local else ""
    done = subprocess.run(
        [
            *(sys.executable, "-c", AGAIN, hub.endpoint, repo_id),
            *(disk.folder / "cache", local_dir, gate),
        ],
        env={**os.environ, **disk.environment()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == "io"
    assert int(done.stdout.split()[1]) >= len(FILES)
    calls = disk.calls()
    opened = next(i for i, call in enumerate(calls) if call.path == str(gate))
    named = {
        str(Path(call.path).parent)
        for call in calls[:opened]
        if call.name in {"rename", "symlink"} and Path(call.path).name in map(_name, FILES)
    }
    assert len(named) == 2
    synced = {call.path for call in calls[opened:] if call.name == "fsync"}
    assert named <= synced


def _name(path: str) -> str:
    return Path(path).name
