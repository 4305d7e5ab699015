"""Listings that no honest Hub sends: nothing is written outside, and the error names the path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from picture import contents, picture
from published import publish
from xet_ffi import Client, NetworkError, XetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from huggingface_hub import HfApi

    from hub import Hub

#: Paths that leave the folder that they are joined to, on one system or another, or name none.
UNSAFE = [
    "../evil",
    "a/../../evil",
    "a/b/../../../evil",
    "/evil",
    "//evil",
    "/etc/cron.d/evil",
    "..",
    ".",
    "./evil",
    "a/./evil",
    "a//evil",
    "evil/",
    "..\\evil",
    "a\\..\\..\\evil",
    "C:\\evil",
    "C:..\\evil",
    "\\\\host\\share\\evil",
    "a/\u0000evil",
]


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    """A folder deep inside `tmp_path`, so that what climbs out of it lands where we look."""
    arena = tmp_path / "outer" / "inner" / "arena"
    arena.mkdir(parents=True)
    (tmp_path / "evil").write_bytes(b"untouched")
    return arena


@pytest.fixture
def client(hub: Hub, arena: Path) -> Iterator[Client]:
    """A client whose cache is in the arena."""
    with Client(hub.endpoint, token=False, cache_dir=arena / "cache") as client:
        yield client


def surroundings(tmp_path: Path, arena: Path) -> dict[str, tuple[str, str, str]]:
    """Everything in `tmp_path` but what may change, the arena's content."""
    inside = arena.relative_to(tmp_path).as_posix()
    return {k: v for k, v in picture(tmp_path).items() if not k.startswith(f"{inside}/")}


@pytest.mark.parametrize("path", UNSAFE, ids=repr)
def test_a_path_that_leaves_its_folder_is_refused(
    hub: Hub,
    hf_api: HfApi,
    client: Client,
    repo_id: str,
    tmp_path: Path,
    arena: Path,
    path: str,
) -> None:
    """An unsafe path is listed, and fails each download that would write it, by its name."""
    publish(hf_api, repo_id, {"good.txt": b"good\n"})
    hub.plant(repo_id, [{"path": path, "content": "evil"}])
    before = surroundings(tmp_path, arena)
    calls: list[Callable[[], object]] = [
        lambda: client.download_snapshot(repo_id),
        lambda: client.download_snapshot(repo_id, local_dir=arena / "local"),
        lambda: client.download_file(repo_id, path),
        lambda: client.download_file(repo_id, path, local_dir=arena / "local"),
    ]
    for call in calls:
        with pytest.raises((XetError, ValueError)) as caught:
            call()
        if isinstance(caught.value, XetError):
            assert caught.value.kind in {"unsafe_path", "invalid_argument"}
    shown = path.replace("\0", "\ufffd")
    assert shown in {file.path for file in client.list_files(repo_id)}
    with pytest.raises(XetError) as caught:
        client.download_snapshot(repo_id)
    assert caught.value.kind == "unsafe_path"
    assert caught.value.file == path
    assert caught.value.repo == repo_id
    # The others don't suffer.
    good = client.download_snapshot(repo_id, allow_patterns="good.txt")
    assert (Path(good.path) / "good.txt").read_bytes() == b"good\n"
    assert surroundings(tmp_path, arena) == before
    assert b"evil" not in contents(arena).values()


def test_a_path_that_comes_twice_is_refused(
    hub: Hub, hf_api: HfApi, client: Client, repo_id: str
) -> None:
    """Of two files with one path, neither is silently the right one."""
    publish(hf_api, repo_id, {"good.txt": b"good\n"})
    hub.plant(repo_id, [{"path": "good.txt", "content": "evil"}])
    with pytest.raises(NetworkError, match=r"good\.txt") as caught:
        client.download_snapshot(repo_id)
    assert caught.value.file == "good.txt"


def test_a_file_that_is_also_a_folder_is_an_error(
    hub: Hub, hf_api: HfApi, client: Client, repo_id: str, arena: Path
) -> None:
    """A path below another file fails by its name, in the cache and in a local_dir."""
    publish(hf_api, repo_id, {"a": b"file\n"})
    hub.plant(repo_id, [{"path": "a/b", "content": "below"}])
    for folder in (None, arena / "local"):
        with pytest.raises(XetError) as caught:
            client.download_snapshot(repo_id, local_dir=folder)
        assert caught.value.file
        assert "a" in Path(caught.value.file).parts


