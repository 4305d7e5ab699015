"""Without the Hub, the cache answers, by the rules of huggingface_hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError as TheirLocalEntryNotFoundError

from published import VARIETY, commit, publish
from xet_ffi import Client, LocalEntryNotFoundError, NetworkError, OfflineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub

REPO = "alice/offline"


@pytest.fixture
def gone(own_hub: Callable[..., Hub], cache_dir: Path) -> Hub:
    """A hub that was killed after `cache_dir` had got the snapshot of `REPO`."""
    hub = own_hub()
    api = HfApi(endpoint=hub.endpoint, token="hf_alice_secret")
    publish(api, REPO)
    publish(api, "alice/uncached", {"a.txt": b"a\n"})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        client.download_snapshot(REPO)
    hub.kill()
    return hub


def test_a_cached_snapshot_survives_the_hub(gone: Hub, cache_dir: Path) -> None:
    """With the Hub gone, a snapshot that is complete in the cache is the answer of both tools."""
    with Client(gone.endpoint, token=False, cache_dir=cache_dir, max_attempts=1) as client:
        whole = client.download_snapshot(REPO)
        one = client.download_file(REPO, "nested/deep/er/part.bin")
    official = snapshot_download(REPO, endpoint=gone.endpoint, token=False, cache_dir=cache_dir)
    assert whole.path == official
    assert (whole.bytes_network, whole.bytes_reused) == (0, whole.bytes_total)
    assert Path(one).read_bytes() == VARIETY["nested/deep/er/part.bin"]


def test_what_is_not_cached_is_a_network_error(gone: Hub, cache_dir: Path) -> None:
    """With the Hub gone, the error for an unknown repo is that the Hub can't be reached."""
    port = urlsplit(gone.endpoint).port
    with Client(gone.endpoint, token=False, cache_dir=cache_dir, max_attempts=1) as client:
        for attempt in (
            lambda: client.download_snapshot("alice/uncached"),
            lambda: client.download_file("alice/uncached", "a.txt"),
            lambda: client.download_file(REPO, "no such file"),
            lambda: client.download_snapshot(REPO, revision="other"),
            lambda: client.list_files(REPO),
        ):
            with pytest.raises(NetworkError, match=f"127.0.0.1:{port}") as caught:
                attempt()
            assert caught.value.kind == "connection"


def test_local_files_only_says_what_is_missing(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """What isn't cached is LocalEntryNotFoundError in both tools, and no request is made."""
    publish(hf_api, repo_id, {"a.txt": b"a\n", "b.txt": b"b\n"})
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        with pytest.raises(LocalEntryNotFoundError) as caught:
            client.download_snapshot(repo_id, local_files_only=True)
        assert caught.value.repo == repo_id
        with pytest.raises(LocalEntryNotFoundError) as caught:
            client.download_file(repo_id, "a.txt", local_files_only=True)
    with pytest.raises(TheirLocalEntryNotFoundError):
        snapshot_download(
            repo_id, endpoint=hub.endpoint, token=False, cache_dir=cache_dir, local_files_only=True
        )
    assert hub.stats().raw["requests"] == {}


def test_a_partial_snapshot_is_not_taken_for_a_whole(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """Offline, a snapshot of which files are missing is an error, unless they aren't asked for."""
    publish(hf_api, repo_id, {"a.txt": b"a\n", "b.txt": b"b\n"})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        client.download_snapshot(repo_id, allow_patterns="a.txt")
        hub.reset_stats()
        with pytest.raises(LocalEntryNotFoundError, match=r"b\.txt"):
            client.download_snapshot(
                repo_id, local_files_only=True, ignore_patterns=".gitattributes"
            )
        with pytest.raises(TheirLocalEntryNotFoundError):
            snapshot_download(
                repo_id,
                endpoint=hub.endpoint,
                token=False,
                cache_dir=cache_dir,
                local_files_only=True,
            )
        part = client.download_snapshot(repo_id, local_files_only=True, allow_patterns="a.txt")
    assert part.files == 1
    assert hub.stats().raw["requests"] == {}


def test_a_pointer_to_nothing_is_a_missing_file(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """Also where no listing tells which files there should be: a blob was lost."""
    publish(hf_api, repo_id, {"a.txt": b"a\n", "nested/b.txt": b"b\n"})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        folder = Path(client.download_snapshot(repo_id))
        for listing in cache_dir.rglob("trees/*.json"):
            listing.unlink()
        assert client.download_snapshot(repo_id, local_files_only=True).path == str(folder)
        (folder / "nested" / "b.txt").resolve().unlink()
        with pytest.raises(LocalEntryNotFoundError, match=r"nested/b\.txt"):
            client.download_snapshot(repo_id, local_files_only=True)
        a = client.download_snapshot(repo_id, allow_patterns="a.txt", local_files_only=True)
        assert a.path == str(folder)


def test_an_offline_client_makes_no_request(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """`offline=True` answers from the cache, and refuses by name what would need the network."""
    publish(hf_api, repo_id, {"a.txt": b"a\n"})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        online = client.download_snapshot(repo_id)
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir, offline=True) as client:
        assert client.download_snapshot(repo_id).path == online.path
        with pytest.raises(OfflineError):
            client.list_files(repo_id)
        with pytest.raises(LocalEntryNotFoundError):
            client.download_file(repo_id, "no such file")
    assert hub.stats().raw["requests"] == {}


@pytest.mark.parametrize("status", [500, 503, 429, 401, 403])
def test_a_refusing_hub_is_answered_by_the_cache(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, status: int
) -> None:
    """If the Hub answers with an error, the cached snapshot is the answer in both tools."""
    publish(hf_api, repo_id, {"a.txt": b"a\n"})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=1) as client:
        before = client.download_snapshot(repo_id)
        hub.fault("revision", path_regex=repo_id, status=status)
        after = client.download_snapshot(repo_id)
        official = snapshot_download(
            repo_id, endpoint=hub.endpoint, token=False, cache_dir=cache_dir
        )
    assert before.path == after.path == official
    assert hub.faults()[0]["fired"] >= 2


def test_a_missing_revision_is_not_answered_by_the_cache(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """That a branch is gone is an answer, not a failure to get one."""
    from huggingface_hub.errors import RevisionNotFoundError as TheirRevisionNotFoundError

    from xet_ffi import RevisionNotFoundError

    publish(hf_api, repo_id, {"a.txt": b"a\n"})
    hf_api.create_branch(repo_id, branch="short-lived")
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        client.download_snapshot(repo_id, revision="short-lived")
        hf_api.delete_branch(repo_id, branch="short-lived")
        with pytest.raises(RevisionNotFoundError):
            client.download_snapshot(repo_id, revision="short-lived")
    with pytest.raises(TheirRevisionNotFoundError):
        snapshot_download(
            repo_id,
            revision="short-lived",
            endpoint=hub.endpoint,
            token=False,
            cache_dir=cache_dir,
        )


def test_the_cache_follows_the_branch(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """After an update of the branch, both tools answer offline with the newer snapshot."""
    first = publish(hf_api, repo_id, {"a.txt": b"1\n"})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        assert client.download_snapshot(repo_id).commit == first
        second = commit(hf_api, repo_id, {"a.txt": b"2\n"})
        client.download_snapshot(repo_id)
        offline = client.download_snapshot(repo_id, local_files_only=True)
    official = snapshot_download(
        repo_id, endpoint=hub.endpoint, token=False, cache_dir=cache_dir, local_files_only=True
    )
    assert offline.commit == second
    assert offline.path == official
    assert (Path(official) / "a.txt").read_bytes() == b"2\n"
