"""How exact the speed limit is over transfers of some length: ``make bench-limit``.

Each download is limited by ``max_bytes_per_second``, for one stream and for many. What counts is
the speed over the whole call, setting up included.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from run import ALICE, MIB, machine  # noqa: E402

from hub import Hub  # noqa: E402
from published import commit, noise  # noqa: E402
from xet_ffi import Client  # noqa: E402

REPO = "alice/limit"

#: Files by folder, so that a pattern chooses one stream over Xet, one over plain HTTP, or many.
SETS = {
    "one": {"one/model.bin": noise(96 * MIB, "limit/one")},
    "many": {f"many/{i}.bin": noise(4 * MIB, f"limit/{i}") for i in range(24)},
    "lfs": {"lfs/model.bin": noise(96 * MIB, "limit/lfs")},
}

#: MiB per second.
LIMITS = (8, 32)


def main() -> None:
    """Runs all and prints the table."""
    from huggingface_hub import HfApi

    # Every byte is to come over the network.
    os.environ["XET_REUSE_INDEX_BYTES"] = "0"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", help="folder for hub and caches; a RAM disk measures no disk")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        scratch = Path(folder)
        with Hub.start(scratch / "hub", [ALICE]) as hub:
            api = HfApi(endpoint=hub.endpoint, token=ALICE.secret)
            api.create_repo(REPO)
            for name, files in SETS.items():
                commit(api, REPO, files, lfs=name == "lfs")
            print(f"{machine()}. 96 MiB each time.\n")
            print("| what | limit, MiB/s | seconds | speed, MiB/s | of the limit |")
            print("| --- " * 5 + "|")
            for name in SETS:
                for limit in LIMITS:
                    cache = scratch / f"{name}-{limit}"
                    with Client(
                        hub.endpoint,
                        token=False,
                        cache_dir=cache,
                        max_bytes_per_second=limit * MIB,
                    ) as client:
                        done = client.download_snapshot(REPO, allow_patterns=f"{name}/*")
                    speed = done.bytes_network / MIB / done.seconds
                    cells = (
                        name,
                        f"{limit}",
                        f"{done.seconds:.2f}",
                        f"{speed:.2f}",
                        f"{speed / limit:.1%}",
                    )
                    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
