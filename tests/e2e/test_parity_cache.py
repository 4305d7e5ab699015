"""The cache that `download_snapshot` makes is the one that huggingface_hub makes."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download

from picture import Picture, contents, picture
from published import VARIETY, VARIETY_LFS, commit, publish
from xet_ffi import Client

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

REVISIONS = ("main", "feature/x", "v1.0", "refs/pr/1", "commit")


class Published:
    """A repo with a revision of every sort, each of them another commit."""

    def __init__(self, api: HfApi, repo_type: str) -> None:
        self.type = repo_type
        self.id = f"alice/parity-{uuid.uuid4().hex[:12]}"
        self.commit = publish(api, self.id, repo_type=repo_type)
        api.create_tag(self.id, tag="v1.0", repo_type=repo_type)
        api.create_branch(self.id, branch="feature/x", repo_type=repo_type)
        api.create_pull_request(self.id, title="A change", repo_type=repo_type)
        for revision in ("main", "feature/x", "refs/pr/1"):
            files = {"which.txt": f"{revision}\n".encode()}
            commit(api, self.id, files, repo_type=repo_type, revision=revision)

    def revision(self, name: str) -> str:
        """The revision to ask for."""
        return self.commit if name == "commit" else name


@pytest.fixture(scope="module")
def repos(_session_hub: Hub, api: HfApi) -> dict[str, Published]:
    """A repo of each type."""
    return {kind: Published(api, kind) for kind in ("model", "dataset", "space")}


@pytest.fixture(scope="module")
def api(_session_hub: Hub) -> HfApi:
    """The official client, signed in as alice."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=_session_hub.endpoint, token="hf_alice_secret")


def shared_part(cache: Path) -> Picture:
    """What both tools write, as far as it is fixed.

    The listing's permissions are those of a temporary file in huggingface_hub; `.xet` is our own
    folder, and `repo.xet.lock` our own lock; of CACHEDIR.TAG only the signature is fixed.
    """
    found = picture(cache)
    tag = found.pop("CACHEDIR.TAG")
    assert tag[0] == "file"
    assert (cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f")
    for path in list(found):
        if path.endswith("/.xet"):
            assert list((cache / path).iterdir()) == []
            del found[path]
        elif path.endswith("/repo.xet.lock"):
            del found[path]
        elif "/trees/" in path:
            listing = json.loads((cache / path).read_text())
            found[path] = ("file", "", json.dumps(listing, sort_keys=True))
    return found


@pytest.mark.parametrize("name", REVISIONS)
@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_both_make_the_same_cache(
    hub: Hub, repos: dict[str, Published], repo_type: str, name: str, tmp_path: Path
) -> None:
    """Paths, links, contents, refs and permissions are the same, whoever downloaded."""
    repo = repos[repo_type]
    options: dict[str, Any] = {"repo_type": repo_type, "revision": repo.revision(name)}
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with Client(hub.endpoint, token=False, cache_dir=ours) as client:
        transfer = client.download_snapshot(repo.id, **options)
    official: dict[str, Any] = {"endpoint": hub.endpoint, "token": False, "cache_dir": theirs}
    # Alone first: of files that arrive side by side, it shares only those that come after the one
    # that makes the shared store.
    hf_hub_download(repo.id, "zeros.bin", **options, **official)
    folder = snapshot_download(repo.id, **options, **official)
    assert Path(transfer.path).relative_to(ours) == Path(folder).relative_to(theirs)
    assert shared_part(ours) == shared_part(theirs)

    expected = {**VARIETY, **VARIETY_LFS}
    if name in {"main", "feature/x", "refs/pr/1"}:
        expected["which.txt"] = f"{name}\n".encode()
    found = contents(Path(transfer.path))
    found.pop(".gitattributes")
    assert found == expected


def test_each_finds_the_others_files_without_network(
    hub: Hub, repos: dict[str, Published], tmp_path: Path
) -> None:
    """A cache that one tool filled answers the other without a single request."""
    repo = repos["dataset"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with Client(hub.endpoint, token=False, cache_dir=ours) as client:
        mine = client.download_snapshot(repo.id, repo_type="dataset")
    folder = snapshot_download(
        repo.id, repo_type="dataset", endpoint=hub.endpoint, token=False, cache_dir=theirs
    )
    hub.reset_stats()
    found = snapshot_download(
        repo.id,
        repo_type="dataset",
        endpoint=hub.endpoint,
        token=False,
        cache_dir=ours,
        local_files_only=True,
    )
    with Client(hub.endpoint, token=False, cache_dir=theirs) as client:
        whole = client.download_snapshot(repo.id, repo_type="dataset", local_files_only=True)
        one = client.download_file(
            repo.id, "model.safetensors", repo_type="dataset", local_files_only=True
        )
    assert (found, whole.path) == (mine.path, folder)
    assert (whole.files, whole.bytes_total) == (mine.files, mine.bytes_total)
    assert Path(one).read_bytes() == VARIETY["model.safetensors"]
    assert hub.stats().raw["requests"] == {}


def test_neither_downloads_again_what_the_other_has(
    hub: Hub, repos: dict[str, Published], tmp_path: Path
) -> None:
    """Online, too, a cache that the other tool filled costs no content."""
    repo = repos["model"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with Client(hub.endpoint, token=False, cache_dir=ours) as client:
        client.download_snapshot(repo.id)
    snapshot_download(repo.id, endpoint=hub.endpoint, token=False, cache_dir=theirs)
    hub.reset_stats()
    snapshot_download(repo.id, endpoint=hub.endpoint, token=False, cache_dir=ours)
    with Client(hub.endpoint, token=False, cache_dir=theirs) as client:
        again = client.download_snapshot(repo.id)
    stats = hub.stats()
    assert stats.requests("storage") == 0
    assert stats.requests("hub", "resolve", "resolve-cache", "tree") == 0
    assert (again.bytes_network, again.bytes_reused) == (0, again.bytes_total)


def test_the_cache_is_clean_to_scan_cache_dir(
    hub: Hub, repos: dict[str, Published], tmp_path: Path
) -> None:
    """After several revisions and types in one cache, the official scan knows every file."""
    cache = tmp_path / "cache"
    with Client(hub.endpoint, token=False, cache_dir=cache) as client:
        for repo_type, repo in repos.items():
            for name in REVISIONS:
                client.download_snapshot(repo.id, repo_type=repo_type, revision=repo.revision(name))
    report = scan_cache_dir(cache)
    assert report.warnings == []
    assert {(repo.repo_type, repo.repo_id) for repo in report.repos} == {
        (kind, repo.id) for kind, repo in repos.items()
    }
    for scanned in report.repos:
        # main, the branch, the pull request, and the tag, which is the commit.
        assert len(scanned.revisions) == 4
        assert set(scanned.refs) == {"main", "feature/x", "v1.0", "refs/pr/1"}


def test_content_is_shared_between_repos(
    hub: Hub, repos: dict[str, Published], tmp_path: Path
) -> None:
    """What huggingface_hub brought for one repo isn't fetched for another that has the same."""
    cache = tmp_path / "cache"
    official: dict[str, Any] = {"endpoint": hub.endpoint, "token": False, "cache_dir": cache}
    # Alone first: see test_both_make_the_same_cache.
    hf_hub_download(repos["model"].id, "zeros.bin", **official)
    snapshot_download(repos["model"].id, **official)
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=cache) as client:
        transfer = client.download_snapshot(repos["space"].id, repo_type="space")
    # Files in git and in LFS aren't in the shared store.
    assert hub.stats().requests("storage") == 1
    assert transfer.bytes_network < 800_000
    assert scan_cache_dir(cache).warnings == []
