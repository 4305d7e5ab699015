"""What fails with huggingface_hub fails the same way with xet_ffi.hub, for who catches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from both import OURS, THEIRS, both, run
from published import publish

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub

ALL = """
from huggingface_hub import hf_hub_download, snapshot_download, list_repo_files
from huggingface_hub import repo_exists, revision_exists
attempt("file", lambda: hf_hub_download(REPO, "config.json", token=TOKEN))
attempt("snapshot", lambda: snapshot_download(REPO, token=TOKEN))
attempt("dry run", lambda: len(snapshot_download(REPO, token=TOKEN, dry_run=True)))
attempt("list", lambda: list_repo_files(REPO, token=TOKEN))
attempt("exists", lambda: repo_exists(REPO, token=TOKEN))
attempt("revision", lambda: revision_exists(REPO, "main", token=TOKEN))
"""


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A model with a file of each sort."""
    publish(hf_api, repo_id, {"config.json": b"{}", "model.bin": bytes(600_000), "folder/x": b""})
    return repo_id


def test_what_is_missing(hub: Hub, repo: str, tmp_path: Path) -> None:
    """A repo, a revision, a commit, a file, a folder; with a token and without."""
    said = both(
        """
from huggingface_hub import hf_hub_download, snapshot_download, list_repo_files
for token in (None, False):
    options = {"token": token}
    attempt("repo", lambda: hf_hub_download(REPO + "x", "config.json", **options))
    attempt("repo, snapshot", lambda: snapshot_download(REPO + "x", **options))
    attempt("repo, list", lambda: list_repo_files(REPO + "x", **options))
    attempt("type", lambda: hf_hub_download(REPO, "config.json", repo_type="dataset", **options))
    for revision in ("v9", "0" * 40, "refs/pr/9"):
        attempt(revision, lambda: hf_hub_download(REPO, "config.json", revision=revision))
        attempt(revision, lambda: snapshot_download(REPO, revision=revision))
        attempt(revision, lambda: list_repo_files(REPO, revision=revision))
    for name in ("none.json", "none/config.json"):
        attempt(name, lambda: hf_hub_download(REPO, name, **options))
        attempt(name, lambda: hf_hub_download(REPO, name, local_dir="here", **options))
        attempt(name, lambda: hf_hub_download(REPO, name, dry_run=True, **options))
    attempt("folder", lambda: hf_hub_download(REPO, "folder/", dry_run=True, **options))
    attempt("here", lambda: hf_hub_download(REPO, "config.json", local_files_only=True))
    attempt("here", lambda: snapshot_download(REPO, local_files_only=True))
""",
        hub,
        tmp_path,
        repo=repo,
    )
    first = dict(reversed(said))
    assert first["repo"] == ["HfHubHTTPError", "OSError", "RepositoryNotFoundError", 404]


@pytest.mark.parametrize("who", ["None", "False", "'hf_bob_secret'", "'hf_nobody'"])
def test_a_private_repo(hub: Hub, repo: str, tmp_path: Path, who: str) -> None:
    """Its owner, a stranger, nobody, and a token that the Hub doesn't know."""
    hub.set_settings(repo, private=True)
    both(f"TOKEN = {who}\n{ALL}", hub, tmp_path, repo=repo)


@pytest.mark.parametrize("who", ["False", "'hf_bob_secret'"])
def test_a_gated_repo(hub: Hub, repo: str, tmp_path: Path, who: str) -> None:
    """It is one that isn't found, by both names; what it has is no secret."""
    hub.set_settings(repo, gate="auto")
    script = f"TOKEN = {who}\n{ALL}"
    ours = dict(run(script, hub, tmp_path, OURS, repo=repo))
    theirs = dict(run(script, hub, tmp_path, THEIRS, repo=repo))
    # Ours goes by the listing, which may be read.
    assert theirs.pop("dry run")[0] == "GatedRepoError"
    assert ours.pop("dry run") == 4
    assert ours == theirs
    assert ours["file"][:3] == ["GatedRepoError", "HfHubHTTPError", "OSError"]


