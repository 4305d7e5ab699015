"""Disks for terabytes, for one process each, where there is room for gigabytes.

`tests/preload/sparse_disk.c` keeps no zeros: a download of what :func:`publish_zeros` publishes is
written to it whole, hashed whole, and takes no space. `tests/preload/counting_disk.c` reads numbers
where a sparse file has zeros: an upload of what :func:`make_source` makes has no chunk twice.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import compile_c

if TYPE_CHECKING:
    from hub import Hub

PRELOAD = Path(__file__).resolve().parent / "preload"

GIB = 1 << 30

#: The longest chunk that there is.
LONGEST = 128 << 10

#: Chunks of a xorb. They are zeros alone, but of different lengths, so each has its own hash.
CHUNKS = [LONGEST - i for i in range(512)]


def environment(work: Path, disk: str = "sparse_disk") -> dict[str, str]:
    """What a program's environment must hold besides everything else. Builds the library."""
    if sys.platform != "linux":
        pytest.skip("needs LD_PRELOAD")
    work.mkdir(parents=True, exist_ok=True)
    library = work / f"{disk}.so"
    if not library.exists():
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
        made = compile_c([PRELOAD / f"{disk}.c"], library, flags, ["-ldl"])
        assert made.worked, made.messages
    return {"LD_PRELOAD": str(library)}


def make_source(path: Path, size: int) -> dict[str, str]:
    """Makes a file of `size` bytes that takes no space; the environment in which they are read."""
    with path.open("wb") as file:
        file.truncate(size)
    return environment(path.parent / "tools", "counting_disk")


def publish_zeros(hub: Hub, repo_id: str, path: str, size: int) -> int:
    """Commits a Xet file of some `size` bytes of zeros: one xorb again and again; its size."""
    times = max(2, size // sum(CHUNKS))
    done: int = hub.publish(repo_id, path, bytes(sum(CHUNKS)), CHUNKS, times=times)["size"]
    return done
