"""A `local_dir` that either tool filled is current to the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from picture import contents, picture
from published import VARIETY, VARIETY_LFS, commit, publish
from xet_ffi import Client

if TYPE_CHECKING:
    from hub import Hub

BOOKKEEPING = Path(".cache", "huggingface")
REPO = "alice/local-parity"


@pytest.fixture(scope="module")
def head(_session_hub: Hub) -> str:
    """The commit of `REPO`, which has one file of every sort."""
    return publish(HfApi(endpoint=_session_hub.endpoint, token="hf_alice_secret"), REPO)


def ours(hub: Hub, folder: Path, revision: str | None = None) -> None:
    """Downloads the snapshot with the library. Each has a cache of its own that stays empty."""
    with Client(hub.endpoint, token=False, cache_dir=folder.parent / "ours") as client:
        client.download_snapshot(REPO, local_dir=folder, revision=revision)


def theirs(hub: Hub, folder: Path, revision: str | None = None) -> None:
    """Downloads the snapshot with huggingface_hub."""
    snapshot_download(
        REPO,
        endpoint=hub.endpoint,
        token=False,
        cache_dir=folder.parent / "theirs",
        local_dir=folder,
        revision=revision,
    )


def metadata(folder: Path) -> dict[str, list[str]]:
    """Commit and etag that the bookkeeping notes for each file; not the time."""
    found = (folder / BOOKKEEPING / "download").rglob("*.metadata")
    return {
        path.relative_to(folder / BOOKKEEPING).as_posix(): path.read_text().splitlines()[:2]
        for path in found
    }


def test_both_make_the_same_folder(hub: Hub, head: str, tmp_path: Path) -> None:
    """Files, permissions and the metadata of each file are the same, whoever downloaded."""
    mine, official = tmp_path / "mine", tmp_path / "official"
    ours(hub, mine)
    theirs(hub, official)
    assert metadata(mine) == metadata(official)
    assert metadata(mine)["download/empty.txt.metadata"][0] == head
    assert (mine / BOOKKEEPING / ".gitignore").read_text() == "*"

    def files(folder: Path) -> dict[str, tuple[str, str, str]]:
        found = picture(folder)
        return {name: seen for name, seen in found.items() if not name.startswith(".cache")}

    assert files(mine) == files(official)
    expected = {**VARIETY, **VARIETY_LFS}
    for path, content in expected.items():
        assert (mine / path).read_bytes() == content


@pytest.mark.parametrize("revision", ["main", "commit"])
def test_our_files_are_current_to_huggingface_hub(
    hub: Hub, head: str, tmp_path: Path, revision: str
) -> None:
    """What we put into a folder, huggingface_hub doesn't download again."""
    asked = head if revision == "commit" else revision
    ours(hub, tmp_path / "d", asked)
    before = contents(tmp_path / "d")
    hub.reset_stats()
    theirs(hub, tmp_path / "d", asked)
    assert hub.stats().requests("storage") == 0
    methods = hub.stats().raw["methods"].get("hub", {})
    assert methods.get("GET", 0) <= 2  # the revision, the listing; files only by HEAD
    after = contents(tmp_path / "d")
    assert {k: v for k, v in after.items() if not k.startswith(".cache")} == {
        k: v for k, v in before.items() if not k.startswith(".cache")
    }


@pytest.mark.parametrize("revision", ["main", "commit"])
def test_their_files_are_current_to_us(hub: Hub, head: str, tmp_path: Path, revision: str) -> None:
    """What huggingface_hub put into a folder, we don't even ask for."""
    asked = head if revision == "commit" else revision
    theirs(hub, tmp_path / "d", asked)
    before = picture(tmp_path / "d")
    hub.reset_stats()
    ours(hub, tmp_path / "d", asked)
    stats = hub.stats()
    assert stats.requests("storage") == 0
    assert stats.requests("hub") == stats.requests("hub", "revision", "tree")
    after = picture(tmp_path / "d")
    assert before.items() <= after.items()


def test_each_answers_offline_from_the_others_folder(hub: Hub, head: str, tmp_path: Path) -> None:
    """`local_files_only` returns the other tool's folder without a request."""
    ours(hub, tmp_path / "mine", revision=head)
    theirs(hub, tmp_path / "official", revision=head)
    hub.reset_stats()
    found = hf_hub_download(
        REPO,
        "model.safetensors",
        revision=head,
        endpoint=hub.endpoint,
        token=False,
        cache_dir=tmp_path / "ours",
        local_dir=tmp_path / "mine",
        local_files_only=True,
    )
    assert Path(found).read_bytes() == VARIETY["model.safetensors"]
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "none") as client:
        transfer = client.download_snapshot(
            REPO, revision=head, local_dir=tmp_path / "official", local_files_only=True
        )
    assert transfer.path == str(tmp_path / "official")
    assert hub.stats().raw["requests"] == {}


def test_an_edited_file_is_replaced_by_both(hub: Hub, head: str, tmp_path: Path) -> None:
    """A file that was changed since isn't taken for current, by size or by time."""
    assert head
    for fill, refresh in ((ours, theirs), (theirs, ours), (ours, ours)):
        folder = tmp_path / f"{fill.__name__}-{refresh.__name__}"
        fill(hub, folder)
        edited = folder / "nested" / "vocab.txt"
        edited.write_bytes(b"A\nb\nc\n")
        # Later than the metadata, as every edit in real life is.
        late = edited.stat().st_mtime + 10
        os.utime(edited, (late, late))
        refresh(hub, folder)
        assert edited.read_bytes() == VARIETY["nested/vocab.txt"], folder.name


def test_a_new_revision_costs_its_changes(hub: Hub, repo_id: str, tmp_path: Path) -> None:
    """In a folder that huggingface_hub filled, only what changed is fetched."""
    api = HfApi(endpoint=hub.endpoint, token="hf_alice_secret")
    publish(api, repo_id, {"a.txt": b"1\n", "b.bin": VARIETY["model.safetensors"]})
    snapshot_download(
        repo_id,
        endpoint=hub.endpoint,
        token=False,
        cache_dir=tmp_path / "cache",
        local_dir=tmp_path / "d",
    )
    commit(api, repo_id, {"a.txt": b"2\n"})
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
        transfer = client.download_snapshot(repo_id, local_dir=tmp_path / "d")
    assert (tmp_path / "d" / "a.txt").read_bytes() == b"2\n"
    assert transfer.bytes_network == 2
    assert hub.stats().requests("storage") == 0
