"""Cases of `world.py`: odd file systems, foreign files, names, and folders to upload."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from setting import ALICE, Case, Job, World, noise

import odd_disk
from slow_disk import SlowDisk

#: Refusals of a single kind of call: the calls, and how they fail.
REFUSALS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "9. statvfs says 0 of 0": (("statfs",), {"pretend": True}),
    "10. flock fails with EBADF": (("flock", "lock"), {"error": errno.EBADF}),
    "10. flock fails with EACCES, for ever": (("flock", "lock"), {"error": errno.EACCES}),
    "12. symlink fails with EPERM": (("symlink",), {"error": errno.EPERM}),
    "12. fdatasync fails with EINVAL": (("fsync", "fdatasync"), {"error": errno.EINVAL}),
    "12. chmod fails with EPERM": (("chmod",), {"error": errno.EPERM}),
    "12. rename over an open file fails with EBUSY": (
        ("rename",),
        {"error": errno.EBUSY, "only": "there"},
    ),
}

#: What is uploaded from a folder with more than files in it.
FOLDER = {"a.txt": b"a\n", "linked/b.txt": b"b\n"}


@contextmanager
def odd(world: World, name: str) -> Iterator[Job]:
    """The cache is on an odd disk; a kind, or a single refusal."""
    repo, files = world.model()
    # The disk is all of the scratch folder: the client's home is there, too.
    disk = SlowDisk(world.folder(), world.scratch)
    if name in REFUSALS:
        calls, how = REFUSALS[name]
        disk.rule(*calls, **how)
    else:
        odd_disk.make(disk, name)
    yield Job("snapshot", world.hub.endpoint, repo, files, env=disk.environment())


@contextmanager
def homeless(world: World) -> Iterator[Job]:
    """No home folder; the cache is named in the call."""
    repo, files = world.model()
    without = ("HOME", "HF_HOME", "XDG_CACHE_HOME")
    yield Job("snapshot", world.hub.endpoint, repo, files, without=without)


@contextmanager
def shards(world: World) -> Iterator[Job]:
    """A bit of each shard in the Xet cache is flipped before an upload."""
    repo, _ = world.model()
    place = world.folder() / "content"
    content = noise(700_000, repo)
    place.write_bytes(content)

    def first(home: Path) -> None:
        import subprocess
        import sys

        # Whoever goes first fills the cache; both keep shards in the same form.
        program = (
            "import sys; from xet_ffi import Client\n"
            "Client(sys.argv[1], sys.argv[2]).upload_file(sys.argv[4], 'old.bin', sys.argv[3])"
        )
        old = place.with_name("old")
        old.write_bytes(noise(700_000, f"{repo}/old"))
        command = [sys.executable, "-c", program, world.hub.endpoint, ALICE.secret, repo, str(old)]
        subprocess.run(command, env={**os.environ, "HF_HOME": str(home)}, check=True)
        found = list(home.rglob("*.mdb"))
        assert found, "no shard to damage"
        for shard in found:
            damaged = bytearray(shard.read_bytes())
            damaged[len(damaged) - 200 + 14] ^= 0x80
            shard.write_bytes(damaged)

    files = {"new.bin": content}
    yield Job("upload", world.hub.endpoint, repo, files, ALICE.secret, place, first=first)


@contextmanager
def named(world: World, name: str) -> Iterator[Job]:
    """One odd path in a listing."""
    repo, files = world.model()
    world.hub.plant(repo, [{"path": name, "content": "odd"}])
    yield Job("snapshot", world.hub.endpoint, repo, files)


@contextmanager
def loops(world: World) -> Iterator[Job]:
    """A folder to upload, with link loops, a pipe and a linked folder."""
    repo, _ = world.model()
    stage = world.folder()
    folder, beside = stage / "up", stage / "beside"
    folder.mkdir()
    beside.mkdir()
    (folder / "a.txt").write_bytes(FOLDER["a.txt"])
    (beside / "b.txt").write_bytes(FOLDER["linked/b.txt"])
    (folder / "linked").symlink_to(beside)
    (folder / "here").symlink_to(".")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    yield Job("folder", world.hub.endpoint, repo, FOLDER, ALICE.secret, folder)


@contextmanager
def changed(world: World) -> Iterator[Job]:
    """A file of a local folder has other bytes, and the Hub is down."""
    repo, files = world.model()
    place = world.folder() / "out"

    def first(_: Path) -> None:
        from huggingface_hub import snapshot_download

        snapshot_download(repo, local_dir=place, endpoint=world.hub.endpoint, token=False)
        (place / "large.bin").write_bytes(noise(300_000, "other"))
        world.hub.fault("any", status=503)

    yield Job("local", world.hub.endpoint, repo, files, place=place, first=first)


@contextmanager
def shipped(world: World) -> Iterator[Job]:
    """A repo ships a file where the clients keep what they know of a local folder's files."""
    repo, files = world.model()
    path = ".cache/huggingface/download/large.bin.metadata"
    world.hub.plant(repo, [{"path": path, "content": f"{'0' * 40}\n{'0' * 64}\n9999999999\n"}])
    yield Job("local", world.hub.endpoint, repo, files, place=world.folder() / "out")


CASES: dict[str, Case] = {
    **{name: partial(odd, name=name) for name in REFUSALS},
    **{f"10, 12. a disk as {kind}'s": partial(odd, name=kind) for kind in odd_disk.KINDS},
    "11. no home folder, the cache named": homeless,
    "13. shards with a flipped bit, then an upload": shards,
    **{f"14. `{name}` in a listing": partial(named, name=name) for name in ["T:0.json", "/abs"]},
    "15. link loops, a pipe and a linked folder": loops,
    "16. a local file has changed, the Hub is down": changed,
    "16. a repo ships `large.bin.metadata`": shipped,
}
