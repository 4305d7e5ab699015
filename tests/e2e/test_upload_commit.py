"""Commits: their changes, their messages, and what they stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from published import noise
from xet_ffi import (
    ChecksumMismatchError,
    Client,
    CommitAdd,
    CommitCopy,
    CommitDelete,
    ConflictError,
    EntryNotFoundError,
    InvalidConfigError,
    RepoNotFoundError,
    RevisionNotFoundError,
    XetError,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

BIG = noise(150_000, "commit/big")


def files(api: HfApi, repo: str, revision: str | None = None) -> list[str]:
    """The paths in a repo, without the .gitattributes that it began with."""
    return sorted(set(api.list_repo_files(repo, revision=revision)) - {".gitattributes"})


def test_a_commit_adds_copies_and_deletes(hf_api: HfApi, alice: Client, empty_repo: str) -> None:
    """All in one, and large copies without any transfer."""
    first = alice.create_commit(
        empty_repo,
        [
            CommitAdd("big.bin", BIG),
            CommitAdd("small.txt", b"small\n"),
            CommitAdd("old/1.txt", b"1\n"),
            CommitAdd("old/2.txt", b"2\n"),
            CommitAdd("gone.txt", b"gone\n"),
        ],
    )
    assert first.files == first.files_changed == 5
    second = alice.create_commit(
        empty_repo,
        [
            CommitCopy("big.bin", "copies/big.bin"),
            CommitCopy("small.txt", "copies/small.txt"),
            CommitDelete("old/"),
            CommitDelete("gone.txt"),
            CommitAdd("new.txt", b"new\n"),
        ],
        commit_message="Tidy up",
        commit_description="Old files go.",
    )
    assert files(hf_api, empty_repo) == [
        "big.bin",
        "copies/big.bin",
        "copies/small.txt",
        "new.txt",
        "small.txt",
    ]
    copied = {file.path: file for file in alice.list_files(empty_repo)}
    assert copied["copies/big.bin"].xet_hash == copied["big.bin"].xet_hash
    assert copied["copies/small.txt"].hash == copied["small.txt"].hash
    newest = hf_api.list_repo_commits(empty_repo)[0]
    assert (newest.commit_id, newest.title) == (second.oid, "Tidy up")
    assert newest.message == "Old files go."


def test_copies_from_another_revision(hf_api: HfApi, alice: Client, empty_repo: str) -> None:
    """A file can be brought back from where it was deleted."""
    before = alice.upload_file(b"text\n", "a.txt", empty_repo)
    alice.create_commit(empty_repo, [CommitDelete("a.txt")])
    assert files(hf_api, empty_repo) == []
    alice.create_commit(empty_repo, [CommitCopy("a.txt", "b.txt", before.oid)])
    assert files(hf_api, empty_repo) == ["b.txt"]
    with pytest.raises(EntryNotFoundError):
        alice.create_commit(empty_repo, [CommitCopy("a.txt", "c.txt")])


def test_a_damaged_file_is_not_copied(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """A small file is fetched and sent again, so it could become another one on the way."""
    alice.upload_file(b"text\n", "a.txt", empty_repo)
    hub.corrupt(empty_repo, "a.txt")
    with pytest.raises(ChecksumMismatchError, match=r"a\.txt"):
        alice.create_commit(empty_repo, [CommitCopy("a.txt", "b.txt")])
    assert files(hf_api, empty_repo) == ["a.txt"]


@pytest.mark.parametrize("content", [b"a\n", BIG], ids=["regular", "large"])
@pytest.mark.parametrize("gone", ["dir/", "dir/a"])
def test_a_deleted_file_can_be_brought_back_at_once(
    hf_api: HfApi, alice: Client, empty_repo: str, gone: str, content: bytes
) -> None:
    """In the same commit, by the same content, by a copy of it, or by another."""
    alice.create_commit(empty_repo, [CommitAdd("dir/a", content), CommitAdd("b", content)])
    for back in (CommitAdd("dir/a", content), CommitCopy("b", "dir/a"), CommitAdd("dir/a", b"")):
        alice.create_commit(empty_repo, [CommitDelete(gone), back])
        assert files(hf_api, empty_repo) == ["b", "dir/a"]


def test_listed_changes_are_one_commit(hf_api: HfApi, alice: Client, empty_repo: str) -> None:
    """Even if it carries more than one of the commits that a folder is split into."""
    text = b"nine chars" * 950_000
    operations = [CommitAdd(f"{i}.txt", b"%d" % i + text) for i in range(12)]
    commit = alice.create_commit(empty_repo, operations)
    assert commit.commits == 1
    assert len(hf_api.list_repo_commits(empty_repo)) == 2
    assert len(files(hf_api, empty_repo)) == 12


def test_titles_say_what_the_commit_does(hf_api: HfApi, alice: Client, empty_repo: str) -> None:
    """Where the caller gives no message."""
    alice.upload_file(b"1\n", "a.txt", empty_repo)
    alice.create_commit(empty_repo, [CommitCopy("a.txt", "b.txt")])
    alice.create_commit(empty_repo, [CommitDelete("a.txt")])
    titles = [commit.title for commit in hf_api.list_repo_commits(empty_repo)]
    assert titles[:3] == ["Delete a.txt", "Copy a.txt to b.txt", "Upload a.txt"]


def test_unchanged_files_make_no_commit(hub: Hub, alice: Client, empty_repo: str) -> None:
    """The report says so, and names the commit that is there."""
    operations = [CommitAdd("big.bin", BIG), CommitAdd("a.txt", b"a\n"), CommitAdd("e", b"")]
    first = alice.create_commit(empty_repo, operations)
    hub.reset_stats()
    again = alice.create_commit(empty_repo, operations)
    assert again.nothing_to_commit
    assert (again.oid, again.commit_url) == (first.oid, first.commit_url)
    assert (again.files, again.files_changed, again.bytes_sent) == (3, 0, 0)
    assert hub.stats().requests("hub", "commit") == 0
    assert hub.stats().requests("cas") == 0


def test_a_branch_that_has_moved_is_a_conflict(
    hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """With `parent_commit`, a commit by someone else is not overwritten."""
    base = alice.upload_file(b"1\n", "a.txt", empty_repo)
    on_top = alice.upload_file(b"2\n", "a.txt", empty_repo, parent_commit=base.oid)
    with pytest.raises(ConflictError) as caught:
        alice.upload_file(b"3\n", "a.txt", empty_repo, parent_commit=base.oid[:10])
    assert caught.value.http_status == 412
    assert base.oid[:10] in str(caught.value)
    assert hf_api.repo_info(empty_repo).sha == on_top.oid


def test_a_pull_request_is_opened(hf_api: HfApi, hub: Hub, empty_repo: str) -> None:
    """By someone who may only read; main stays as it is, and the PR can be committed to."""
    with Client(hub.endpoint, "hf_carol_secret") as carol:
        commit = carol.upload_file(BIG, "pr.bin", empty_repo, create_pr=True)
        assert commit.pr_url == f"{hub.endpoint}/{empty_repo}/discussions/1"
        assert files(hf_api, empty_repo) == []
        assert files(hf_api, empty_repo, "refs/pr/1") == ["pr.bin"]
        more = carol.upload_file(b"x\n", "x.txt", empty_repo, revision="refs/pr/1")
        assert more.pr_url is None
        assert files(hf_api, empty_repo, "refs/pr/1") == ["pr.bin", "x.txt"]


def test_a_branch_is_committed_to(hf_api: HfApi, alice: Client, empty_repo: str) -> None:
    """`revision` names it; one that isn't there is an error of its own."""
    hf_api.create_branch(empty_repo, branch="v2/next")
    alice.upload_file(BIG, "x.bin", empty_repo, revision="v2/next")
    assert files(hf_api, empty_repo, "v2/next") == ["x.bin"]
    assert files(hf_api, empty_repo) == []
    with pytest.raises(RevisionNotFoundError):
        alice.upload_file(BIG, "x.bin", empty_repo, revision="nowhere")


