"""Listings that say less than there is, or say it in another way: less than all isn't all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from gateway import Gateway
from world.stage import TOKEN, Model
from world.test_mirrors import REST, check, commit_of
from xet_ffi import Client, CommitAdd, NetworkError, PermissionDeniedError, XetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub import Hub

Entries = list[dict[str, Any]]

#: Files of the top level, of a folder, and of one below it.
FILES = {
    "config.json": b'{"a": 1}',
    "empty.txt": b"",
    "sub/large.bin": os.urandom(300_000),
    "sub/deep er/x.txt": b"deep",
    "model.safetensors": os.urandom(900_000),
}


@pytest.fixture
def folders(hub: Hub) -> Model:
    """A new repo with folders."""
    repo_id = f"alice/f-{os.urandom(6).hex()}"
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.create_repo(repo_id)
        client.create_commit(repo_id, [CommitAdd(path, data) for path, data in FILES.items()])
    hub.reset_stats()
    return Model(repo_id, FILES)


def listing(hub: Hub, model: Model) -> Entries:
    """What the hub itself lists."""
    entries: Entries = hub.request("GET", f"/api/models/{model.repo_id}/tree/main?recursive=true")
    return entries


def tree_of(hub: Hub, model: Model, body: str) -> None:
    """Has the hub answer so for the tree as a whole; single folders are as they are."""
    path = rf"/{model.repo_id}/tree/[^/]*$"
    hub.fault("tree", path_regex=path, status=200, body=body)


def without(*keys: str) -> Callable[[Entries], Entries]:
    """Entries without some of their fields."""
    return lambda entries: [{k: v for k, v in e.items() if k not in keys} for e in entries]


def changed(**fields: Any) -> Callable[[Entries], Entries]:
    """Entries with other fields."""
    return lambda entries: [{**entry, **fields} for entry in entries]


def typed(**types: str) -> Callable[[Entries], Entries]:
    """Entries whose types have other names."""
    return lambda entries: [{**entry, "type": types[entry["type"]]} for entry in entries]


def lfs(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Entries], Entries]:
    """Entries whose large files are described otherwise."""
    return lambda entries: [
        {**entry, "lfs": change(entry["lfs"])} if "lfs" in entry else entry for entry in entries
    ]


def top_level(entries: Entries) -> Entries:
    """What isn't in a folder."""
    return [entry for entry in entries if "/" not in entry["path"]]


#: Trees that are less than all, and may look like all.
LESS: dict[str, Callable[[Entries], Any]] = {
    "nothing": lambda _: [],
    "the top level": top_level,
    "the top level, without its folders": lambda entries: [
        entry for entry in top_level(entries) if entry["type"] == "file"
    ],
    "all but one": lambda entries: [e for e in entries if e["path"] != "sub/large.bin"],
    "one": lambda entries: entries[:1],
    "folders only": lambda entries: [e for e in entries if e["type"] == "directory"],
}

#: Trees of other forms.
OTHER: dict[str, Callable[[Entries], Any]] = {
    "an object": lambda _: {},
    "an error": lambda _: {"error": "not supported"},
    "null": lambda _: None,
    "a string": lambda _: "no",
    "a number": lambda _: 7,
    "a list of strings": lambda entries: [entry["path"] for entry in entries],
    "a list of lists": lambda entries: [[entry] for entry in entries],
    "no oid": without("oid"),
    "no type": without("type"),
    "no size": without("size"),
    "no path": without("path"),
    "paths only": without("oid", "type", "size", "lfs", "xetHash"),
    "null sizes": changed(size=None),
    "no sizes but 0": changed(size=0),
    "negative sizes": changed(size=-1),
    "null oids": changed(oid=None),
    "numbers for oids": changed(oid=7),
    "foreign oids": changed(oid="65f1c0de-2a"),
    "null paths": changed(path=None),
    "numbers for paths": changed(path=5),
    "sizes with a point": lambda entries: [{**e, "size": float(e["size"])} for e in entries],
    "sizes as strings": lambda entries: [{**e, "size": str(e["size"])} for e in entries],
    "a prefix before the SHA-256": lfs(lambda of: {**of, "oid": "sha256:" + of["oid"]}),
    "no size of LFS": lfs(lambda of: {"oid": of["oid"]}),
    "a size of 0 of LFS": lfs(lambda of: {**of, "size": 0}),
    "LFS without a hash": lfs(lambda of: {"size": of["size"]}),
    "LFS that is a string": lfs(lambda of: of["oid"]),
    "all twice": lambda entries: entries + entries,
    "git's types": typed(file="blob", directory="tree"),
    "types in capitals": typed(file="File", directory="Directory"),
    "types of its own": typed(file="symlink", directory="bucket"),
    "one type of its own": lambda entries: [
        {**e, "type": "symlink"} if e["path"] == "config.json" else e for e in entries
    ],
}

