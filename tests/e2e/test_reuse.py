"""Bytes that are on this machine, in whichever file, are not fetched again.

Bytes are counted by the server, outside of the process that downloads.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import MIB, commit, noise, publish
from xet_ffi import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from huggingface_hub import HfApi

    from hub import Hub
    from xet_ffi import Transfer

SIZE = 32 * MIB
#: What a changed place costs at each end: the chunks that it begins and ends in.
EDGES = 4 * 128 * 1024


@pytest.fixture
def client(hub: Hub, cache_dir: Path) -> Iterator[Client]:
    """A client with an empty cache."""
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        yield client


def sent(hub: Hub, download: Callable[[], Transfer]) -> tuple[int, Transfer]:
    """How many bytes storage sends for a download, and its report."""
    hub.reset_stats()
    transfer = download()
    return hub.stats().bytes_sent("storage"), transfer


def safetensors(tensors: list[bytes]) -> bytes:
    """A model of these tensors, laid out as safetensors does."""
    header, at = {}, 0
    for i, tensor in enumerate(tensors):
        header[f"layers.{i}.weight"] = {
            "dtype": "F16",
            "shape": [len(tensor) // 2],
            "data_offsets": [at, at + len(tensor)],
        }
        at += len(tensor)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(tensors)


def test_a_new_revision_costs_its_changed_region(
    hub: Hub, hf_api: HfApi, repo_id: str, client: Client
) -> None:
    """Of a file that changed in one place, that place is fetched."""
    old = noise(SIZE, "region")
    changed = SIZE // 10
    new = old[: SIZE // 3] + noise(changed, "new region") + old[SIZE // 3 + changed :]
    publish(hf_api, repo_id, {"model.bin": old})
    client.download_file(repo_id, "model.bin")
    commit(hf_api, repo_id, {"model.bin": new})
    count, transfer = sent(hub, lambda: client.download_file(repo_id, "model.bin"))
    assert Path(transfer).read_bytes() == new
    assert changed <= count <= 1.1 * changed
    assert transfer.bytes_reused >= SIZE - changed - EDGES


def test_an_insertion_at_the_front_costs_the_front(
    hub: Hub, hf_api: HfApi, repo_id: str, client: Client
) -> None:
    """Bytes that only moved are found where they were."""
    old = noise(SIZE, "front")
    publish(hf_api, repo_id, {"model.bin": old})
    client.download_file(repo_id, "model.bin")
    new = noise(1000, "inserted") + old
    commit(hf_api, repo_id, {"model.bin": new})
    count, transfer = sent(hub, lambda: client.download_file(repo_id, "model.bin"))
    assert Path(transfer).read_bytes() == new
    assert count <= 0.02 * SIZE


def test_a_variant_in_another_repo_costs_its_changed_tensors(
    hub: Hub,
    hf_api: HfApi,
    repo_id: str,
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fine-tuned model takes from its base what it shares with it, into a local_dir, too."""
    base = [noise(2 * MIB, f"tensor {i}") for i in range(20)]
    tuned = [noise(2 * MIB, f"tuned {i}") if i % 10 in (2, 3, 7) else t for i, t in enumerate(base)]
    publish(hf_api, f"{repo_id}-base", {"model.safetensors": safetensors(base)})
    publish(hf_api, repo_id, {"weights.safetensors": safetensors(tuned)})
    client.download_snapshot(f"{repo_id}-base")
    folder = tmp_path / "tuned"
    count, _ = sent(hub, lambda: client.download_snapshot(repo_id, local_dir=folder))
    assert (folder / "weights.safetensors").read_bytes() == safetensors(tuned)
    assert count <= 1.1 * 0.3 * 40 * MIB
    # And back: what the base has and the variant doesn't lies between what they share.
    other = tmp_path / "other"
    monkeypatch.setenv("HF_XET_CACHE", str(other / "xet"))
    with Client(hub.endpoint, token=False, cache_dir=other / "hub") as second:
        second.download_snapshot(repo_id)
        count, transfer = sent(hub, lambda: second.download_snapshot(f"{repo_id}-base"))
    assert Path(transfer, "model.safetensors").read_bytes() == safetensors(base)
    assert count <= 1.1 * 0.3 * 40 * MIB


def test_moved_chunks_are_found(hub: Hub, hf_api: HfApi, repo_id: str, client: Client) -> None:
    """A model that is cut into shards elsewhere than before costs next to nothing."""
    tensors = noise(SIZE, "shards")
    cut, recut = SIZE // 2, SIZE // 3
    publish(hf_api, repo_id, {"1.bin": tensors[:cut], "2.bin": tensors[cut:]})
    client.download_snapshot(repo_id)
    commit(hf_api, repo_id, {"1.bin": tensors[:recut], "2.bin": tensors[recut:]})
    count, transfer = sent(hub, lambda: client.download_snapshot(repo_id))
    assert Path(transfer, "1.bin").read_bytes() + Path(transfer, "2.bin").read_bytes() == tensors
    assert count <= 0.02 * SIZE


