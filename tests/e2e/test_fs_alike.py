"""The file system beside HfFileSystem on the same Hub: the same names, sizes, types and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from published import VARIETY, commit, publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from huggingface_hub import HfApi, HfFileSystem

    from xet_ffi.fs import XetFileSystem

#: What both say of a file or folder.
SAID = ("name", "size", "type", "blob_id", "xet_hash")


@pytest.fixture
def both(fs: XetFileSystem, hf_fs: HfFileSystem) -> Callable[..., Any]:
    """Makes a call of both, and returns what both return, or the builtin error that both raise."""

    def call(method: str, *arguments: Any, **options: Any) -> Any:
        ours = _outcome(fs, method, *arguments, **options)
        theirs = _outcome(hf_fs, method, *arguments, **options)
        assert ours == theirs
        return ours

    return call


def _outcome(fs: Any, method: str, *arguments: Any, **options: Any) -> Any:
    try:
        result = getattr(fs, method)(*arguments, **options)
    except (OSError, ValueError, NotImplementedError) as error:
        builtin = (FileNotFoundError, PermissionError, OSError, ValueError, NotImplementedError)
        return next(cls for cls in builtin if isinstance(error, cls))
    if method == "walk":
        result = [(root, sorted(dirs), sorted(files)) for root, dirs, files in result]
    return _said(result)


def _said(result: Any) -> Any:
    """Leaves out what only one of them says, and the order of a listing."""
    if isinstance(result, dict) and "type" in result:
        return {key: result[key] for key in SAID if key in result}
    if isinstance(result, dict):
        return {key: _said(value) for key, value in result.items()}
    if isinstance(result, list):
        return sorted((_said(one) for one in result), key=str)
    return result


@pytest.fixture
def variety(hf_api: HfApi, repo_id: str) -> str:
    """A repo that has one of everything."""
    publish(hf_api, repo_id)
    return repo_id


@pytest.mark.parametrize(
    "prefix", ["", "hf://", "models/", "hf://models/"], ids=["", "hf", "models", "hf-models"]
)
def test_listings_are_the_same(both: Callable[..., Any], variety: str, prefix: str) -> None:
    """Of the repo, its folders and its files, however they are written."""
    root = prefix + variety
    for path in ("", "/", "/nested", "/nested/", "/nested/deep", "/ünï cödé", "/config.json"):
        for detail in (True, False):
            both("ls", root + path, detail=detail)
            both("find", root + path, detail=detail)
            both("find", root + path, detail=detail, withdirs=True)
        for depth in (1, 2, 3):
            both("find", root + path, maxdepth=depth)
            both("find", root + path, maxdepth=depth, withdirs=True)
        both("walk", root + path)
        both("info", root + path)
        both("du", root + path)
    assert both("find", root + "/nothing") == []
    assert both("ls", root + "/nothing") is FileNotFoundError
    assert len(both("find", root)) == len(VARIETY) + 2  # .gitattributes, and what is over LFS


def test_every_file_is_the_same(both: Callable[..., Any], variety: str) -> None:
    """What is said of it, and its content, whole and in parts."""
    for path, content in VARIETY.items():
        name = f"{variety}/{path}"
        info = both("info", name)
        assert (info["name"], info["size"], info["type"]) == (name, len(content), "file")
        assert both("cat_file", name) == content
        for start, end in ((0, 3), (1, None), (None, -1), (-5, None), (-5, -2), (3, 3), (7, 4)):
            if content[start:end]:  # of nothing, HfFileSystem asks for a range that isn't one
                assert both("cat_file", name, start=start, end=end) == content[start:end]
        assert (both("exists", name), both("isfile", name), both("isdir", name)) == (
            True,
            True,
            False,
        )
        assert both("size", name) == len(content)
    assert both("isdir", f"{variety}/nested")
    assert not both("isfile", f"{variety}/nested")
    for nothing in ("nothing", "nested/nothing", "config.json/below"):
        assert not both("exists", f"{variety}/{nothing}")
        assert not both("isdir", f"{variety}/{nothing}")
        assert both("info", f"{variety}/{nothing}") is FileNotFoundError
        assert both("cat_file", f"{variety}/{nothing}") is FileNotFoundError


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "**",
        "*.json",
        "**/*.txt",
        "nested/*",
        "nested/**",
        "*/vocab.txt",
        "ne*/d*/**",
    ],
)
def test_patterns_find_the_same(both: Callable[..., Any], variety: str, pattern: str) -> None:
    """With details and without."""
    found = both("glob", f"{variety}/{pattern}")
    assert found
    both("glob", f"{variety}/{pattern}", detail=True)
    both("glob", f"hf://{variety}@main/{pattern}")


def test_patterns_that_fit_nothing(both: Callable[..., Any], variety: str) -> None:
    """And those that are names, or no places at all."""
    for path in ("nothing*", "nested/x?", "config.json", "nothing"):
        both("glob", f"{variety}/{path}")
    both("glob", f"{variety}/[c]onfig.json")


def test_a_pattern_with_a_slash_at_its_end_finds_folders(fs: XetFileSystem, variety: str) -> None:
    """As everywhere in fsspec; HfFileSystem loses the slash."""
    assert fs.glob(f"{variety}/nested/*/") == [f"{variety}/nested/deep"]


def test_revisions_are_the_same(both: Callable[..., Any], hf_api: HfApi, variety: str) -> None:
    """Branches with slashes, tags, commits and pull requests; in the path or beside it."""
    hf_api.create_branch(variety, branch="feature/x")
    commit(hf_api, variety, {"only/here.txt": b"branch"}, revision="feature/x")
    hf_api.create_tag(variety, tag="v1", revision="feature/x")
    oid = hf_api.repo_info(variety, revision="feature/x").sha
    request = hf_api.create_pull_request(variety, title="Change")
    revision = f"refs/pr/{request.num}"
    commit(hf_api, variety, {"only/there.txt": b"request"}, revision=revision)

    for at in ("feature%2Fx", "v1", oid):
        assert both("cat_file", f"{variety}@{at}/only/here.txt") == b"branch"
        assert both("ls", f"{variety}@{at}/only", detail=False) == [f"{variety}@{at}/only/here.txt"]
        both("find", f"{variety}@{at}", withdirs=True, detail=True)
        both("glob", f"{variety}@{at}/**.txt")
    for at in ("feature/x", "v1", oid, "main", revision):
        both("ls", variety, revision=at)
        both("ls", f"{variety}/only", revision=at)
        both("info", f"{variety}/config.json", revision=at)
        both("find", variety, revision=at)
    assert both("cat_file", f"{variety}@{revision}/only/there.txt") == b"request"
    both("ls", f"{variety}@{revision}")
    both("ls", f"{variety}@refs%2Fpr%2F{request.num}/only")
    both("info", f"{variety}@{revision}/only/there.txt", revision=revision)
    for conflict in ("main", "refs"):
        assert both("info", f"{variety}@{revision}/only/there.txt", revision=conflict) in {
            ValueError,
            FileNotFoundError,
        }
    assert both("ls", f"{variety}@nothing") is FileNotFoundError
    assert both("exists", f"{variety}@nothing/config.json") is False
    assert both("cat_file", f"{variety}@nothing/config.json") is FileNotFoundError


@pytest.mark.parametrize(("repo_type", "prefix"), [("dataset", "datasets/"), ("space", "spaces/")])
def test_other_types_of_repos(
    both: Callable[..., Any], hf_api: HfApi, repo_id: str, repo_type: str, prefix: str
) -> None:
    """Have their types in their names."""
    publish(hf_api, repo_id, {"a/b.csv": b"1,2\n", "c.bin": bytes(200_000)}, repo_type=repo_type)
    root = f"{prefix}{repo_id}"
    assert both("cat_file", f"{root}/a/b.csv") == b"1,2\n"
    assert both("glob", f"hf://{root}/*/*.csv") == [f"{root}/a/b.csv"]
    both("find", root, detail=True)
    assert both("ls", repo_id) is FileNotFoundError


@pytest.mark.parametrize(
    "path",
    [
        "",
        "alone",
        "hf://",
        "alone@main",
        "alice/nothing",
        "alice/nothing/file",
        "datasets/alice/nothing",
        "datasets/alone",
        "model/alice/nothing/x",
        "alice/nothing//x",
        "al ice/nothing",
        "alice/nothing@",
    ],
)
def test_paths_of_nothing(both: Callable[..., Any], path: str) -> None:
    """Say so alike."""
    for method in ("info", "ls", "cat_file", "exists", "find", "open"):
        both(method, path)


def test_a_repo_that_one_may_not_see(
    new_fs: Callable[..., XetFileSystem], hf_api: HfApi, repo_id: str, hub: Any
) -> None:
    """Isn't there; a gated one is there, and its files may not be read."""
    from huggingface_hub import HfFileSystem

    publish(hf_api, repo_id, {"a.txt": b"secret"})
    hub.set_settings(repo_id, private=True)
    theirs = HfFileSystem(endpoint=hub.endpoint, token=False, skip_instance_cache=True)
    for method in ("ls", "info", "exists"):
        ours = new_fs(token=False)
        path = f"{repo_id}/a.txt"
        assert _outcome(ours, method, path) == _outcome(theirs, method, path)
        assert _outcome(ours, method, path) in {FileNotFoundError, False}
