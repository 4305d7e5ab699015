"""What a look at the cache could do nothing about is in its report, with its reason."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import snapshot_download

from published import MIB, commit, noise, publish
from small_disk import small_file_system
from xet_ffi import Client, cache

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 4 * MIB
ATTEMPTS = 6
LEADS_OUT = "is a link that leads out of the cache, and isn't followed"


def changed(content: bytes) -> bytes:
    """The same with other bytes in its middle."""
    return content[: SIZE // 2] + noise(256 * 1024, "reports/changed") + content[SIZE // 2 :]


def make_old(folder: Path) -> None:
    """Nothing in it is young enough to be spared for that."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (1e9, 1e9), follow_symlinks=False)


@pytest.fixture
def filled(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> Path:
    """The folder of a repo in the cache with two revisions, of which main is the second."""
    publish(hf_api, repo_id, {"model.bin": noise(SIZE, "reports/1")})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        client.download_snapshot(repo_id)
        commit(hf_api, repo_id, {"model.bin": noise(SIZE, "reports/2")})
        folder = Path(client.download_snapshot(repo_id).path).parent.parent
    make_old(cache_dir)
    return folder


def test_each_file_is_asked_for_at_a_revision_that_has_it(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """Storage answers for one revision at a time; then all of the files are reused."""
    contents = [noise(SIZE, f"reports/revision/{i}") for i in range(3)]
    publish(hf_api, repo_id, {"model.bin": contents[0]})
    revisions = [commit(hf_api, repo_id, {"model.bin": content}) for content in contents]
    for revision in revisions:
        snapshot_download(
            repo_id, revision=revision, cache_dir=cache_dir, endpoint=hub.endpoint, token=False
        )
    new = [commit(hf_api, repo_id, {"model.bin": changed(content)}) for content in contents]
    report = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    assert (report.files, report.items) == (3, ())
    assert hub.stats().statuses(403) == 0
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        for revision in new:
            assert client.download_snapshot(repo_id, revision=revision).bytes_reused > SIZE // 2


def test_a_file_without_terms_is_named_and_the_next_is_asked_about(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """With its reason, whether storage refuses it or fails."""
    files = {f"{i}.bin": noise(SIZE, f"reports/terms/{i}") for i in range(3)}
    publish(hf_api, repo_id, files)
    snapshot_download(repo_id, cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    # A refusal by both versions of the question.
    for attempts, status in ((2, 403), (ATTEMPTS, 500)):
        hub.fault("reconstruction", times=attempts, status=status)
        report = cache.index(rebuild=True, cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
        assert report.files == len(files)
        [item] = report.items
        assert item.reason.startswith("it can be used as a whole only: ")
        assert str(status) in item.reason
        assert item.bytes == SIZE


def test_links_that_lead_out_are_named_and_not_followed(
    cache_dir: Path, filled: Path, tmp_path: Path
) -> None:
    """To a file where content should be, or to a folder where revisions should be."""
    before = cache.usage(cache_dir=cache_dir)
    documents = tmp_path / "documents"
    (documents / "letters").mkdir(parents=True)
    (documents / "letters" / "a.txt").write_text("dear")
    (documents / "b.txt").write_text("mine")
    blob = filled / "blobs" / ("b" * 64)
    blob.symlink_to(documents / "b.txt")
    other = cache_dir / "models--x--y"
    other.mkdir()
    (other / "snapshots").symlink_to(documents)
    usage = cache.usage(cache_dir=cache_dir)
    assert (usage.files, usage.bytes) == (before.files, before.bytes)
    assert usage.revisions == before.revisions
    planted = {str(blob), str(other / "snapshots")}
    verified = cache.verify(cache_dir=cache_dir)
    assert {item.path for item in verified.items} == planted
    assert {item.reason for item in verified.items} == {LEADS_OUT}
    pruned = cache.prune(size=0, cache_dir=cache_dir)
    assert pruned.bytes >= SIZE
    assert {item.path for item in pruned.items[pruned.files :]} == planted
    assert blob.is_symlink()
    assert (documents / "letters" / "a.txt").read_text() == "dear"
    assert (documents / "b.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["blobs", "snapshots"])
def test_a_folder_that_is_another_repos_is_left_to_it(
    cache_dir: Path, filled: Path, name: str
) -> None:
    """The one that has the refs says what is needed there."""
    other = cache_dir / "models--x--y"
    other.mkdir()
    (other / name).symlink_to(filled / name)
    (filled / "refs" / "first").write_text(
        next(path.name for path in (filled / "snapshots").iterdir())
    )
    (filled / "refs" / "second").write_text(
        [path.name for path in (filled / "snapshots").iterdir()][1]
    )
    pruned = cache.prune(unreferenced=True, cache_dir=cache_dir)
    assert pruned.files == 0
    assert [(item.path, item.reason) for item in pruned.items] == [
        (str(other / name), f"kept: {LEADS_OUT}")
    ]
    for revision in (filled / "snapshots").iterdir():
        assert (revision / "model.bin").stat().st_size == SIZE


def test_blobs_on_another_disk_are_the_caches(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted, verified and pruned."""
    monkeypatch.setenv("HF_HUB_DISABLE_SHARED_BLOBS", "1")
    publish(hf_api, repo_id, {"model.bin": noise(SIZE, "reports/disk/1")})
    folder = cache_dir / f"models--{repo_id.replace('/', '--')}"
    folder.mkdir(parents=True)
    with small_file_system(64) as disk:
        (folder / "blobs").symlink_to(disk)
        with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
            client.download_snapshot(repo_id)
            commit(hf_api, repo_id, {"model.bin": noise(SIZE, "reports/disk/2")})
            client.download_snapshot(repo_id)
        make_old(cache_dir)
        make_old(disk)
        assert cache.usage(cache_dir=cache_dir).bytes > 2 * SIZE
        verified = cache.verify(cache_dir=cache_dir)
        assert (verified.bytes > 2 * SIZE, verified.items) == (True, ())
        pruned = cache.prune(unreferenced=True, cache_dir=cache_dir)
        assert pruned.bytes == SIZE
        assert len(pruned.items) == pruned.files
