"""Scripts that read from the Hub do the same when they import from xet_ffi.hub instead."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from both import OURS, both, run
from published import commit, noise, publish

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

FILES = {
    "config.json": b'{"layers": 2}',
    "empty.txt": b"",
    "model.safetensors": noise(900_000),
    "onnx/model.onnx": noise(300_000, 1),
    "onnx/notes [old]*.txt": b"odd\n",
}


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A model with two revisions, a tag and a pull request."""
    publish(hf_api, repo_id, FILES)
    hf_api.create_tag(repo_id, tag="v1")
    hf_api.create_pull_request(repo_id, title="A change")
    commit(hf_api, repo_id, {"config.json": b'{"layers": 3}'})
    return repo_id


def digest(content: bytes) -> str:
    """Is what the scripts show of a file."""
    return hashlib.sha256(content).hexdigest()


SHOW_FILE = """
import hashlib
def shown(path):
    assert type(path) is str
    return [path, hashlib.sha256(Path(path).read_bytes()).hexdigest()]
"""


def test_a_file_comes_to_the_same_place(hub: Hub, repo: str, tmp_path: Path) -> None:
    """By revision, subfolder, cache, folder; again, forced, and offline."""
    said = both(
        SHOW_FILE
        + """
from huggingface_hub import hf_hub_download
show("main", shown(hf_hub_download(REPO, "config.json")))
show("again", shown(hf_hub_download(REPO, "config.json")))
show("keywords", shown(hf_hub_download(repo_id=REPO, filename="config.json", repo_type="model")))
for revision in ("v1", "refs/pr/1", "main"):
    show(revision, shown(hf_hub_download(REPO, "config.json", revision=revision)))
show("empty", shown(hf_hub_download(REPO, "empty.txt")))
show("xet", shown(hf_hub_download(REPO, "model.safetensors")))
show("forced", shown(hf_hub_download(REPO, "model.safetensors", force_download=True)))
show("subfolder", shown(hf_hub_download(REPO, "model.onnx", subfolder="onnx")))
show("no subfolder", shown(hf_hub_download(REPO, "config.json", subfolder="")))
show("odd", shown(hf_hub_download(REPO, "onnx/notes [old]*.txt")))
show("cache", shown(hf_hub_download(REPO, "config.json", cache_dir=FOLDER / "other")))
show("local", shown(hf_hub_download(REPO, "onnx/model.onnx", local_dir="here")))
show("local, again", shown(hf_hub_download(REPO, "onnx/model.onnx", local_dir=FOLDER / "here")))
show("offline", shown(hf_hub_download(REPO, "config.json", local_files_only=True)))
show("home", shown(hf_hub_download(REPO, "config.json", cache_dir="~/c")))
show("library", shown(hf_hub_download(REPO, "config.json", library_name="my-lib",
    library_version="1.2", user_agent={"a": "b"}, headers={"user-agent": "mine/3"})))
""",
        hub,
        tmp_path,
        repo=repo,
        environment={"HOME": str(tmp_path)},
    )
    contents = {name: shown[1] for name, shown in said}
    assert contents["v1"] == digest(FILES["config.json"])
    assert contents["main"] == digest(b'{"layers": 3}')
    assert contents["subfolder"] == digest(FILES["onnx/model.onnx"])


