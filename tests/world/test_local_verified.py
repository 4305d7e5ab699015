"""What vouches for a file in a local folder: what it was when it was hashed, and no time alone."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import noise
from world.stage import TOKEN, publish
from xet_ffi import Client, LocalEntryNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub import Hub
    from slow_disk import SlowDisk

#: Of the same size in twos.
FILES = {
    "a.txt": b"A" * 100,
    "b.txt": b"B" * 100,
    "one.safetensors": noise(700_000, "one"),
    "two.safetensors": noise(700_000, "two"),
}

#: Where what is noted of files is.
NOTES = Path(".cache", "huggingface", "download")

#: Ways to have another content in a file's place, of the same size, with a time that is no later.
CHANGES: dict[str, Callable[[Path, str, str], None]] = {}


def change(function: Callable[[Path, str, str], None]) -> Callable[[Path, str, str], None]:
    """Makes it one of the ways."""
    CHANGES[function.__name__.strip("_")] = function
    return function


@change
def _swapped(out: Path, one: str, other: str) -> None:
    (out / one).rename(out / "aside")
    (out / other).rename(out / one)
    (out / "aside").rename(out / other)


@change
def _moved(out: Path, one: str, other: str) -> None:
    (out / other).rename(out / one)


@change
def _linked(out: Path, one: str, other: str) -> None:
    (out / one).unlink()
    os.link(out / other, out / one)


@change
def _copied(out: Path, one: str, other: str) -> None:
    shutil.copy2(out / other, out / "aside")
    (out / "aside").replace(out / one)


@change
def _written(out: Path, one: str, other: str) -> None:
    before = (out / one).stat()
    (out / one).write_bytes((out / other).read_bytes())
    os.utime(out / one, ns=(before.st_atime_ns, before.st_mtime_ns))


@change
def _old(out: Path, one: str, other: str) -> None:
    (out / one).write_bytes((out / other).read_bytes())
    os.utime(out / one, (1, 1))


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with pairs of files that only their content tells apart."""
    return publish(hub, FILES)[0]


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    """A client that has the Hub."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        yield client


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A local folder."""
    return tmp_path / "out"


def is_right(out: Path) -> bool:
    """Whether each file has its own content."""
    return {name: (out / name).read_bytes() for name in FILES} == FILES


def as_official(out: Path, time: object) -> None:
    """Leaves what huggingface_hub notes, with this time."""
    notes = list((out / NOTES).glob("*.metadata"))
    assert len(notes) >= len(FILES)
    for note in notes:
        commit, etag, _ = note.read_text().splitlines()
        note.write_text(f"{commit}\n{etag}\n{time}\n")
    for note in (out / NOTES).glob("*.verified"):
        note.unlink()


@pytest.mark.parametrize("pair", [("a.txt", "b.txt"), ("one.safetensors", "two.safetensors")])
@pytest.mark.parametrize("how", CHANGES)
def test_other_content_is_noticed(
    repo: str, client: Client, out: Path, how: str, pair: tuple[str, str]
) -> None:
    """Offline and online, however soon after the download."""
    client.download_snapshot(repo, local_dir=out)
    CHANGES[how](out, *pair)
    with pytest.raises(LocalEntryNotFoundError, match=pair[0]):
        client.download_snapshot(repo, local_dir=out, local_files_only=True)
    with pytest.raises(LocalEntryNotFoundError):
        client.download_file(repo, pair[0], local_dir=out, local_files_only=True)
    client.download_snapshot(repo, local_dir=out)
    assert is_right(out)


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize(
    "noted", ["now", "inf", "-inf", "nan", "1e308", "9999999999", "-1", "0", "soon", ""]
)
def test_what_the_official_client_notes_vouches_for_a_hash(
    repo: str, client: Client, out: Path, how: str, noted: str
) -> None:
    """Not for a file, whatever time it names."""
    client.download_snapshot(repo, local_dir=out)
    as_official(out, time.time() if noted == "now" else noted)
    CHANGES[how](out, "a.txt", "b.txt")
    with pytest.raises(LocalEntryNotFoundError):
        client.download_file(repo, "a.txt", local_dir=out, local_files_only=True)
    with pytest.raises(LocalEntryNotFoundError):
        client.download_snapshot(repo, local_dir=out, local_files_only=True)
    client.download_snapshot(repo, local_dir=out)
    assert is_right(out)


