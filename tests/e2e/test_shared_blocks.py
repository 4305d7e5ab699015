"""On file systems that can share blocks between files, a variant costs its changed blocks only.

On a file system in a file, mounted for the test; where that can't be done the tests are skipped,
and say why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import MIB, commit, noise, publish
from xet_ffi import Client, NoSpaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 64 * MIB
#: What a file system takes for itself, besides content.
OVERHEAD = 2 * MIB

#: The program that makes each, and its options.
MAKERS = {"btrfs": ["mkfs.btrfs", "-q"], "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"]}


def run(*command: str) -> str:
    """Runs a program, and returns what it complains about."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() or "it failed" if done.returncode else ""


@pytest.fixture(params=MAKERS)
def disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A mounted file system of that kind, with 400 MiB."""
    maker = MAKERS[request.param]
    if os.getuid() != 0 or not shutil.which("mount"):
        pytest.skip(f"NOT TESTED on {request.param}: only root can mount a file system")
    if not shutil.which(maker[0]):
        pytest.skip(f"NOT TESTED on {request.param}: there is no {maker[0]}")
    work = Path(tempfile.mkdtemp(prefix="blocks-"))
    image, mounted = work / "image", work / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    problem = run(*maker, str(image)) or run("mount", "-o", "loop", str(image), str(mounted))
    if problem:
        shutil.rmtree(work)
        pytest.skip(f"NOT TESTED on {request.param}: {problem}")
    yield mounted
    # By hand: a process that was forked meanwhile may still hold it.
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)
    shutil.rmtree(work)


def used(disk: Path) -> int:
    """How many bytes are in use on the disk, once all is written."""
    subprocess.run(["sync", "--file-system", str(disk)], check=True)
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@pytest.mark.parametrize("place", ["cache", "local_dir"])
def test_a_new_revision_takes_its_changed_blocks(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: Path, place: str
) -> None:
    """Two revisions of 64 MiB that differ in 4 MiB take 68 MiB."""
    old = noise(SIZE, "blocks")
    new = old[: SIZE // 2] + noise(4 * MIB, "new blocks") + old[SIZE // 2 + 4 * MIB :]
    folder = disk / "folder" if place == "local_dir" else None
    publish(hf_api, repo_id, {"model.bin": old})
    with Client(hub.endpoint, token=False, cache_dir=disk / "cache") as client:
        client.download_snapshot(repo_id)
        before = used(disk)
        commit(hf_api, repo_id, {"model.bin": new})
        plan = client.plan_snapshot(repo_id, local_dir=folder)
        transfer = client.download_snapshot(repo_id, local_dir=folder)
        after = used(disk)
    assert (Path(transfer) / "model.bin").read_bytes() == new
    taken = after - before
    assert 4 * MIB <= taken <= 4 * MIB + OVERHEAD
    assert plan.disk_need <= 4 * MIB + OVERHEAD
    # The old one is what it was: the two don't depend on each other.
    assert any(blob.read_bytes() == old for blob in (disk / "cache").rglob("blobs/*/*"))


def test_what_shares_blocks_fits_where_copies_would_not(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: Path
) -> None:
    """The question whether there is room counts what is going to be written, and no more."""
    old = noise(SIZE, "room")
    new = old[: SIZE - MIB] + noise(MIB, "new room")
    other = noise(SIZE, "other room")
    publish(hf_api, repo_id, {"model.bin": old})
    with Client(hub.endpoint, token=False, cache_dir=disk / "cache") as client:
        client.download_snapshot(repo_id)
        left = os.statvfs(disk)
        filler = left.f_bavail * left.f_frsize - SIZE // 2
        with (disk / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, filler)
        commit(hf_api, repo_id, {"model.bin": new})
        transfer = client.download_snapshot(repo_id)
        assert (Path(transfer) / "model.bin").read_bytes() == new
        commit(hf_api, repo_id, {"model.bin": other})
        with pytest.raises(NoSpaceError):
            client.download_snapshot(repo_id)


def test_the_same_file_takes_no_blocks(hub: Hub, hf_api: HfApi, repo_id: str, disk: Path) -> None:
    """A file that is in the cache takes no space in a local_dir."""
    publish(hf_api, repo_id, {"model.bin": noise(SIZE, "same blocks")})
    with Client(hub.endpoint, token=False, cache_dir=disk / "cache") as client:
        client.download_snapshot(repo_id)
        before = used(disk)
        client.download_snapshot(repo_id, local_dir=disk / "folder")
    assert used(disk) - before <= OVERHEAD
