"""What another client, or a lost journal, has left of a file is taken up as far as it is right."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from huggingface_hub import HfApi

from published import MIB, noise, publish
from xet_ffi import CancelledError, Client, Progress, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub

SIZE = 32 * MIB
CONTENT = {"xet": noise(SIZE, "leftovers/xet"), "lfs": noise(SIZE, "leftovers/lfs")}
NAME = "weights.bin"

#: What may be sent beyond what was missing: chunks that were cut, and answers nobody waits for.
A_LITTLE = MIB

#: Seconds until a download that doesn't get on is a failure.
DEADLINE = 60.0

Place = Literal["cache", "local"]
Transport = Literal["auto", "xet"]

#: The official client, over plain HTTP, until it is killed.
OFFICIAL = """
import sys
from huggingface_hub import hf_hub_download

endpoint, cache, repo, name, *local_dir = sys.argv[1:]
hf_hub_download(repo, name, endpoint=endpoint, token=False, cache_dir=cache,
                local_dir=local_dir[0] if local_dir else None)
"""


@pytest.fixture(scope="module")
def repos(_session_hub: Hub) -> dict[str, str]:
    """For each kind of storage, a repo with one large file in it."""
    api = HfApi(endpoint=_session_hub.endpoint, token="hf_alice_secret")
    for kind, content in CONTENT.items():
        publish(api, f"alice/leftovers-{kind}", {NAME: content}, lfs=kind == "lfs")
    return {kind: f"alice/leftovers-{kind}" for kind in CONTENT}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Looks again and again."""
    end = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        pause.wait(0.01)


def incomplete(folder: Path) -> list[Path]:
    """What the official client is writing, or has left."""
    return list(folder.rglob("*.incomplete"))


