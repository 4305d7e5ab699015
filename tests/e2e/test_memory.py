"""A download's memory doesn't grow with its file."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import sparse_disk

if TYPE_CHECKING:
    from pathlib import Path

    from hub import Hub

#: Downloads one file, and says how much memory it had at most.
DOWNLOAD = """
import sys
from xet_ffi import Client
endpoint, repo, path, root = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=root) as client:
    client.download_file(repo, path)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""

#: A file of 200 GiB may take so much more memory than one of 64: what a thread more or less does,
#: and what some streams more hold that wait for their turn to write (0.5 MiB each). (By 64 GiB, as
#: much is known of what a file is made of as ever will be.)
MORE_MB = 32


def test_three_times_the_size_takes_no_more_memory(
    hub: Hub, empty_repo: str, tmp_path: Path
) -> None:
    """With the journal, and the reuse index; `make bench-terabyte` goes on to a terabyte."""
    disk = sparse_disk.environment(tmp_path / "tools")
    peaks = []
    for gib in (64, 200):
        size = sparse_disk.publish_zeros(hub, empty_repo, f"{gib}.bin", gib * sparse_disk.GIB)
        root = tmp_path / str(gib)
        done = subprocess.run(
            [sys.executable, "-c", DOWNLOAD, hub.endpoint, empty_repo, f"{gib}.bin", root],
            env={**os.environ, "HF_XET_CACHE": str(root / "xet"), **disk},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert (root / "xet").exists(), "the reuse index is at work, too"
        (file,) = root.glob("models--*/snapshots/*/*.bin")
        assert file.stat().st_size == size
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + MORE_MB, peaks
