"""Cases of `world.py`: servers out of reach, slow lines, and limits of requests."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from setting import ALICE, MIB, Case, Job, World, noise

from hub import Stats
from out_of_reach import out_of_reach

#: Files of a repo whose storage is out of reach.
COUNT, SIZE = 100, 600 << 10

#: Kilobytes per second of a slow line, and what is sent over it: some 80 s' worth.
RATE, SLOW_SIZE = 150, 12 * MIB

#: The same of the slowest one, for a commit: text, which travels in the commit itself.
SLOWEST, COMMIT_SIZE = 32, 1_600_000

#: Seconds that a Hub asks for.
PAUSE = 20

#: Plain files, of which one may be poisoned.
PLAIN = 302

#: What storage answers for the content of Xet files.
ANSWERS: dict[str, dict[str, Any]] = {
    "403": {"status": 403},
    "503": {"status": 503},
    "silence": {"stall_before": 3600},
    "silence in mid-body": {"stall_after_bytes": 100},
}


def storage_requests(stats: Stats) -> str:
    """How often storage was asked, where it can tell."""
    return f"{stats.requests('storage')} storage requests"


@contextmanager
def storage(world: World, way: str) -> Iterator[Job]:
    """Xet's storage is out of reach, the plain bytes are not."""
    repo, files = world.many(COUNT, SIZE)
    with out_of_reach(world.hub, way):
        if way in ANSWERS:
            world.hub.fault("storage", path_regex="^/xorbs/", **ANSWERS[way])
        yield Job("snapshot", world.hub.endpoint, repo, files, tell=storage_requests)


@contextmanager
def cas(world: World, way: str) -> Iterator[Job]:
    """An upload whose CAS is out of reach."""
    repo, _ = world.model()
    # New for each client, or the second one needn't send it.
    content = noise(SIZE, repo)
    place = world.folder() / "content"
    place.write_bytes(content)
    with out_of_reach(world.hub, way, origin="cas"):
        yield Job("upload", world.hub.endpoint, repo, {"new.bin": content}, ALICE.secret, place)


@contextmanager
def slow(world: World, way: str) -> Iterator[Job]:
    """A line that moves, slowly."""
    hub = world.hub
    upstream = way != "down"
    rate, size = (SLOWEST, COMMIT_SIZE) if way == "commit" else (RATE, SLOW_SIZE)
    # New for each client, or the second one needn't send it.
    fresh = noise(size, str(world.folder()))
    content = fresh[: size // 2].hex().encode() if way == "commit" else fresh
    name = {"commit": "new.txt", "down": "model.bin"}.get(way, "new.bin")
    repo = world.publish({name: content} if way == "down" else {"config.json": b"{}"})
    if way == "lfs":
        hub.set_settings(repo, xet=False)
    place = world.folder() / "content"
    place.write_bytes(content)
    wires = world.toxiproxy.wires(hub)
    for wire in wires.values():
        wire.add("bandwidth", upstream=upstream, rate=rate)
    task = {"commit": "text", "down": "snapshot"}.get(way, "upload")
    token = ALICE.secret if upstream else False
    try:
        job = Job(task, wires["hub"].url, repo, {name: content}, token, place, tell=puts)
        # Where a repo has no Xet, hf_xet must be told so.
        job.env = {"HF_HUB_DISABLE_XET": "1"} if way == "lfs" else {}
        yield job
    finally:
        hub.announce()


def puts(stats: Stats) -> str:
    """How often content was sent."""
    up = stats.requests("cas", "xorb") + stats.lfs_puts
    down = stats.bytes_sent("storage") / MIB
    return f"{stats.requests('hub', 'commit')} commits, {up} bodies up, {down:.1f} MiB down"


@contextmanager
def limited(world: World, how: str) -> Iterator[Job]:
    """A Hub that has had enough for a while."""
    repo, files = world.model()
    headers = {
        "seconds": {"Retry-After": str(PAUSE)},
        "a date": {"Retry-After": email.utils.formatdate(time.time() + PAUSE, usegmt=True)},
        "nothing": {},
    }[how]
    times = 6 if how == "nothing" else 1
    world.hub.fault("resolve", times=times, status=429, headers=headers)
    yield Job("snapshot", world.hub.endpoint, repo, files)


@contextmanager
def limited_commit(world: World) -> Iterator[Job]:
    """The same for a commit, which is to be made once."""
    repo, _ = world.model()
    content = b"text\n"
    place = world.folder() / "content"
    place.write_bytes(content)
    world.hub.fault("commit", times=1, status=429, headers={"Retry-After": str(PAUSE)})
    yield Job("text", world.hub.endpoint, repo, {"new.txt": content}, ALICE.secret, place)


@contextmanager
def poisoned(world: World) -> Iterator[Job]:
    """One file of many is always refused."""
    files = {f"{i}.txt": f"{i}\n".encode() for i in range(PLAIN)}
    repo = world.publish(files)
    world.hub.fault("resolve", path_regex="/150[.]txt$", status=429)
    yield Job("snapshot", world.hub.endpoint, repo, files)


@contextmanager
def behind(world: World) -> Iterator[Job]:
    """The old commit is here, the Hub has a newer one, and asks for a second's patience."""
    repo, files = world.model()
    newer = {**files, "config.json": b'{"newer": 1}'}
    place = world.folder()

    def first(_: object) -> None:
        from huggingface_hub import snapshot_download

        snapshot_download(repo, local_dir=place, endpoint=world.hub.endpoint, token=False)
        world.commit(repo, {"config.json": newer["config.json"]})
        world.hub.fault("revision", times=1, status=429, headers={"Retry-After": "1"})

    yield Job("local", world.hub.endpoint, repo, newer, place=place, first=first)


CASES: dict[str, Case] = {
    **{
        f"1. {COUNT} Xet files of 600 KiB, storage: {way}": partial(storage, way=way)
        for way in ["refused", "dropped", "unknown host", "not TLS", *ANSWERS]
    },
    "2. Xet up at 150 KB/s, 12 MiB": partial(slow, way="xet"),
    "2. LFS up at 150 KB/s, 12 MiB": partial(slow, way="lfs"),
    "2. Xet down at 150 KB/s, 12 MiB": partial(slow, way="down"),
    "2. a commit of 1.6 MB at 32 KB/s": partial(slow, way="commit"),
    f"3. one 429 with {PAUSE} s": partial(limited, how="seconds"),
    f"3. one 429 with a date in {PAUSE} s": partial(limited, how="a date"),
    "3. six 429 that don't say for how long": partial(limited, how="nothing"),
    f"3. a commit meets one 429 with {PAUSE} s": limited_commit,
    f"3. one file of {PLAIN} is always refused (429)": poisoned,
    "3. a commit is here, a newer one on the Hub; one 429 with 1 s": behind,
    **{
        f"6. an upload whose CAS is out of reach: {way}": partial(cas, way=way)
        for way in ["refused", "dropped", "unknown host", "not TLS"]
    },
}
