"""What a repo has, and which commit that is."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from published import commit, publish
from xet_ffi import Client, Listing, OfflineError, RepoNotFoundError, RevisionNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A model with two commits of ours."""
    publish(hf_api, repo_id, {"a.txt": b"1\n"})
    commit(hf_api, repo_id, {"a.txt": b"2\n", "b.txt": b"b\n"})
    return repo_id


def test_a_listing_says_which_commit_it_is_of(hf_api: HfApi, alice: Client, repo: str) -> None:
    """The one that the branch stood for, which lists the same files later."""
    listing = alice.list_files(repo)
    assert listing.commit == hf_api.repo_info(repo).sha
    commit(hf_api, repo, {"c.txt": b"c\n"})
    assert alice.list_files(repo).commit != listing.commit
    again = alice.list_files(repo, revision=listing.commit)
    assert (again, again.commit) == (listing, listing.commit)


def test_a_listing_is_a_list(alice: Client, repo: str) -> None:
    """As it was before it knew its commit; a copy knows it, too."""
    listing = alice.list_files(repo)
    assert [file.path for file in listing] == [".gitattributes", "a.txt", "b.txt"]
    assert listing[1:] == list(listing)[1:]
    copy = pickle.loads(pickle.dumps(listing))
    assert (type(copy), copy, copy.commit) == (Listing, listing, listing.commit)


def test_resolving_costs_one_request(hub: Hub, hf_api: HfApi, alice: Client, repo: str) -> None:
    """Branches, tags and short commits; no listing is fetched."""
    head = hf_api.repo_info(repo).sha
    assert head is not None
    hf_api.create_tag(repo, tag="v1")
    for revision in (None, "main", "v1", "refs/heads/main", head):
        hub.reset_stats()
        assert alice.resolve(repo, revision=revision) == head
        assert hub.stats().requests("hub") <= 1
        assert hub.stats().requests("hub", "tree") == 0


def test_what_does_not_resolve_is_told_apart(alice: Client, repo: str) -> None:
    """As in every call."""
    with pytest.raises(RevisionNotFoundError):
        alice.resolve(repo, revision="nowhere")
    with pytest.raises(RepoNotFoundError):
        alice.resolve("alice/nothing")


def test_resolving_needs_the_network(hub: Hub, cache_dir: Path, repo: str) -> None:
    """What a branch stands for now is known to the Hub alone."""
    with (
        Client(hub.endpoint, cache_dir=cache_dir, offline=True) as client,
        pytest.raises(OfflineError),
    ):
        client.resolve(repo)