def test_a_disabled_repo(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Ours says why; theirs says of downloads that the cache hasn't got it."""
    hub.set_settings(repo, disabled=True)
    ours = dict(run(f"TOKEN = None\n{ALL}", hub, tmp_path, OURS, repo=repo))
    theirs = dict(run(f"TOKEN = None\n{ALL}", hub, tmp_path, THEIRS, repo=repo))
    for name in ("file", "snapshot"):
        assert ours.pop(name)[:2] == ["DisabledRepoError", "HfHubHTTPError"]
        assert theirs.pop(name)[-2:] == ["LocalEntryNotFoundError", "OSError"]
    assert ours == theirs


def test_wrong_arguments(hub: Hub, repo: str, tmp_path: Path) -> None:
    """ValueErrors, and of repo ids those that are called HFValidationError there."""
    both(
        """
from huggingface_hub import hf_hub_download, snapshot_download, list_repo_files
for wrong in ("a/b/c", "datasets/a/b", "a--b", "a..b", "-a", "a.git", "", "ä", "a b", 5, "a" * 97):
    attempt(str(wrong), lambda: hf_hub_download(wrong, "config.json"))
    attempt(str(wrong), lambda: snapshot_download(wrong))
    attempt(str(wrong), lambda: list_repo_files(wrong))
for kind in ("models", "Model", "x", 5):
    attempt(str(kind), lambda: hf_hub_download(REPO, "config.json", repo_type=kind))
    attempt(str(kind), lambda: snapshot_download(REPO, repo_type=kind))
for name in ("../config.json", "a/../../x"):
    attempt(name, lambda: hf_hub_download(REPO, name))
    attempt(name, lambda: hf_hub_download(REPO, name, local_dir="here"))
attempt("both", lambda: hf_hub_download(REPO, "config.json", force_download=True,
    local_files_only=True))
attempt("unknown", lambda: hf_hub_download(REPO, "config.json", unknown=1))
attempt("no file", lambda: hf_hub_download(REPO))
attempt("positions", lambda: hf_hub_download(REPO, "config.json", "model"))
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_tokens(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Given, required, forbidden, kept back by the environment, saved by a login."""
    hub.set_settings(repo, private=True)
    script = """
from huggingface_hub import hf_hub_download
def get(token, **options):
    return hf_hub_download(REPO, "config.json", token=token, force_download=False, **options)
attempt("required", lambda: get(True, cache_dir="1"))
attempt("forbidden", lambda: get(False, cache_dir="2"))
attempt("implicit", lambda: get(None, cache_dir="3"))
attempt("given", lambda: get("hf_alice_secret", cache_dir="4"))
attempt("as a header", lambda: get(None, cache_dir="5",
    headers={"Authorization": "Bearer hf_alice_secret"}))
home = Path(os.environ["HF_HOME"])
home.mkdir(exist_ok=True)
(home / "token").write_text("hf_alice_secret\\n")
attempt("saved, required", lambda: get(True, cache_dir="6"))
attempt("saved", lambda: get(None, cache_dir="7"))
"""
    for environment in ({}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}):
        for number, token in enumerate(("hf_alice_secret", None)):
            folder = tmp_path / f"{len(environment)}{number}"
            both(script, hub, folder, repo=repo, token=token, environment=environment)


def test_arguments_of_old_are_taken_with_a_warning(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Many scripts still have them."""
    both(
        """
import warnings
from huggingface_hub import hf_hub_download, snapshot_download
old = {"resume_download": True, "local_dir_use_symlinks": False, "force_filename": "x"}
for call in (lambda: hf_hub_download(REPO, "config.json", **old, proxies=None),
        lambda: snapshot_download(REPO, **old)):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = call()
    show(path, sorted(w.category.__name__ for w in caught))
""",
        hub,
        tmp_path,
        repo=repo,
    )