@pytest.mark.parametrize("shared", [True, False], ids=["shared blobs", "no shared blobs"])
def test_the_same_file_in_another_repo_costs_nothing(
    hub: Hub,
    hf_api: HfApi,
    repo_id: str,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    shared: bool,
) -> None:
    """Whatever it's called there, and whichever kind of repo or folder it goes to."""
    content = noise(SIZE, "same")
    publish(hf_api, repo_id, {"model.bin": content})
    publish(hf_api, repo_id, {"data/other.bin": content}, repo_type="dataset")
    if not shared:
        monkeypatch.setenv("HF_HUB_DISABLE_SHARED_BLOBS", "1")
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        client.download_snapshot(repo_id)
        count, transfer = sent(hub, lambda: client.download_snapshot(repo_id, repo_type="dataset"))
        assert Path(transfer, "data/other.bin").read_bytes() == content
        assert count == 0
        assert transfer.bytes_reused == SIZE
        blobs = {path.resolve() for path in cache_dir.rglob("snapshots/*/**/*.bin")}
        assert len({blob.stat().st_ino for blob in blobs}) == 1, "one blob, no second copy"
        folder = tmp_path / "folder"
        count, _ = sent(hub, lambda: client.download_snapshot(repo_id, local_dir=folder))
        assert (folder / "model.bin").read_bytes() == content
        assert count == 0


def test_a_local_dir_is_a_source(
    hub: Hub, hf_api: HfApi, repo_id: str, client: Client, tmp_path: Path
) -> None:
    """What was downloaded to a folder of the user's serves the cache."""
    content = noise(SIZE, "local")
    publish(hf_api, repo_id, {"model.bin": content})
    client.download_snapshot(repo_id, local_dir=tmp_path / "mine")
    count, transfer = sent(hub, lambda: client.download_snapshot(repo_id))
    assert Path(transfer, "model.bin").read_bytes() == content
    assert count == 0
    # Two files, not two names of one: the user may write to theirs.
    assert not Path(transfer, "model.bin").samefile(tmp_path / "mine" / "model.bin")


def test_a_repeated_download_costs_nothing(
    hub: Hub, hf_api: HfApi, repo_id: str, client: Client
) -> None:
    """With the cache intact, everything is a hit."""
    publish(hf_api, repo_id)
    client.download_snapshot(repo_id)
    count, transfer = sent(hub, lambda: client.download_snapshot(repo_id))
    assert count == 0
    assert transfer.bytes_network == 0
    assert transfer.bytes_reused == transfer.bytes_total


def test_a_deleted_blob_costs_what_no_other_file_holds(
    hub: Hub, hf_api: HfApi, repo_id: str, client: Client
) -> None:
    """Half of the deleted blob's content is in another file, the other half is fetched."""
    half, other = noise(SIZE // 2, "half"), noise(SIZE // 2, "other half")
    publish(hf_api, repo_id, {"half.bin": half})
    commit(hf_api, repo_id, {"both.bin": half + other})
    first = client.download_snapshot(repo_id)
    Path(first, "both.bin").resolve().unlink()
    count, transfer = sent(hub, lambda: client.download_snapshot(repo_id))
    assert Path(transfer, "both.bin").read_bytes() == half + other
    assert SIZE // 2 <= count <= SIZE // 2 + EDGES


def test_force_fetches_everything(hub: Hub, hf_api: HfApi, repo_id: str, client: Client) -> None:
    """Who asks for a fresh file gets one from the network."""
    publish(hf_api, repo_id, {"model.bin": noise(SIZE, "force")})
    client.download_file(repo_id, "model.bin")
    count, _ = sent(hub, lambda: client.download_file(repo_id, "model.bin", force_download=True))
    assert count >= SIZE
    # It serves later downloads all the same.
    commit(hf_api, repo_id, {"model.bin": noise(1000, "forced") + noise(SIZE, "force")})
    count, transfer = sent(hub, lambda: client.download_file(repo_id, "model.bin"))
    assert count <= EDGES
    assert transfer.sources_dropped == 0


# What the index says, and what isn't so.


OLD = noise(SIZE, "old")
NEW = OLD[: SIZE // 2] + noise(MIB, "changed") + OLD[SIZE // 2 + MIB :]


@pytest.fixture
def revised(hf_api: HfApi, repo_id: str, client: Client) -> Path:
    """The old revision is in the cache and in the index, and there is a new one. The old blob."""
    publish(hf_api, repo_id, {"model.bin": OLD})
    blob = Path(client.download_file(repo_id, "model.bin")).resolve()
    commit(hf_api, repo_id, {"model.bin": NEW})
    return blob


def keep_times(path: Path, change: Callable[[], object]) -> None:
    """Changes a file so that its times don't tell."""
    before = path.stat()
    path.chmod(0o644)
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip(path: Path, *offsets: int) -> None:
    """Inverts bytes of a file."""
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0xFF]))


