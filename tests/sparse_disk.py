"""A disk that keeps no zeros, for one process: a terabyte, where there is room for gigabytes.

`tests/preload/sparse_disk.c` says what it is. A download of a file that repeats
:func:`zeros` is written to it whole, hashed whole, and takes no space.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import compile_c

if TYPE_CHECKING:
    from hub import Hub

SOURCE = Path(__file__).resolve().parent / "preload" / "sparse_disk.c"

GIB = 1 << 30

#: The longest chunk that there is.
LONGEST = 128 << 10

#: Chunks of a xorb. They are zeros alone, but of different lengths, so each has its own hash.
CHUNKS = [LONGEST - i for i in range(512)]


def environment(work: Path) -> dict[str, str]:
    """What a program's environment must hold besides everything else. Builds the library."""
    if sys.platform != "linux":
        pytest.skip("needs LD_PRELOAD")
    work.mkdir(parents=True, exist_ok=True)
    library = work / "sparse_disk.so"
    if not library.exists():
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
        made = compile_c([SOURCE], library, flags, ["-ldl"])
        assert made.worked, made.messages
    return {"LD_PRELOAD": str(library)}


def publish_zeros(hub: Hub, repo_id: str, path: str, size: int) -> int:
    """Commits a Xet file of some `size` bytes of zeros: one xorb again and again; its size."""
    times = max(2, size // sum(CHUNKS))
    done: int = hub.publish(repo_id, path, bytes(sum(CHUNKS)), CHUNKS, times=times)["size"]
    return done