#: Trees that are refused, or aren't there.
REFUSED = [204, 400, 403, 404, 405, 406, 410, 415, 422, 501]


def is_kept(cache: Path) -> bool:
    """Whether a listing is in a cache."""
    return any(cache.rglob("trees/*.json"))


@pytest.mark.parametrize("by_commit", [False, True], ids=["main", "commit"])
@pytest.mark.parametrize("less", LESS)
def test_less_than_all_is_not_all(
    hub: Hub, folders: Model, tmp_path: Path, less: str, by_commit: bool
) -> None:
    """Everything comes, nothing of the listing is kept, and the next one is the hub's own."""
    revision = commit_of(hub, folders) if by_commit else None
    tree_of(hub, folders, json.dumps(LESS[less](listing(hub, folders))))
    check(hub.endpoint, folders, tmp_path, revision)
    assert hub.faults()[0]["fired"]
    # Folders that were opened one by one are the tree's all the same, where the names show it.
    assert is_kept(tmp_path / "snapshot") == (less == "the top level")


@pytest.mark.parametrize("by_commit", [False, True], ids=["main", "commit"])
@pytest.mark.parametrize("other", OTHER)
def test_a_tree_of_another_form(
    hub: Hub, folders: Model, tmp_path: Path, other: str, by_commit: bool
) -> None:
    """What can be read of it is; the rest is asked for."""
    revision = commit_of(hub, folders) if by_commit else None
    tree_of(hub, folders, json.dumps(OTHER[other](listing(hub, folders))))
    check(hub.endpoint, folders, tmp_path, revision)
    assert hub.faults()[0]["fired"]


@pytest.mark.parametrize("by_commit", [False, True], ids=["main", "commit"])
@pytest.mark.parametrize("status", REFUSED)
def test_a_tree_that_is_refused(
    hub: Hub, folders: Model, tmp_path: Path, status: int, by_commit: bool
) -> None:
    """The names that the revision has are enough."""
    revision = commit_of(hub, folders) if by_commit else None
    hub.fault("tree", status=status, body="")
    check(hub.endpoint, folders, tmp_path, revision)
    assert not is_kept(tmp_path)


@pytest.mark.parametrize("by_commit", [False, True], ids=["main", "commit"])
@pytest.mark.parametrize("size", [None, 134], ids=["sizes of files", "sizes of pointers"])
def test_a_tree_that_tells_pointers_for_files(
    hub: Hub, folders: Model, tmp_path: Path, size: int | None, by_commit: bool
) -> None:
    """What is said of each by itself counts, as it fits the content; the listing isn't kept."""
    bare = without("lfs", "xetHash")(listing(hub, folders))
    large = {entry["path"] for entry in listing(hub, folders) if "lfs" in entry}
    for entry in bare:
        if size is not None and entry["path"] in large:
            entry["size"] = size
    tree_of(hub, folders, json.dumps(bare))
    revision = commit_of(hub, folders) if by_commit else None
    with Client(hub.endpoint, TOKEN.secret, tmp_path, max_attempts=2) as client:
        path = Path(client.download_snapshot(folders.repo_id, revision=revision))
        for name, data in folders.files.items():
            assert (path / name).read_bytes() == data, name
            file = client.download_file(folders.repo_id, name, revision=revision)
            assert Path(file).read_bytes() == data
    assert not is_kept(tmp_path)


def test_a_mark_before_the_json(hub: Hub, folders: Model, tmp_path: Path) -> None:
    """As some servers and editors put it there."""
    for route in ("tree", "revision"):
        path = f"/api/models/{folders.repo_id}/{route}/main"
        answer = hub.request("GET", path + "?recursive=true")
        body = "\N{ZERO WIDTH NO-BREAK SPACE}" + json.dumps(answer)
        hub.fault(route, path_regex=folders.repo_id, status=200, body=body)
    check(hub.endpoint, folders, tmp_path)
    assert is_kept(tmp_path / "snapshot")