#: A download, with or without the network.
DOWNLOAD = """
import sys
from xet_ffi import Client
endpoint, repo, folder, only = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=folder + "/cache") as client:
    client.download_snapshot(repo, local_dir=folder + "/out", local_files_only=only == "only")
"""


def test_a_file_is_hashed_once(hub: Hub, repo: str, disk: SlowDisk) -> None:
    """One that we have brought in, never; one of huggingface_hub's, at our first look."""

    def opened(only: str) -> int:
        disk.forget()
        disk.run(DOWNLOAD, hub.endpoint, repo, str(disk.folder), only)
        return sum(disk.count("open", path=disk.folder / "out" / name) for name in FILES)

    opened("")
    assert opened("") == 0
    assert opened("only") == 0
    for only in ("", "only"):
        for name in FILES:
            os.utime(disk.folder / "out" / name, (1, 1_600_000_000))
        as_official(disk.folder / "out", time.time())
        hub.reset_stats()
        assert opened(only) == len(FILES)
        assert hub.stats().bytes_sent("storage") == 0
        assert opened(only) == 0
        assert opened("only" if only == "" else "") == 0


def test_a_copy_of_a_folder_is_good(hub: Hub, repo: str, client: Client, tmp_path: Path) -> None:
    """With other inodes and times, by the hash; nothing is fetched."""
    client.download_snapshot(repo, local_dir=tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "out")
    hub.reset_stats()
    client.download_snapshot(repo, local_dir=tmp_path / "out", local_files_only=True)
    client.download_snapshot(repo, local_dir=tmp_path / "out")
    assert hub.stats().bytes_sent("storage") == 0
    assert is_right(tmp_path / "out")


def test_a_note_that_is_damaged_is_none(hub: Hub, repo: str, client: Client, out: Path) -> None:
    """It costs a hash."""
    client.download_snapshot(repo, local_dir=out)
    note = out / NOTES / "a.txt.verified"
    good = note.read_bytes()
    hub.reset_stats()
    for bad in [b"", good[:-1], good[:20], good + good, b"\xff" * 100, good.replace(b" ", b"\n")]:
        note.write_bytes(bad)
        client.download_snapshot(repo, local_dir=out)
    note.unlink()
    note.mkdir()
    client.download_snapshot(repo, local_dir=out)
    assert hub.stats().bytes_sent("storage") == 0


#: Downloads, changes the files at once, and downloads again; several times.
ROUNDS = """
import os, sys
from pathlib import Path
from xet_ffi import Client
endpoint, repo, folder, how = sys.argv[1:]
for i in range(3):
    out = Path(folder, f"out{i}")
    with Client(endpoint, token=False, cache_dir=folder + "/cache") as client:
        client.download_snapshot(repo, local_dir=out)
        before = {path: path.read_bytes() for path in out.glob("*") if path.is_file()}
        a, b = out / "a.txt", out / "b.txt"
        if how == "swapped":
            a.rename(out / "aside")
            b.rename(a)
            (out / "aside").rename(b)
        else:
            a.write_bytes(before[b])
        client.download_snapshot(repo, local_dir=out)
        assert {path: path.read_bytes() for path in out.glob("*") if path.is_file()} == before
"""

LIES = ["inode", "inodes", "seconds", "seconds,change", "inode,seconds", "inode,seconds,change"]


@pytest.mark.parametrize("how", ["swapped", "written"])
@pytest.mark.parametrize("utime", [True, False], ids=["utime", "no utime"])
@pytest.mark.parametrize("lies", LIES)
def test_no_lie_of_a_file_system_vouches_for_other_content(
    hub: Hub, repo: str, disk: SlowDisk, lies: str, utime: bool, how: str
) -> None:
    """One inode for all, another one each time, whole seconds, times that can't be set."""
    disk.rule("stat", "fstat", lies=lies)
    if not utime:
        disk.rule("utime", error=38)
    disk.run(ROUNDS, hub.endpoint, repo, str(disk.folder), how)
