"""Odd names in a listing: listed as they are, written where they can be, else refused by name."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from interpreter import python
from picture import contents, picture
from slow_disk import SlowDisk
from world.stage import TOKEN, Model
from xet_ffi import Client, EntryNotFoundError, InvalidConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub

#: What no file below a folder can be called, here or where the folder may be carried to.
REFUSED = [
    "",
    "/abs",
    "/etc/cron.d/x",
    "../x",
    "a/../../x",
    "..",
    ".",
    "./x",
    "a//b",
    "x/",
    "..\\x",
    "a\\..\\..\\x",
    "\\x",
    "\\\\host\\share\\x",
    "C:/x",
    "C:",
    "C:\\x",
    "C:..\\x",
    "a\u0000b",
    "n" * 256,
    "ü" * 128,
    "d" * 300 + "/x",
    "config.json/below",
    "config.json/far/below",
]

#: What is odd and yet a name.
WRITTEN = [
    "T:0.json",
    "a/T:0.json",
    ".\\x",
    "a\\b",
    "C:x",
    "CON",
    "aux.txt",
    "trailing space ",
    "trailing dot.",
    " ",
    "...",
    "-rf",
    "~",
    "a\nb",
    "*",
    "Twin.txt",
    "twin.txt",
    "é",  # composed
    "e\u0301",  # decomposed
    "n" * 255,
    "ü" * 127,
    "d" * 255 + "/" + "e" * 250,
]


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    """A client whose cache is in `tmp_path`."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "arena" / "cache") as client:
        yield client


def plant(hub: Hub, model: Model, *names: str) -> None:
    """Adds files that hold their own names."""
    hub.plant(model.repo_id, [{"path": name, "content": f"in {name!r}"} for name in names])


def is_whole(model: Model, folder: Path) -> bool:
    """Whether the model's own files are all there."""
    return all((folder / path).read_bytes() == data for path, data in model.files.items())


@pytest.mark.parametrize("local", [False, True], ids=["cache", "local_dir"])
@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_one_odd_name_is_no_reason_for_the_others(
    hub: Hub, model: Model, client: Client, tmp_path: Path, name: str, local: bool
) -> None:
    """It's listed; it's refused by name; the others are there, and nothing is outside."""
    plant(hub, model, name)
    shown = name.replace("\0", "\ufffd")
    assert shown in {file.path for file in client.list_files(model.repo_id)}
    folder = tmp_path / "arena" / "local" if local else None
    before = {k: v for k, v in picture(tmp_path).items() if not k.startswith(("arena", "home"))}
    with pytest.raises(InvalidConfigError) as caught:
        client.download_snapshot(model.repo_id, local_dir=folder)
    assert caught.value.kind == "unsafe_path"
    assert caught.value.file is not None
    assert caught.value.file in (name[:200], shown, name)
    assert caught.value.repo == model.repo_id
    roots = [folder] if folder else list((tmp_path / "arena/cache").glob("models--*/snapshots/*"))
    assert len(roots) == 1
    assert is_whole(model, roots[0])
    after = {k: v for k, v in picture(tmp_path).items() if not k.startswith(("arena", "home"))}
    assert after == before
    assert not any(b"in '" in data for data in contents(tmp_path / "arena").values())
    # Patterns that exclude it do, also offline; and a plan of the others can be made.
    ignored = [file for file in (name,) if file]
    patterns: dict[str, Any] = {"allow_patterns": list(model.files), "ignore_patterns": ignored}
    if not name.startswith(tuple(model.files)):
        del patterns["ignore_patterns"]
    assert client.download_snapshot(model.repo_id, local_dir=folder, **patterns).files == 3
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "arena" / "cache", offline=True) as offline:
        assert offline.download_snapshot(model.repo_id, local_dir=folder, **patterns).files == 3
        with pytest.raises(InvalidConfigError):
            offline.download_snapshot(model.repo_id, local_dir=folder)
    assert len(client.plan_snapshot(model.repo_id, local_dir=folder).files) >= 3


def test_all_that_were_refused_are_named(
    hub: Hub, model: Model, client: Client, tmp_path: Path
) -> None:
    """Up to twenty."""
    names = ["../x", "/abs", "a//b", "n" * 300]
    plant(hub, model, *names)
    with pytest.raises(InvalidConfigError, match="4 files can't be written here") as caught:
        client.download_snapshot(model.repo_id)
    assert all(
        json.dumps(name)[:200] in str(caught.value) or name in str(caught.value) for name in names
    )
    plant(hub, model, *(f"/many/{i:02}" for i in range(30)))
    with (
        # The listing of a commit doesn't change, so it's kept.
        Client(hub.endpoint, TOKEN.secret, tmp_path / "arena" / "other") as other,
        pytest.raises(InvalidConfigError, match=r"34 files .* and 14 more"),
    ):
        other.download_snapshot(model.repo_id)


