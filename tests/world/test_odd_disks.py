"""File systems that refuse what a local disk does, or don't know how much room they have."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import odd_disk
from published import MIB, noise
from slow_disk import SlowDisk
from small_disk import small_file_system
from world.stage import TOKEN, publish
from xet_ffi import Client

if TYPE_CHECKING:
    from hub import Hub

#: Of each kind of storage; two that are equal; one in a folder.
FILES = {
    "config.json": b"{}",
    "large.bin": noise(2 * MIB, "odd"),
    "same/large.bin": noise(2 * MIB, "odd"),
    "model.safetensors": noise(3 * MIB, "xet"),
}

#: Downloads to the cache, twice, and to a folder; uploads, too. Says where things are.
ROUND = """
import logging, sys
from xet_ffi import Client
logging.basicConfig(format="%(levelname)s %(message)s", level="WARNING", stream=sys.stderr)
endpoint, token, repo, folder = sys.argv[1:]
with Client(endpoint, token, folder + "/hub") as client:
    print(client.download_snapshot(repo).path)
    client.download_snapshot(repo, force_download=True)
    print(client.download_snapshot(repo, local_dir=folder + "/out").path)
    client.download_snapshot(repo, local_dir=folder + "/out", force_download=True)
    print(client.download_snapshot(repo, local_dir=folder + "/again").path)
    client.upload_folder(folder + "/out", repo, path_in_repo="copy")
    client.upload_file(b"x" * 800_000, "new.bin", repo)
"""

#: A call that a file system may refuse, and how.
REFUSALS = [
    ("statfs", "ENOSYS"),
    ("fsync", "EINVAL"),
    ("fdatasync", "EINVAL"),
    ("sync", "ENOSYS"),
    ("link", "EPERM"),
    ("link", "ENOTSUP"),
    ("link", "EMLINK"),
    ("symlink", "EPERM"),
    ("symlink", "ENOSYS"),
    ("symlink", "EINVAL"),
    ("clone", "EOPNOTSUPP"),
    ("clone", "ENOTTY"),
    ("copy", "EXDEV"),
    ("copy", "EINVAL"),
    ("copy", "EIO"),
    ("copy", "ENOSYS"),
    ("allocate", "EOPNOTSUPP"),
    ("allocate", "EINVAL"),
    ("chmod", "EPERM"),
    ("chmod", "ENOSYS"),
    ("utime", "EPERM"),
    ("utime", "ENOSYS"),
]


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with some files."""
    return publish(hub, FILES)[0]


def goes_round(hub: Hub, repo: str, disk: SlowDisk) -> str:
    """Everything works; returns the log."""
    places, log = disk.run(ROUND, hub.endpoint, TOKEN.secret, repo, str(disk.folder))
    for place in places:
        assert {name: (Path(place) / name).read_bytes() for name in FILES} == FILES
    assert not list(disk.folder.rglob("*.partial"))
    with Client(hub.endpoint, TOKEN.secret) as client:
        there = {file.path for file in client.list_files(repo)}
    expected = {*FILES, *(f"copy/{name}" for name in FILES), "new.bin"}
    assert {path for path in there if not path.endswith(".gitattributes")} == expected
    # xet-core's own files can't be used each time that it's tried.
    warnings = [line for line in log.splitlines() if line.startswith("WARNING")]
    warnings = [line for line in warnings if "without the Xet cache" not in line]
    assert len(warnings) == len(set(warnings)), log
    return log


@pytest.mark.parametrize(("call", "error"), REFUSALS)
def test_a_call_that_is_refused_is_done_without(
    hub: Hub, repo: str, disk: SlowDisk, call: str, error: str
) -> None:
    """With one warning, if something is lost by it."""
    disk.rule(call, error=getattr(errno, error))
    log = goes_round(hub, repo, disk)
    expected = {
        "chmod": "can't set the permissions",
        "symlink": "no symbolic links",
        "fdatasync": "can't bring files to the disk",
    }
    if call in expected:
        assert log.count(expected[call]) == 1, log


