"""What was read in place is counted apart, and pruned by age and before what was downloaded."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import MIB, commit, noise, publish
from slow_disk import SlowDisk
from xet_ffi import Client, cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 6 * MIB
DAY = 86_400


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str, weights: bytes) -> str:
    """A repo with a Xet file of 6 MiB."""
    publish(hf_api, repo_id, {"weights.bin": weights})
    return repo_id


@pytest.fixture
def packs(xet_cache: Path) -> Path:
    """Where what was read is kept."""
    return xet_cache / "xet-ffi" / "read"


def read(hub: Hub, repo: str, folder: Path, at: Sequence[int]) -> list[bytes]:
    """Some parts, each of 50,000 bytes; when the file is closed, a pack has all that came."""
    with (
        Client(hub.endpoint, token=False, cache_dir=folder) as client,
        client.open(repo, "weights.bin", readahead=False) as file,
    ):
        return [file.read_at(offset, 50_000) for offset in at]


def read_into_packs(hub: Hub, repo: str, folder: Path, packs: Path, *at: int) -> list[Path]:
    """Reads parts, each into a pack of its own; returns those in this order."""
    made: list[Path] = []
    for offset in at:
        read(hub, repo, folder, [offset])
        [new] = set(packs.iterdir()) - set(made)
        made.append(new)
    return made


def make_old(*paths: Path, days: float = 30) -> None:
    """They were last written so long ago."""
    then = time.time() - days * DAY
    for path in paths:
        os.utime(path, (then, then))


def on_disk(*paths: Path) -> int:
    """What files take there."""
    return sum(path.stat().st_blocks * 512 for path in paths)


def test_usage_says_what_was_read(hub: Hub, repo: str, cache_dir: Path, packs: Path) -> None:
    """Apart from what was downloaded; what is half written takes its space, too."""
    assert cache.usage(cache_dir=cache_dir).read_bytes == 0
    made = read_into_packs(hub, repo, cache_dir, packs, 0, 3 * MIB)
    usage = cache.usage(cache_dir=cache_dir)
    assert usage.read_bytes == on_disk(*made) >= 100_000
    assert (usage.bytes, usage.bytes_partial, usage.indexed_files) == (0, 0, 2)
    half, other = packs / ".writing-x", packs / "notes.txt"
    half.write_bytes(b"half of it")
    other.write_bytes(b"somebody's")
    assert cache.usage(cache_dir=cache_dir).read_bytes == on_disk(*made, half)


def test_what_nothing_refers_to_is_not_what_was_read(
    hub: Hub, repo: str, cache_dir: Path, packs: Path
) -> None:
    """That has a limit of its own, however old it is."""
    made = read_into_packs(hub, repo, cache_dir, packs, 0)
    make_old(*made)
    for dry_run in (True, False):
        report = cache.prune(unreferenced=True, dry_run=dry_run, cache_dir=cache_dir)
        assert (report.files, report.items) == (0, ())
    assert list(packs.iterdir()) == made


@pytest.mark.parametrize("is_behind_a_link", [False, True])
def test_old_packs_go(
    hub: Hub,
    repo: str,
    cache_dir: Path,
    packs: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_behind_a_link: bool,
) -> None:
    """The reuse index forgets them, also by another name of the Xet cache; a dry run does not."""
    if is_behind_a_link:
        link = cache_dir.parent / "link"
        packs.parents[1].mkdir(exist_ok=True)
        link.symlink_to(packs.parents[1])
        monkeypatch.setenv("HF_XET_CACHE", str(link))
    old, young = read_into_packs(hub, repo, cache_dir, packs, 0, 3 * MIB)
    make_old(old)
    takes = on_disk(old)
    would = cache.prune(older_than=20 * DAY, dry_run=True, cache_dir=cache_dir)
    assert old.exists()
    assert cache.usage(cache_dir=cache_dir).indexed_files == 2
    done = cache.prune(older_than=20 * DAY, cache_dir=cache_dir)
    assert done == would
    assert (done.files, done.bytes) == (1, takes)
    [item] = done.items
    assert (item.path, item.reason) == (str(old), "what was read in place")
    assert list(packs.iterdir()) == [young]
    assert cache.usage(cache_dir=cache_dir).indexed_files == 1
    hub.reset_stats()
    read(hub, repo, cache_dir / "fresh", [3 * MIB])
    assert hub.stats().bytes_sent("storage") == 0
    read(hub, repo, cache_dir / "fresh", [0])
    assert hub.stats().bytes_sent("storage") >= 50_000


@pytest.fixture
def old_revision(hub: Hub, hf_api: HfApi, repo: str, weights: bytes, cache_dir: Path) -> Path:
    """Downloaded a month ago, and no ref names it any more; a pack is from today."""
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        old = Path(client.download_snapshot(repo))
        changed = noise(MIB, f"{repo} changed") + weights[MIB:]
        commit(hf_api, repo, {"weights.bin": changed, "other.bin": noise(3 * MIB, repo + "other")})
        client.download_file(repo, "weights.bin")
        with client.open(repo, "other.bin", readahead=False) as file:
            file.read_at(0, 50_000)
    for path in (old, *old.iterdir(), *(path.resolve() for path in old.iterdir())):
        make_old(path, days=40)
    return old


def test_room_is_made_of_packs_first(
    hub: Hub, repo: str, cache_dir: Path, packs: Path, old_revision: Path
) -> None:
    """The oldest first; an old revision stays while that is enough, and goes when it isn't."""
    [oldest] = packs.iterdir()
    for at in (MIB, 2 * MIB):
        with (
            Client(hub.endpoint, token=False, cache_dir=cache_dir) as client,
            client.open(repo, "other.bin", readahead=False) as file,
        ):
            file.read_at(at, 50_000)
    assert len([*packs.iterdir()]) == 3
    make_old(oldest, days=1)
    usage = cache.usage(cache_dir=cache_dir)
    old_bytes = usage.bytes_unreferenced
    assert SIZE <= old_bytes <= usage.bytes / 2 + 10_000
    total = usage.bytes + usage.read_bytes
    assert cache.prune(size=total, cache_dir=cache_dir).files == 0
    # Whatever is chosen makes room: what is old goes first, and then no pack has to.
    would = cache.prune(
        older_than=35 * DAY, size=total - old_bytes, dry_run=True, cache_dir=cache_dir
    )
    assert would.bytes == old_bytes
    one = cache.prune(size=total - 1, cache_dir=cache_dir)
    assert [item.path for item in one.items] == [str(oldest)]
    others = {str(path) for path in packs.iterdir()}
    rest = cache.prune(size=usage.bytes, cache_dir=cache_dir)
    assert {item.path for item in rest.items} == others
    assert (old_revision / "weights.bin").exists()
    assert cache.prune(size=usage.bytes - 1, cache_dir=cache_dir).bytes == old_bytes
    assert not old_revision.exists()