@pytest.mark.parametrize("local", [False, True], ids=["cache", "local_dir"])
def test_what_is_a_name_here_is_written(
    hub: Hub, model: Model, client: Client, tmp_path: Path, local: bool
) -> None:
    """All at once, and each alone; a second call finds them."""
    plant(hub, model, *WRITTEN)
    folder = tmp_path / "arena" / "local" if local else None
    transfer = client.download_snapshot(model.repo_id, local_dir=folder)
    for name in WRITTEN:
        assert (Path(transfer) / name).read_bytes() == f"in {name!r}".encode(), name
    again = client.download_snapshot(model.repo_id, local_dir=folder)
    assert again.bytes_network == 0
    alone = tmp_path / "arena" / "alone" if local else None
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "arena" / "other") as other:
        for name in WRITTEN:
            one = other.download_file(model.repo_id, name, local_dir=alone)
            assert Path(one).read_bytes() == f"in {name!r}".encode(), name


def test_a_good_name_is_brought_whatever_its_twins_are_called(
    hub: Hub, model: Model, client: Client, tmp_path: Path
) -> None:
    """Of files with the same content, one can't be written."""
    twins = [{"path": name, "content": "the same"} for name in (".git/config", "b.txt", "c.txt")]
    hub.plant(model.repo_id, twins)
    with pytest.raises(InvalidConfigError, match=r"\.git/config"):
        client.download_snapshot(model.repo_id, local_dir=tmp_path / "local")
    for name in ("b.txt", "c.txt"):
        assert (tmp_path / "local" / name).read_text() == "the same"
    assert not (tmp_path / "local" / ".git").exists()


@pytest.mark.parametrize("name", ["a//b", "T:0.json", "/abs", "../x"])
def test_one_odd_name_goes_with_the_others(
    hub: Hub, model: Model, client: Client, tmp_path: Path, name: str
) -> None:
    """What can't be written here can be deleted there: the hub is asked for it by that name."""
    plant(hub, model, name)
    (tmp_path / "up").mkdir()
    (tmp_path / "up/new.txt").write_text("new")
    # This hub only lists such names.
    with pytest.raises(EntryNotFoundError, match=re.escape(f"doesn't exist: {name}")):
        client.upload_folder(tmp_path / "up", model.repo_id, delete_patterns="*")


def test_a_folder_becomes_a_file_and_back(model: Model, client: Client, tmp_path: Path) -> None:
    """In a local_dir that has both revisions after each other; what is the user's isn't touched."""
    from xet_ffi import CommitAdd, CommitDelete

    as_folder = client.create_commit(
        model.repo_id, [CommitAdd("x/a.txt", b"a"), CommitAdd("x/y/b.txt", b"b")]
    ).oid
    as_file = client.create_commit(
        model.repo_id,
        [CommitDelete("x/a.txt"), CommitDelete("x/y/b.txt"), CommitAdd("x", b"now a file")],
    ).oid
    local = tmp_path / "local"
    for _ in range(2):
        client.download_snapshot(model.repo_id, revision=as_folder, local_dir=local)
        assert (local / "x/y/b.txt").read_bytes() == b"b"
        client.download_snapshot(model.repo_id, revision=as_file, local_dir=local)
        assert (local / "x").read_bytes() == b"now a file"
    client.download_snapshot(model.repo_id, revision=as_folder, local_dir=local)
    (local / "x/mine.txt").write_text("mine")
    (local / "config.json").unlink()
    with pytest.raises(OSError, match=r"x/mine\.txt is in its way"):
        client.download_snapshot(model.repo_id, revision=as_file, local_dir=local)
    assert (local / "x/mine.txt").read_text() == "mine"
    assert (local / "x/a.txt").read_text() == "a"
    assert is_whole(model, local)


