"""A call that ends well means that all of its files are there, whoever cleans up meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import scan_cache_dir

from e2e.test_cache_care import make_old
from picture import contents
from published import MIB, commit, noise, publish
from slow_disk import SlowDisk
from xet_ffi import CancelledError, Client, NetworkError, Progress, cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from huggingface_hub import HfApi

    from hub import Hub

SMALL = {f"part/{i:02}.txt": b"%d\n" % i for i in range(21)}
BIG = noise(4 * MIB, "there")
ALL = {**SMALL, "model.bin": BIG}

#: Bytes per second of a file that isn't there before the rest is.
SLOWLY = 1_000_000

DOWNLOAD = """
import sys
from xet_ffi import Client, XetError
endpoint, repo, root, revision, offline = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=root) as client:
    try:
        print(client.download_snapshot(
            repo, revision=revision, local_files_only=bool(int(offline))).path)
    except XetError as error:
        print(error.kind)
"""


class Once:
    """A progress callback that acts when so many files are there, once, on the caller's thread."""

    def __init__(self, act: Callable[[], object], files: int = len(SMALL)) -> None:
        self.acted = False
        self._act, self._files = act, files

    def __call__(self, progress: Progress) -> None:
        """Looks whether it is time."""
        if progress.files_completed >= self._files and not self.acted:
            self.acted = True
            self._act()


def prune_as_huggingface_hub(cache_dir: Path) -> None:
    """What `hf cache prune` does: removes all revisions that no ref names."""
    found = scan_cache_dir(cache_dir)
    detached = [r.commit_hash for repo in found.repos for r in repo.revisions if not r.refs]
    found.delete_revisions(*detached).execute()


def test_an_update_outlives_the_official_prune(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """The revision that is being filled has its ref already, so another one goes."""
    publish(hf_api, repo_id, {**SMALL, "model.bin": b"first\n"})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        old = Path(client.download_snapshot(repo_id))
        commit(hf_api, repo_id, {"model.bin": BIG})
        hub.fault("storage", drip=SLOWLY)
        prune = Once(lambda: prune_as_huggingface_hub(cache_dir))
        new = Path(client.download_snapshot(repo_id, progress=prune))
    assert prune.acted
    assert new != old
    assert not old.exists()
    assert {name: contents(new)[name] for name in ALL} == ALL
    assert scan_cache_dir(cache_dir).warnings == []


def test_an_update_that_brings_nothing_leaves_the_ref(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """What is there goes on being the answer offline until something newer comes."""
    publish(hf_api, repo_id, {"model.bin": b"first\n"})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=1) as client:
        old = client.download_snapshot(repo_id, allow_patterns="*.bin").path
        commit(hf_api, repo_id, {"model.bin": BIG})
        hub.fault("storage", status=503)
        hub.fault("resolve", status=503)
        with pytest.raises(NetworkError):
            client.download_snapshot(repo_id, allow_patterns="*.bin")
        found = client.download_snapshot(repo_id, allow_patterns="*.bin", local_files_only=True)
    assert found.path == old
    assert (Path(old) / "model.bin").read_bytes() == b"first\n"


def test_a_call_in_a_queue_keeps_its_files(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """While it waits for its turn and holds no file's lock, pruning leaves the repo alone."""
    head = publish(hf_api, repo_id, ALL)
    publish(hf_api, f"{repo_id}-2", {"other.bin": noise(6 * MIB, "queue")})
    hub.fault("storage", drip=SLOWLY)
    flowing, stop = threading.Event(), threading.Event()
    pruned: list[cache.CacheReport] = []

    def look(progress: Progress) -> None:
        if progress.bytes_completed:
            flowing.set()

    def occupy() -> None:
        with contextlib.suppress(CancelledError):
            client.download_snapshot(f"{repo_id}-2", progress=look, cancel=stop)

    def prune() -> None:
        make_old(cache_dir)
        pruned.append(cache.prune(unreferenced=True, cache_dir=cache_dir))
        stop.set()

    with Client(
        hub.endpoint, token=False, cache_dir=cache_dir, max_concurrent_downloads=1
    ) as client:
        client.download_snapshot(repo_id, revision=head, allow_patterns="part/*")
        thread = threading.Thread(target=occupy)
        thread.start()
        assert flowing.wait(30)
        path = Path(client.download_snapshot(repo_id, revision=head, progress=Once(prune)))
        thread.join()
    assert {name: contents(path)[name] for name in ALL} == ALL
    assert not any(repo_id.replace("/", "--") + "/" in item.path for item in pruned[0].items)


@pytest.mark.parametrize("offline", [False, True])
def test_what_is_found_present_stays_until_the_call_returns(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, *, offline: bool
) -> None:
    """A pruning in the middle of the look at the files finds the repo in use."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    root, gate = disk.folder / "cache", tmp_path / "gate"
    head = publish(hf_api, repo_id, SMALL)
    with Client(hub.endpoint, token=False, cache_dir=root) as client:
        client.download_snapshot(repo_id, revision=head)
    make_old(root)
    disk.rule("stat", match="/part/", skip=12, times=1, delay_ms=1_000_000, until_exists=gate)
    process = subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, hub.endpoint, repo_id, root, head, str(int(offline))],
        env={**os.environ, **disk.environment()},
        stdout=subprocess.PIPE,
        text=True,
    )
    looked = lambda calls: sum("/part/" in c.path for c in calls if c.name == "stat") > 12  # noqa: E731
    disk.wait_for(looked, "the look at the files")
    assert cache.prune(unreferenced=True, cache_dir=root).files == 0
    gate.touch()
    out, _ = process.communicate(timeout=60)
    found = contents(Path(out.strip()))
    assert {name: found[name] for name in SMALL} == SMALL
    # Nobody holds on to it any more.
    assert cache.prune(unreferenced=True, cache_dir=root).files > 0


def test_without_the_lock_files_are_looked_at_once_more(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """Pruning isn't kept away then, so what was found present may be gone when the look ends."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    root, gate = disk.folder / "cache", tmp_path / "gate"
    publish(hf_api, repo_id, SMALL)
    with Client(hub.endpoint, token=False, cache_dir=root) as client:
        folder = Path(client.download_snapshot(repo_id))
    disk.rule("open", match="repo.xet.lock", error=errno.EACCES)
    disk.rule("stat", match="/part/", skip=12, times=1, delay_ms=1_000_000, until_exists=gate)
    process = subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, hub.endpoint, repo_id, root, "main", "0"],
        env={**os.environ, **disk.environment()},
        stdout=subprocess.PIPE,
        text=True,
    )
    looked = lambda calls: sum("/part/" in c.path for c in calls if c.name == "stat") > 12  # noqa: E731
    disk.wait_for(looked, "the look at the files")
    (folder / "part" / "00.txt").unlink()
    gate.touch()
    out, _ = process.communicate(timeout=60)
    assert Path(out.strip()) == folder
    assert {name: contents(folder)[name] for name in SMALL} == SMALL


