"""Memory for files up to a terabyte, both ways: ``make bench-terabyte``.

Down: the Hub has a file that is the same 64 MiB again and again, all zeros in chunks that differ,
and the target is a disk that keeps no zeros (tests/sparse_disk.py). All else is real: each answer
of the CAS, each chunk decoded, hashed and placed, the journal, the Merkle hash of the whole, and
the reuse index. Up: a file of numbers of which no chunk is there twice, and which compress well,
read from a disk that makes them up. Each transfer is a process of its own, of which the peak
resident memory counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from run import ALICE, machine  # noqa: E402

from hub import Hub  # noqa: E402
from sparse_disk import GIB, environment, make_source, publish_zeros  # noqa: E402

REPO = "alice/terabyte"

DOWN = """
import sys, time
from report import report
from xet_ffi import Client
endpoint, repo, path, cache = sys.argv[1:]
started = time.perf_counter()
with Client(endpoint, token=False, cache_dir=cache) as client:
    client.download_file(repo, path)
report(time.perf_counter() - started)
"""


def run(command: list[str], **environment: str) -> tuple[float, float]:
    """Seconds and peak MiB of a process."""
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}", **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    return found["seconds"], found["peak_mb"]


def main() -> None:
    """Runs all and prints the table."""
    from huggingface_hub import HfApi

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--down", default="8,64,1024", help="sizes in GiB")
    parser.add_argument("--up", default="8,64", help="sizes in GiB")
    parser.add_argument("--scratch", help="folder for hub and caches")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        scratch = Path(folder)
        disk = environment(scratch / "tools")
        with Hub.start(scratch / "hub", [ALICE]) as hub:
            HfApi(endpoint=hub.endpoint, token=ALICE.secret).create_repo(REPO)
            print(f"{machine()}.\n")
            print("| way | GiB | seconds | peak MiB |")
            print("| --- " * 4 + "|")

            def row(way: str, size: int, seconds: float, peak: float) -> None:
                print(f"| {way} | {size / GIB:.0f} | {seconds:.0f} | {peak:.0f} |", flush=True)

            for gib in filter(None, arguments.down.split(",")):
                size = publish_zeros(hub, REPO, f"{gib}.bin", int(gib) * GIB)
                cache = scratch / f"cache{gib}"
                # The reuse index is at work, too, beside the cache.
                home = {"HF_XET_CACHE": str(cache / "xet"), **disk}
                row(
                    "down",
                    size,
                    *run(["-c", DOWN, hub.endpoint, REPO, f"{gib}.bin", str(cache)], **home),
                )
            for gib in filter(None, arguments.up.split(",")):
                source = scratch / f"source{gib}"
                disk = make_source(source, int(gib) * GIB)
                command = [
                    str(HERE / "uploader.py"),
                    "ours",
                    "file",
                    hub.endpoint,
                    REPO,
                    str(source),
                ]
                home = {"HF_TOKEN": ALICE.secret, "HF_XET_CACHE": str(scratch / f"up{gib}")}
                row("up", int(gib) * GIB, *run(command, **home, **disk))


if __name__ == "__main__":
    main()
