"""What is read in place is what was published, or an error: whatever servers and disks say."""

from __future__ import annotations

import json
import random
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from published import MIB, noise, publish
from xet_ffi import ChecksumMismatchError, Client, XetError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 12 * MIB

#: Where parts begin that are read, each of 50,000 bytes.
PARTS = (0, 65_000, 3 * MIB, 7 * MIB + 11, SIZE - 50_000)

LIES = (
    *("longer", "shorter", "enormous", "no_length"),
    *("range", "backwards_range", "range_without_url", "offset", "enormous_offset"),
    *("swap_terms", "drop_term", "repeat_term", "no_terms", "overlap"),
    *("missing_xorb", "other_xorb", "fewer_bytes", "other_bytes", "enormous_bytes"),
    *("file_url", "no_url"),
)


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str, weights: bytes) -> str:
    """A repo with a Xet file of 12 MiB."""
    publish(hf_api, repo_id, {"weights.bin": weights})
    return repo_id


def fresh(hub: Hub, folder: Path, transport: Any = None) -> Client:
    """A client that has nothing yet."""
    return Client(
        hub.endpoint,
        token=False,
        cache_dir=folder,
        transport=transport,
        max_attempts=2,
        first_byte_timeout=3,
        read_timeout=3,
    )


def read(
    hub: Hub, repo: str, folder: Path, transport: Any = None, **options: Any
) -> tuple[list[bytes], str]:
    """The parts, read one by one, and what vouches for them."""
    with (
        fresh(hub, folder, transport) as client,
        client.open(repo, "weights.bin", readahead=False, **options) as file,
    ):
        return [file.read_at(at, 50_000) for at in PARTS], file.proof


def parts_of(content: bytes) -> list[bytes]:
    """What they should be."""
    return [content[at : at + 50_000] for at in PARTS]


def never_wrong(
    hub: Hub, repo: str, folder: Path, weights: bytes, transport: Any = None, **options: Any
) -> str | None:
    """Reads each part, which is right or an error; the kind of the first error."""
    kind = None
    with (
        fresh(hub, folder, transport) as client,
        client.open(repo, "weights.bin", **options) as file,
    ):
        for at in PARTS:
            buffer = bytearray(50_000)
            try:
                file.readinto_at(at, buffer)
            except XetError as error:
                kind = kind or error.kind
            else:
                assert buffer == weights[at : at + 50_000], at
    return kind


@pytest.mark.parametrize("lie", LIES)
def test_reconstructions_that_lie(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path, lie: str
) -> None:
    """The part comes another way, which is proven just as well; without another way it fails."""
    hub.fault("reconstruction", lie=lie)
    assert never_wrong(hub, repo, tmp_path / "a", weights) is None
    assert never_wrong(hub, repo, tmp_path / "b", weights, "xet") in {
        *(None, "invalid_response", "checksum_mismatch"),
        # A URL that the storage hasn't signed so; and what the hub says where a lie can't be told.
        *("forbidden", "server_error"),
    }


@pytest.mark.parametrize(
    "fault",
    [
        {"corrupt_byte": 100},
        {"corrupt_byte": 40_000},
        {"invert": True},
        {"rotate": 30},
        {"truncate": 1000},
        {"cut_after_bytes": 1000},
        {"close_after_bytes": 1000},
        {"stall_after_bytes": 1000},
        {"ignore_range": True},
        {"status": 403},
        {"status": 503},
        {"gzip": True},
        {"append": 100},
        {"empty": True},
    ],
    ids=lambda fault: "=".join(map(str, *fault.items())),
)
def test_storage_that_fails(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path, fault: dict[str, Any]
) -> None:
    """Once, it's made good; for ever, what is given out is right all the same."""
    hub.fault("storage", times=1, **fault)
    assert read(hub, repo, tmp_path / "once") == (parts_of(weights), "merkle")
    hub.clear_faults()
    hub.fault("storage", **fault)
    never_wrong(hub, repo, tmp_path / "ever", weights, timeout=60)