def test_a_cache_behind_a_link_is_called_by_its_real_name(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """Programs compare paths, or make them relative to each other."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    both(
        SHOW_FILE
        + """
from huggingface_hub import hf_hub_download, snapshot_download
show("file", shown(hf_hub_download(REPO, "config.json")))
show("snapshot", snapshot_download(REPO))
show("local", shown(hf_hub_download(REPO, "config.json", local_dir=os.environ["LINK"] + "/x")))
show("given", shown(hf_hub_download(REPO, "config.json", cache_dir=os.environ["LINK"] + "/y")))
""",
        hub,
        tmp_path,
        repo=repo,
        environment={
            "HF_HUB_CACHE": str(tmp_path / "link" / "hub"),
            "LINK": str(tmp_path / "link"),
        },
    )


def test_a_snapshot_comes_to_the_same_place(hub: Hub, repo: str, tmp_path: Path) -> None:
    """With patterns, of another revision, into a folder, offline."""
    both(
        """
from huggingface_hub import snapshot_download
def files(path):
    assert type(path) is str
    found = [p for p in Path(path).rglob("*") if p.is_file() and ".cache" not in p.parts]
    return [path, {str(p.relative_to(path)): p.stat().st_size for p in sorted(found)}]
show("patterns", files(snapshot_download(REPO, allow_patterns=["*.json", "onnx/*"],
    ignore_patterns="*.txt")))
show("offline", files(snapshot_download(REPO, local_files_only=True, allow_patterns="*.json")))
show("workers", files(snapshot_download(REPO, max_workers=2)))
show("revision", files(snapshot_download(REPO, revision="v1", max_workers=300)))
show("local", files(snapshot_download(REPO, local_dir="here", allow_patterns="onnx/")))
show("nothing fits", files(snapshot_download(REPO, local_dir="none", allow_patterns="*.gguf")))
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_a_resolved_revision_is_the_commit(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Of huggingface_hub's `resolve_revision`, though its text is the name of a branch."""
    both(
        """
import huggingface_hub
from huggingface_hub import hf_hub_download, snapshot_download
revision = huggingface_hub.resolve_revision(REPO, revision="v1")
show("file", hf_hub_download(REPO, "config.json", revision=revision))
show("snapshot", snapshot_download(REPO, revision=revision))
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_a_dataset_is_one(hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path) -> None:
    """Its folder has another name, its URLs another prefix."""
    publish(hf_api, repo_id, FILES, repo_type="dataset")
    both(
        """
from huggingface_hub import hf_hub_download, list_repo_files, snapshot_download
from huggingface_hub import file_exists, repo_exists, revision_exists
kind = {"repo_type": "dataset"}
show("list", list_repo_files(REPO, **kind))
show("file", hf_hub_download(REPO, "config.json", **kind))
show("snapshot", snapshot_download(REPO, **kind))
show("exists", [file_exists(REPO, "config.json", **kind), repo_exists(REPO, **kind),
    repo_exists(REPO), revision_exists(REPO, "main", **kind)])
""",
        hub,
        tmp_path,
        repo=repo_id,
    )


def test_questions_get_the_same_answers(hub: Hub, repo: str, tmp_path: Path) -> None:
    """What a repo has, and whether it is there."""
    said = both(
        """
from huggingface_hub import list_repo_files, file_exists, repo_exists, revision_exists
from huggingface_hub import hf_hub_download, try_to_load_from_cache, _CACHED_NO_EXIST
show("list", list_repo_files(REPO))
show("list v1", list_repo_files(REPO, revision="v1", token=False))
show("files", [file_exists(REPO, "config.json"), file_exists(REPO, "onnx/model.onnx"),
    file_exists(REPO, "onnx"), file_exists(REPO, "none"), file_exists(REPO + "x", "none"),
    file_exists(REPO, "config.json", revision="v9"), file_exists(REPO, "empty.txt", revision="v1")])
show("repos", [repo_exists(REPO), repo_exists(REPO + "x"), repo_exists(REPO + "x", token=False)])
show("revisions", [revision_exists(REPO, name) for name in ("main", "v1", "refs/pr/1", "v9",
    "refs/pr/9", "0" * 40)] + [revision_exists(REPO + "x", "main")])
path = hf_hub_download(REPO, "config.json")
commit = path.split("/")[-2]
def cached(*args, **kwargs):
    found = try_to_load_from_cache(REPO, *args, **kwargs)
    return "no such file" if found is _CACHED_NO_EXIST else found
show("cached", [cached("config.json"), cached("config.json", revision=commit), cached("none"),
    cached("config.json", revision="v1"), cached("config.json", cache_dir=FOLDER / "other"),
    cached("config.json", repo_type="dataset")])
absent = Path(path).parents[2] / ".no_exist" / commit / "absent.json"
absent.parent.mkdir(parents=True)
absent.touch()
show("absent", cached("absent.json"))
""",
        hub,
        tmp_path,
        repo=repo,
    )
    assert dict(said)["absent"] == "no such file"


def test_a_tree_is_told_alike(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Of a repo, of a folder and of a file; but for what folders are called in git."""
    said = both(
        """
from huggingface_hub import list_repo_tree
def told(*args, **options):
    try:
        found = list(list_repo_tree(REPO, *args, **options))
    except Exception as error:
        return type(error).__name__.removeprefix("Remote")
    shown = []
    for entry in found:
        fields = {k: v for k, v in vars(entry).items() if k not in ("tree_id", "lastCommit")}
        fields.setdefault("rfilename", getattr(entry, "rfilename", None))
        shown.append([type(entry).__name__, fields, getattr(entry, "lfs", None)])
    return sorted(shown, key=lambda each: each[1]["path"])
show("top", told())
show("all", told(recursive=True))
show("v1", told(recursive=True, revision="v1"))
show("folder", [told("onnx"), told("onnx/", recursive=True)])
show("file", told("config.json"))
show("nowhere", told("none"))
show("no revision", told(revision="v9"))
""",
        hub,
        tmp_path,
        repo=repo,
    )
    assert len(dict(said)["all"]) > len(dict(said)["top"])


def test_errors_have_the_words_of_the_hub(hub: Hub, repo: str, tmp_path: Path) -> None:
    """As an attribute of their own."""
    said = both(
        """
from huggingface_hub import list_repo_files
for question in ((REPO, "v9"), (REPO + "x", "main")):
    try:
        list_repo_files(question[0], revision=question[1])
    except Exception as error:
        show(question[1], error.server_message)
""",
        hub,
        tmp_path,
        repo=repo,
    )
    assert dict(said)["v9"] == "Invalid rev id: v9"


def test_a_dry_run_says_the_same(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Of a file and of a snapshot; before, half-way and after; and it writes nothing."""
    both(
        """
from huggingface_hub import hf_hub_download, snapshot_download
def files():
    return [str(p) for p in FOLDER.rglob("*") if p.is_file() and "/hub/" in str(p)]
def plan(**options):
    infos = snapshot_download(REPO, dry_run=True, **options)
    assert all(type(info).__name__ == "DryRunFileInfo" for info in infos)
    return sorted([vars(info) for info in infos], key=lambda info: info["filename"])
def one(name, **options):
    return vars(hf_hub_download(REPO, name, dry_run=True, **options))
show("file", one("model.safetensors"))
show("odd", one("onnx/notes [old]*.txt"))
show("empty", one("empty.txt"))
show("subfolder", one("model.onnx", subfolder="onnx"))
show("local", one("config.json", local_dir="here"))
show("snapshot", plan(allow_patterns=["*.json", "*.safetensors"]))
show("written", [name for name in files() if "/snapshots/" in name or "/blobs/" in name])
hf_hub_download(REPO, "model.safetensors")
show("half", plan())
show("forced", plan(force_download=True))
show("offline", one("model.safetensors", local_files_only=True))
snapshot_download(REPO)
snapshot_download(REPO, local_dir="here")
show("all", plan())
show("all, local", plan(local_dir="here"))
show("revision", one("config.json", revision="v1"))
""",
        hub,
        tmp_path,
        repo=repo,
    )


def test_offline_the_cache_answers(hub: Hub, repo: str, tmp_path: Path) -> None:
    """With HF_HUB_OFFLINE, and where nobody listens; what isn't there is a local entry then."""
    fill = """
from huggingface_hub import hf_hub_download, snapshot_download
show("file", hf_hub_download(REPO, "config.json"))
"""
    both(fill, hub, tmp_path, repo=repo)
    ask = """
from huggingface_hub import hf_hub_download, snapshot_download, list_repo_files
attempt("file", lambda: hf_hub_download(REPO, "config.json"))
attempt("dry run", lambda: hf_hub_download(REPO, "config.json", dry_run=True))
attempt("none", lambda: hf_hub_download(REPO, "model.safetensors"))
attempt("none, dry run", lambda: hf_hub_download(REPO, "model.safetensors", dry_run=True))
attempt("revision", lambda: hf_hub_download(REPO, "config.json", revision="v1"))
attempt("no repo", lambda: snapshot_download(REPO + "x"))
attempt("snapshot, dry run", lambda: snapshot_download(REPO, dry_run=True))
"""
    said = both(ask, hub, tmp_path, repo=repo, environment={"HF_HUB_OFFLINE": "1"})
    assert dict(said)["none"] == ["EntryNotFoundError", "LocalEntryNotFoundError", "OSError"]
    dead = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    here = "".join(line for line in ask.splitlines(keepends=True) if "import" in line)
    here += 'attempt("file", lambda: hf_hub_download(REPO, "config.json"))\n'
    here += 'attempt("no repo", lambda: snapshot_download(REPO + "x"))\n'
    both(here, hub, tmp_path, repo=repo, environment=dead)
    # The official client takes half a minute for a file that isn't there.
    none = here + 'attempt("none", lambda: hf_hub_download(REPO, "model.safetensors"))\n'
    absent = run(none, hub, tmp_path, OURS, repo=repo, environment=dead)[-1]
    assert absent == ["none", dict(said)["none"]]


def test_what_is_forced_is_not_what_is_there(hub: Hub, repo: str, tmp_path: Path) -> None:
    """A file is fetched again, whatever it is, or refused; a snapshot is what can be had."""
    script = """
from huggingface_hub import hf_hub_download, snapshot_download
for options in ({}, {"local_dir": "here"}):
    for name in ("config.json", "model.safetensors", "empty.txt"):
        attempt(name, lambda: hf_hub_download(REPO, name, force_download=True, **options))
    attempt("snapshot", lambda: snapshot_download(REPO, force_download=True, **options))
"""
    both(script, hub, tmp_path, repo=repo)
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        said = both(script, hub, tmp_path, repo=repo, environment=environment)
        assert said[0] == ["config.json", ["ValueError"]]


def test_a_transfer_s_text_is_its_path(hub: Hub, repo: str, tmp_path: Path) -> None:
    """The client's own report stands in for a path where that is written, too."""
    from xet_ffi import Client

    with Client(hub.endpoint, token=False, cache_dir=tmp_path) as client:
        transfer = client.download_file(repo, "config.json")
    assert str(transfer) == f"{transfer}" == os.fspath(transfer) == transfer.path
    assert repr(transfer).startswith("<xet_ffi.Transfer path=")
