"""What can't be understood in a cache is kept and named, and ends nothing for the rest of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from published import MIB, noise
from world.stage import TOKEN, publish
from xet_ffi import Client, cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub

    #: Does something to the folder of a repo, whose ref `main` names the commit.
    Damage = Callable[[Path, str], object]

FILES = {"config.json": b"{}", "sub/b.txt": b"bb", "big.bin": noise(2 * MIB, "doubts")}
#: The name of the content b"orphan".
ORPHAN = hashlib.sha1(b"blob 6\0orphan", usedforsecurity=False).hexdigest()
PRUNE: list[Callable[[Path], cache.CacheReport]] = [
    lambda folder: cache.prune(size=0, dry_run=True, cache_dir=folder),
    lambda folder: cache.prune(unreferenced=True, cache_dir=folder),
    lambda folder: cache.prune(size=0, cache_dir=folder),
    lambda folder: cache.prune(older_than=1, cache_dir=folder),
]


def make_old(*folders: Path) -> None:
    """Nothing is young enough to be spared for that."""
    for path in (path for folder in folders for path in [folder, *folder.rglob("*")]):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)


class Filled:
    """A cache with two repos; each has a blob that nothing needs."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.cache = folder
        self.commits = {}
        with Client(hub.endpoint, TOKEN.secret, folder, transport="http") as client:
            for files in (FILES, {"other.bin": noise(MIB, "doubts/other")}):
                name, commit = publish(hub, files)
                repo = Path(client.download_snapshot(name).path).parent.parent
                self.commits[repo] = commit
                (repo / "blobs" / ORPHAN).write_bytes(b"orphan")
        self.first, self.second = self.commits

    def missing(self) -> list[str]:
        """What of the first repo can't be read any more by its commit."""
        revision = self.first / "snapshots" / self.commits[self.first]
        return [name for name in FILES if not (revision / name).exists()]

    def orphans(self) -> list[Path]:
        """The repos that were left alone."""
        return [repo for repo in self.commits if (repo / "blobs" / ORPHAN).exists()]