def test_a_byte_that_is_wrong_where_it_is_stored(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path
) -> None:
    """Whoever asks for it gets an error that names the file; who asks for others gets those."""
    hub.corrupt(repo, "weights.bin", offset=3 * MIB + 5)
    with fresh(hub, tmp_path / "cache") as client, client.open(repo, "weights.bin") as file:
        with pytest.raises(ChecksumMismatchError, match=r"weights\.bin"):
            file.read_at(3 * MIB, 10)
        assert file.read_at(9 * MIB, 1000) == weights[9 * MIB : 9 * MIB + 1000]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_cas_without_proofs(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path, status: int
) -> None:
    """What is read is said to be unproven, and refused to those who want a proof."""
    hub.fault("file-chunk-hashes", status=status)
    assert read(hub, repo, tmp_path / "a") == (parts_of(weights), "none")
    with (
        fresh(hub, tmp_path / "b") as client,
        client.open(repo, "weights.bin", require_proof=True) as file,
        pytest.raises(XetError, match="tells no proofs") as caught,
    ):
        file.read_at(0, 10)
    assert "require_proof" in str(caught.value)


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"garbage_json": True}, {"stall_before": 30.0}, {"status": 403}]
)
def test_proofs_that_cant_be_had(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path, fault: dict[str, Any]
) -> None:
    """That isn't a CAS without proofs: over Xet alone it's an error, and no byte is given out."""
    hub.fault("file-chunk-hashes", **fault)
    with (
        fresh(hub, tmp_path / "a", "xet") as client,
        client.open(repo, "weights.bin") as file,
        pytest.raises(XetError),
    ):
        file.read_at(3 * MIB, 10)
    assert never_wrong(hub, repo, tmp_path / "b", weights, timeout=60) is None
    with (
        fresh(hub, tmp_path / "c") as client,
        client.open(repo, "weights.bin", require_proof=True) as file,
        pytest.raises(XetError),
    ):
        file.read_at(3 * MIB, 10)


def listing(hub: Hub, repo: str) -> Sequence[Any]:
    """The files of a repo."""
    with Client(hub.endpoint, token=False) as client:
        return client.list_files(repo)


def proof_of(hub: Hub, hf_api: HfApi, repo: str, marks: Sequence[int]) -> dict[str, Any]:
    """What the CAS says of a file."""
    token = hf_api.token
    request = urllib.request.Request(
        f"{hub.endpoint}/api/models/{repo}/xet-read-token/main",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request) as answer:
        access = json.load(answer)
    [entry] = [one for one in listing(hub, repo) if one.path == "weights.bin"]
    request = urllib.request.Request(
        f"{access['casUrl']}/v2/file-chunk-hashes/{entry.xet_hash}",
        headers={
            "Authorization": f"Bearer {access['accessToken']}",
            "X-Range-Dirty": "bytes=" + ",".join(f"{mark}-{mark}" for mark in marks),
        },
    )
    with urllib.request.urlopen(request) as answer:
        proof: dict[str, Any] = json.load(answer)
    return proof


def test_proofs_of_another_file(
    hub: Hub, hf_api: HfApi, repo: str, repo_id: str, tmp_path: Path
) -> None:
    """They prove nothing: a lie is no way around them."""
    other = f"{repo_id}-other"
    publish(hf_api, other, {"weights.bin": noise(SIZE, "other")})
    proof = proof_of(hub, hf_api, other, [3 * MIB])
    hub.fault("file-chunk-hashes", status=200, body=json.dumps(proof))
    with fresh(hub, tmp_path / "a") as client, client.open(repo, "weights.bin") as file:
        with pytest.raises(ChecksumMismatchError):
            file.read_at(3 * MIB, 10)
        assert file.report().bytes_read == 0


def test_proofs_with_one_wrong_hash(
    hub: Hub, hf_api: HfApi, repo: str, weights: bytes, tmp_path: Path
) -> None:
    """Wherever it is, nothing wrong is given out."""
    chance = random.Random(5)
    for number in range(6):
        proof = proof_of(hub, hf_api, repo, [3 * MIB - 600_000, 3 * MIB + 300_000])
        subtree = chance.choice([part for part in proof["hashRanges"] if part])
        node = chance.choice(subtree["nodes"])
        node["hash"] = f"{int(node['hash'], 16) ^ 1:064x}"
        hub.clear_faults()
        hub.fault("file-chunk-hashes", status=200, body=json.dumps(proof))
        kind = never_wrong(hub, repo, tmp_path / f"a{number}", weights, "xet")
        assert kind == "checksum_mismatch"


