"""The Xet cache: damaged and foreign files in it, and none at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hub import Hub
from published import noise
from slow_disk import SlowDisk
from world.stage import TOKEN
from world.test_accounts import as_nobody, open_folder
from xet_ffi import Client

__all__ = ["open_folder"]

SIZE = 900_000

#: Uploads a file of which storage has a half, and says how it ended. With the cache's log.
UPLOAD = """
import logging, sys
from xet_ffi import Client
logging.basicConfig(format="%(levelname)s %(message)s", level="WARNING", stream=sys.stderr)
endpoint, token, repo, path = sys.argv[1:]
with Client(endpoint, token) as client:
    for name in ("first.bin", "second.bin"):
        commit = client.upload_file(path, name, repo)
    print(client.download_file(repo, "second.bin").path, commit.bytes_new)
"""


@pytest.fixture
def repo(hub: Hub) -> str:
    """An empty repo."""
    repo_id = f"alice/xet-{os.urandom(6).hex()}"
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.create_repo(repo_id)
    return repo_id


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Xet cache of this process and those it starts."""
    folder = tmp_path / "xet"
    monkeypatch.setenv("HF_XET_CACHE", str(folder))
    return folder


def fill(hub: Hub, repo: str, cache: Path) -> list[Path]:
    """Uploads something, and returns the shards that are in the cache then.

    There is one as broken uploads leave them, too.
    """
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.upload_file(noise(SIZE, f"{repo}/old"), "old.bin", repo)
        client.download_file(repo, "old.bin")
    [shard] = cache.rglob("*.mdb")
    [left] = cache.rglob("xorb_metadata")
    shutil.copy(shard, left)
    return sorted([shard, left / shard.name])


def upload(hub: Hub, repo: str, tmp_path: Path) -> tuple[int, str]:
    """In a process of its own, which must live; how much was new, and the log."""
    content = noise(SIZE, f"{repo}/old")[: SIZE // 2] + noise(
        SIZE // 2, f"{repo}/{os.urandom(4)!r}"
    )
    path = tmp_path / "content"
    path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD, hub.endpoint, TOKEN.secret, repo, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    place, new = done.stdout.split()
    assert Path(place).read_bytes() == content
    return int(new), done.stderr


def flip(path: Path, at: int) -> None:
    """Turns the highest bit of a byte."""
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 0x80
    path.write_bytes(content)


def replace(path: Path, what: str) -> None:
    """Puts something in its place that is no file."""
    path.unlink()
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name)