def test_a_mirror_that_knows_no_recursion(hub: Hub, folders: Model, tmp_path: Path) -> None:
    """Folders are opened one by one; what comes so is the whole tree, and kept."""
    habit = "location ~ /tree/ { rewrite ^ $uri? break; proxy_pass {hub}; }"
    with Gateway.start(hub, tmp_path / "nginx", habit + REST) as gateway:
        check(gateway.endpoint, folders, tmp_path)
        heads = [uri for method, uri, *_ in gateway.requests() if method == "HEAD"]
        # Of the files that were asked for alone.
        assert len([uri for uri in heads if "/resolve/" in uri]) == len(FILES)
    assert is_kept(tmp_path / "snapshot")
    # Without the names, the folders alone tell.
    habit += "location ~ /api/models/[^/]*/[^/]*/revision/ { return 404; }"
    with Gateway.start(hub, tmp_path / "nginx2", habit + REST) as gateway:
        check_snapshot(gateway.endpoint, folders, tmp_path / "again", commit_of(hub, folders))
    assert not is_kept(tmp_path / "again")


def check_snapshot(endpoint: str, model: Model, cache: Path, revision: str | None = None) -> None:
    """Downloads all of a model."""
    with Client(endpoint, TOKEN.secret, cache) as client:
        transfer = client.download_snapshot(model.repo_id, revision=revision)
        for path, content in model.files.items():
            assert (Path(transfer) / path).read_bytes() == content, path


@pytest.fixture(scope="module")
def many(_session_hub: Hub) -> Model:
    """A repo of more than a page of files."""
    files = {f"f{i:04}.txt": b"%d" % i for i in range(1099)}
    repo_id = f"alice/many-{os.urandom(6).hex()}"
    with Client(_session_hub.endpoint, TOKEN.secret) as client:
        client.create_repo(repo_id)
        client.create_commit(repo_id, [CommitAdd(path, data) for path, data in files.items()])
    return Model(repo_id, files)


@pytest.mark.parametrize("by_commit", [False, True], ids=["main", "commit"])
def test_a_first_page_is_not_all(hub: Hub, many: Model, tmp_path: Path, by_commit: bool) -> None:
    """Where the way to the next page is lost."""
    revision = commit_of(hub, many) if by_commit else None
    habit = "location ~ /tree/ { proxy_pass {hub}; proxy_hide_header Link; }"
    with Gateway.start(hub, tmp_path / "nginx", habit + REST) as gateway:
        check_snapshot(gateway.endpoint, many, tmp_path / "cache", revision)
        assert not is_kept(tmp_path / "cache")
        habit += "location ~ /api/models/[^/]*/[^/]*/revision/ { return 404; }"
    with (
        Gateway.start(hub, tmp_path / "nginx2", habit + REST) as gateway,
        pytest.raises(NetworkError, match=r"1000 entries.*siblings"),
    ):
        check_snapshot(gateway.endpoint, many, tmp_path / "other", commit_of(hub, many))


@pytest.mark.parametrize("less", ["nothing", "the top level"])
def test_what_no_names_confirm_is_not_taken_for_all(
    hub: Hub, folders: Model, tmp_path: Path, less: str
) -> None:
    """A listing that may be broken off is an error where there is nothing else."""
    body = json.dumps(LESS[less](listing(hub, folders)))
    tree_of(hub, folders, body)
    hub.fault("tree", status=404)
    hub.fault("revision", status=404)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path) as client,
        pytest.raises(NetworkError, match="siblings") as caught,
    ):
        client.download_snapshot(folders.repo_id, revision="0" * 40)
    assert caught.value.kind == "invalid_response"
    assert not is_kept(tmp_path)


