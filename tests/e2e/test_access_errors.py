"""Who may not, and what isn't there: each its own error, as in the official client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import huggingface_hub.errors as official
import pytest
from huggingface_hub import hf_hub_download

from published import publish
from xet_ffi import (
    AuthError,
    Client,
    EntryNotFoundError,
    GatedRepoError,
    RepoDisabledError,
    RepoNotFoundError,
    RevisionNotFoundError,
    XetError,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

FILES = {"git.txt": b"text\n", "xet.bin": bytes(range(256)) * 40}


class Case(NamedTuple):
    """A request that fails, and the two clients' errors for it."""

    name: str
    ours: type[XetError]
    theirs: type[Exception]
    builtin: type[Exception]
    token: str | None = "hf_alice_secret"
    repo: str | None = None
    revision: str | None = None
    filename: str = "git.txt"
    private: bool = False
    gated: bool = False
    disabled: bool = False


MISSING = official.RepositoryNotFoundError

CASES = [
    Case("no repo", RepoNotFoundError, MISSING, FileNotFoundError, repo="alice/none"),
    Case("no repo, anonymous", RepoNotFoundError, MISSING, FileNotFoundError, None, "alice/none"),
    Case("private, anonymous", RepoNotFoundError, MISSING, FileNotFoundError, None, private=True),
    Case(
        "private, a stranger",
        RepoNotFoundError,
        MISSING,
        FileNotFoundError,
        "hf_bob_secret",
        private=True,
    ),
    Case(
        "gated, anonymous",
        GatedRepoError,
        official.GatedRepoError,
        PermissionError,
        None,
        gated=True,
    ),
    Case(
        "gated, not on the list",
        GatedRepoError,
        official.GatedRepoError,
        PermissionError,
        "hf_bob_secret",
        gated=True,
    ),
    # The official client says here that it can't find the file in its cache.
    Case(
        "disabled",
        RepoDisabledError,
        official.LocalEntryNotFoundError,
        PermissionError,
        disabled=True,
    ),
    Case("bad token", AuthError, official.HfHubHTTPError, PermissionError, "hf_nobody"),
    Case(
        "no revision",
        RevisionNotFoundError,
        official.RevisionNotFoundError,
        FileNotFoundError,
        revision="none",
    ),
    Case(
        "no such commit",
        RevisionNotFoundError,
        official.RevisionNotFoundError,
        FileNotFoundError,
        revision="0" * 40,
    ),
    Case(
        "no such pull request",
        RevisionNotFoundError,
        official.RevisionNotFoundError,
        FileNotFoundError,
        revision="refs/pr/77",
    ),
    Case(
        "no file",
        EntryNotFoundError,
        official.RemoteEntryNotFoundError,
        FileNotFoundError,
        filename="none.txt",
    ),
    Case(
        "a folder",
        EntryNotFoundError,
        official.RemoteEntryNotFoundError,
        FileNotFoundError,
        filename="folder",
    ),
]


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repo with two files and a folder."""
    publish(hf_api, repo_id, {**FILES, "folder/file.txt": b"x\n"})
    return repo_id


def prepare(hub: Hub, repo: str, case: Case) -> str:
    """Sets the switches of the repo, and returns the id to ask for."""
    if case.private or case.gated or case.disabled:
        hub.set_settings(
            repo,
            private=case.private,
            gate="auto" if case.gated else "open",
            disabled=case.disabled,
        )
    return case.repo or repo


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_clients_tell_the_same_story(hub: Hub, repo: str, tmp_path: Path, case: Case) -> None:
    """The class, the builtin class, and what the error knows, with the official class beside it."""
    repo_id = prepare(hub, repo, case)
    with (
        Client(hub.endpoint, token=case.token or False, cache_dir=tmp_path / "ours") as client,
        pytest.raises(case.ours) as mine,
    ):
        client.download_file(repo_id, case.filename, revision=case.revision)
    error = mine.value
    assert type(error).__name__ == case.ours.__name__
    assert isinstance(error, case.builtin)
    # Their class catches ours, too.
    assert isinstance(error, official.DisabledRepoError if case.disabled else case.theirs)
    assert error.repo == repo_id
    assert error.revision == (case.revision or "main")
    assert error.file == case.filename
    assert error.http_status in {401, 403, 404}
    assert error.request_id
    assert repo_id in str(error) or isinstance(error, AuthError)
    with pytest.raises(case.theirs):
        hf_hub_download(
            repo_id,
            case.filename,
            revision=case.revision,
            endpoint=hub.endpoint,
            token=case.token or False,
            cache_dir=tmp_path / "theirs",
        )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.filename == "git.txt"], ids=lambda case: case.name
)
def test_snapshots_fail_for_the_same_reason(
    hub: Hub, repo: str, cache_dir: Path, case: Case
) -> None:
    """A whole snapshot is refused like a file, and leaves nothing that looks like one."""
    repo_id = prepare(hub, repo, case)
    with (
        Client(hub.endpoint, token=case.token or False, cache_dir=cache_dir) as client,
        pytest.raises(case.ours),
    ):
        client.download_snapshot(repo_id, revision=case.revision)
    assert list(cache_dir.glob("*/snapshots/*/*")) == []
    assert list(cache_dir.glob("*/refs/*")) == []


def test_access_that_was_granted_works(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Members read private repos; who is on the list reads gated ones."""
    for switches in ({"private": True}, {"private": False, "gate": "manual"}):
        hub.set_settings(repo, **switches)
        hub.set_access(repo, ["bob"])
        for user in ("alice", "bob"):
            cache = tmp_path / f"{user}-{switches['private']}"
            with Client(hub.endpoint, token=f"hf_{user}_secret", cache_dir=cache) as client:
                folder = Path(client.download_snapshot(repo).path)
            assert {path: (folder / path).read_bytes() for path in FILES} == FILES


def test_a_renamed_repo_is_found_by_its_old_name(
    hub: Hub, hf_api: HfApi, repo: str, cache_dir: Path
) -> None:
    """The Hub's redirect to the new name is followed, with the token, private repos included."""
    hub.set_settings(repo, private=True)
    hf_api.move_repo(repo, f"{repo}-new")
    with Client(hub.endpoint, token="hf_alice_secret", cache_dir=cache_dir) as client:
        assert {file.path for file in client.list_files(repo)} >= FILES.keys()
        folder = Path(client.download_snapshot(repo).path)
        one = Path(client.download_file(repo, "git.txt", force_download=True))
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert one.read_bytes() == FILES["git.txt"]


def test_a_cached_file_answers_for_a_repo_that_was_closed(
    hub: Hub, repo: str, cache_dir: Path
) -> None:
    """What was allowed once is still there, as in huggingface_hub: access is not deleted data."""
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        before = client.download_file(repo, "git.txt")
        hub.set_settings(repo, private=True)
        assert client.download_file(repo, "git.txt").path == before.path
        with pytest.raises(RepoNotFoundError):
            client.download_file(repo, "xet.bin")
    cached = hf_hub_download(
        repo, "git.txt", endpoint=hub.endpoint, token=False, cache_dir=cache_dir
    )
    assert cached == before.path
