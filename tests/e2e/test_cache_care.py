"""The cache is looked after, and nothing that anybody needs is lost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download

from picture import contents, picture
from published import MIB, VARIETY, commit, noise, publish
from slow_disk import SlowDisk
from xet_ffi import CancelledError, Client, InvalidConfigError, Progress, cache

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 8 * MIB
OLD = noise(SIZE, "care")
NEW = OLD[: SIZE // 2] + noise(MIB, "care changed") + OLD[SIZE // 2 + MIB :]
LONG_AGO = time.time() - 30 * 86_400


def make_old(folder: Path) -> None:
    """Everything in the folder was last used a month ago."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.utime(Path(root, name), (LONG_AGO, LONG_AGO), follow_symlinks=False)
    os.utime(folder, (LONG_AGO, LONG_AGO))


@pytest.fixture
def two_revisions(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> list[Path]:
    """Both revisions of a repo, downloaded long ago. main is the second."""
    publish(hf_api, repo_id, {"model.bin": OLD, "same.txt": b"same\n"})
    paths = []
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        paths.append(Path(client.download_snapshot(repo_id)))
        commit(hf_api, repo_id, {"model.bin": NEW})
        paths.append(Path(client.download_snapshot(repo_id)))
    make_old(cache_dir)
    return paths


def test_usage_adds_up(cache_dir: Path, two_revisions: list[Path]) -> None:
    """Contents count once, and what no ref leads to is told apart."""
    usage = cache.usage(cache_dir=cache_dir)
    assert (usage.repos, usage.revisions) == (1, 2)
    on_disk = {
        p.stat().st_ino: p.stat().st_size for p in cache_dir.rglob("blobs/**/*") if p.is_file()
    }
    ours = {p.resolve() for folder in two_revisions for p in folder.iterdir()}
    assert usage.bytes == sum(path.stat().st_size for path in ours)
    assert usage.bytes <= sum(on_disk.values())
    assert usage.files == len(ours)
    assert usage.bytes_unreferenced == SIZE
    assert usage.bytes_partial == 0
    assert (usage.indexed_files, usage.indexed_bytes) == (2, 2 * SIZE)
    assert 0 < usage.index_bytes < 256 * 1024
    assert usage.bytes == scan_cache_dir(cache_dir).size_on_disk
    assert cache.usage(cache_dir=cache_dir / "nothing").files == 0


def test_prune_does_not_follow_links(
    cache_dir: Path, two_revisions: list[Path], tmp_path: Path
) -> None:
    """Neither a handy name for a revision nor a planted one leads prune to what is behind it."""
    elsewhere = tmp_path / "documents"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_bytes(b"years of work\n")
    (elsewhere / "thesis.partial").write_bytes(b"years of work\n")
    current = two_revisions[1]
    before = contents(current)
    (current.parent / "main").symlink_to(current.name)
    (current.parent / ("a" * 40)).symlink_to(elsewhere)
    (current.parent / "notes").mkdir()
    (current.parent / "notes" / "mine.txt").write_bytes(b"mine\n")
    ours = current.parent.parent / ".xet"
    if ours.exists():
        ours.rmdir()
    ours.symlink_to(elsewhere)
    make_old(cache_dir)
    make_old(elsewhere)
    cache.prune(unreferenced=True, cache_dir=cache_dir)
    assert contents(current) == before
    assert {path.name for path in elsewhere.iterdir()} == {"thesis.txt", "thesis.partial"}
    assert (current.parent / "notes" / "mine.txt").exists()
    assert not two_revisions[0].exists()


def test_verify_finds_what_rotted(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> None:
    """Every kind of file is hashed; a flipped bit is found and named, and left as it is."""
    publish(hf_api, repo_id)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        folder = Path(client.download_snapshot(repo_id))
        sound = cache.verify(cache_dir=cache_dir)
        assert sound.items == ()
        assert sound.files == cache.usage(cache_dir=cache_dir).files
        for name in ("model.safetensors", "config.json", "legacy/old.bin"):
            blob = (folder / name).resolve()
            blob.chmod(0o644)
            content = bytearray(blob.read_bytes())
            content[len(content) // 2] ^= 1
            blob.write_bytes(content)
        before = picture(cache_dir)
        seen: list[Progress] = []
        found = cache.verify(cache_dir=cache_dir, progress=seen.append)
        assert picture(cache_dir) == before
        damaged = {
            (folder / n).resolve() for n in ("model.safetensors", "config.json", "legacy/old.bin")
        }
        assert {Path(item.path) for item in found.items} == damaged
        assert all("instead of" in item.reason for item in found.items)
        assert seen[-1].bytes_completed == seen[-1].bytes_total == found.bytes
        client.download_snapshot(repo_id, force_download=True)
    assert cache.verify(cache_dir=cache_dir).items == ()


def test_verify_can_be_cancelled(cache_dir: Path, two_revisions: list[Path]) -> None:
    """Hashing a large cache takes long, so it asks whether to go on."""
    assert two_revisions
    with pytest.raises(CancelledError):
        cache.verify(cache_dir=cache_dir, cancel=lambda: True)


def test_prune_removes_what_no_ref_names(
    hub: Hub, repo_id: str, cache_dir: Path, two_revisions: list[Path]
) -> None:
    """The old revision goes with what only it has; the new one stays whole, for both clients."""
    old, new = two_revisions
    would = cache.prune(unreferenced=True, dry_run=True, cache_dir=cache_dir)
    assert old.exists()
    done = cache.prune(unreferenced=True, cache_dir=cache_dir)
    assert done == would
    assert done.bytes == SIZE
    assert not old.exists()
    assert (new / "model.bin").read_bytes() == NEW
    assert (new / "same.txt").read_bytes() == b"same\n"
    assert cache.usage(cache_dir=cache_dir).bytes_unreferenced == 0
    assert scan_cache_dir(cache_dir).warnings == []
    assert cache.prune(unreferenced=True, cache_dir=cache_dir).items == ()
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        client.download_snapshot(repo_id)
    assert hub.stats().bytes_sent("storage") == 0


def test_prune_by_age_and_size(cache_dir: Path, two_revisions: list[Path]) -> None:
    """What is young, or what there is room for, stays."""
    old, _ = two_revisions
    assert cache.prune(older_than=60 * 86_400, cache_dir=cache_dir).items == ()
    assert cache.prune(size=3 * SIZE, cache_dir=cache_dir).items == ()
    assert old.exists()
    assert cache.prune(older_than=20 * 86_400, dry_run=True, cache_dir=cache_dir).bytes == SIZE
    assert cache.prune(size=0, cache_dir=cache_dir).bytes == SIZE
    with pytest.raises(InvalidConfigError, match="unreferenced"):
        cache.prune(cache_dir=cache_dir)


def test_what_changed_just_now_stays(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """A revision by its commit has no ref, and yet somebody has just asked for it."""
    head = publish(hf_api, repo_id, {"model.bin": OLD})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        folder = Path(client.download_snapshot(repo_id, revision=head))
    for dry_run in (True, False):
        done = cache.prune(unreferenced=True, dry_run=dry_run, cache_dir=cache_dir)
        assert (done.files, done.bytes) == (0, 0)
        [kept] = done.items
        assert kept.path == str(folder)
        assert kept.reason.startswith("kept: it was made or changed in the last 10 minutes")
    assert (folder / "model.bin").read_bytes() == OLD
    make_old(cache_dir)
    assert cache.prune(unreferenced=True, cache_dir=cache_dir).bytes >= SIZE


def test_shared_content_goes_with_its_last_repo(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """What two repos share stays as long as one of them needs it."""
    for name in (repo_id, f"{repo_id}-2"):
        publish(hf_api, name, {"model.bin": OLD})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        first, second = (Path(client.download_snapshot(name)) for name in (repo_id, f"{repo_id}-2"))
    content = (first / "model.bin").resolve()
    assert content == (second / "model.bin").resolve()
    (first.parent.parent / "refs" / "main").unlink()
    make_old(cache_dir)
    assert cache.prune(unreferenced=True, cache_dir=cache_dir).bytes < SIZE
    assert not first.exists()
    assert (second / "model.bin").read_bytes() == OLD
    (second.parent.parent / "refs" / "main").unlink()
    make_old(cache_dir)
    would = cache.prune(unreferenced=True, dry_run=True, cache_dir=cache_dir)
    assert cache.prune(unreferenced=True, cache_dir=cache_dir) == would
    assert not content.exists()


def test_prune_leaves_a_running_download_alone(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """Its partial file is in use; once the download has ended, what it left may go."""
    publish(hf_api, repo_id, {"model.bin": OLD})
    hub.fault("storage", drip=4_000_000)
    begun, stop = threading.Event(), threading.Event()

    def look(progress: Progress) -> None:
        if progress.bytes_completed > MIB:
            begun.set()

    def download() -> None:
        with (
            Client(hub.endpoint, token=False, cache_dir=cache_dir) as client,
            pytest.raises(CancelledError),
        ):
            client.download_snapshot(repo_id, progress=look, cancel=stop)

    thread = threading.Thread(target=download)
    thread.start()
    assert begun.wait(30)
    try:
        done = cache.prune(unreferenced=True, cache_dir=cache_dir)
        assert (done.files, [item.reason for item in done.items]) == (
            0,
            ["kept: the repo is in use"],
        )
    finally:
        stop.set()
        thread.join()
    hub.clear_faults()
    assert cache.usage(cache_dir=cache_dir).bytes_partial >= MIB
    removed = cache.prune(unreferenced=True, cache_dir=cache_dir)
    assert {Path(item.path).suffix for item in removed.items} >= {".partial"}
    assert list(cache_dir.rglob(".xet/*")) == []


def test_prune_and_downloads_at_the_same_time(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """Many rounds of both: every download that ended well has all of its files."""
    publish(hf_api, repo_id)
    ended = threading.Event()

    def prune() -> None:
        while not ended.is_set():
            cache.prune(unreferenced=True, cache_dir=cache_dir)

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
            for _ in range(5):
                folder = Path(client.download_snapshot(repo_id, force_download=True))
                found = contents(folder)
                assert {name: found[name] for name in VARIETY} == VARIETY
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("shared", [True, False], ids=["shared blobs", "no shared blobs"])
def test_what_huggingface_hub_fetched_is_reused_once_indexed(
    hub: Hub,
    hf_api: HfApi,
    repo_id: str,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    shared: bool,
) -> None:
    """Its files are cut into chunks here, and then a new revision costs its changes."""
    publish(hf_api, repo_id, {"model.bin": OLD})
    if not shared:
        monkeypatch.setenv("HF_HUB_DISABLE_SHARED_BLOBS", "1")
    if shared:
        hf_hub_download(
            repo_id, "model.bin", cache_dir=cache_dir, endpoint=hub.endpoint, token=False
        )
    else:
        snapshot_download(repo_id, cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    commit(hf_api, repo_id, {"model.bin": NEW})
    report = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    assert (report.files, report.bytes, report.items) == (1, SIZE, ())
    again = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    assert again.files == 0
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(repo_id, "model.bin")
    assert Path(transfer).read_bytes() == NEW
    assert hub.stats().bytes_sent("storage") <= MIB + 4 * 128 * 1024


def test_a_rebuilt_index_is_as_good_as_the_first(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, xet_cache: Path
) -> None:
    """Lost and rebuilt from the cache alone; offline, whole files are known all the same."""
    publish(hf_api, repo_id, {"model.bin": OLD})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        client.download_snapshot(repo_id)
    for file in (xet_cache / "xet-ffi").iterdir():
        file.unlink()
    commit(hf_api, repo_id, {"model.bin": NEW})
    offline = cache.index(cache_dir=cache_dir, offline=True)
    assert offline.files == 1
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        assert client.plan_snapshot(repo_id, allow_patterns="*.bin").bytes_reusable == 0
    report = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False, rebuild=True)
    assert (report.files, report.bytes) == (1, SIZE)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        plan = client.plan_snapshot(repo_id, allow_patterns="*.bin")
    assert plan.bytes_remote <= MIB + 4 * 128 * 1024


def test_the_command_looks_after_the_cache(
    hub: Hub, cache_dir: Path, two_revisions: list[Path]
) -> None:
    """For people and for machines; a damaged cache has an exit status of its own."""

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "xet_ffi", "cache", *arguments, "--cache-dir", str(cache_dir)],
            env=os.environ | {"HF_ENDPOINT": hub.endpoint},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout or done.stderr

    assert json.loads(run("usage", "--json")[1])["revisions"] == 2
    assert run("verify")[0] == 0
    # They have other times than when they were remembered.
    assert "2 files indexed" in run("index")[1]
    assert "0 files indexed" in run("index")[1]
    status, text = run("prune", "--unreferenced", "--dry-run")
    assert (status, f"{SIZE:,} bytes would be freed" in text) == (0, True)
    assert run("prune")[0] == 2
    blob = (two_revisions[1] / "model.bin").resolve()
    blob.chmod(0o644)
    blob.write_bytes(OLD)
    status, text = run("verify")
    assert status == 16
    assert str(blob) in text


def fingerprint(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything below a folder, with all that a write to it would change."""
    found: dict[str, tuple[int, ...]] = {}
    for root, folders, files in os.walk(folder):
        for path in (Path(root), *(Path(root, name) for name in (*folders, *files))):
            at = path.lstat()
            found[str(path)] = (at.st_ino, at.st_mode, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
    return found


def test_a_dry_run_touches_nothing(cache_dir: Path, two_revisions: list[Path]) -> None:
    """Not even a lock file is made."""
    assert two_revisions
    for lock in cache_dir.rglob("*.lock"):
        lock.unlink()
    before = fingerprint(cache_dir)
    assert cache.prune(unreferenced=True, dry_run=True, cache_dir=cache_dir).bytes == SIZE
    assert fingerprint(cache_dir) == before


#: A file of each of two revisions has its own content, so as many blobs go as stay.
PRUNE = """
import os, sys, time
from xet_ffi import CancelledError, cache
root, stop = sys.argv[1:]
def threads():
    names = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as comm:
            names.append(comm.read().strip())
    return [name for name in names if name.startswith("xet")]
try:
    done = cache.prune(unreferenced=True, cache_dir=root, cancel=lambda: os.path.exists(stop))
    print(len(done.items), done.bytes)
except CancelledError:
    print("cancelled", flush=True)
    input()
    while threads():
        time.sleep(0.01)
"""


def fill_by_hand(root: Path, files: int) -> Path:
    """A repo with two revisions of so many files each, none in common; returns what is to go."""
    repo = root / "models--org--many"
    (repo / "blobs").mkdir(parents=True)
    for revision, digit in (("a" * 40, "1"), ("b" * 40, "2")):
        (repo / "snapshots" / revision).mkdir(parents=True)
        for i in range(files):
            etag = f"{digit}{i:039x}"
            (repo / "blobs" / etag).write_bytes(b"content\n")
            (repo / "snapshots" / revision / f"{i}.txt").symlink_to(f"../../blobs/{etag}")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("b" * 40)
    make_old(root)
    return repo / "snapshots" / ("a" * 40)


def test_prune_stops_when_told(tmp_path: Path) -> None:
    """What was to go after that is still there when the last thread of the call has ended."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    gate, stop = tmp_path / "gate", tmp_path / "stop"
    fill_by_hand(disk.folder, 300)
    disk.rule("unlink", skip=100, delay_ms=1_000_000, until_exists=gate)
    process = subprocess.Popen(
        [sys.executable, "-c", PRUNE, disk.folder, stop],
        env={**os.environ, **disk.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdin
    disk.wait_for(lambda calls: sum(c.name == "unlink" for c in calls) > 100, "some removals")
    stop.touch()
    assert process.stdout.readline() == "cancelled\n"
    gate.touch()
    process.communicate("\n", timeout=60)
    assert 100 < disk.count("unlink") < 200


def prune_on(disk: SlowDisk, stop: Path) -> subprocess.CompletedProcess[str]:
    """Prunes the cache that is the disk, in a process whose calls to it are counted."""
    return subprocess.run(
        [sys.executable, "-c", PRUNE, disk.folder, stop],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_prune_takes_as_many_calls_as_there_are_files(tmp_path: Path) -> None:
    """Twice the files cost twice the calls to the disk."""
    asked = []
    for files in (150, 300):
        disk = SlowDisk(tmp_path / "tools", tmp_path / f"slow{files}")
        old = fill_by_hand(disk.folder, files)
        disk.forget()
        done = prune_on(disk, tmp_path / "never")
        assert done.stdout.split() == [str(2 * files), str(files * len(b"content\n"))], done.stderr
        assert not old.exists()
        asked.append(len(disk.calls()))
    assert asked[1] < 2.4 * asked[0]


def fill_with_revisions(root: Path, count: int) -> None:
    """A repo with so many revisions that a tag names, and as many to go, each with its own file."""
    repo = root / "models--org--tags"
    for folder in ("blobs", "refs/tags"):
        (repo / folder).mkdir(parents=True)
    for i in range(2 * count):
        commit_id, etag = f"{i:040x}", f"{i:039x}f"
        (repo / "snapshots" / commit_id).mkdir(parents=True)
        (repo / "blobs" / etag).write_bytes(b"content\n")
        (repo / "snapshots" / commit_id / "file").symlink_to(f"../../blobs/{etag}")
        if i < count:
            (repo / "refs" / "tags" / str(i)).write_text(commit_id)
    make_old(root)


def test_prune_takes_as_many_calls_as_there_are_revisions(tmp_path: Path) -> None:
    """What stays, and what names it, isn't looked at again for each file that goes."""
    asked = []
    for count in (200, 800):
        disk = SlowDisk(tmp_path / "tools", tmp_path / f"slow{count}")
        fill_with_revisions(disk.folder, count)
        disk.forget()
        done = prune_on(disk, tmp_path / "never")
        assert done.stdout.split()[0] == str(2 * count), done.stderr
        asked.append(len(disk.calls()))
    assert asked[1] < 4.4 * asked[0]


def test_prune_keeps_what_was_used_while_it_paused(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """It lets go of the repo now and then; a call that came and went relies on what it found."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    head = publish(hf_api, repo_id, {f"{i:04}.txt": b"" for i in range(1600)})
    with Client(hub.endpoint, token=False, cache_dir=disk.folder) as client:
        client.download_snapshot(repo_id, revision=head)
        make_old(disk.folder)
        # A chunk of its work takes longer than it may hold the lock.
        disk.rule("unlink", delay_ms=40, match="/snapshots/")
        process = subprocess.Popen(
            [sys.executable, "-c", PRUNE, disk.folder, tmp_path / "never"],
            env={**os.environ, **disk.environment()},
            stdout=subprocess.PIPE,
            text=True,
        )
        disk.wait_for(lambda calls: any(c.name == "unlink" for c in calls), "a removal")
        path = Path(client.download_file(repo_id, "1599.txt", revision=head, local_files_only=True))
        process.communicate(timeout=60)
    assert 0 < disk.count("unlink") < 1600
    assert path.exists()


#: Says how much it removes.
PRUNE_ALL = """
import sys
from xet_ffi import cache
print(cache.prune(unreferenced=True, cache_dir=sys.argv[1]).files)
"""


@pytest.mark.parametrize("at_work", [True, False], ids=["at work", "gone"])
def test_prune_sees_who_is_at_work_where_locks_are_of_nfs(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, at_work: bool
) -> None:
    """It grants a lock for oneself only on a file that was opened for writing."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "nfs")
    head = publish(hf_api, repo_id, {"model.bin": OLD, "config.json": b"{}"})
    with Client(hub.endpoint, token=False, cache_dir=disk.folder) as client:
        folder = Path(client.download_snapshot(repo_id, revision=head))
    # As `huggingface_hub` does that fills the revision with one more file, for hours.
    lock = disk.folder / ".locks" / folder.parent.parent.name / f"{'0' * 40}.lock"
    lock.touch()
    make_old(disk.folder)
    disk.rule("flock", error=errno.EBADF, only="unwritable")
    with lock.open("r+") as held:
        if at_work:
            fcntl.flock(held, fcntl.LOCK_EX)
        pruned = subprocess.run(
            [sys.executable, "-c", PRUNE_ALL, disk.folder],
            env={**os.environ, **disk.environment()},
            check=True,
            cwd=sys.prefix,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert (int(pruned.stdout) == 0) == at_work
    assert (folder / "model.bin").exists() == at_work


def test_prune_does_not_wait_for_a_repo_in_use(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, two_revisions: list[Path]
) -> None:
    """It prunes the others, and this one the next time."""
    publish(hf_api, f"{repo_id}-2", {"model.bin": OLD[: 2 * MIB]})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        other = Path(client.download_snapshot(f"{repo_id}-2"))
        (other.parent.parent / "refs" / "main").unlink()
        make_old(cache_dir)
        hub.fault("storage", drip=2_000_000)
        pruned: list[cache.CacheReport] = []

        def prune(progress: Progress) -> None:
            if progress.bytes_network > 0 and not pruned:
                pruned.append(cache.prune(unreferenced=True, cache_dir=cache_dir))

        client.download_snapshot(repo_id, force_download=True, progress=prune)
    assert not other.exists()
    assert two_revisions[0].exists()
    assert (two_revisions[1] / "model.bin").read_bytes() == NEW
    cache.prune(unreferenced=True, cache_dir=cache_dir)
    assert not two_revisions[0].exists()
