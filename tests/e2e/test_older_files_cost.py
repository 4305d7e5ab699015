"""Files of the old chunker cost 1.0 x the file, whatever the way they come, and serve again.

The rule, and what it makes of which content: hub-protocol.md 10 ("The chunker of before September
2025", "Vectors"), also the source of xet-hub's old rule and of `native/core/src/cas/vectors.rs`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from huggingface_hub import HfApi, hf_hub_download

from published import MIB, noise
from xet_ffi import ChecksumMismatchError, Client, Transfer, cache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub import Hub

NAME = "weights.bin"
SIZE = 24 * MIB
CONTENT = noise(SIZE, "older")
#: What may be sent beyond what was missing: the chunks around a cut, and what was on its way.
A_LITTLE = MIB

#: Xet; plain HTTP since Xet is off; plain HTTP since the CAS is down; the same, as its storage is.
Way = Literal["xet", "http", "no-cas", "no-xorbs"]
WAYS = pytest.mark.parametrize("way", ["xet", "http", "no-cas", "no-xorbs"])
#: As xet-core cut formerly, and as it never did: then only the CAS can tell.
Cuts = Literal["before-2025-09", "other-table"]
CUTS: tuple[Cuts, ...] = ("before-2025-09", "other-table")
BY_CUTS = pytest.mark.parametrize("cuts", CUTS)

#: Downloads, and prints how many bytes it has, until it is killed.
CHILD = """
import sys
from xet_ffi import Client