@pytest.mark.parametrize("named", [True, False])
def test_a_commit_is_looked_at_twice_only_if_no_ref_names_it(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, *, named: bool
) -> None:
    """What a ref names, no pruning removes, however the caller has called it."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    head = publish(hf_api, repo_id, SMALL)
    with Client(hub.endpoint, token=False, cache_dir=disk.folder) as client:
        folder = Path(client.download_snapshot(repo_id, revision=None if named else head))
    subprocess.run(
        [sys.executable, "-c", DOWNLOAD, hub.endpoint, repo_id, disk.folder, head, "0"],
        env={**os.environ, **disk.environment()},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    looks = {disk.count("stat", path=folder / name) for name in SMALL}
    assert looks == {1 if named else 2}


@pytest.mark.parametrize("what", ["pointers", "shared content", "repo", "local files"])
def test_what_somebody_removes_during_the_call_is_brought_again(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, tmp_path: Path, what: str
) -> None:
    """Each file is looked at once more before the call returns."""
    publish(hf_api, repo_id, {**ALL, "xet.bin": noise(MIB, "shared")})
    local_dir = tmp_path / "local" if what == "local files" else None

    def remove() -> None:
        [folder] = [local_dir] if local_dir else cache_dir.glob("models--*/snapshots/*")
        if what == "repo":
            shutil.rmtree(folder.parent.parent)
        elif what == "shared content":
            for content in cache_dir.glob("blobs/??/*"):
                if content.is_file() and len(content.name) == 64:
                    content.unlink()
        else:
            shutil.rmtree(folder / "part")

    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        if what == "shared content":
            client.download_file(repo_id, "xet.bin")
        # Begins before the small files are done, and ends long after.
        hub.fault("storage", drip=SLOWLY)
        once, seen = Once(remove), []

        def look(progress: Progress) -> None:
            once(progress)
            seen.append(progress)

        path = Path(client.download_snapshot(repo_id, local_dir=local_dir, progress=look))
    assert once.acted
    found = contents(path)
    assert {name: found[name] for name in ALL} == ALL
    assert found["xet.bin"] == noise(MIB, "shared")
    assert seen[-1].files_completed == seen[-1].files_total
    assert seen[-1].bytes_completed == seen[-1].bytes_total


def test_files_that_do_not_stay_are_an_error_of_their_own(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """After a few rounds the call ends, and says that somebody removes the files."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    head = publish(hf_api, repo_id, SMALL)
    disk.rule("stat", match="/part/07.txt", error=errno.ENOENT)
    done = subprocess.run(
        [sys.executable, "-c", DOWNLOAD, hub.endpoint, repo_id, disk.folder, head, "0"],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "files_removed", done.stderr


def test_files_that_go_on_their_way_are_an_error_that_says_so(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """The last failure to give one its name is in what was tried."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    publish(hf_api, repo_id, SMALL)
    disk.rule("rename", match="/blobs/", error=errno.ENOENT)
    program = DOWNLOAD + "        print(error.details['tried'])\n"
    done = subprocess.run(
        [sys.executable, "-c", program, hub.endpoint, repo_id, disk.folder, "main", "0"],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    kind, tried = done.stdout.splitlines()
    assert kind == "files_removed"
    assert "bringing them in: can't" in tried
    assert "No such file or directory" in tried


def test_a_disk_without_locks_is_good_enough(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """NFS may have none: downloads work, and pruning keeps its hands off."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    head = publish(hf_api, repo_id, SMALL)
    disk.rule("flock", error=errno.ENOTSUP)
    program = (
        DOWNLOAD + "from xet_ffi import cache\n"
        "print(cache.prune(unreferenced=True, cache_dir=root).files)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, hub.endpoint, repo_id, disk.folder, head, "0"],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    path, pruned = done.stdout.split()
    assert {name: contents(Path(path))[name] for name in SMALL} == SMALL
    assert pruned == "0"