@pytest.fixture
def filled(hub: Hub, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """The cache, without what else would keep its content."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_HUB_DISABLE_SHARED_BLOBS", "1")
    return Filled(hub, cache_dir)


def ref(content: bytes) -> Damage:
    """The ref holds this instead."""
    return lambda repo, _: (repo / "refs" / "main").write_bytes(content)


def changed(change: Callable[[str], bytes]) -> Damage:
    """The ref holds what this makes of the commit."""
    return lambda repo, commit: (repo / "refs" / "main").write_bytes(change(commit))


def instead(make: Callable[[Path], object]) -> Damage:
    """Something else stands in the ref's place."""

    def damage(repo: Path, _: str) -> None:
        (repo / "refs" / "main").unlink()
        make(repo / "refs" / "main")

    return damage


def link_away(*names: str) -> Damage:
    """A folder of the repo is elsewhere; links in it lead to where they did."""

    def damage(repo: Path, commit: str) -> None:
        folder = repo.joinpath(*(commit if name == "COMMIT" else name for name in names))
        for path in folder.rglob("*"):
            if path.is_symlink():
                end = path.resolve()
                path.unlink()
                path.symlink_to(end)
        there = repo / "elsewhere" / folder.name
        there.parent.mkdir()
        folder.rename(there)
        folder.symlink_to(there)

    return damage


def link_by_another(repo: Path, commit: str) -> None:
    """A file of the revision is a link to a link to its blob."""
    pointer = repo / "snapshots" / commit / "big.bin"
    between = repo / "between"
    between.symlink_to(pointer.resolve())
    pointer.unlink()
    pointer.symlink_to(between)


#: What was done to the repo, and what of it is named.
DAMAGES: dict[str, tuple[Damage, str]] = {
    "an empty ref": (ref(b""), "refs/main"),
    "a ref cut short": (changed(lambda commit: commit[:17].encode()), "refs/main"),
    "a ref of NULs": (ref(b"\0" * 40), "refs/main"),
    "a ref with a mark": (changed(lambda commit: b"\xef\xbb\xbf" + commit.encode()), "refs/main"),
    "a ref in capitals": (changed(lambda _: b"ABCDEF0123" * 4), "refs/main"),
    "a long ref": (changed(lambda commit: commit.encode() + b" " * 5000), "refs/main"),
    "a ref to nothing": (ref(b"0" * 40), "refs/main"),
    "a folder": (instead(Path.mkdir), "refs/main"),
    "a pipe": (instead(os.mkfifo), "refs/main"),
    "a link to nothing": (instead(lambda path: path.symlink_to("gone")), "refs/main"),
    "a link in a circle": (instead(lambda path: path.symlink_to("main")), "refs/main"),
    "a link to a folder": (instead(lambda path: path.symlink_to("..")), "refs/main"),
    "a linked revision": (link_away("snapshots", "COMMIT"), "snapshots/COMMIT"),
    "a linked folder": (link_away("snapshots", "COMMIT", "sub"), "snapshots/COMMIT/sub"),
    "a link by another": (link_by_another, "snapshots/COMMIT/big.bin"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_repo_that_is_not_understood_is_kept_and_named(filled: Filled, case: str) -> None:
    """What it needs can't be told, so all of it stays; the other repo is looked after."""
    damage, name = DAMAGES[case]
    damage(filled.first, filled.commits[filled.first])
    make_old(filled.cache)
    named = str(filled.first / name.replace("COMMIT", filled.commits[filled.first]))
    assert filled.missing() == []
    assert cache.usage(cache_dir=filled.cache).repos == 2
    assert cache.index(cache_dir=filled.cache, token=False).files >= 1
    assert named in {item.path for item in cache.verify(cache_dir=filled.cache).items}
    for prune in PRUNE:
        pruned = prune(filled.cache)
        assert [item.path for item in pruned.items[pruned.files :]] == [named]
        assert filled.missing() == []
    assert filled.orphans() == [filled.first]


@pytest.mark.parametrize("name", ["blobs", "snapshots"])
@pytest.mark.parametrize("way", ["both are links", "one is a link", "the repo is a link"])
def test_what_repos_have_in_common_is_kept_and_named(
    filled: Filled, tmp_path: Path, name: str, way: str
) -> None:
    """Each of them names what it needs there, and neither knows of the other's needs."""
    first, second = filled.first / name, filled.second / name
    common = second
    if way == "the repo is a link":
        second.parent.rename(tmp_path / "moved")
        second.parent.symlink_to(tmp_path / "moved")
    if way == "both are links":
        common = tmp_path / "elsewhere" / "common"
        common.parent.mkdir()
        second.rename(common)
        second.symlink_to(common)
    for path in first.iterdir():
        # Renaming one name of a file to another one of it does nothing.
        (common / path.name).unlink(missing_ok=True)
        path.rename(common / path.name)
    first.rmdir()
    first.symlink_to(common)
    if name == "snapshots":
        for path in (path for path in common.rglob("*") if path.is_symlink()):
            target = path.readlink()
            path.unlink()
            owner = (
                filled.first if (filled.first / "blobs" / target.name).exists() else filled.second
            )
            path.symlink_to(owner / "blobs" / target.name)
    make_old(filled.cache, tmp_path)
    assert filled.missing() == []
    for prune in PRUNE:
        pruned = prune(filled.cache)
        assert pruned.files == 0
        assert {item.path for item in pruned.items} == {str(first), str(second)}
        assert filled.missing() == []
    assert list((second.parent / "blobs").glob(ORPHAN))


def test_content_to_which_another_repo_links_is_kept(filled: Filled) -> None:
    """As a program that finds duplicates leaves it."""
    blob = next(path for path in (filled.first / "blobs").iterdir() if path.stat().st_size > MIB)
    there = filled.second / "blobs" / blob.name
    blob.rename(there)
    blob.symlink_to(there)
    make_old(filled.cache)
    pruned = cache.prune(unreferenced=True, cache_dir=filled.cache)
    assert [item.path for item in pruned.items[pruned.files :]] == [str(filled.second)]
    assert filled.missing() == []
    assert filled.orphans() == [filled.second]


def test_folders_that_refs_were_in_are_no_doubt(filled: Filled) -> None:
    """huggingface_hub leaves them behind when it removes refs; macOS leaves its notes."""
    (filled.first / "refs" / "refs" / "pr").mkdir(parents=True)
    (filled.first / "refs" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    make_old(filled.cache)
    pruned = cache.prune(unreferenced=True, cache_dir=filled.cache)
    assert len(pruned.items) == pruned.files == 2
    assert filled.missing() == []
    assert filled.orphans() == []


def private(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """What the command says of a cache to somebody who may not read everything."""
    drop = "-dac_override,-dac_read_search"
    without = ["setpriv", f"--inh-caps={drop}", f"--bounding-set={drop}"]
    command = [sys.executable, "-m", "xet_ffi", "cache", *arguments, "--json", "--quiet"]
    done = subprocess.run(
        [*(without if os.geteuid() == 0 else []), *command, f"--cache-dir={folder}"],
        check=False,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything"
)
@pytest.mark.parametrize(
    "name", [".", "refs", "refs/main", "snapshots", "snapshots/COMMIT", "blobs"]
)
def test_a_private_folder_ends_the_care_of_nothing_else(filled: Filled, name: str) -> None:
    """Of another account, for example, in a cache that both share."""
    folder = filled.first / name.replace("COMMIT", filled.commits[filled.first])
    make_old(filled.cache)
    folder.chmod(0)
    try:
        status, usage = private(filled.cache, "usage")
        assert (status, usage["repos"]) == (0, 2)
        assert usage["bytes"] >= MIB
        status, listed = private(filled.cache, "ls")
        assert status == 0
        assert 1 <= len(listed) <= 2
        status, verified = private(filled.cache, "verify")
        assert status == 18
        assert any(str(folder) in item["path"] + item["reason"] for item in verified["items"])
        assert verified["files"] > 0
        _, indexed = private(filled.cache, "index")
        assert indexed["files"] >= 1
        assert any(str(folder) in item["path"] + item["reason"] for item in indexed["items"])
        status, pruned = private(filled.cache, "prune", "--unreferenced")
        assert status == 0
        assert any(str(folder) in item["path"] + item["reason"] for item in pruned["items"])
    finally:
        folder.chmod(0o755)
    assert filled.missing() == []
    assert filled.orphans() == [filled.first]


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything"
)
def test_a_listing_that_cannot_be_read_ends_nothing(filled: Filled) -> None:
    """It would say what some files have to be; the others are looked after without it."""
    revision = filled.first / "snapshots" / filled.commits[filled.first]
    pointer = revision / "config.json"
    pointer.unlink()
    pointer.write_bytes(FILES["config.json"])
    (filled.first / "trees").chmod(0)
    try:
        for action, status in (("usage", 0), ("verify", 18), ("index", 0)):
            done, report = private(filled.cache, action)
            assert done == status
            if action != "usage":
                assert report["files"] >= 1
                assert str(revision) in {item["path"] for item in report["items"]}
    finally:
        (filled.first / "trees").chmod(0o755)