@pytest.mark.parametrize("path", [".git/config", "a/.git/hooks/post-checkout", ".GIT/config"])
def test_git_folders_in_a_local_dir_are_left_alone(
    hub: Hub, hf_api: HfApi, client: Client, repo_id: str, arena: Path, path: str
) -> None:
    """A file that git would run or obey isn't written into a folder of the user's."""
    publish(hf_api, repo_id, {"good.txt": b"good\n"})
    hub.plant(repo_id, [{"path": path, "content": "evil"}])
    with pytest.raises(XetError, match=r"\.(?i:git)") as caught:
        client.download_snapshot(repo_id, local_dir=arena / "local")
    assert caught.value.kind == "unsafe_path"
    assert not any(".git/" in name.lower() for name in contents(arena / "local"))


def test_a_name_that_is_too_long_is_an_error(
    hub: Hub, hf_api: HfApi, client: Client, repo_id: str
) -> None:
    """A name that the file system can't hold fails by its name, and the others don't suffer."""
    publish(hf_api, repo_id, {"good.txt": b"good\n"})
    hub.plant(repo_id, [{"path": "x" * 300, "content": "long"}])
    with pytest.raises(XetError) as caught:
        client.download_snapshot(repo_id)
    assert "x" * 100 in str(caught.value.file)
    good = client.download_snapshot(repo_id, allow_patterns="good.txt")
    assert (Path(good.path) / "good.txt").read_bytes() == b"good\n"


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"like": "good.bin", "sha256": "not a hash", "size": 4}, "SHA-256"),
        ({"like": "good.bin", "sha256": "../../../evil", "size": 4}, "SHA-256"),
        ({"like": "good.bin", "sha256": "A" * 64, "size": 4}, "SHA-256"),
    ],
    ids=["no hash", "a path", "upper case"],
)
def test_a_hash_that_is_none_is_refused(
    hub: Hub,
    hf_api: HfApi,
    client: Client,
    repo_id: str,
    entry: dict[str, object],
    field: str,
) -> None:
    """A hash becomes the name of a blob, so one of another form fails the listing."""
    publish(hf_api, repo_id, {"good.bin": b"\0" * 4})
    hub.plant(repo_id, [{"path": "bad.bin", **entry}])
    with pytest.raises(NetworkError, match=field) as caught:
        client.download_snapshot(repo_id)
    assert caught.value.file == "bad.bin"


def test_a_xet_hash_that_is_none_falls_back_to_the_sha256(
    hub: Hub, hf_api: HfApi, client: Client, repo_id: str
) -> None:
    """A Xet hash of a wrong form costs Xet, not the file: its SHA-256 is checked all the same."""
    content = b"\0" * 5000
    publish(hf_api, repo_id, {"good.bin": content})
    hub.reset_stats()
    listing = hub.request("GET", f"/api/models/{repo_id}/tree/main?recursive=true")
    for entry in listing:
        if "xetHash" in entry:
            entry["xetHash"] = "../../evil"
    hub.fault("tree", path_regex=repo_id, status=200, body=json.dumps(listing))
    transfer = client.download_snapshot(repo_id)
    assert (Path(transfer.path) / "good.bin").read_bytes() == content
    assert hub.stats().requests("cas") == 0


def test_an_empty_repo_is_an_empty_snapshot(
    own_hub: Callable[..., Hub], repo_id: str, cache_dir: Path
) -> None:
    """A repo without a single file lists and downloads as nothing, and leaves no ref behind."""
    from huggingface_hub import HfApi, scan_cache_dir

    hub = own_hub(config={"initial_gitattributes": False})
    HfApi(endpoint=hub.endpoint, token="hf_alice_secret").create_repo(repo_id)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        assert client.list_files(repo_id) == []
        transfer = client.download_snapshot(repo_id)
    assert (transfer.files, transfer.bytes_total) == (0, 0)
    if cache_dir.exists():
        assert [w for w in scan_cache_dir(cache_dir).warnings if "Reference" in str(w)] == []


def test_ten_thousand_files_are_listed_and_selected(
    hub: Hub, hf_api: HfApi, client: Client, repo_id: str
) -> None:
    """A listing of ten pages is whole, and patterns take the few that are wanted."""
    publish(hf_api, repo_id, {"real.txt": b"real\n"})
    hub.plant(
        repo_id, [{"path": f"d{i % 100:02}/f{i:05}.txt", "content": f"{i}"} for i in range(10_000)]
    )
    hub.reset_stats()
    listed = client.list_files(repo_id)
    assert len({file.path for file in listed}) == 10_002
    assert hub.stats().requests("hub", "tree") == 11
    transfer = client.download_snapshot(repo_id, allow_patterns=["d07/f*07.txt", "real.txt"])
    found = contents(Path(transfer.path))
    assert found.pop("real.txt") == b"real\n"
    assert found == {f"d07/f{i:05}.txt": f"{i}".encode() for i in range(7, 10_000, 100)}