def test_without_locks_for_parts_of_files_nothing_is_reused(
    hub: Hub, repo: str, disk: SlowDisk
) -> None:
    """As on NFS without a lock server. SQLite would wait for whoever it is who holds them."""
    disk.rule("lock", error=errno.ENOLCK)
    log = goes_round(hub, repo, disk)
    assert log.count("the reuse index can't be used") == 1, log
    assert "has no locks for it" in log
    assert disk.count("lock") < 8


@pytest.mark.parametrize("error", ["EINVAL", "EBADF", "EACCES"])
def test_a_folder_that_cannot_be_synced_is_no_failure(
    hub: Hub, repo: str, disk: SlowDisk, error: str
) -> None:
    """The system brings its names to the disk in its own time."""
    disk.rule("fsync", error=getattr(errno, error), only="folder")
    goes_round(hub, repo, disk)


def test_what_is_open_elsewhere_is_replaced_all_the_same(
    hub: Hub, repo: str, disk: SlowDisk
) -> None:
    """SMB and FUSE refuse to rename over a file that somebody has open."""
    disk.rule("rename", error=errno.EBUSY, only="there", match="config.json")
    disk.rule("rename", error=errno.ETXTBSY, only="there", match="large.bin")
    goes_round(hub, repo, disk)


@pytest.mark.parametrize("kind", odd_disk.KINDS)
def test_all_works_on_file_systems_of_many_kinds(
    hub: Hub, repo: str, disk: SlowDisk, kind: str
) -> None:
    """All that such a file system refuses, at once."""
    odd_disk.make(disk, kind)
    goes_round(hub, repo, disk)


def test_a_broken_disk_is_said(hub: Hub, repo: str, disk: SlowDisk) -> None:
    """A sync that went wrong is no sync that is refused."""
    disk.rule("fdatasync", error=errno.EIO, match="partial")
    program = """
import sys
from xet_ffi import Client
endpoint, repo, folder = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=folder + "/hub") as client:
    try:
        client.download_snapshot(repo)
    except OSError as error:
        print(type(error).__name__)
"""
    said, _ = disk.run(program, hub.endpoint, repo, str(disk.folder))
    assert said == ["IoError"]


def test_no_idea_of_the_room_is_no_lack_of_it(hub: Hub, repo: str, disk: SlowDisk) -> None:
    """File systems in user space say that they have 0 bytes, of 0."""
    disk.rule("statfs", pretend=True)
    goes_round(hub, repo, disk)
    program = """
import sys
from xet_ffi import Client
endpoint, repo, folder = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=folder + "/new") as client:
    plan = client.plan_snapshot(repo)
    print(plan.disk_free, plan.fits)
"""
    said, _ = disk.run(program, hub.endpoint, repo, str(disk.folder))
    assert said == ["None", "True"]


def test_a_full_disk_that_did_not_say_so_is_named(hub: Hub, repo: str, tmp_path: Path) -> None:
    """By the failure itself."""
    with small_file_system(4) as folder:
        disk = SlowDisk(tmp_path / "tools", folder)
        disk.rule("statfs", pretend=True)
        program = """
import sys
from xet_ffi import Client, NoSpaceError
endpoint, repo, folder = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=folder + "/hub") as client:
    try:
        client.download_snapshot(repo)
    except NoSpaceError as error:
        print(folder in str(error) and folder in error.file)
"""
        said, _ = disk.run(program, hub.endpoint, repo, str(folder))
        assert said == ["True"]


def test_what_is_there_without_metadata_needs_no_room(hub: Hub, repo: str) -> None:
    """A folder that was copied here is looked at, and not refused for lack of room."""
    with small_file_system(9) as folder, Client(hub.endpoint, token=False) as client:
        for name, content in FILES.items():
            path = folder / "out" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        hub.reset_stats()
        # But for what the Hub itself has added.
        assert client.plan_snapshot(repo, local_dir=folder / "out").disk_need < 10_000
        client.download_snapshot(repo, local_dir=folder / "out")
        assert hub.stats().bytes_sent("storage") == 0