def test_a_rotten_chunk_is_fetched_and_its_file_dropped(
    hub: Hub, repo_id: str, client: Client, revised: Path
) -> None:
    """A bit that flipped on the disk costs its chunk, and is reported."""
    keep_times(revised, lambda: flip(revised, 3 * MIB, 20 * MIB))
    count, transfer = sent(hub, lambda: client.download_file(repo_id, "model.bin"))
    assert Path(transfer).read_bytes() == NEW
    assert count <= MIB + 2 * EDGES
    assert transfer.sources_dropped == 1
    assert transfer.fallbacks == 0


@pytest.mark.parametrize("change", ["shrank", "grew", "touched", "replaced", "removed"])
def test_a_source_that_changed_is_not_used(
    hub: Hub, repo_id: str, client: Client, revised: Path, change: str
) -> None:
    """A file that isn't the one that was remembered gives nothing, and the download is whole."""
    revised.chmod(0o644)
    if change == "shrank":
        keep_times(revised, lambda: os.truncate(revised, SIZE // 2))
    elif change == "grew":
        keep_times(revised, lambda: os.truncate(revised, SIZE + 1))
    elif change == "touched":
        os.utime(revised)
    elif change == "replaced":
        revised.unlink()
        revised.write_bytes(OLD)
    else:
        revised.unlink()
    count, transfer = sent(hub, lambda: client.download_file(repo_id, "model.bin"))
    assert Path(transfer).read_bytes() == NEW
    assert transfer.sources_dropped == 1
    assert count >= SIZE


@pytest.mark.parametrize("damage", ["deleted", "truncated", "garbage", "newer", "older", "folder"])
def test_a_broken_index_costs_bytes_only(
    hub: Hub,
    repo_id: str,
    cache_dir: Path,
    xet_cache: Path,
    client: Client,
    revised: Path,
    damage: str,
) -> None:
    """Whatever became of the index, the download is right, and the next one is remembered."""
    import sqlite3

    assert revised.exists()
    client.close()
    database = xet_cache / "xet-ffi" / "reuse.sqlite"
    # Empty tables take 40 kB.
    assert database.stat().st_size < 64 * 1024 + SIZE / 1000
    if damage == "deleted":
        database.unlink()
    elif damage == "truncated":
        os.truncate(database, database.stat().st_size // 2)
    elif damage == "garbage":
        database.write_bytes(noise(database.stat().st_size, "garbage"))
    elif damage == "folder":
        database.unlink()
        database.mkdir()
    else:
        connection = sqlite3.connect(database)
        connection.execute(f"PRAGMA user_version = {99 if damage == 'newer' else 0}")
        connection.close()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as second:
        transfer = second.download_file(repo_id, "model.bin")
    assert Path(transfer).read_bytes() == NEW


def test_an_index_that_lies_costs_bytes_only(
    hub: Hub, repo_id: str, cache_dir: Path, xet_cache: Path, client: Client, revised: Path
) -> None:
    """Chunks that are said to be others have valid hashes; the file's own hash finds them out."""
    import sqlite3

    assert revised.exists()
    client.close()
    connection = sqlite3.connect(xet_cache / "xet-ffi" / "reuse.sqlite")
    # Two chunks of the same length would pass as each other; here all are moved by one.
    connection.execute("UPDATE segment SET first = first + 1, past = past + 1")
    connection.commit()
    connection.close()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as second:
        transfer = second.download_file(repo_id, "model.bin")
        assert Path(transfer).read_bytes() == NEW
        assert transfer.fallbacks == 0


def test_a_read_only_index_costs_bytes_only(
    hub: Hub, repo_id: str, cache_dir: Path, xet_cache: Path, client: Client, revised: Path
) -> None:
    """Where nothing can be written, downloads work all the same."""
    assert revised.exists()
    client.close()
    folder = xet_cache / "xet-ffi"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.write_text("not a folder")
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as second:
        assert Path(second.download_file(repo_id, "model.bin")).read_bytes() == NEW


def test_reuse_can_be_switched_off(
    hub: Hub, repo_id: str, cache_dir: Path, revised: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an index of no size there is none."""
    assert revised.exists()
    monkeypatch.setenv("XET_FFI_REUSE_INDEX_BYTES", "0")
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        count, _ = sent(hub, lambda: client.download_file(repo_id, "model.bin"))
    assert count >= SIZE


def test_many_small_changes_cost_their_chunks(
    hub: Hub, hf_api: HfApi, repo_id: str, client: Client
) -> None:
    """Forty places, of which each costs the chunk that it's in."""
    old = bytearray(noise(SIZE, "places"))
    publish(hf_api, repo_id, {"model.bin": bytes(old)})
    client.download_file(repo_id, "model.bin")
    picks = random.Random(4)
    for _ in range(40):
        old[picks.randrange(SIZE)] ^= 0xFF
    commit(hf_api, repo_id, {"model.bin": bytes(old)})
    count, transfer = sent(hub, lambda: client.download_file(repo_id, "model.bin"))
    assert Path(transfer).read_bytes() == bytes(old)
    assert count <= 40 * 3 * 128 * 1024
