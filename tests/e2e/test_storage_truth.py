"""What a storage says is so: what is called done is there, whoever waits for what, and wherever."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from published import MIB, noise
from small_disk import mount, small_file_system
from storage_access import ABSENT, Access, token_of
from xet_ffi import CancelledError, Client, IoError, NoSpaceError, TransferTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hub import Hub
    from xet_ffi.storage import Downloads, Storage, Uploads


def cancelled_by(storage: Storage) -> None:
    """A group that somebody cancels."""
    group = storage.downloads()
    group.cancel()
    with pytest.raises(CancelledError):
        group.wait()


ENDING: dict[str, Callable[[Storage], object]] = {
    "an empty group": lambda storage: storage.downloads().wait(),
    "no uploads": lambda storage: storage.uploads().wait(),
    "a cancelled group": cancelled_by,
}


@pytest.mark.parametrize("what", ENDING)
def test_a_group_that_ends_takes_nothing_along(
    hub: Hub, alice: Client, access: Access, tmp_path: Path, what: str
) -> None:
    """Who waits for it may have been asked for the token that another one needs."""

    def get_token() -> tuple[str, int]:
        time.sleep(0.1)
        return token_of(access)

    for number in range(5):
        storage = alice.storage(hub.cas, token_callback=get_token)
        downloads = storage.downloads()
        path = tmp_path / f"{number}"
        downloads.add(access.hashes["a.bin"], path)
        time.sleep(0.03 * number)
        ENDING[what](storage)
        assert [task.state for task in downloads.wait().tasks] == ["done"]
        assert path.read_bytes() == access.contents["a.bin"]


def until_ended(group: Downloads | Uploads) -> str:
    """How a group has ended that nobody waits for."""
    until = time.monotonic() + 20
    while (state := group.report().state) == "running" and time.monotonic() < until:
        time.sleep(0.02)
    return state


def test_a_time_limit_ends_a_group_that_nobody_waits_for(
    hub: Hub, reading: Storage, access: Access, tmp_path: Path
) -> None:
    """Its report says so, and who adds something learns why it's too late."""
    hub.fault("storage", method="GET", stall_before=60)
    downloads, uploads = reading.downloads(timeout=0.5), reading.uploads(timeout=0.5)
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    late: list[tuple[Downloads | Uploads, Callable[[], object]]] = [
        (downloads, lambda: downloads.add(ABSENT, tmp_path / "late")),
        (uploads, lambda: uploads.add(b"late")),
    ]
    for group, add in late:
        assert until_ended(group) == "failed"
        for ask in (add, group.wait):
            with pytest.raises(TransferTimeoutError, match="timeout"):
                ask()


def test_what_is_added_says_why_its_group_has_failed(alice: Client, tmp_path: Path) -> None:
    """Though nobody has waited for it."""
    (tmp_path / "cas").write_text("a file and no folder")
    uploads = alice.storage(f"local://{tmp_path}/cas").uploads()
    uploads.add(b"first")
    assert until_ended(uploads) == "failed"
    with pytest.raises(IoError, match="cas"):
        uploads.add(b"second")


def test_relative_paths_are_those_of_the_moment(
    hub: Hub, alice: Client, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At which they are given, also that of the storage, whenever the work begins."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "source").write_bytes(noise(MIB, folder.name))
    monkeypatch.chdir(one)
    hub.fault("reconstruction", stall_before=0.5)
    downloads = alice.storage(**access.read).downloads()
    names = [f"{number}" for number in range(40)]
    for name in names:
        downloads.add(access.hashes["a.bin"], name)
    uploads = (storage := alice.storage("local://cas")).uploads()
    upload = uploads.add("source")
    monkeypatch.chdir(other)
    downloads.wait()
    sent = uploads.wait().tasks[upload - 1]
    hub.clear_faults()
    assert {path.name for path in one.iterdir() if path.name.isdigit()} == set(names)
    assert [path.name for path in other.iterdir()] == ["source"]
    assert sent.hash is not None
    assert b"".join(storage.open(sent.hash)) == noise(MIB, "one")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "missing"])
def test_an_upload_does_not_count_on_what_is_damaged(
    alice: Client, tmp_path: Path, damage: str
) -> None:
    """What a folder has lost is written again by the next upload, which is a success only then."""
    content, endpoint = noise(2 * MIB, damage), f"local://{tmp_path}/cas"

    def upload() -> str:
        with alice.storage(endpoint) as storage, storage.uploads() as uploads:
            uploads.add(content)
        found = uploads.report().tasks[0].hash
        assert found is not None
        return found

    stored = upload()
    xorbs = [*(tmp_path / "cas/xet/xorbs/xorbs").glob("default.*")]
    xorb = max(xorbs, key=lambda path: path.stat().st_size)
    whole = xorb.read_bytes()
    if damage == "flip":
        xorb.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    elif damage == "missing":
        xorb.unlink()
    else:
        xorb.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    assert upload() == stored
    with alice.storage(endpoint) as storage:
        assert b"".join(storage.open(stored)) == content


