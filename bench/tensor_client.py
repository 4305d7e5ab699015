"""One rank's part of a model into memory by one client, as a process of its own.

``tensor_client.py CLIENT SPLIT ENDPOINT REPO CACHE RANK RANKS DIGEST``. Reports the seconds from
the question for the model to its arrays; then writes to the file DIGEST what they hold.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from report import report

Arrays = dict[str, Any]

#: Along which axis a tensor is split, by the end of its name; the others each rank has whole. As
#: tensor parallelism splits a transformer, or all by rows.
SPLITS = {
    "both": {"q_proj.weight": 0, "up_proj.weight": 0, "o_proj.weight": 1, "down_proj.weight": 1},
    "rows": {"q_proj.weight": 0, "up_proj.weight": 0, "o_proj.weight": 0, "down_proj.weight": 0},
}


def ours(
    split: dict[str, int], endpoint: str, repo: str, cache: str, rank: int, ranks: int
) -> Callable[[], Arrays]:
    """The work for xet_ffi."""
    from xet_ffi import Client
    from xet_ffi.safetensors import open_tensors

    client = Client(endpoint=endpoint, token=False, cache_dir=cache)

    def work() -> Arrays:
        with open_tensors(client, repo) as tensors:
            axes = {f"*{name}": axis for name, axis in split.items()}
            return tensors.load(tensors.for_rank(rank, ranks, axes))

    return work


def official(
    split: dict[str, int], endpoint: str, repo: str, cache: str, rank: int, ranks: int
) -> Callable[[], Arrays]:
    """The same for huggingface_hub and safetensors: a download, and slices of its files."""
    from huggingface_hub import snapshot_download
    from safetensors import safe_open

    def work() -> Arrays:
        folder = Path(snapshot_download(repo, endpoint=endpoint, token=False, cache_dir=cache))
        arrays = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118 - it can't be iterated over
                    whole = file.get_slice(name)
                    axis = next((a for end, a in split.items() if name.endswith(end)), None)
                    if axis is None:
                        arrays[name] = whole[:]
                        continue
                    share = whole.get_shape()[axis] // ranks
                    part = slice(rank * share, (rank + 1) * share)
                    arrays[name] = whole[part] if axis == 0 else whole[:, part]
        return arrays

    return work


def digest(arrays: Arrays) -> str:
    """One SHA-256 of all names, shapes and values."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].shape} {arrays[name].dtype}\n".encode())
        found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()


def main() -> None:
    """Does the work, and reports it."""
    client, split, endpoint, repo, cache, rank, ranks, place = sys.argv[1:]
    make = {"ours": ours, "official": official}[client]
    work = make(SPLITS[split], endpoint, repo, cache, int(rank), int(ranks))
    started = time.perf_counter()
    arrays = work()
    report(time.perf_counter() - started)
    Path(place).write_text(f"{digest(arrays)} {sum(array.nbytes for array in arrays.values())}")


if __name__ == "__main__":
    main()