def end_with(path: Path, cut: int, more: bytes = b"") -> None:
    """Takes bytes off the end, and adds others."""
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - cut, 0)] + more)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "header": partial(flip, at=3),
    "newer version": partial(flip, at=32),
    "middle": lambda path: flip(path, path.stat().st_size // 2),
    # The footer: how many entries there are, and where.
    **{f"footer {n}": partial(flip, at=-200 + 8 * n + 6) for n in range(10)},
    "cut": partial(end_with, cut=1),
    "empty": partial(end_with, cut=1 << 20),
    "garbage": partial(end_with, cut=1 << 20, more=os.urandom(5000)),
    "longer": partial(end_with, cut=0, more=b"\0"),
    "a folder": partial(replace, what="a folder"),
    "a pipe": partial(replace, what="a pipe"),
    "a loop": partial(replace, what="a loop"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_named_and_done_without(
    hub: Hub, repo: str, cache: Path, tmp_path: Path, damage: str
) -> None:
    """The process lives, and the upload succeeds."""
    shards = fill(hub, repo, cache)
    for shard in shards:
        DAMAGES[damage](shard)
    _, log = upload(hub, repo, tmp_path)
    assert all(shard.name in log for shard in shards)
    assert "discarding a shard" in log
    # What was sound by then is used.
    new, log = upload(hub, repo, tmp_path)
    assert new < SIZE
    assert log.count("discarding") == (2 if damage == "a folder" else 0)


@pytest.mark.parametrize("what", ["index", "folders", "cache", "garbage"])
def test_foreign_things_in_the_cache_fail_no_upload(
    hub: Hub, repo: str, cache: Path, tmp_path: Path, what: str
) -> None:
    """Files in place of folders, folders in place of files, other files."""
    fill(hub, repo, cache)
    if what == "index":
        for path in (cache / "xet-ffi").iterdir():
            path.write_bytes(os.urandom(100_000))
    elif what == "folders":
        for folder in [*cache.rglob("shard-cache"), *cache.rglob("staging")]:
            folder.rename(tmp_path / folder.name)
            folder.write_text("not a folder")
    elif what == "cache":
        cache.rename(tmp_path / "moved")
        cache.write_text("not a folder")
    else:
        for folder in [path for path in cache.rglob("*") if path.is_dir()]:
            (folder / "README").write_text("?")
            (folder / ("a" * 64)).mkdir()
            (folder / "token").write_bytes(os.urandom(99))
    upload(hub, repo, tmp_path)


def test_shards_that_storage_knows_nothing_of_are_found_out(
    hub: Hub, repo: str, cache: Path, tmp_path: Path
) -> None:
    """They are sound, but of another storage, or of one that has lost something since."""
    fill(hub, repo, cache)
    with Hub.start(tmp_path / "other", [TOKEN]) as other:
        with Client(other.endpoint, TOKEN.secret) as client:
            client.create_repo(repo)
            client.upload_file(noise(SIZE, f"{repo}/first"), "first.bin", repo)
        [theirs, ours] = sorted(cache.rglob("shard-cache"), key=lambda at: at.stat().st_ctime)
        for shard in theirs.glob("*.mdb"):
            shutil.copy(shard, ours)
        _, log = upload(other, repo, tmp_path)
        assert "uploading again without the Xet cache" in log
        assert all(shard.name in log for shard in theirs.glob("*.mdb"))
        assert not any((ours / shard.name).exists() for shard in theirs.glob("*.mdb"))
        assert "discarding" not in upload(other, repo, tmp_path)[1]


def test_what_was_sent_before_it_was_found_out_is_not_sent_again(
    hub: Hub, repo: str, cache: Path, tmp_path: Path
) -> None:
    """Xorbs that storage has taken are good, whatever else was known."""
    fill(hub, repo, cache)
    known = noise(SIZE, f"{repo}/old")
    new = noise(100 << 20, f"{repo}/new")
    with Hub.start(tmp_path / "other", [TOKEN]) as other:
        with Client(other.endpoint, TOKEN.secret) as client:
            client.create_repo(repo)
            client.upload_file(noise(SIZE, f"{repo}/first"), "first.bin", repo)
            [theirs, ours] = sorted(cache.rglob("shard-cache"), key=lambda at: at.stat().st_ctime)
            for shard in theirs.glob("*.mdb"):
                shutil.copy(shard, ours)
        other.reset_stats()
        with Client(other.endpoint, TOKEN.secret) as client:
            commit = client.upload_file(new + known, "new.bin", repo)
            place = client.download_file(repo, "new.bin", local_dir=tmp_path / "d")
            assert Path(place).read_bytes() == new + known
        assert commit.bytes_new == len(new) + len(known)
        received = other.stats().raw["xorb_bytes_received"]
        assert len(new) + len(known) <= received < len(new) + len(known) + (1 << 20)
        assert commit.bytes_sent < len(new) + len(known) + (2 << 20)
        assert commit.xorbs == other.stats().xorbs_received


def places(cache: Path) -> list[Path]:
    """Folders in which uploads have put together what broken ones have left."""
    [sessions] = cache.rglob("shard-session")
    return [path for path in sessions.iterdir() if path.name != "xorb_metadata"]


def test_what_a_killed_upload_has_left_is_swept(
    hub: Hub,
    repo: str,
    cache: Path,
    tmp_path: Path,
    running: list[subprocess.Popen[str]],
) -> None:
    """By the next one, once it's dead, and not before."""
    fill(hub, repo, cache)
    path = tmp_path / "stuck"
    path.write_bytes(os.urandom(SIZE))
    hub.fault("storage", method="PUT", times=1, stall_before=50)
    command = [sys.executable, "-c", UPLOAD, hub.endpoint, TOKEN.secret, repo, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.append(process)
    hub.wait_for(lambda stats: stats.in_flight("storage") == 1, "an upload that is stuck")
    held = places(cache)
    assert held
    upload(hub, repo, tmp_path)
    assert set(places(cache)) >= set(held)
    process.kill()
    process.wait()
    upload(hub, repo, tmp_path)
    assert places(cache) == []


def test_damage_under_a_clients_hands_is_noticed(hub: Hub, repo: str, cache: Path) -> None:
    """What was looked at once is looked at again if it has changed since."""
    with Client(hub.endpoint, TOKEN.secret) as client:
        for number in range(6):
            content = noise(SIZE, f"{repo}/{number}")
            client.upload_file(content, f"{number}.bin", repo)
            for shard in cache.rglob("*.mdb"):
                flip(shard, -200 + 8 * number + 6)
        assert Path(client.download_file(repo, "5.bin").path).read_bytes() == content


def test_each_of_many_uploads_opens_as_many_files_as_the_first(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """What one upload of a client has read, the next one doesn't read again."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "xet")
    program = """
import os, sys
from xet_ffi import Client
endpoint, token, repo, marks = sys.argv[1:]
with Client(endpoint, token) as client:
    for number in range(30):
        client.upload_file(os.urandom(600_000), "x.bin", repo)
        open(f"{marks}/{number}", "w").close()
"""
    marks = disk.folder / "marks"
    marks.mkdir()
    environment = {**os.environ, **disk.environment(), "HF_XET_CACHE": str(disk.folder)}
    arguments = [hub.endpoint, TOKEN.secret, repo, str(marks)]
    subprocess.run([sys.executable, "-c", program, *arguments], env=environment, check=True)
    opened = [0]
    for call in disk.calls("open"):
        if Path(call.path).parent == marks:
            opened.append(0)
        elif call.path.endswith(".mdb"):
            opened[-1] += 1
    assert len(opened) == 31
    assert max(opened[2:30]) == min(opened[2:30]), opened


def test_without_a_xet_cache_uploads_work(hub: Hub, repo: str, open_folder: Path) -> None:
    """An account without a home, and a Xet cache that it can't write to: a place of its own."""
    locked = open_folder / "xet"
    locked.mkdir(mode=0o755)
    folder = open_folder / "tmp"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    done = as_nobody(
        f"""
os.environ["RUST_LOG"] = "warn"
os.environ["TMPDIR"] = {str(folder)!r}
os.environ["HF_XET_CACHE"] = {str(locked)!r}
with Client({hub.endpoint!r}, {TOKEN.secret!r}, {str(open_folder / "hub")!r}) as client:
    for content in (b"new" * 300_000, io.BytesIO(b"stream" * 1_000_000)):
        client.upload_file(content, "new.bin", {repo!r})
        print(len(open(client.download_file({repo!r}, "new.bin"), "rb").read()))
print(os.listdir({str(folder)!r}))
"""
    )
    assert (done.stdout, done.returncode) == ("900000\n6000000\n[]\n", 0), done.stderr
    assert done.stderr.count("HF_XET_CACHE") == 1
    assert "belongs to user 0" in done.stderr


@pytest.mark.parametrize("content", ["b'new' * 300_000", "io.BytesIO(bytes(5_000_000))"])
def test_the_way_out_is_named_where_there_is_no_place(hub: Hub, repo: str, content: str) -> None:
    """Neither the Xet cache nor a temporary folder can be written to."""
    done = as_nobody(
        f"""
os.environ["TMPDIR"] = "/nonexistent"
os.environ["HF_XET_CACHE"] = "/proc/xet"
with Client({hub.endpoint!r}, {TOKEN.secret!r}, "/nonexistent/hub") as client:
    client.upload_file({content}, "new.bin", {repo!r})
"""
    )
    assert done.returncode == 1
    assert "HF_XET_CACHE or HF_HOME" in done.stderr.splitlines()[-1]