def kill_official(hub: Hub, repo: str, folder: Path, place: Place) -> Path:
    """Has the official client download into a folder, and kills it in the middle of the file."""
    hub.fault("storage", drip=30_000_000)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    command = [sys.executable, "-c", OFFICIAL, hub.endpoint, str(folder / "cache"), repo, NAME]
    with subprocess.Popen(
        command + [str(folder / "d")] * (place == "local"),
        env=environment | {"HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            # It writes 10 MiB at a time.
            wait_until(
                lambda: any(path.stat().st_size >= 10 * MIB for path in incomplete(folder)),
                "the official client",
            )
        finally:
            child.kill()
    (left,) = incomplete(folder)
    assert 10 * MIB <= left.stat().st_size < SIZE
    hub.clear_faults()
    hub.reset_stats()
    return left


def finish(
    hub: Hub, repo: str, folder: Path, place: Place, kind: str, transport: Transport = "auto"
) -> Transfer:
    """Downloads the file with our client, and checks it."""
    local_dir = folder / "d" if place == "local" else None
    with Client(
        hub.endpoint, token=False, cache_dir=folder / "cache", transport=transport
    ) as client:
        transfer = client.download_file(repo, NAME, local_dir=local_dir)
    assert Path(transfer).read_bytes() == CONTENT[kind]
    assert not list(folder.rglob("*.partial*"))
    return transfer


@pytest.mark.parametrize("place", ["cache", "local"])
@pytest.mark.parametrize("kind", CONTENT)
def test_what_the_official_client_was_killed_over_is_taken_up(
    hub: Hub, repos: dict[str, str], tmp_path: Path, kind: str, place: Place
) -> None:
    """Only the rest is fetched, and what isn't ours stays as it is."""
    left = kill_official(hub, repos[kind], tmp_path, place)
    before = left.read_bytes()
    transfer = finish(hub, repos[kind], tmp_path, place, kind)
    assert hub.stats().bytes_sent("storage") < SIZE - len(before) + A_LITTLE
    assert transfer.bytes_reused > len(before) - A_LITTLE
    assert (transfer.retries, transfer.fallbacks, transfer.refetches) == (0, 0, 0)
    assert left.read_bytes() == before


def flip(content: bytearray) -> None:
    """One byte in the middle."""
    content[len(content) // 2] ^= 0xFF


def zero_the_tail(content: bytearray) -> None:
    """As a file looks whose last blocks never came to the disk."""
    content[3 * MIB + 4321 :] = bytes(len(content) - 3 * MIB - 4321)


def other_content(content: bytearray) -> None:
    """Of the same length."""
    content[:] = noise(len(content), "leftovers/other")


@pytest.mark.parametrize("transport", ["auto", "xet"])
@pytest.mark.parametrize("garble", [flip, zero_the_tail, other_content])
@pytest.mark.parametrize("kind", CONTENT)
def test_a_garbled_leftover_only_costs_bytes(
    hub: Hub,
    repos: dict[str, str],
    tmp_path: Path,
    kind: str,
    garble: Callable[[bytearray], None],
    transport: Transport,
) -> None:
    """What was left may be anything: the file is right, and comes by the way that was chosen."""
    left = kill_official(hub, repos[kind], tmp_path, "cache")
    content = bytearray(left.read_bytes())
    garble(content)
    left.write_bytes(content)
    transfer = finish(hub, repos[kind], tmp_path, "cache", kind, transport)
    assert transfer.fallbacks == 0
    assert hub.stats().bytes_sent("storage") < 2 * SIZE
    assert left.read_bytes() == content


def test_forcing_a_download_takes_up_nothing(
    hub: Hub, repos: dict[str, str], tmp_path: Path
) -> None:
    """`force_download` means every byte."""
    kill_official(hub, repos["lfs"], tmp_path, "cache")
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
        transfer = client.download_file(repos["lfs"], NAME, force_download=True)
    assert transfer.bytes_network >= SIZE


def our_partial(cache: Path, hub: Hub, repo: str) -> Path:
    """What our client leaves whose call ends in the middle of the file, without its journal."""
    hub.fault("storage", drip=30_000_000)
    done = 0

    def look(progress: Progress) -> None:
        nonlocal done
        done = progress.bytes_completed

    with (
        Client(hub.endpoint, token=False, cache_dir=cache) as client,
        pytest.raises(CancelledError),
    ):
        client.download_file(repo, NAME, progress=look, cancel=lambda: done > SIZE // 2)
    hub.clear_faults()
    hub.reset_stats()
    (partial,) = cache.glob("models--*/.xet/*.partial")
    Path(f"{partial}.chunks").unlink()
    return partial


def test_a_partial_file_without_its_journal_is_taken_up(
    hub: Hub, repos: dict[str, str], tmp_path: Path
) -> None:
    """A beginning is a beginning, also if the notes about it are lost."""
    partial = our_partial(tmp_path / "cache", hub, repos["xet"])
    kept = SIZE // 4 + 1234
    partial.write_bytes(CONTENT["xet"][:kept])
    finish(hub, repos["xet"], tmp_path, "cache", "xet")
    assert hub.stats().bytes_sent("storage") < SIZE - kept + A_LITTLE


@pytest.mark.parametrize("transport", ["auto", "xet"])
@pytest.mark.parametrize("end", [SIZE, SIZE - 1, 20 * MIB + 99])
def test_holes_without_a_journal_are_found_out(
    hub: Hub, repos: dict[str, str], tmp_path: Path, transport: Transport, end: int
) -> None:
    """A partial file that isn't just a beginning ends in the right file all the same."""
    partial = our_partial(tmp_path / "cache", hub, repos["xet"])
    with partial.open("r+b") as file:
        file.truncate(0)
        for start in (0, 9 * MIB + 77, 19 * MIB):
            file.seek(start)
            file.write(CONTENT["xet"][start : start + MIB])
        file.truncate(end)
    transfer = finish(hub, repos["xet"], tmp_path, "cache", "xet", transport)
    assert transfer.fallbacks == 0
    # What was fetched before the holes were found out was no better known than they were.
    assert hub.stats().bytes_sent("storage") < 2 * SIZE