def test_a_folder_that_nobody_knows_is_not_empty(hub: Hub, folders: Model, tmp_path: Path) -> None:
    """Git has no empty folders: a tree and names that both have the top level only aren't whole."""
    top = top_level(listing(hub, folders))
    tree_of(hub, folders, json.dumps(top))
    hub.fault("tree", status=404)
    info = hub.request("GET", f"/api/models/{folders.repo_id}/revision/main")
    names = [{"rfilename": entry["path"]} for entry in top if entry["type"] == "file"]
    hub.fault("revision", status=200, body=json.dumps({**info, "siblings": names}))
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        for revision in (None, info["sha"]):
            with pytest.raises(NetworkError, match="neither is whole"):
                client.download_snapshot(folders.repo_id, revision=revision)
    assert not is_kept(tmp_path)
    hub.clear_faults()
    check(hub.endpoint, folders, tmp_path)


@pytest.mark.parametrize("status", [429, 503])
def test_a_hiccup_of_the_names_decides_nothing(
    hub: Hub, folders: Model, tmp_path: Path, status: int
) -> None:
    """They are asked for again: the listing of a commit is kept, and serves without the hub."""
    commit = commit_of(hub, folders)
    hub.fault("revision", status=status, times=1)
    check_snapshot(hub.endpoint, folders, tmp_path, commit)
    assert hub.faults()[0]["fired"]
    assert is_kept(tmp_path)
    hub.fault("any", status=503)
    with Client(hub.endpoint, TOKEN.secret, tmp_path, max_attempts=1) as client:
        client.download_snapshot(folders.repo_id, revision=commit)


@pytest.mark.parametrize("names", [[], None, "no", [{"rfilename": "config.json"}], [{}], [3]])
def test_names_that_are_not_all_are_no_harm(
    hub: Hub, folders: Model, tmp_path: Path, names: Any
) -> None:
    """As of a very large repo; then the tree alone says what there is."""
    info = hub.request("GET", f"/api/models/{folders.repo_id}/revision/main")
    hub.fault("revision", status=200, body=json.dumps({**info, "siblings": names}))
    check(hub.endpoint, folders, tmp_path)


@pytest.mark.parametrize("local", [False, True], ids=["cache", "local_dir"])
def test_a_kept_listing_that_is_not_whole_is_not_believed(
    hub: Hub, folders: Model, tmp_path: Path, local: bool
) -> None:
    """Who kept it has asked such a mirror."""
    folder = tmp_path / "local" if local else None
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        root = Path(client.download_snapshot(folders.repo_id, local_dir=folder))
        (kept,) = tmp_path.rglob("trees/*.json")
        less = json.loads(kept.read_text())
        del less["files"]["sub/large.bin"]
        kept.write_text(json.dumps(less))
        (root / "sub/large.bin").unlink()
        client.download_snapshot(folders.repo_id, local_dir=folder)
        assert (root / "sub/large.bin").read_bytes() == FILES["sub/large.bin"]
        assert "sub/large.bin" in json.loads(kept.read_text())["files"]


#: Entries beside which all others come.
ODD: list[tuple[dict[str, Any], bool]] = [
    ({"type": "symlink", "path": "odd", "oid": "0" * 40, "size": 3}, True),
    ({"type": "submodule", "path": "odd", "oid": "0" * 40}, True),
    ({"type": "file", "path": None, "oid": "0" * 40, "size": 1}, True),
    ({"type": "file", "oid": "0" * 40, "size": 1}, True),
    ({"type": "file", "path": "odd", "oid": "zz", "size": 1}, False),
    ({"type": "file", "path": "odd", "size": 1}, False),
    ({"type": "file", "path": "odd", "oid": "0" * 40, "size": None}, False),
    ({"type": "file", "path": "odd", "oid": "0" * 40, "size": 2**64}, False),
    ({"type": "file", "path": "odd", "oid": "0" * 40, "xetHash": "0" * 64, "size": 1}, False),
    ({"type": "file", "path": "odd", "lfs": {"oid": "x", "size": 1}}, False),
    ({"type": "file", "path": "config.json", "oid": "0" * 40, "size": 1}, False),
]