def test_repos_are_created(hf_api: HfApi, alice: Client, repo_id: str) -> None:
    """Private or not, once; a second time only with `exist_ok`."""
    made = alice.create_repo(repo_id, private=True)
    assert made.repo_id == repo_id
    assert hf_api.repo_info(repo_id).private
    with pytest.raises(ConflictError, match="exists already"):
        alice.create_repo(repo_id)
    assert alice.create_repo(repo_id, exist_ok=True) == made
    short = repo_id.rpartition("/")[2] + "-short"
    assert alice.create_repo(short).repo_id == f"alice/{short}"


def test_a_repo_that_is_not_there(alice: Client, repo_id: str) -> None:
    """Uploads don't create repos."""
    with pytest.raises(RepoNotFoundError):
        alice.upload_file(BIG, "x.bin", repo_id)


@pytest.mark.parametrize(
    ("operations", "field"),
    [
        ([], "operations_len"),
        ([CommitAdd("a", b""), CommitAdd("a", b"")], "operations"),
        ([CommitAdd("../a", b"")], "operations[0].path_in_repo"),
        ([CommitAdd("a/.git/b", b"")], "operations[0].path_in_repo"),
        ([CommitAdd("a", "")], "operations[0].local_path"),
        ([CommitDelete("a"), CommitDelete("")], "operations[1].path_in_repo"),
    ],
)
def test_bad_operations_are_named(
    alice: Client, empty_repo: str, operations: list[CommitAdd | CommitDelete], field: str
) -> None:
    """The error says which operation, and which part of it."""
    with pytest.raises(InvalidConfigError) as caught:
        alice.create_commit(empty_repo, operations)
    assert caught.value.details["field"] == field


def test_deleting_what_is_not_there_changes_nothing(
    hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """The commit fails as a whole."""
    head = hf_api.repo_info(empty_repo).sha
    with pytest.raises(EntryNotFoundError):
        alice.create_commit(empty_repo, [CommitAdd("a.txt", b"a\n"), CommitDelete("missing")])
    assert hf_api.repo_info(empty_repo).sha == head


def test_arguments_of_wrong_types(alice: Client, empty_repo: str) -> None:
    """TypeError, before anything is sent."""
    with pytest.raises(TypeError, match="source: expected a path"):
        alice.upload_file(7, "a", empty_repo)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected CommitAdd"):
        alice.create_commit(empty_repo, ["a"])  # type: ignore[list-item]
    with pytest.raises(XetError, match="parent_commit"):
        alice.upload_file(b"", "a", empty_repo, parent_commit="main")
