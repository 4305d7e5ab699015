"""Folders that are elsewhere, were moved, or can't be written to or read."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import noise
from small_disk import mount, small_file_system
from world.stage import TOKEN, publish
from xet_ffi import Client, cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hub import Hub

SIZE = 3_000_000
FILES = {"config.json": b"{}", "model.safetensors": noise(SIZE, "folders")}


def sizes(paths: Iterable[Path]) -> set[int]:
    """Those of the files that are still there when they are looked at."""
    found = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found.add(path.stat().st_size)
    return found


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with the files."""
    return publish(hub, FILES)[0]


def is_right(folder: Path) -> bool:
    """Whether all files are there, with their content."""
    return all((folder / name).read_bytes() == content for name, content in FILES.items())


@pytest.mark.parametrize("full", [False, True])
def test_what_the_index_does_not_keep_is_not_said_to_be_indexed(
    hub: Hub, repo: str, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """On a disk that may not be written to, or has no room."""
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.download_snapshot(repo)
    with small_file_system(1) as disk:
        monkeypatch.setenv("HF_XET_CACHE", str(disk / "xet"))
        if full:
            (disk / "filler").write_bytes(bytes((1 << 20) - (4 << 10)))
        else:
            assert mount("-o", "remount,ro", str(disk)) == ""
        report = cache.index(endpoint=hub.endpoint, token=TOKEN.secret)
        assert (report.files, report.bytes) == (0, 0)
        (left_out,) = report.items
        assert "can't be written to" in left_out.reason


def test_an_index_that_cannot_be_made_anew_is_an_error(
    hub: Hub, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the old one would pass for the new one."""
    with small_file_system(8) as disk:
        monkeypatch.setenv("HF_XET_CACHE", str(disk / "xet"))
        with Client(hub.endpoint, TOKEN.secret) as client:
            client.download_snapshot(repo)
        assert mount("-o", "remount,ro", str(disk)) == ""
        with pytest.raises(OSError, match="reuse index"):
            cache.index(endpoint=hub.endpoint, token=TOKEN.secret, rebuild=True)


@pytest.mark.parametrize("name", ["refs", ".xet"])
def test_a_part_of_the_cache_may_be_on_another_disk(
    hub: Hub, repo: str, tmp_path: Path, name: str
) -> None:
    """What a revision stands for is remembered all the same."""
    folder = tmp_path / "cache" / f"models--{repo.replace('/', '--')}"
    folder.mkdir(parents=True)
    with small_file_system(16) as disk:
        (folder / name).symlink_to(disk)
        with Client(hub.endpoint, TOKEN.secret, cache_dir=tmp_path / "cache") as client:
            commit = client.download_snapshot(repo).commit
        assert (folder / "refs" / "main").read_text() == commit
        with Client(
            hub.endpoint, token=False, cache_dir=tmp_path / "cache", offline=True
        ) as client:
            assert is_right(Path(client.download_snapshot(repo).path))


@pytest.mark.parametrize("noted", [True, False])
def test_a_plan_knows_that_a_file_was_edited(
    hub: Hub, repo: str, tmp_path: Path, noted: bool
) -> None:
    """By its content, as the download does, although its size is right."""
    local = tmp_path / "local"
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.download_snapshot(repo, local_dir=local)
        if not noted:
            shutil.rmtree(local / ".cache")
        assert client.plan_snapshot(repo, local_dir=local).bytes_present >= SIZE
        with (local / "model.safetensors").open("r+b") as file:
            file.write(b"edited")
        plan = client.plan_snapshot(repo, local_dir=local)
        assert plan.disk_need >= SIZE
        client.download_snapshot(repo, local_dir=local)
    assert is_right(local)


def rename(folder: Path, to: Path) -> None:
    """On the same disk."""
    folder.rename(to)


def copy(folder: Path, to: Path) -> None:
    """With new times, and without the first one afterwards."""
    shutil.copytree(folder, to, copy_function=shutil.copyfile)
    shutil.rmtree(folder)


@pytest.mark.parametrize("move", [rename, copy])
def test_a_folder_that_was_moved_is_used_for_others(
    hub: Hub, repo: str, tmp_path: Path, move: Callable[[Path, Path], None]
) -> None:
    """Once a call has found its files right."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.download_snapshot(repo, local_dir=first)
        move(first, second)
        past = second.stat().st_mtime - 100
        os.utime(second / "model.safetensors", (past, past))
        assert client.download_snapshot(repo, local_dir=second).bytes_network == 0
        got = client.download_snapshot(repo, local_dir=third)
    assert got.bytes_network < 10_000
    assert is_right(third)


def test_a_right_folder_that_may_not_be_written_to_is_all_that_is_needed(
    hub: Hub, repo: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is noted of its files, so their hashes tell."""
    with small_file_system(16) as disk, Client(hub.endpoint, TOKEN.secret) as client:
        client.download_snapshot(repo, local_dir=disk)
        shutil.rmtree(disk / ".cache")
        assert mount("-o", "remount,ro", str(disk)) == ""
        for _ in range(2):
            assert client.download_snapshot(repo, local_dir=disk).bytes_network == 0
        assert client.download_file(repo, "config.json", local_dir=disk).bytes_network == 0
        assert is_right(disk)
    assert caplog.text.count("they are hashed each time") == 1


#: Downloads, and is killed when the file has its name.
TO_BE_KILLED = """
import sys
from xet_ffi import Client
with Client(sys.argv[1], sys.argv[2], cache_dir=sys.argv[4]) as client:
    client.download_snapshot(sys.argv[3])
"""


def test_a_file_whose_call_was_killed_is_used_for_others(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """Once a call has met it: it may have got its name, and not its entry in the index."""
    command = [sys.executable, "-c", TO_BE_KILLED, hub.endpoint, TOKEN.secret, repo]
    for attempt in range(4):
        first = tmp_path / f"first{attempt}"
        killed = subprocess.Popen([*command, str(first)])
        while killed.poll() is None:
            if SIZE in sizes(first.glob("models--*/blobs/*")):
                killed.kill()
        with Client(hub.endpoint, TOKEN.secret, cache_dir=first) as client:
            client.download_snapshot(repo)
        with Client(hub.endpoint, TOKEN.secret, cache_dir=tmp_path / f"other{attempt}") as client:
            assert client.download_snapshot(repo).bytes_network < 10_000
        shutil.rmtree(tmp_path / "home" / "xet")