@pytest.mark.parametrize("slow", ["open", "unlink"])
def test_files_of_a_folder_make_way_side_by_side(
    hub: Hub, model: Model, client: Client, tmp_path: Path, slow: str
) -> None:
    """All of them find the same file in their way at the same time, and one removes it."""
    from xet_ffi import CommitAdd, CommitDelete

    names = [f"x/{i}.txt" for i in range(8)]
    as_folder = client.create_commit(
        model.repo_id, [CommitAdd(name, name.encode()) for name in names]
    ).oid
    as_file = client.create_commit(
        model.repo_id, [*map(CommitDelete, names), CommitAdd("x", b"now a file")]
    ).oid
    disk = SlowDisk(tmp_path / "tools", tmp_path / "arena")
    local = disk.folder / "local"
    client.download_snapshot(model.repo_id, revision=as_file, local_dir=local)
    disk.rule(slow, delay_ms=300, match="x.metadata" if slow == "open" else "local/x", times=8)
    program = f"""
from xet_ffi import Client
with Client({hub.endpoint!r}, {TOKEN.secret!r}, {str(disk.folder / "cache")!r}) as client:
    client.download_snapshot({model.repo_id!r}, revision={as_folder!r}, local_dir={str(local)!r})
"""
    done = python(program, **disk.environment())
    assert done.returncode == 0, done.stderr
    assert {name: (local / name).read_text() for name in names} == {name: name for name in names}


@pytest.mark.parametrize("local", [False, True], ids=["cache", "local_dir"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EILSEQ], ids=["EINVAL", "EILSEQ"])
def test_what_the_file_system_has_no_name_for(
    hub: Hub, model: Model, tmp_path: Path, number: int, local: bool
) -> None:
    """Windows' file systems and shares refuse a colon, others what isn't UTF-8."""
    plant(hub, model, "T:0.json", "folder/U:1.json")
    # With the same content, under a name that can be had.
    hub.plant(model.repo_id, [{"path": "twin.json", "content": "in 'T:0.json'"}])
    disk = SlowDisk(tmp_path / "tools", tmp_path / "arena")
    for odd in ("T:0", "U:1"):
        disk.rule("open", "symlink", "rename", "mkdir", error=number, match=odd)
    folder = str(disk.folder / "local") if local else None
    done = python(
        f"""
from xet_ffi import Client, XetError
with Client({hub.endpoint!r}, {TOKEN.secret!r}, {str(disk.folder / "cache")!r}) as client:
    try:
        client.download_snapshot({model.repo_id!r}, local_dir={folder!r})
    except XetError as error:
        print(error.kind, error.file, str(error).startswith("2 files can't be written here"))
""",
        **disk.environment(),
    )
    kind, name, is_counted = done.stdout.split(" ")
    assert (kind, is_counted) == ("io", "True\n"), done.stderr
    assert ":" in name
    roots = (
        [Path(folder)] if folder else list((disk.folder / "cache").glob("models--*/snapshots/*"))
    )
    assert is_whole(model, roots[0])
    assert (roots[0] / "twin.json").read_text() == "in 'T:0.json'"


@pytest.mark.parametrize("blocked", [".cache", ".cache/huggingface", "folder"])
def test_what_is_in_the_way_of_all_is_said_once(
    hub: Hub, model: Model, client: Client, tmp_path: Path, blocked: str
) -> None:
    """A file that stands where a folder has to be: one reason, however many files need it."""
    plant(hub, model, *(f"folder/{i}.json" for i in range(5)))
    path = tmp_path / "local" / blocked
    path.parent.mkdir(parents=True)
    path.write_text("of the user's")
    with pytest.raises(OSError, match=blocked) as caught:
        client.download_snapshot(model.repo_id, local_dir=tmp_path / "local")
    assert str(caught.value).count(str(path)) == 1
    assert path.read_text() == "of the user's"


#: Names of which only case tells some apart; and what is in them.
CASES = {
    "Twin.txt": "one",
    "twin.txt": "other",
    "TWIN.TXT": "third",
    "same.txt": "same",
    "Same.txt": "same",
    "Folder/x.json": "one",
    "folder/X.json": "other",
    "folder/y.json": "of its own",
}

#: Downloads a snapshot twice, and says each time what was refused.
TWICE = """
import sys
from xet_ffi import Client, XetError
endpoint, repo, folder, local = sys.argv[1:]
for _ in range(2):
    with Client(endpoint, token=False, cache_dir=folder + "/cache") as client:
        try:
            client.download_snapshot(repo, local_dir=local or None)
        except XetError as error:
            print(error.kind, *sorted(part.split(" is ")[0] for part in str(error).split("; ")))
"""


