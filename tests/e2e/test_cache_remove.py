"""What a person names goes from the cache, and nothing that another one needs."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from picture import contents, picture
from published import MIB, commit, noise, publish
from xet_ffi import CancelledError, Client, ConflictError, InvalidConfigError, NotFoundError, cache

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

SAME, OLD, NEW = (noise(2 * MIB, f"remove {name}") for name in ("same", "old", "new"))


@pytest.fixture
def two_revisions(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> list[Path]:
    """Both revisions of a repo, just downloaded. main is the second."""
    publish(hf_api, repo_id, {"model.bin": OLD, "same.bin": SAME, "note.txt": b"note"})
    paths = []
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        paths.append(Path(client.download_snapshot(repo_id)))
        commit(hf_api, repo_id, {"model.bin": NEW})
        paths.append(Path(client.download_snapshot(repo_id)))
    return paths


def test_a_revision_goes_though_a_ref_names_it(
    cache_dir: Path, repo_id: str, two_revisions: list[Path]
) -> None:
    """It's young, too: a person has said so. What the other one has stays."""
    old, new = two_revisions
    before = contents(cache_dir)
    told = cache.remove(repo_id, commits=[new.name], cache_dir=cache_dir, dry_run=True)
    assert contents(cache_dir) == before
    done = cache.remove(repo_id, commits=[new.name], cache_dir=cache_dir)
    assert (done.files, done.bytes) == (told.files, told.bytes)
    assert done.bytes == len(NEW)
    assert len(done.items) == done.files
    assert {item.reason for item in done.items} >= {"asked for"}
    assert not new.exists()
    assert not list((old.parent.parent / "refs").iterdir())
    assert (old / "model.bin").read_bytes() == OLD
    assert (old / "same.bin").read_bytes() == SAME
    assert scan_cache_dir(cache_dir).warnings == []
    assert cache.verify(cache_dir=cache_dir).items == ()


@pytest.mark.parametrize("named", ["the repo", "all its revisions"])
def test_a_repo_goes_as_a_whole(
    cache_dir: Path, repo_id: str, two_revisions: list[Path], named: str
) -> None:
    """With its folder, and what it had in the shared store."""
    folder = two_revisions[0].parent.parent
    commits = None if named == "the repo" else [path.name for path in two_revisions]
    takes = cache.usage(cache_dir=cache_dir).bytes
    assert takes >= len(OLD) + len(NEW) + len(SAME)
    done = cache.remove(repo_id, commits=commits, cache_dir=cache_dir)
    assert done.bytes == takes
    assert not folder.exists()
    left = [p for p in cache_dir.rglob("*") if p.is_file() and p.stat().st_size >= MIB]
    assert left == []
    assert cache.usage(cache_dir=cache_dir).bytes == 0


def test_what_huggingface_hub_has_brought_goes_too(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """Its layout has no shared store, and its locks stay."""
    publish(hf_api, repo_id, {"model.bin": OLD, "note.txt": b"note"})
    snapshot = snapshot_download(repo_id, cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    cache.remove(repo_id, cache_dir=cache_dir)
    assert not Path(snapshot).parent.parent.exists()


@pytest.mark.parametrize("whose", ["ours", "huggingface_hub's"])
def test_a_repo_in_use_stays_whole(
    cache_dir: Path, repo_id: str, two_revisions: list[Path], whose: str
) -> None:
    """By a lock that we share, or by that of any blob; a dry run says so, too."""
    locks = cache_dir / ".locks" / two_revisions[0].parent.parent.name
    path = locks / ("repo.xet.lock" if whose == "ours" else f"{'0' * 64}.lock")
    before = picture(cache_dir)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH if whose == "ours" else fcntl.LOCK_EX)
        for dry_run in (True, False):
            with pytest.raises(ConflictError, match=f"{repo_id} is in use"):
                cache.remove(repo_id, cache_dir=cache_dir, dry_run=dry_run)
    path.unlink(missing_ok=whose != "ours")
    assert {k: v for k, v in picture(cache_dir).items() if ".lock" not in str(k)} == {
        k: v for k, v in before.items() if ".lock" not in str(k)
    }


def test_a_download_that_runs_keeps_its_repo(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """And finishes."""
    publish(hf_api, repo_id, {"model.bin": OLD})
    hub.fault("storage", drip=1_000_000)
    running = threading.Event()
    done: list[str] = []

    def download() -> None:
        with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
            report = client.download_snapshot(
                repo_id, progress=lambda p: running.set() if p.bytes_network else None
            )
            done.append(str(report))

    thread = threading.Thread(target=download)
    thread.start()
    assert running.wait(60)
    with pytest.raises(ConflictError):
        cache.remove(repo_id, cache_dir=cache_dir)
    hub.clear_faults()
    thread.join()
    assert Path(done[0], "model.bin").read_bytes() == OLD
    cache.remove(repo_id, cache_dir=cache_dir)


def test_what_another_repo_has_in_common_keeps_it(
    cache_dir: Path, repo_id: str, two_revisions: list[Path]
) -> None:
    """Somebody has made a repo of links to another one's contents."""
    folder = two_revisions[0].parent.parent
    twin = folder.with_name("models--alice--twin")
    (twin / "refs").mkdir(parents=True)
    (twin / "refs" / "main").write_text(two_revisions[1].name)
    (twin / "snapshots").symlink_to(folder / "snapshots")
    (twin / "blobs").symlink_to(folder / "blobs")
    with pytest.raises(ConflictError, match="is that of models--alice--twin, too"):
        cache.remove(repo_id, cache_dir=cache_dir)
    assert (two_revisions[1] / "model.bin").read_bytes() == NEW


def test_what_is_not_there_is_told(
    cache_dir: Path, repo_id: str, two_revisions: list[Path]
) -> None:
    """And nothing goes, whatever else is named."""
    before = contents(cache_dir)
    commits = [two_revisions[0].name, "0" * 40]
    with pytest.raises(NotFoundError, match='0000" of '):
        cache.remove(repo_id, commits=commits, cache_dir=cache_dir)
    with pytest.raises(NotFoundError, match="alice/nobody isn't in the cache"):
        cache.remove("alice/nobody", cache_dir=cache_dir)
    with pytest.raises(NotFoundError):
        cache.remove(repo_id, repo_type="dataset", cache_dir=cache_dir)
    assert cache.remove(repo_id, commits=[], cache_dir=cache_dir).files == 0
    with pytest.raises(InvalidConfigError, match="repo_id"):
        cache.remove("a/b/c", cache_dir=cache_dir)
    assert contents(cache_dir) == before


def test_a_removal_that_is_stopped_leaves_what_is_whole(
    cache_dir: Path, repo_id: str, two_revisions: list[Path]
) -> None:
    """Names go before contents; the same call again does the rest."""
    with pytest.raises(CancelledError):
        cache.remove(repo_id, cache_dir=cache_dir, cancel=lambda: True)
    for link in (path for folder in two_revisions for path in folder.rglob("*")):
        assert not link.is_symlink() or os.path.exists(link)  # noqa: PTH110 - follows it
    if two_revisions[0].parent.parent.exists():
        cache.remove(repo_id, cache_dir=cache_dir)
    assert cache.usage(cache_dir=cache_dir).bytes == 0