def test_chunks_after_which_no_window_ends(
    hf_api: HfApi, hub: Hub, repo_id: str, tmp_path: Path
) -> None:
    """The longest chunks, as those of zeros, are those of which the CAS tells next to nothing."""
    content = noise(3 * MIB, 1) + bytes(24 * MIB) + noise(3 * MIB, 2)
    publish(hf_api, repo_id, {"weights.bin": content})
    with fresh(hub, tmp_path / "a") as client, client.open(repo_id, "weights.bin") as file:
        for at in (2 * MIB, 15 * MIB, 26 * MIB, 29 * MIB):
            assert file.read_at(at, 1000) == content[at : at + 1000]
        assert file.proof == "merkle"


def test_what_was_read_is_not_fetched_again(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path, xet_cache: Path
) -> None:
    """Neither by the next client, nor by a download; a file that was damaged costs bytes alone."""
    assert read(hub, repo, tmp_path / "a") == (parts_of(weights), "merkle")
    first = hub.stats().bytes_sent("storage")
    assert 5 * 50_000 <= first <= 2 * MIB
    assert read(hub, repo, tmp_path / "b") == (parts_of(weights), "merkle")
    assert hub.stats().bytes_sent("storage") == first
    [pack] = (xet_cache / "xet-ffi" / "read").iterdir()
    with fresh(hub, tmp_path / "c") as client:
        transfer = client.download_file(repo, "weights.bin")
    # Of short runs in the middle of a xorb's, a download asks after few.
    assert 2 * 50_000 <= transfer.bytes_reused <= pack.stat().st_size
    damaged = bytearray(pack.read_bytes())
    damaged[:: 1 << 14] = bytes(len(damaged[:: 1 << 14]))
    with pack.open("r+b") as file:
        file.write(damaged)
    (tmp_path / "c").rename(tmp_path / "gone")
    assert read(hub, repo, tmp_path / "d") == (parts_of(weights), "merkle")


def test_what_is_kept_of_reads_has_a_limit(
    hub: Hub,
    repo: str,
    weights: bytes,
    tmp_path: Path,
    xet_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oldest goes; with a limit of 0 nothing is kept."""
    kept = xet_cache / "xet-ffi" / "read"
    monkeypatch.setenv("XET_FFI_READ_CACHE_BYTES", "0")
    assert read(hub, repo, tmp_path / "a")[0] == parts_of(weights)
    assert not kept.exists()
    monkeypatch.setenv("XET_FFI_READ_CACHE_BYTES", str(MIB))
    for at in range(0, SIZE, MIB // 2):
        with fresh(hub, tmp_path / "b") as client, client.open(repo, "weights.bin") as file:
            assert file.read_at(at, 300_000) == weights[at : at + 300_000]
    assert 0 < sum(pack.stat().st_size for pack in kept.iterdir()) <= MIB + MIB // 2


def test_readers_side_by_side_fetch_once(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path
) -> None:
    """Sixteen threads that want the same, and sixteen that share all of it between them."""
    with fresh(hub, tmp_path / "a") as client, client.open(repo, "weights.bin") as file:
        with ThreadPoolExecutor(16) as pool:
            same = list(pool.map(lambda _: file.read_at(3 * MIB, MIB), range(16)))
        assert same == [weights[3 * MIB : 4 * MIB]] * 16
        assert hub.stats().bytes_sent("storage") <= 1.3 * MIB
        with ThreadPoolExecutor(16) as pool:
            all_of_it = list(pool.map(lambda n: file.read_at(n * MIB // 4, MIB // 4), range(48)))
        assert b"".join(all_of_it) == weights
        assert hub.stats().bytes_sent("storage") <= 1.3 * SIZE


def test_who_reads_on_gets_no_more_than_the_file(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path
) -> None:
    """Reading ahead brings each part once; who jumps is read ahead of nowhere."""
    with fresh(hub, tmp_path / "a") as client, client.open(repo, "weights.bin") as file:
        came = b"".join(iter(lambda: file.read(100_000), b""))
    assert came == weights
    assert hub.stats().bytes_sent("storage") <= 1.1 * SIZE