@pytest.mark.parametrize("local", [False, True], ids=["cache", "local_dir"])
def test_a_disk_that_folds_case_has_one_of_each(
    hub: Hub, model: Model, disk: SlowDisk, local: bool
) -> None:
    """The first one; what would replace it is refused by name, unless it's the same."""
    hub.plant(model.repo_id, [{"path": name, "content": CASES[name]} for name in CASES])
    disk.rule("all", fold=True)
    folder = str(disk.folder / "local") if local else ""
    said, _ = disk.run(TWICE, hub.endpoint, model.repo_id, str(disk.folder), folder)
    text = " ".join(said)
    assert text.count("unsafe_path") == 2
    for name in ("Twin.txt", "twin.txt", "folder/X.json"):
        assert text.count(f'"{name}"') == 2
    for name in ("TWIN.TXT", "same.txt", "Same.txt", "Folder/x.json", "folder/y.json"):
        assert f'"{name}"' not in text
    root = (
        Path(folder) if local else next(iter((disk.folder / "cache").glob("models--*/snapshots/*")))
    )
    assert is_whole(model, root)
    found = {path.relative_to(root).as_posix().lower(): path for path in root.rglob("*")}
    kept = {"twin.txt": "third", "same.txt": "same", "folder/x.json": "one"}
    for name, content in {**kept, "folder/y.json": "of its own"}.items():
        assert found[name].read_text() == content


@pytest.mark.parametrize("local", [False, True], ids=["cache", "local_dir"])
@pytest.mark.parametrize("below", ["", "/further/below"])
def test_what_is_in_the_way_of_the_folder_is_no_files_name(
    model: Model, hub: Hub, tmp_path: Path, below: str, local: bool
) -> None:
    """A file where the cache, or the local folder, is to be: no other file is in place."""
    blocked = tmp_path / "blocked"
    blocked.write_text("of the user's")
    folder = f"{blocked}{below}"
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path / "c" if local else folder) as client,
        pytest.raises(OSError, match="blocked") as caught,
    ):
        client.download_snapshot(model.repo_id, local_dir=folder if local else None)
    assert "under their names" not in str(caught.value)
    assert blocked.read_text() == "of the user's"


@pytest.mark.parametrize("local", [False, True], ids=["cache", "local_dir"])
def test_a_failure_of_what_is_not_the_files_name_is_not_due_to_it(
    model: Model, tmp_path: Path, hub: Hub, local: bool
) -> None:
    """Whatever the disk says of it: the call fails with that."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "arena")
    disk.rule("open", error=errno.EINVAL, match=".partial")
    folder = str(disk.folder / "local") if local else None
    program = f"""
from pathlib import Path
from xet_ffi import Client, XetError
with Client({hub.endpoint!r}, {TOKEN.secret!r}, {str(disk.folder / "cache")!r}) as client:
    try:
        print(client.download_snapshot({model.repo_id!r}, local_dir={folder!r}).files)
    except XetError as error:
        print(error.kind, "under their names" in str(error), ".partial" in str(error))
"""
    done = python(program, **disk.environment())
    assert done.stdout == "io False True\n", done.stderr


@pytest.mark.parametrize("length", [120, 140, 143])
@pytest.mark.parametrize("folder", ["", "folder/"])
def test_long_names_where_names_are_short(
    hub: Hub, model: Model, tmp_path: Path, length: int, folder: str
) -> None:
    """A name that fits has its notes, though theirs would not; a longer one is refused."""
    name, longer = folder + "n" * length, folder + "m" * 144
    plant(hub, model, name, longer)
    disk = SlowDisk(tmp_path / "tools", tmp_path / "arena")
    # As eCryptfs has it.
    for which, room in (("n" * length, 143 - length), ("m" * 144, -1)):
        words = [".lock", ".metadata", ".verified"] if room >= 0 else [""]
        for word in words:
            if len(word) > room:
                disk.rule(
                    *("open", "stat", "rename", "link", "symlink", "mkdir"),
                    error=errno.ENAMETOOLONG,
                    match=which + word,
                )
    program = f"""
from xet_ffi import Client, XetError
endpoint, repo, folder = {hub.endpoint!r}, {model.repo_id!r}, {str(disk.folder)!r}
with Client(endpoint, token=False, cache_dir=folder + "/cache") as client:
    for local in (None, folder + "/local", folder + "/local"):
        try:
            client.download_snapshot(repo, local_dir=local)
        except XetError as error:
            print(error.kind, {longer!r} in str(error), {name!r} in str(error))
        print(client.download_snapshot(repo, local_dir=local, ignore_patterns="*mm").bytes_network)
"""
    done = python(program, **disk.environment())
    assert done.stdout == "io True False\n0\n" * 3, done.stderr
    assert (disk.folder / "local" / name).read_bytes() == f"in {name!r}".encode()
    assert is_whole(model, disk.folder / "local")
