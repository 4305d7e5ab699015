"""Every refusal reaches the official client as the exception type that the real Hub causes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import (
    BadRequestError,
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hub import Hub, Token

Download = Callable[..., str]


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repository with a large file, x.bin, and a plain one, x.txt."""
    hf_api.create_repo(repo_id)
    hf_api.create_commit(
        repo_id,
        [CommitOperationAdd("x.bin", os.urandom(20_000)), CommitOperationAdd("x.txt", b"x")],
        commit_message="files",
    )
    return repo_id


@pytest.fixture
def download(hub: Hub, tokens: dict[str, Token], cache_dir: Path) -> Download:
    """Downloads as a user, or anonymously: `download(repo, "x.bin", user="bob")`."""

    def run(repo_id: str, name: str, user: str | None = None, **options: Any) -> str:
        token = tokens[user].secret if user else False
        path: str = hf_hub_download(
            repo_id,
            name,
            endpoint=hub.endpoint,
            cache_dir=cache_dir,
            token=token,
            **options,
        )
        return path

    return run


def status(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    """The HTTP status behind an exception."""
    return int(error.value.response.status_code)


@pytest.mark.parametrize(("user", "expected"), [(None, 401), ("carol", 404)])
@pytest.mark.parametrize("name", ["x.bin", "x.txt"])
def test_a_private_repo_looks_missing(
    hf_api: HfApi, repo: str, download: Download, name: str, user: str | None, expected: int
) -> None:
    """Strangers can't tell a private repository from none, and members can read it."""
    hf_api.update_repo_settings(repo, visibility="private")
    for missing in (repo, "alice/never-created"):
        with pytest.raises(RepositoryNotFoundError) as error:
            download(missing, name, user)
        assert status(error) == expected
        assert not isinstance(error.value, GatedRepoError)
    assert download(repo, name, "alice")


def test_a_private_repo_is_not_listed_for_strangers(
    hub: Hub, hf_api: HfApi, repo: str, tokens: dict[str, Token]
) -> None:
    """Info, tree and the list of repositories keep a private repository to its members."""
    hf_api.update_repo_settings(repo, visibility="private")
    carol = HfApi(endpoint=hub.endpoint, token=tokens["carol"].secret)
    with pytest.raises(RepositoryNotFoundError):
        carol.repo_info(repo)
    with pytest.raises(RepositoryNotFoundError):
        list(carol.list_repo_tree(repo))
    assert repo not in [found.id for found in carol.list_models(author="alice")]
    assert repo in [found.id for found in hf_api.list_models(author="alice")]


def test_an_access_list_opens_a_private_repo(
    hub: Hub, hf_api: HfApi, repo: str, download: Download, tokens: dict[str, Token]
) -> None:
    """Whoever is put on the list can read, until taken off."""
    hf_api.update_repo_settings(repo, visibility="private")
    hub.set_access(repo, ["bob"])
    assert download(repo, "x.bin", "bob")
    hub.set_access(repo, [])
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.endpoint, token=tokens["bob"].secret).repo_info(repo)


@pytest.mark.parametrize("gate", ["auto", "manual"])
@pytest.mark.parametrize("name", ["x.bin", "x.txt"])
def test_a_gated_repo_is_readable_for_its_list_only(
    hub: Hub,
    hf_api: HfApi,
    repo: str,
    download: Download,
    gate: Literal["auto", "manual"],
    name: str,
) -> None:
    """A gate refuses content with its own error, while listings stay readable."""
    hf_api.update_repo_settings(repo, gated=gate)
    for user, expected in ((None, 401), ("carol", 403)):
        with pytest.raises(GatedRepoError) as error:
            download(repo, name, user)
        assert status(error) == expected
    assert HfApi(endpoint=hub.endpoint, token=False).repo_info(repo).gated == gate
    hub.set_access(repo, ["carol"])
    assert download(repo, name, "carol")


def test_a_missing_revision_and_a_missing_file_differ(repo: str, download: Download) -> None:
    """Each has its exception, for a branch, a commit and a path."""
    for revision in ("nowhere", "0" * 40, "refs/pr/7"):
        with pytest.raises(RevisionNotFoundError) as missing:
            download(repo, "x.bin", revision=revision)
        assert status(missing) == 404
    for name in ("missing.bin", "x.bin/below", "d/missing"):
        with pytest.raises(EntryNotFoundError):
            download(repo, name)


def test_a_missing_file_is_remembered_by_commit(
    repo: str, download: Download, cache_dir: Path
) -> None:
    """The 404 names the commit, which the client needs to cache it."""
    with pytest.raises(EntryNotFoundError):
        download(repo, "missing.bin")
    assert len(list(cache_dir.glob("*/.no_exist/*/missing.bin"))) == 1


def test_a_missing_folder_has_no_tree(hf_api: HfApi, repo: str) -> None:
    """Listing a folder that isn't there is an error, not an empty list."""
    with pytest.raises(EntryNotFoundError):
        list(hf_api.list_repo_tree(repo, "nowhere"))
    with pytest.raises(RevisionNotFoundError):
        list(hf_api.list_repo_tree(repo, revision="nowhere"))


