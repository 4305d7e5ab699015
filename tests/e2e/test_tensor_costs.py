"""What reading tensors costs: bytes, questions and memory."""

from __future__ import annotations

import hashlib
import json
import struct
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from interpreter import python
from published import MIB, publish
from xet_ffi.safetensors import TensorFiles, open_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub
    from xet_ffi import Client

RANKS = 4
AXES = {"*.q_proj": 0, "*.o_proj": 1}
RANDOM = np.random.default_rng(4)

#: Of one tensor that is larger than what may be in memory besides its part.
LARGE = 512 * MIB


def shard(number: int) -> dict[str, np.ndarray[Any, Any]]:
    """Noise, so that what is sent is what is wanted."""
    names = [f"layers.{number}.{name}" for name in ("q_proj", "o_proj", "norm")]
    shapes = [(2048, 1024), (1024, 2048), (2048,)]
    return {
        name: RANDOM.integers(0, 1 << 16, shape, dtype="u2")
        for name, shape in zip(names, shapes, strict=True)
    }


def bytes_of_chunks(hub: Hub, tensors: TensorFiles, rank: int) -> int:
    """How long the chunks are, together, that a rank's parts are in."""
    total = 0
    parts = tensors.for_rank(rank, RANKS, AXES).values()
    for file in tensors.files:
        lengths = hub.describe(tensors.repo_id, file)["chunk_lengths"]
        wanted = np.zeros(sum(lengths), bool)
        for part in parts:
            for comb in part.combs() if part.info.file == file else ():
                for run in range(comb.count):
                    begin = comb.source + run * comb.stride
                    wanted[begin : begin + comb.length] = True
        ends = list(accumulate(lengths))
        pairs = zip(ends, lengths, strict=True)
        total += sum(length for end, length in pairs if wanted[end - length : end].any())
    return total


@pytest.fixture
def tensors(hf_api: HfApi, alice: Client, repo_id: str) -> TensorFiles:
    """A model in four shards."""
    publish(hf_api, repo_id, {f"model-{n}.safetensors": save(shard(n)) for n in range(4)})
    return open_tensors(alice, repo_id)


@pytest.mark.parametrize("rank", [0, RANKS - 1])
def test_a_rank_receives_the_chunks_of_its_parts(tensors: TensorFiles, hub: Hub, rank: int) -> None:
    """And hardly more: a chunk that two calls want may come twice."""
    least = bytes_of_chunks(hub, tensors, rank)
    hub.reset_stats()
    with tensors:
        found = tensors.load(tensors.for_rank(rank, RANKS, AXES))
    assert sum(array.nbytes for array in found.values()) < least
    received = hub.stats().bytes_sent("storage")
    assert received <= 1.05 * least
    assert hub.stats().requests("hub", "resolve") == 0


def test_rows_cost_what_they_hold(tensors: TensorFiles, hub: Hub) -> None:
    """A quarter of the rows is a quarter of the bytes, and what their chunks have besides."""
    hub.reset_stats()
    with tensors:
        part = tensors["layers.2.q_proj"].shard(0, 1, 4)
        part.load()
    assert hub.stats().bytes_sent("storage") <= part.size + 2 * 128 * 1024 + 4096


def test_headers_are_all_that_is_read_of_files_that_are_opened(
    hf_api: HfApi, alice: Client, repo_id: str, hub: Hub
) -> None:
    """Side by side, some hundred kilobytes of each; what was listed isn't asked for again."""
    publish(hf_api, repo_id, {f"model-{n}.safetensors": save(shard(n)) for n in range(4)})
    hub.reset_stats()
    hub.delay(0.1, "storage")
    with open_tensors(alice, repo_id) as tensors:
        assert len(tensors) == 12
    stats = hub.stats()
    assert stats.peak("storage") == 4
    assert stats.requests("hub", "resolve") == 0
    assert stats.bytes_sent("storage") < 4 * 512 * 1024


def large(columns: int) -> tuple[bytes, int]:
    """What a file begins with, and how often it has that; the file is one tensor, of bytes."""
    piece, header = 8 * MIB, MIB
    times = LARGE // piece
    rows = (piece * times - header) // columns
    entry = {"dtype": "U8", "shape": [rows, columns], "data_offsets": [0, rows * columns]}
    text = json.dumps({"x": entry}).encode().ljust(header - 8)
    return struct.pack("<Q", len(text)) + text + RANDOM.bytes(piece - header), times


def test_memory_is_that_of_the_parts(hub: Hub, empty_repo: str, tmp_path: Path) -> None:
    """And less than 200 MB, with Python and numpy, however much is between columns."""
    columns = 8192
    content, times = large(columns)
    hub.publish(empty_repo, "model.safetensors", content, "other-table", times=times)
    done = python(
        f"""
from hashlib import sha256
from xet_ffi import Client
from xet_ffi.safetensors import open_tensors
client = Client({hub.endpoint!r}, token=False, cache_dir={str(tmp_path)!r})
with open_tensors(client, {empty_repo!r}) as tensors:
    found = tensors.load_slice("x", 1, 1, 4)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(sha256(found).hexdigest(), found.nbytes, int(status["VmHWM"].split()[0]) * 1024)
"""
    )
    assert done.stderr == ""
    digest, loaded, peak = done.stdout.split()
    # All that the header leaves of the first copy, and the others whole: each is a number of rows.
    rows = np.frombuffer(content, "u1").reshape(-1, columns)[:, columns // 4 : columns // 2]
    wanted = hashlib.sha256(rows[MIB // columns :].tobytes())
    for _ in range(times - 1):
        wanted.update(rows.tobytes())
    assert digest == wanted.hexdigest()
    assert int(peak) <= int(loaded) + 200_000_000
