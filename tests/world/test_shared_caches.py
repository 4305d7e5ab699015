"""A cache that belongs to somebody else: what is finished is used, what isn't is said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, Model
from world.test_accounts import as_nobody, open_folder
from xet_ffi import Client

if TYPE_CHECKING:
    from hub import Hub

__all__ = ["open_folder"]

FILL = "config.json"


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Everything in a folder, with its inode, size and time."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        about = path.lstat()
        found[str(path)] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return found


@pytest.fixture
def cache(hub: Hub, model: Model, open_folder: Path) -> Path:
    """A cache of root's, with one file of the model, which everybody can read."""
    folder = open_folder / "hub"
    with Client(hub.endpoint, TOKEN.secret, folder) as client:
        client.download_snapshot(model.repo_id, allow_patterns=FILL)
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    hub.reset_stats()
    return folder


def use(hub: Hub, cache: Path, call: str) -> tuple[str, str]:
    """What becomes of a call of a client without rights."""
    xet = cache.parent / "xet"
    done = as_nobody(
        f"""
os.environ["HF_XET_CACHE"] = {str(xet)!r}
with Client({hub.endpoint!r}, {TOKEN.secret!r}, {str(cache)!r}) as client:
    print({call})
"""
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("locks", [0o755, 0o700])
def test_what_is_finished_is_used_and_nothing_is_written(
    hub: Hub, model: Model, cache: Path, locks: int
) -> None:
    """Whether the locks can be opened or not."""
    (cache / ".locks").chmod(locks)
    before = state(cache)
    said, log = use(hub, cache, f"open(client.download_file({model.repo_id!r}, {FILL!r})).read()")
    assert said == "{}\n", log
    said, log = use(
        hub, cache, f"client.download_snapshot({model.repo_id!r}, allow_patterns={FILL!r}).files"
    )
    assert said == "1\n", log
    (cache / ".locks").chmod(0o755)
    assert state(cache) == before


@pytest.mark.parametrize("locks", [0o755, 0o700])
@pytest.mark.parametrize("name", ["large.bin", "model.safetensors"])
def test_what_cannot_be_written_is_a_matter_of_permission(
    hub: Hub, model: Model, cache: Path, locks: int, name: str
) -> None:
    """Not of a file that isn't there; the error names the path and whose it is."""
    (cache / ".locks").chmod(locks)
    before = state(cache)
    _, log = use(hub, cache, f"client.download_file({model.repo_id!r}, {name!r})")
    error = log.splitlines()[-1]
    assert "PermissionDeniedError" in error
    assert str(cache) in error
    assert "belongs to user 0" in error
    assert "No such file" not in error
    (cache / ".locks").chmod(0o755)
    assert state(cache) == before
    assert os.geteuid() == 0


@pytest.mark.parametrize("linked", ["", "blobs"], ids=["repo", "blobs"])
def test_a_folder_that_is_a_link_is_on_another_disk(
    hub: Hub, model: Model, tmp_path: Path, linked: str
) -> None:
    """What is there isn't shared with other repos: links from there would lead nowhere."""
    cache, elsewhere = tmp_path / "cache", tmp_path / "far" / "away" / "elsewhere"
    elsewhere.mkdir(parents=True)
    link = cache / f"models--{model.repo_id.replace('/', '--')}" / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with Client(hub.endpoint, TOKEN.secret, cache) as client:
        for _ in range(2):
            transfer = client.download_snapshot(model.repo_id)
            for path, content in model.files.items():
                assert (Path(transfer) / path).read_bytes() == content
    assert link.is_symlink()


def test_what_somebody_else_may_not_remove_is_named(hub: Hub, model: Model, cache: Path) -> None:
    """A dry run says what would go, were it not for its owner; a real one what stays, and why."""
    with Client(hub.endpoint, TOKEN.secret, cache) as client:
        client.upload_file(b"new", "new.txt", model.repo_id)
        client.download_snapshot(model.repo_id, allow_patterns="new.txt")
    for path in [cache, *cache.rglob("*")]:
        os.utime(path, (1e9, 1e9), follow_symlinks=False)
    before = state(cache)
    care = f"xet_ffi.cache.prune(unreferenced=True, cache_dir={str(cache)!r}"
    would, log = use(hub, cache, f"len({care}, dry_run=True).items)")
    assert int(would) > 0, log
    said, log = use(hub, cache, f"json.dumps(dataclasses.asdict({care})))")
    report = json.loads(said)
    assert (report["files"], report["bytes"]) == (0, 0), log
    assert len(report["items"]) >= int(would)
    reasons = [item["reason"] for item in report["items"]]
    assert all(reason.startswith("kept: ") for reason in reasons)
    assert any("Permission denied" in reason for reason in reasons)
    assert state(cache) == before


def test_what_cannot_be_read_is_not_called_damaged(hub: Hub, cache: Path) -> None:
    """It may be right, and is its owner's."""
    (blob,) = (path for path in cache.rglob("blobs/*") if path.is_file())
    blob.resolve().chmod(0)
    said, log = use(
        hub,
        cache,
        f"json.dumps(dataclasses.asdict(xet_ffi.cache.verify(cache_dir={str(cache)!r})))",
    )
    report = json.loads(said)
    assert report["files"] == 0
    [item] = report["items"]
    assert item["path"] == str(blob.resolve())
    assert item["reason"].startswith("can't be read: Permission denied")
    assert "damaged" not in log