def test_a_disabled_repo_is_refused(hub: Hub, hf_api: HfApi, repo: str, download: Download) -> None:
    """A repository that was taken down says so, even to its owner."""
    hub.set_settings(repo, disabled=True)
    with pytest.raises(DisabledRepoError):
        hf_api.repo_info(repo)
    with pytest.raises(LocalEntryNotFoundError) as error:
        download(repo, "x.bin", "alice")
    assert isinstance(error.value.__cause__, DisabledRepoError)


def test_a_bad_token_is_not_a_missing_repo(hub: Hub, repo: str) -> None:
    """A token that is no user's is refused everywhere, even where none is needed."""
    with pytest.raises(HfHubHTTPError) as error:
        HfApi(endpoint=hub.endpoint, token="hf_wrong").repo_info(repo)
    assert status(error) == 401
    assert not isinstance(error.value, RepositoryNotFoundError)


def test_reading_tokens_do_not_write(hub: Hub, repo: str, tokens: dict[str, Token]) -> None:
    """A read token may neither commit nor create, wherever it points."""
    bob = HfApi(endpoint=hub.endpoint, token=tokens["bob"].secret)
    with pytest.raises(HfHubHTTPError) as error:
        bob.upload_file(path_or_fileobj=b"x", path_in_repo="y.txt", repo_id=repo)
    assert status(error) == 403
    with pytest.raises(HfHubHTTPError) as error:
        bob.create_repo("bob/mine")
    assert status(error) == 403


def test_other_users_do_not_write(hub: Hub, repo: str, tokens: dict[str, Token]) -> None:
    """A write token is good for its own user's repositories only."""
    hub.reset_stats()
    carol = HfApi(endpoint=hub.endpoint, token=tokens["carol"].secret)
    for large in (b"x", os.urandom(30_000)):
        with pytest.raises(HfHubHTTPError) as error:
            carol.upload_file(path_or_fileobj=large, path_in_repo="y.bin", repo_id=repo)
        assert status(error) == 403
    with pytest.raises(HfHubHTTPError) as error:
        carol.create_repo("alice/not-carols")
    assert status(error) == 403
    assert hub.stats().requests("hub", "commit") == 0


def test_pull_requests_belong_to_their_authors(
    hub: Hub, hf_api: HfApi, repo: str, tokens: dict[str, Token]
) -> None:
    """Nobody but members commits to the pull request of someone else."""
    hf_api.create_pull_request(repo, title="mine")
    carol = HfApi(endpoint=hub.endpoint, token=tokens["carol"].secret)
    with pytest.raises(HfHubHTTPError) as error:
        carol.upload_file(
            path_or_fileobj=b"x", path_in_repo="y.txt", repo_id=repo, revision="refs/pr/1"
        )
    assert status(error) == 403


def test_conflicts(hf_api: HfApi, repo: str) -> None:
    """What exists can't be created again, unless that is fine with the caller."""
    for create in (
        lambda: hf_api.create_repo(repo),
        lambda: hf_api.create_branch(repo, branch="main"),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            create()
        assert status(error) == 409
    assert hf_api.create_repo(repo, exist_ok=True).repo_id == repo
    hf_api.create_branch(repo, branch="main", exist_ok=True)


def test_an_outdated_parent_is_refused(hf_api: HfApi, repo: str) -> None:
    """A commit on top of a commit that isn't the newest any more changes nothing."""
    old = hf_api.repo_info(repo).sha
    hf_api.upload_file(path_or_fileobj=b"1", path_in_repo="y.txt", repo_id=repo, parent_commit=old)
    with pytest.raises(HfHubHTTPError) as error:
        hf_api.upload_file(
            path_or_fileobj=b"2", path_in_repo="y.txt", repo_id=repo, parent_commit=old
        )
    assert status(error) == 412


def test_deleting_what_is_not_there(hf_api: HfApi, repo: str) -> None:
    """A commit that deletes a missing path, branch or tag fails."""
    with pytest.raises(EntryNotFoundError):
        hf_api.create_commit(repo, [CommitOperationDelete("missing")], commit_message="m")
    with pytest.raises(RevisionNotFoundError):
        hf_api.delete_branch(repo, branch="missing")
    with pytest.raises(RevisionNotFoundError):
        hf_api.delete_tag(repo, tag="missing")
    with pytest.raises(HfHubHTTPError) as error:
        hf_api.delete_branch(repo, branch="main")
    assert status(error) == 403


def test_bad_reference_names(hf_api: HfApi, repo: str) -> None:
    """Git's rules for the names of branches hold."""
    for name in ("a..b", "a b", "x.lock", "-a"):
        with pytest.raises(BadRequestError):
            hf_api.create_branch(repo, branch=name)


def test_secrets_stay_out_of_the_log(
    own_hub: Callable[..., Hub], tokens: dict[str, Token], cache_dir: Path
) -> None:
    """Even the most talkative log holds no token and no signature."""
    hub = own_hub(log="trace")
    alice = tokens["alice"].secret
    api = HfApi(endpoint=hub.endpoint, token=alice)
    api.create_repo("alice/quiet", private=True)
    api.upload_file(path_or_fileobj=os.urandom(50_000), path_in_repo="x.bin", repo_id="alice/quiet")
    hf_hub_download("alice/quiet", "x.bin", endpoint=hub.endpoint, cache_dir=cache_dir, token=alice)
    assert hub.stop() == 0
    log = hub.log()
    assert "/alice/quiet/resolve/" in log
    for secret in (alice, "hf_", "xet_ey", "Signature=", "Bearer"):
        assert secret not in log
