"""A download that ends early, by any death, costs only what was missing."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi

from published import MIB, commit, noise, publish
from xet_ffi import CancelledError, Client, Progress

if TYPE_CHECKING:
    from hub import Hub

SIZE = 32 * MIB
HALF = SIZE // 2

#: Downloads, and prints how many bytes it has, until it is killed.
CHILD = """
import sys
from xet_ffi import Client

endpoint, cache, repo = sys.argv[1:]
client = Client(endpoint, token=False, cache_dir=cache)
client.download_snapshot(repo, progress=lambda p: print(p.bytes_completed, flush=True))
"""


CONTENT = {"xet": noise(SIZE, "resume/xet"), "lfs": noise(SIZE, "resume/lfs")}


@pytest.fixture(scope="module")
def repos(_session_hub: Hub) -> dict[str, str]:
    """For each kind of storage, a repo with one large file in it."""
    api = HfApi(endpoint=_session_hub.endpoint, token="hf_alice_secret")
    for kind, content in CONTENT.items():
        publish(api, f"alice/resume-{kind}", {"weights.bin": content}, lfs=kind == "lfs")
    return {kind: f"alice/resume-{kind}" for kind in CONTENT}


def kill_halfway(hub: Hub, repo: str, cache: Path) -> None:
    """Downloads in a process of its own, and kills that when it has half of the file."""
    hub.fault("storage", drip=30_000_000)
    command = [sys.executable, "-c", CHILD, hub.endpoint, str(cache), repo]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= HALF:
                break
        child.kill()
    assert child.returncode < 0, "it finished before it could be killed"
    hub.clear_faults()
    hub.reset_stats()


def partial_file(cache: Path) -> Path:
    """The file that the killed process was writing."""
    (found,) = cache.glob("models--*/.xet/*.partial")
    return found


def finish(hub: Hub, repo: str, cache: Path, content: bytes) -> int:
    """Downloads the rest, checks the file, and returns how many bytes storage sent."""
    with Client(hub.endpoint, token=False, cache_dir=cache) as client:
        transfer = client.download_file(repo, "weights.bin")
    assert Path(transfer).read_bytes() == content
    sent = hub.stats().bytes_sent("storage")
    # The server may have begun to send what an ended attempt no longer took.
    assert transfer.bytes_network <= sent
    assert list(cache.glob("models--*/.xet/*")) == []
    return sent


@pytest.mark.parametrize("kind", CONTENT)
def test_a_killed_download_goes_on_where_it_was(
    hub: Hub, repos: dict[str, str], cache_dir: Path, kind: str
) -> None:
    """After SIGKILL at half of a file, the next run fetches the other half."""
    kill_halfway(hub, repos[kind], cache_dir)
    assert list(cache_dir.rglob("weights.bin")) == []
    assert finish(hub, repos[kind], cache_dir, CONTENT[kind]) < SIZE * 0.6


@pytest.mark.parametrize("kind", CONTENT)
def test_a_cancelled_download_goes_on_where_it_was(
    hub: Hub, repos: dict[str, str], cache_dir: Path, kind: str
) -> None:
    """After a cancellation at half of a file, the same client fetches the other half."""
    hub.fault("storage", drip=30_000_000)
    done = 0

    def look(progress: Progress) -> None:
        nonlocal done
        done = progress.bytes_completed

    with (
        Client(hub.endpoint, token=False, cache_dir=cache_dir) as client,
        pytest.raises(CancelledError),
    ):
        client.download_snapshot(repos[kind], progress=look, cancel=lambda: done >= HALF)
    hub.clear_faults()
    hub.reset_stats()
    assert finish(hub, repos[kind], cache_dir, CONTENT[kind]) < SIZE * 0.6


def test_a_resumed_file_is_remembered_whole(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """What came in two attempts serves later downloads like what came in one."""
    content = noise(SIZE, "resume/remembered")
    publish(hf_api, repo_id, {"weights.bin": content})
    kill_halfway(hub, repo_id, cache_dir)
    finish(hub, repo_id, cache_dir, content)
    revised = noise(MIB, "resume/revised") + content[MIB:]
    commit(hf_api, repo_id, {"weights.bin": revised})
    hub.reset_stats()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(repo_id, "weights.bin")
    assert Path(transfer).read_bytes() == revised
    assert hub.stats().bytes_sent("storage") <= 2 * MIB


@pytest.mark.parametrize("kind", CONTENT)
@pytest.mark.parametrize("damage", ["flipped", "shortened", "lengthened"])
def test_a_damaged_partial_file_is_noticed(
    hub: Hub, repos: dict[str, str], cache_dir: Path, kind: str, damage: str
) -> None:
    """What was kept is checked like what is fetched, so a damaged part is fetched again."""
    kill_halfway(hub, repos[kind], cache_dir)
    partial = partial_file(cache_dir)
    with partial.open("r+b") as file:
        if damage == "flipped":
            file.seek(5 * MIB)
            byte = file.read(1)[0]
            file.seek(5 * MIB)
            file.write(bytes([byte ^ 0xFF]))
        elif damage == "shortened":
            file.truncate(5 * MIB)
        else:
            file.truncate(2 * SIZE)
    sent = finish(hub, repos[kind], cache_dir, CONTENT[kind])
    if kind == "xet" and damage == "flipped":
        # One chunk is wrong, and one chunk is fetched.
        assert sent < SIZE * 0.6


def test_a_damaged_journal_is_only_forgotten(
    hub: Hub, repos: dict[str, str], cache_dir: Path
) -> None:
    """Notes about chunks that make no sense cost bytes, never the file."""
    kill_halfway(hub, repos["xet"], cache_dir)
    journal = Path(f"{partial_file(cache_dir)}.chunks")
    notes = bytearray(journal.read_bytes())
    assert notes
    notes[60:] = noise(len(notes) - 60)
    journal.write_bytes(notes)
    finish(hub, repos["xet"], cache_dir, CONTENT["xet"])


@pytest.mark.parametrize("loss", ["zeros", "shorter"])
def test_blocks_that_never_came_to_the_disk_are_fetched_again(
    hub: Hub, repos: dict[str, str], cache_dir: Path, loss: str
) -> None:
    """After a power loss the notes may name what the file doesn't hold: that, and no more."""
    kill_halfway(hub, repos["xet"], cache_dir)
    lost = range(HALF - 4 * MIB, HALF - 2 * MIB)
    with partial_file(cache_dir).open("r+b") as file:
        file.seek(lost.start)
        if loss == "zeros":
            file.write(bytes(len(lost)))
            again = len(lost)
        else:
            file.truncate(lost.start)
            again = HALF - lost.start
    sent = finish(hub, repos["xet"], cache_dir, CONTENT["xet"])
    # The killed process may have had a little more than half.
    assert again < sent < SIZE - HALF + again + 2 * MIB


