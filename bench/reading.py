"""Parts of a large file, read in place: ``make bench-reading``.

Ours against HfFileSystem, which reads over plain HTTP in blocks of its own; the whole file, read in
order by 1 MiB, against our own download of it. On one xet-hub, in turn, each run a process of its
own with an empty cache, on loopback and behind 50 ms of delay each way. What was read is compared
by its hash when the clock has stopped.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from measure import median, run, spread  # noqa: E402
from reading_client import NAME  # noqa: E402
from run import ALICE, MIB, Bench, Samples, begin, parser, stage  # noqa: E402
from tensors import line  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xet_ffi import Client

#: Reads of 64 KiB each, on loopback and far away.
READS = {0: 200, 50: 50}

#: Of the hub, whose requests and bytes are counted.
ORIGINS = ("hub", "cas", "storage")

#: What `row` makes.
COLUMNS = (
    "case",
    "delay each way",
    "ours, s",
    "theirs, s",
    "theirs / ours",
    "CPU s, ours",
    "theirs",
    "peak MiB, ours",
    "theirs",
    "received MiB, ours",
    "theirs",
    "requests, ours",
    "theirs",
)


def publish(client: Client, scratch: Path, repo: str, size: int) -> None:
    """Puts a file of noise on the hub."""
    path, chance = scratch / NAME, random.Random(repo)
    with path.open("wb") as file:
        for _ in range(size // 16):
            file.write(chance.randbytes(16 * MIB))
    client.create_repo(repo)
    client.upload_file(str(path), NAME, repo)
    path.unlink()


def compare(bench: Bench, script: str, *arguments: str) -> Mapping[str, Samples]:
    """Runs both in turn: ``script CLIENT ARGUMENTS DIGEST``. What is received is of all origins."""
    digests = set()

    def once(client: str, samples: Samples) -> None:
        with bench.home() as home:
            place = home / "digest"
            bench.hub.reset_stats()
            command = bench.command(script, client, *arguments, str(place))
            samples.runs.append(run(command, bench.environment(home)))
            stats = bench.hub.stats()
            samples.requests.append(sum(map(stats.requests, ORIGINS)))
            samples.megabytes.append(sum(map(stats.bytes_sent, ORIGINS)) / MIB)
            digests.add(place.read_text())

    samples = bench.compare(once)
    if len(digests) != 1:
        sys.exit(f"{' '.join(arguments)}: what was read differs")
    return samples


def main() -> None:
    """Runs all cases and prints the table."""
    from xet_ffi import Client

    options = parser(__doc__, 4096, "the file")
    options.add_argument("--whole", type=int, default=1024, help="of the one that is read whole")
    told = options.parse_args()
    with stage(told) as bench:
        hub, scratch = bench.hub, bench.scratch
        with Client(hub.endpoint, token=ALICE.secret, cache_dir=scratch / "cache") as client:
            publish(client, scratch, "alice/large", told.size)
            publish(client, scratch, "alice/whole", told.whole)
        begin(bench, *COLUMNS)
        for case in ("one by one", "at once", "whole"):
            for delay, reads in READS.items():
                repo = "alice/whole" if case == "whole" else "alice/large"
                with line(hub, delay) as endpoint:
                    samples = compare(bench, "reading_client.py", case, endpoint, repo, str(reads))
                title = case if case == "whole" else f"{reads} reads, {case}"
                print(row(f"{title} | {delay} ms", samples), flush=True)


def row(name: str, samples: Mapping[str, Samples]) -> str:
    """One line of the table."""
    both = list(samples.values())
    ratios = [b.work / a.work for a, b in zip(*(each.runs for each in both), strict=True)]
    cells = [
        name,
        *(spread([one.work for one in each.runs]) for each in both),
        f"**{median(ratios):.2f} x**",
        *(f"{median([one.cpu for one in each.runs]):.2f}" for each in both),
        *(f"{median([one.peak_mb for one in each.runs]):.0f}" for each in both),
        *(f"{median(each.megabytes):.0f}" for each in both),
        *(f"{median(each.requests):.0f}" for each in both),
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