def test_a_full_disk_keeps_nothing_that_is_in_the_way(reading: Storage, access: Access) -> None:
    """What has come of a file that doesn't fit goes, and so does what is kept of others."""
    with small_file_system(4) as disk:
        kept = disk / ".xet-ffi"
        download(reading, access, "a.bin", disk / "a")
        with pytest.raises(NoSpaceError):
            download(reading, access, "b.bin", disk / "b")
        assert not kept.exists()
        (disk / "a").unlink()
        # As a killed process leaves it.
        kept.mkdir()
        (kept / f"{ABSENT}.partial").write_bytes(bytes(3 * MIB))
        download(reading, access, "b.bin", disk / "b")
        assert (disk / "b").read_bytes() == access.contents["b.bin"]


def test_what_nobody_came_back_for_goes_from_other_disks_too(
    reading: Storage, access: Access
) -> None:
    """It lies beside the files there, and whoever comes by looks after it."""
    with small_file_system(16) as disk:
        old, young = (disk / ".xet-ffi" / f"{digit * 64}.partial" for digit in "ab")
        old.parent.mkdir()
        for partial in (old, young):
            partial.write_bytes(bytes(MIB))
        long_ago = time.time() - 15 * 24 * 3600
        os.utime(old, (long_ago, long_ago))
        download(reading, access, "a.bin", disk / "a")
        assert (old.exists(), young.exists()) == (False, True)


def test_a_cache_that_can_only_be_read_is_not_in_the_way(
    hub: Hub, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes is kept beside its file, as where the cache is on another disk."""
    with small_file_system(16) as disk:
        cache = disk / "xet"
        (cache / "xet-ffi" / "incomplete").mkdir(parents=True)
        assert not mount("--bind", str(cache), str(cache))
        try:
            assert not mount("-o", "remount,bind,ro", str(cache))
            monkeypatch.setenv("HF_XET_CACHE", str(cache))
            with (
                Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client,
                client.storage(**access.read) as storage,
            ):
                download(storage, access, "a.bin", disk / "a")
        finally:
            subprocess.run(["umount", str(cache)], check=True)
        assert (disk / "a").read_bytes() == access.contents["a.bin"]
        assert sorted(path.name for path in disk.iterdir()) == ["a", "xet"]


def download(storage: Storage, access: Access, name: str, path: Path) -> None:
    """One file, in a group of its own."""
    downloads = storage.downloads()
    downloads.add(access.hashes[name], path)
    downloads.wait()


def test_a_stream_mends_what_has_rotted_here(
    reading: Storage, access: Access, tmp_path: Path
) -> None:
    """Content that is on this machine, and isn't what it was, costs its bytes and nothing else."""
    path = tmp_path / "a"
    download(reading, access, "a.bin", path)
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"rotten")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert b"".join(reading.open(access.hashes["a.bin"])) == access.contents["a.bin"]


def test_a_task_that_waits_for_its_turn_is_cancelled_at_once(
    hub: Hub, reading: Storage, access: Access, tmp_path: Path
) -> None:
    """It doesn't wait for those before it."""
    hub.fault("storage", method="GET", stall_before=60)
    downloads = reading.downloads()
    tasks = [downloads.add(access.hashes["a.bin"], tmp_path / f"{n}") for n in range(60)]
    downloads.cancel(tasks[-1])
    begun = time.monotonic()
    assert downloads.wait_task(tasks[-1]).state == "cancelled"
    assert time.monotonic() - begun < 10
    downloads.cancel()


def test_who_waits_for_a_task_learns_that_time_is_up(
    hub: Hub, reading: Storage, access: Access, tmp_path: Path
) -> None:
    """And so do all others, whoever saw it first. The clock stands still then."""
    hub.fault("storage", method="GET", stall_before=60)
    downloads = reading.downloads(timeout=0.5)
    task = downloads.add(access.hashes["a.bin"], tmp_path / "a")
    for wait in (lambda: downloads.wait_task(task), downloads.wait):
        with pytest.raises(TransferTimeoutError, match="timeout"):
            wait()
    report = downloads.report()
    assert report.state == "failed"
    time.sleep(0.1)
    assert downloads.report().seconds == report.seconds


def test_a_forked_child_frees_what_it_inherited(alice: Client, access: Access) -> None:
    """Though a thread that isn't there was reading the bytes at that moment."""
    content = noise(48 * MIB, "forked")
    with alice.storage(**access.write) as storage, storage.uploads() as uploads:
        uploads.add(content)
        children = []
        for _ in range(40):
            child = os.fork()
            if child == 0:
                uploads.close()
                os._exit(0)
            children.append(child)
            time.sleep(0.005)
    until = time.monotonic() + 30
    while children and time.monotonic() < until:
        children = [child for child in children if os.waitpid(child, os.WNOHANG) == (0, 0)]
        time.sleep(0.05)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not children