endpoint, cache, repo, transport, local_dir = sys.argv[1:]
client = Client(endpoint, token=False, cache_dir=cache, transport=transport, max_attempts=1)
client.download_file(
    repo,
    "weights.bin",
    local_dir=local_dir or None,
    progress=lambda p: print(p.bytes_completed, flush=True),
)
"""


@pytest.fixture(scope="module")
def repos(_session_hub: Hub) -> Mapping[Cuts, str]:
    """For each way of cutting, a repo with the file."""
    api = HfApi(endpoint=_session_hub.endpoint, token="hf_alice_secret")
    made: dict[Cuts, str] = {}
    for cuts in CUTS:
        made[cuts] = f"alice/cost-{cuts}"
        api.create_repo(made[cuts])
        _session_hub.publish(made[cuts], NAME, CONTENT, cuts)
    return made


def go(hub: Hub, way: Way) -> Literal["http", "auto"]:
    """Has the hub fail as `way` says, counts from zero, and returns the transport to take."""
    hub.clear_faults()
    if way == "no-cas":
        hub.fault("reconstruction", status=500)
    if way == "no-xorbs":
        hub.fault("storage", path_regex="^/xorbs/", status=503)
    hub.reset_stats()
    return "http" if way == "http" else "auto"


def download(
    hub: Hub, way: Way, repo: str, cache_dir: Path, local_dir: Path | None = None
) -> Transfer:
    """Downloads the file."""
    transport = go(hub, way)
    with Client(
        hub.endpoint, token=False, cache_dir=cache_dir, transport=transport, max_attempts=1
    ) as client:
        return client.download_file(repo, NAME, local_dir=local_dir)


def kill_halfway(
    hub: Hub, way: Way, repo: str, cache_dir: Path, local_dir: Path | None = None
) -> tuple[Path, int]:
    """Kills a download by `way` halfway; the partial file, and how much of it is there."""
    transport = go(hub, way)
    hub.fault("storage", drip=30_000_000)
    places = [str(cache_dir), repo, transport, str(local_dir or "")]
    command = [sys.executable, "-c", CHILD, hub.endpoint, *places]
    done = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            done = int(line)
            if done >= SIZE // 2:
                break
        child.kill()
    assert child.returncode < 0, "it finished before it could be killed"
    [partial] = (local_dir or cache_dir).rglob("*.partial")
    return partial, done


@BY_CUTS
@WAYS
@pytest.mark.parametrize("place", ["cache", "local_dir"])
def test_it_is_fetched_once(
    hub: Hub,
    repos: Mapping[Cuts, str],
    cache_dir: Path,
    tmp_path: Path,
    cuts: Cuts,
    way: Way,
    place: str,
) -> None:
    """And shown to be right by its Xet hash, where a rule cuts it as it was published."""
    local_dir = tmp_path / "files" if place == "local_dir" else None
    transfer = download(hub, way, repos[cuts], cache_dir, local_dir)
    assert Path(transfer).read_bytes() == CONTENT
    assert transfer.refetches == 0
    assert hub.stats().bytes_sent("storage") < SIZE + A_LITTLE
    [file] = transfer.file_transfers
    is_told = way == "xet" or cuts == "before-2025-09"
    assert file.hash_kind == ("xet" if is_told else "sha256")


@BY_CUTS
@pytest.mark.parametrize("journal", ["kept", "lost"])
@pytest.mark.parametrize("then", ["xet", "http", "no-cas"])
@pytest.mark.parametrize("first", ["xet", "http", "no-cas"])
def test_what_a_kill_left_is_not_fetched_again(
    hub: Hub,
    repos: Mapping[Cuts, str],
    cache_dir: Path,
    cuts: Cuts,
    first: Way,
    then: Way,
    journal: str,
) -> None:
    """By whichever way it came, and by whichever the rest comes."""
    partial, done = kill_halfway(hub, first, repos[cuts], cache_dir)
    if journal == "lost":
        Path(f"{partial}.chunks").unlink()
    transfer = download(hub, then, repos[cuts], cache_dir)
    assert Path(transfer).read_bytes() == CONTENT
    assert transfer.refetches == 0
    assert hub.stats().bytes_sent("storage") < SIZE - done + A_LITTLE
    [file] = transfer.file_transfers
    if cuts == "before-2025-09":
        assert file.hash_kind == "xet"


def test_a_kill_in_a_folder_costs_no_more(
    hub: Hub, repos: Mapping[Cuts, str], cache_dir: Path, tmp_path: Path
) -> None:
    """`local_dir` is no other way."""
    repo, folder = repos["before-2025-09"], tmp_path / "files"
    _, done = kill_halfway(hub, "http", repo, cache_dir, folder)
    transfer = download(hub, "xet", repo, cache_dir, folder)
    assert Path(transfer).read_bytes() == CONTENT
    assert hub.stats().bytes_sent("storage") < SIZE - done + A_LITTLE


@pytest.mark.parametrize("way", ["xet", "http", "no-cas"])
def test_a_later_revision_costs_what_changed(
    hub: Hub, empty_repo: str, cache_dir: Path, way: Way
) -> None:
    """Whichever way the first one came: its chunks are known.

    What came without Xet's servers lacks where they are in storage, which `cache index` asks for.
    """
    hub.publish(empty_repo, NAME, CONTENT, "before-2025-09")
    download(hub, way, empty_repo, cache_dir)
    if way != "xet":
        hub.clear_faults()
        report = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
        assert (report.files, report.items) == (1, ())
    later = CONTENT[: SIZE // 2] + b"new" + CONTENT[SIZE // 2 :]
    hub.publish(empty_repo, NAME, later, "before-2025-09")
    transfer = download(hub, "xet", empty_repo, cache_dir)
    assert Path(transfer).read_bytes() == later
    assert hub.stats().bytes_sent("storage") < A_LITTLE


@BY_CUTS
@pytest.mark.parametrize("journal", ["kept", "lost"])
def test_a_later_revision_of_a_resumed_file_costs_what_changed(
    hub: Hub, empty_repo: str, cache_dir: Path, cuts: Cuts, journal: str
) -> None:
    """What was guessed first, and then cut as published, isn't remembered as it was guessed."""
    hub.publish(empty_repo, NAME, CONTENT, cuts)
    partial, _ = kill_halfway(hub, "http", empty_repo, cache_dir)
    if journal == "lost":
        Path(f"{partial}.chunks").unlink()
    download(hub, "xet", empty_repo, cache_dir)
    later = CONTENT[: SIZE // 2] + b"new" + CONTENT[SIZE // 2 :]
    hub.publish(empty_repo, NAME, later, cuts)
    transfer = download(hub, "xet", empty_repo, cache_dir)
    assert Path(transfer).read_bytes() == later
    assert hub.stats().bytes_sent("storage") < A_LITTLE


@pytest.mark.parametrize("by", ["official", "http", "xet"])
def test_another_cache_takes_it_from_the_index(
    hub: Hub, empty_repo: str, cache_dir: Path, tmp_path: Path, xet_cache: Path, by: str
) -> None:
    """Also where the cache doesn't hold its Xet hash: each rule makes one to ask for."""
    hub.publish(empty_repo, NAME, CONTENT, "before-2025-09")
    if by == "official":
        hf_hub_download(empty_repo, NAME, endpoint=hub.endpoint, token=False, cache_dir=cache_dir)
    else:
        download(hub, "http" if by == "http" else "xet", empty_repo, cache_dir)
    hub.clear_faults()
    shutil.rmtree(xet_cache, ignore_errors=True)
    report = cache.index(cache_dir=cache_dir, endpoint=hub.endpoint, token=False)
    assert (report.files, report.bytes, report.items) == (1, SIZE, ())
    transfer = download(hub, "xet", empty_repo, tmp_path / "another")
    assert Path(transfer).read_bytes() == CONTENT
    assert hub.stats().bytes_sent("storage") < A_LITTLE


#: Both rules make eight chunks of it, of which the first three differ: byte 17 ends a chunk where
#: only the old rule looks already. (Searched for: one such beginning in twenty has as many.)
EITHER = bytearray(noise(MIB // 2, "either/1"))
EITHER[8127] = 17


def test_where_both_rules_make_as_many_chunks_neither_is_taken_for_true(
    hub: Hub, hf_api: HfApi, empty_repo: str, cache_dir: Path, xet_cache: Path
) -> None:
    """A term says how many chunks it has. That isn't always enough to tell the rule."""
    content = bytes(EITHER)
    older = hub.publish(empty_repo, NAME, content, "before-2025-09")["chunk_lengths"]
    hf_api.upload_file(path_or_fileobj=content, path_in_repo="today.bin", repo_id=empty_repo)
    today = hub.describe(empty_repo, "today.bin")["chunk_lengths"]
    assert (len(older), older[:2]) == (len(today), [8128, 131072]) != (len(older), today[:2])
    for name in (NAME, "today.bin"):
        hub.fault("storage", drip=1_000_000)
        command = [sys.executable, "-c", CHILD.replace(NAME, name), hub.endpoint]
        with subprocess.Popen(
            [*command, str(cache_dir), empty_repo, "auto", ""], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            next(line for line in child.stdout if int(line) > 0)
            child.kill()
        hub.clear_faults()
        hub.fault("file-chunk-hashes", status=404)
        [partial] = cache_dir.rglob("*.partial")
        Path(f"{partial}.chunks").unlink()
        partial.write_bytes(content)
        hub.reset_stats()
        with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
            transfer = client.download_file(empty_repo, name)
        assert Path(transfer).read_bytes() == content
        assert hub.stats().bytes_sent("storage") == 0
        [file] = transfer.file_transfers
        assert file.hash_kind == "xet"
        shutil.rmtree(cache_dir)
        shutil.rmtree(xet_cache, ignore_errors=True)


@BY_CUTS
def test_only_what_is_before_a_hole_is_taken_up(
    hub: Hub, repos: Mapping[Cuts, str], cache_dir: Path, cuts: Cuts
) -> None:
    """Over Xet chunks come in any order. Plain HTTP can't tell where one begins behind a gap."""
    partial, _ = kill_halfway(hub, "http", repos[cuts], cache_dir)
    Path(f"{partial}.chunks").unlink()
    with partial.open("wb") as file:
        file.write(CONTENT[: 8 * MIB])
        file.seek(16 * MIB)
        file.write(CONTENT[16 * MIB :])
    if partial.stat().st_blocks * 512 > 20 * MIB:
        pytest.skip("a file system without holes")
    transfer = download(hub, "http", repos[cuts], cache_dir)
    assert Path(transfer).read_bytes() == CONTENT
    assert transfer.refetches == 0
    assert hub.stats().bytes_sent("storage") < 16 * MIB + A_LITTLE


@BY_CUTS
@pytest.mark.parametrize("then", ["xet", "http"])
@pytest.mark.parametrize("journal", ["kept", "lost"])
def test_damage_is_found_and_mended(
    hub: Hub, repos: Mapping[Cuts, str], cache_dir: Path, cuts: Cuts, then: Way, journal: str
) -> None:
    """A byte that changed in what a kill had left isn't taken for another way of cutting.

    With a journal, its chunk is known. Without, only the hash of the whole tells, and the file
    may be fetched once more.
    """
    partial, _ = kill_halfway(hub, "http", repos[cuts], cache_dir)
    if journal == "lost":
        Path(f"{partial}.chunks").unlink()
    with partial.open("r+b") as file:
        file.seek(5 * MIB)
        byte = file.read(1)
        file.seek(5 * MIB)
        file.write(bytes([byte[0] ^ 1]))
    transfer = download(hub, then, repos[cuts], cache_dir)
    assert Path(transfer).read_bytes() == CONTENT
    most = SIZE // 2 if journal == "kept" else 3 * SIZE // 2
    assert hub.stats().bytes_sent("storage") < most + A_LITTLE


@BY_CUTS
def test_content_that_is_damaged_on_the_server_is_named(
    hub: Hub, empty_repo: str, cache_dir: Path, cuts: Cuts
) -> None:
    """It isn't taken for a file that was cut otherwise, by plain HTTP either."""
    content = noise(4 * MIB, f"damaged/{cuts}")
    hub.publish(empty_repo, NAME, content, cuts)
    hub.corrupt(empty_repo, NAME, offset=3 * MIB)
    for way in ("http", "no-cas"):
        with pytest.raises(ChecksumMismatchError, match=NAME):
            download(hub, way, empty_repo, cache_dir)
    assert list(cache_dir.rglob("blobs/*")) == []