#: Content of which an earlier build has fetched a part, in `fixtures/interrupted-1`.
TABLE = b"".join(b"%d,%d;" % (i, i * i) for i in range(60_000))
TABLE_FETCHED = 314_907


def test_what_another_version_has_left_is_taken_up(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """Partial files and journals outlive the build that wrote them.

    The fixture was left by a download that was cancelled. If the format changes, it stays, and a
    new one comes beside it.
    """
    publish(hf_api, repo_id, {"table.bin": TABLE})
    private = cache_dir / f"models--{repo_id.replace('/', '--')}" / ".xet"
    private.mkdir(parents=True)
    fixture = Path(__file__).parent / "fixtures" / "interrupted-1"
    partial = private / f"{hashlib.sha256(TABLE).hexdigest()}.partial"
    shutil.copy(fixture / "partial", partial)
    shutil.copy(fixture / "partial.chunks", f"{partial}.chunks")
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(repo_id, "table.bin")
    assert Path(transfer).read_bytes() == TABLE
    assert transfer.bytes_reused == TABLE_FETCHED
    assert (transfer.refetches, transfer.fallbacks) == (0, 0)
    assert list(private.iterdir()) == []


def test_another_version_does_not_take_up_the_old_one(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """If the file changed on the Hub meanwhile, the new one is fetched whole."""
    publish(hf_api, repo_id, {"weights.bin": noise(SIZE, "resume/old")})
    kill_halfway(hub, repo_id, cache_dir)
    hf_api.upload_file(
        path_or_fileobj=noise(MIB, "resume/new"), path_in_repo="weights.bin", repo_id=repo_id
    )
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(repo_id, "weights.bin")
    assert Path(transfer).read_bytes() == noise(MIB, "resume/new")
    assert transfer.bytes_reused == 0


def test_a_local_dir_goes_on_too(hub: Hub, repos: dict[str, str], tmp_path: Path) -> None:
    """A cancelled download into a local_dir leaves no file there, and goes on from its half."""
    repo_id = repos["xet"]
    hub.fault("storage", drip=30_000_000)
    done = 0

    def look(progress: Progress) -> None:
        nonlocal done
        done = progress.bytes_completed

    folder = tmp_path / "d"
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache") as client:
        with pytest.raises(CancelledError):
            client.download_snapshot(
                repo_id, local_dir=folder, progress=look, cancel=lambda: done >= HALF
            )
        assert not (folder / "weights.bin").exists()
        hub.clear_faults()
        hub.reset_stats()
        client.download_snapshot(repo_id, local_dir=folder)
    assert (folder / "weights.bin").read_bytes() == CONTENT["xet"]
    assert hub.stats().bytes_sent("storage") < SIZE * 0.6