@pytest.mark.parametrize(("entry", "is_passed_over"), ODD, ids=lambda value: str(value)[:60])
def test_one_odd_entry_is_no_reason_for_the_others(
    hub: Hub, folders: Model, tmp_path: Path, entry: dict[str, Any], is_passed_over: bool
) -> None:
    """It's refused by its name, after the others have come; patterns that exclude it do."""
    tree_of(hub, folders, json.dumps([*listing(hub, folders), entry]))
    name = entry.get("path")
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        if is_passed_over:
            root = Path(client.download_snapshot(folders.repo_id))
        else:
            with pytest.raises(XetError) as caught:
                client.download_snapshot(folders.repo_id)
            assert caught.value.file == name
            assert not is_kept(tmp_path)
            (root,) = tmp_path.glob("models--*/snapshots/*")
        others = [path for path in FILES if path != name]
        assert all((root / path).read_bytes() == FILES[path] for path in others)
        again = client.download_snapshot(folders.repo_id, ignore_patterns=name)
        assert again.files >= len(others)


def test_an_entry_that_lacks_something_is_asked_for(
    hub: Hub, folders: Model, tmp_path: Path
) -> None:
    """Only those that are wanted."""
    tree_of(hub, folders, json.dumps(without("oid", "lfs")(listing(hub, folders))))
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        transfer = client.download_snapshot(folders.repo_id, allow_patterns="*.json")
        assert (Path(transfer) / "config.json").read_bytes() == FILES["config.json"]
    assert hub.stats().raw["methods"]["hub"]["HEAD"] <= 2  # it, and where it leads


def test_the_ordinary_costs_no_more(hub: Hub, folders: Model, tmp_path: Path) -> None:
    """One question for the revision, one for the tree, and none about a file."""
    for revision in (None, commit_of(hub, folders)):
        hub.reset_stats()
        with Client(hub.endpoint, TOKEN.secret, tmp_path / str(revision)) as client:
            client.download_snapshot(folders.repo_id, revision=revision)
            assert is_kept(tmp_path / str(revision))
            stats = hub.stats()
            assert stats.requests("hub", "revision") == 1
            assert stats.requests("hub", "tree") == 1
            assert "HEAD" not in stats.raw["methods"]["hub"]
            client.download_snapshot(folders.repo_id, revision=revision)
        asked = 2 if revision is None else 1
        assert hub.stats().requests("hub", "revision") == asked
        assert hub.stats().requests("hub", "tree") == 1


@pytest.fixture
def gated(hub: Hub, folders: Model) -> Iterator[Model]:
    """A repo that TOKEN's owner isn't let into."""
    hub.fault("tree", status=403, headers={"X-Error-Code": "GatedRepo"})
    hub.fault("resolve", status=403, headers={"X-Error-Code": "GatedRepo"})
    yield folders
    hub.clear_faults()


def test_a_gated_repo_stays_one(hub: Hub, gated: Model, tmp_path: Path) -> None:
    """Whichever route says so."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        with pytest.raises(PermissionDeniedError) as caught:
            client.download_snapshot(gated.repo_id)
        assert caught.value.kind == "gated_repo"
        hub.clear_faults()
        hub.fault("tree", status=403)
        hub.fault("resolve", status=403, headers={"X-Error-Code": "GatedRepo"})
        with pytest.raises(PermissionDeniedError) as caught:
            client.download_snapshot(gated.repo_id)
        assert caught.value.kind == "gated_repo"


def test_deletions_are_of_all_that_is_there(hub: Hub, folders: Model, tmp_path: Path) -> None:
    """A folder that a mirror's tree leaves out goes with `delete_patterns` all the same."""
    tree_of(hub, folders, json.dumps(LESS["the top level"](listing(hub, folders))[:3]))
    (tmp_path / "up").mkdir()
    (tmp_path / "up/config.json").write_text("new")
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        client.upload_folder(tmp_path / "up", folders.repo_id, delete_patterns="sub/*")
        hub.clear_faults()
        left = {file.path for file in client.list_files(folders.repo_id)}
    assert left == {".gitattributes", "config.json", "empty.txt", "model.safetensors"}


def test_files_that_a_listing_lacks_are_looked_up_by_their_names(
    hub: Hub, folders: Model, tmp_path: Path
) -> None:
    """One that the mirror doesn't have is refused by name, and isn't just missing."""
    tree_of(hub, folders, "[]")
    hub.fault("resolve", path_regex=quote("sub/large.bin") + "$", status=404)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path) as client,
        pytest.raises(XetError) as caught,
    ):
        client.download_snapshot(folders.repo_id)
    assert caught.value.file == "sub/large.bin"
    (root,) = tmp_path.glob("models--*/snapshots/*")
    assert (root / "config.json").read_bytes() == FILES["config.json"]