#: Says how much it removes, and what it can't.
PRUNE = """
import sys
from xet_ffi import cache
done = cache.prune(size=int(sys.argv[2]), cache_dir=sys.argv[1])
print(done.bytes, *(item.reason for item in done.items[done.files:]))
"""


@pytest.mark.usefixtures("old_revision")
def test_what_cannot_go_makes_no_room(cache_dir: Path, packs: Path, tmp_path: Path) -> None:
    """So something else has to, and a pack that stays is still known."""
    usage = cache.usage(cache_dir=cache_dir)
    disk = SlowDisk(tmp_path / "tools", packs)
    disk.rule("unlink", error=errno.EPERM)
    done = subprocess.run(
        [sys.executable, "-c", PRUNE, cache_dir, str(usage.bytes)],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    went, _, why = done.stdout.partition(" ")
    assert int(went) == usage.bytes_unreferenced, done
    assert why.startswith("kept: it can't be removed: ")
    assert len([*packs.iterdir()]) == 1
    after = cache.usage(cache_dir=cache_dir)
    assert after.read_bytes == usage.read_bytes
    assert after.indexed_files == usage.indexed_files


def test_what_is_being_written_stays(
    hub: Hub, repo: str, cache_dir: Path, packs: Path, tmp_path: Path
) -> None:
    """What is half written and old goes; files of others stay, and what a link leads to."""
    [pack] = read_into_packs(hub, repo, cache_dir, packs, 0)
    thesis = tmp_path / "thesis.txt"
    thesis.write_bytes(b"years of work\n")
    now, left, other, link = (
        packs / name for name in (".writing-now", ".writing-left", "notes.txt", "a" * 64)
    )
    for path in (now, left, other):
        path.write_bytes(b"half of it")
    link.symlink_to(thesis)
    make_old(left, other, thesis)
    would = cache.prune(unreferenced=True, dry_run=True, cache_dir=cache_dir)
    assert cache.prune(unreferenced=True, cache_dir=cache_dir) == would
    assert [item.path for item in would.items] == [str(left)]
    assert "left by" in would.items[0].reason
    assert {*packs.iterdir()} == {pack, now, other, link}
    assert [item.path for item in cache.prune(size=0, cache_dir=cache_dir).items] == [str(pack)]
    assert {*packs.iterdir()} == {now, other, link}
    assert thesis.exists()


def test_readers_remove_what_was_left_half_written(
    hub: Hub, repo: str, cache_dir: Path, packs: Path
) -> None:
    """Whenever they keep something, however much room there is; not what others are writing."""
    packs.mkdir(parents=True)
    now, left, other = (packs / name for name in (".writing-now", ".writing-left", "notes.txt"))
    for path in (now, left, other):
        path.write_bytes(b"half of it")
    make_old(left, other)
    read(hub, repo, cache_dir, [0])
    [pack] = {*packs.iterdir()} - {now, other}
    assert len(pack.name) == 64


def test_prune_and_reads_at_the_same_time(
    hub: Hub, repo: str, weights: bytes, cache_dir: Path, packs: Path, tmp_path: Path
) -> None:
    """Packs that go while others are written and read cost bytes, and nothing else."""
    stop = tmp_path / "stop"
    program = """
import sys
from pathlib import Path
from xet_ffi import cache
removed = 0
print("begun", flush=True)
while not Path(sys.argv[2]).exists():
    removed += cache.prune(size=0, cache_dir=sys.argv[1]).files
print(removed)
"""
    pruning = subprocess.Popen(
        [sys.executable, "-c", program, cache_dir, stop], stdout=subprocess.PIPE, text=True
    )
    assert pruning.stdout
    assert pruning.stdout.readline() == "begun\n"
    try:
        for round_ in range(40):
            at = [(round_ * 7 + part * 13) % 100 * 60_000 for part in range(4)]
            assert read(hub, repo, cache_dir, at) == [weights[a : a + 50_000] for a in at]
    finally:
        stop.touch()
        said, _ = pruning.communicate(timeout=60)
    assert int(said) > 0
    assert [path for path in packs.iterdir() if path.name.startswith(".")] == []
    cache.prune(size=0, cache_dir=cache_dir)
    assert list(packs.iterdir()) == []
