"""Scripts with our import at the edges: nothing there, nothing to do, odd names and URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from both import OURS, both, run
from published import noise, publish

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A model with a tag."""
    files = {"config.json": b"{}", "model.safetensors": noise(900_000, repo_id), "a/b.json": b"[]"}
    publish(hf_api, repo_id, files)
    hf_api.create_tag(repo_id, tag="v1")
    return repo_id


def test_what_is_elsewhere_on_this_machine_is_not_cached(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """A dry run says what a download would fill, not what it would fetch; the cache is copied."""
    said = both(
        """
from huggingface_hub import hf_hub_download, snapshot_download
name = "model.safetensors"
hf_hub_download(REPO, name)
other = str(FOLDER / "other")
for forced in (False, True):
    options = {"dry_run": True, "force_download": forced}
    show("file", vars(hf_hub_download(REPO, name, cache_dir=other, **options)))
    infos = snapshot_download(REPO, cache_dir=other, **options)
    show("snapshot", sorted([vars(info) for info in infos], key=lambda info: info["filename"]))
    show("there", vars(hf_hub_download(REPO, name, **options)))
show("local", vars(hf_hub_download(REPO, name, dry_run=True, local_dir="here")))
hf_hub_download(REPO, name, local_dir="here")
show("local", vars(hf_hub_download(REPO, name, dry_run=True, local_dir="here")))
show("written", [os.path.exists(FOLDER / "other" / "snapshots")])
""",
        hub,
        tmp_path,
        repo=repo,
    )
    assert not said[0][1]["is_cached"]


def test_it_is_noted_that_a_file_is_not_there(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Of a branch, a tag and a commit; where the first has nothing in the cache yet, too."""
    said = both(
        """
from huggingface_hub import hf_hub_download, try_to_load_from_cache, _CACHED_NO_EXIST
def noted(name, **options):
    return try_to_load_from_cache(REPO, name, **options) is _CACHED_NO_EXIST
def ask(name, **options):
    attempt(name, lambda: hf_hub_download(REPO, name, **options))
ask("none.json", revision="v1")
commit = hf_hub_download(REPO, "config.json").split("/")[-2]
ask("none.json")
ask("a/none.json")
ask("by-commit.json", revision=commit)
ask("local.json", local_dir="here")
show("noted", [noted("none.json"), noted("none.json", revision="v1"), noted("a/none.json"),
    noted("none.json", revision=commit), noted("by-commit.json"), noted("local.json"),
    noted("never-asked.json"), noted("config.json")])
""",
        hub,
        tmp_path,
        repo=repo,
    )
    assert said[-1] == ["noted", [True] * 5 + [False] * 3]


def test_a_note_needs_no_more_than_a_folder_that_can_be_written(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """What the Hub has said is raised, whether it can be noted or not."""
    said = run(
        """
from huggingface_hub import hf_hub_download
hf_hub_download(REPO, "config.json")
(FOLDER / "hf" / "hub" / ("models--" + REPO.replace("/", "--")) / ".no_exist").write_text("")
attempt("none", lambda: hf_hub_download(REPO, "none.json"))
""",
        hub,
        tmp_path,
        OURS,
        repo=repo,
    )
    assert "EntryNotFoundError" in said[0][1]


def test_a_forced_download_says_why_the_hub_can_not_be_asked(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """The refused token, though the file is here."""
    both(
        """
from huggingface_hub import hf_hub_download
hf_hub_download(REPO, "config.json")
def cause():
    try:
        hf_hub_download(REPO, "config.json", force_download=True, token="hf_wrong")
    except ValueError as error:
        raise error.__cause__
attempt("forced", cause)
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_a_commit_of_nothing_is_the_last_one(hub: Hub, repo: str, tmp_path: Path) -> None:
    """As one that would change nothing."""
    both(
        """
from huggingface_hub import create_commit
for nothing in ([], (), iter([])):
    info = create_commit(REPO, nothing, commit_message="x", commit_description="y")
    show("info", [info, info.oid, info.commit_url, info.commit_message, info.commit_description,
        info.pr_url, str(info.repo_url)])
attempt("no repo", lambda: create_commit(REPO + "-x", [], commit_message="x"))
attempt("no revision", lambda: create_commit(REPO, [], commit_message="x", revision="v9"))
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_the_last_of_two_files_of_one_name_counts(hub: Hub, repo: str, tmp_path: Path) -> None:
    """And one is warned."""
    both(
        """
import warnings
from huggingface_hub import CommitOperationAdd, create_commit, hf_hub_download
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    adds = [CommitOperationAdd("twice.txt", text) for text in (b"1", b"2", b"3")]
    create_commit(REPO, [*adds, CommitOperationAdd("once.txt", b"4")], commit_message="x")
show("warned", any("twice.txt" in str(each.message) and each.filename != "sys" for each in seen))
show("it", [Path(hf_hub_download(REPO, name)).read_text() for name in ("twice.txt", "once.txt")])
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_paths_that_can_not_be_are_refused_when_an_operation_is_made(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """Before anything is read or sent."""
    both(
        """
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
for path in ("../x", "a/../x", ".", "..", "/../x", ".git/x", "a/.git/b", ".cache/x", "./x", "/x",
        ".gitattributes", "a/./b", "a.git/x"):
    attempt("add " + path, lambda: CommitOperationAdd(path, b"").path_in_repo)
    attempt("delete " + path, lambda: CommitOperationDelete(path).path_in_repo)
    attempt("from " + path, lambda: CommitOperationCopy(path, "x").src_path_in_repo)
    attempt("to " + path, lambda: CommitOperationCopy("x", path).path_in_repo)
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_a_dot_in_a_path_is_the_folder_that_it_is_in(hub: Hub, repo: str, tmp_path: Path) -> None:
    """As a subfolder, and in a name; ".." isn't."""
    both(
        """
from huggingface_hub import hf_hub_download
def read(*args, **options):
    return Path(hf_hub_download(REPO, *args, **options)).read_text()
for args in (("./config.json",), ("a/./b.json",), ("config.json", "."), ("b.json", "./a"),
        ("b.json", "a/."), ("../config.json",), ("/config.json",), ("b.json", "/a")):
    attempt(str(args), lambda: read(args[0], subfolder=args[1] if args[1:] else None))
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_urls_of_repos_are_read(hub: Hub, repo: str, tmp_path: Path) -> None:
    """With a host, a protocol, neither, and with what is behind the name."""
    both(
        """
from huggingface_hub import RepoUrl
def read(url):
    try:
        found = RepoUrl(url)
    except ValueError:
        return "no repo"
    return [found.namespace, found.repo_name, found.repo_id, found.repo_type, found.endpoint]
here = os.environ["HF_ENDPOINT"]
for path in ("a/b", "datasets/a/b", "spaces/a/b", "models/a/b", "a/b/tree/main", "a/b/", "",
        "datasets/a/b/tree/main/x", "a/b/blob/main/c.json"):
    for before in ("", "hf://", here + "/", "https://huggingface.co/"):
        if before or "models" not in path:
            show(before.replace(here, "here") + path, read(before + path))
show("revision", read("hf://datasets/a/b@v1/x.json"))
show("query", read(here + "/a/b?x=1#y"))
""",
        hub,
        tmp_path,
        repo=repo,
    )
