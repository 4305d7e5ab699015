"""A fleet that shares what it fetches: ``make bench-fleet``.

Nodes are processes, each with a cache of its own, that download at the same moment from one xet-hub
whose storage sends no faster than a line of 1 Gbit/s. What storage sends is counted there. All in
memory, on the cores that the hub, Redis and all nodes share.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from measure import median, spread  # noqa: E402
from run import ALICE, MIB, Bench, begin, parser, stage  # noqa: E402

from redis_server import RedisServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xet_ffi import Client

#: Of the line, in bytes per second.
GIGABIT = 125_000_000

#: Files of a model.
SHARDS = 4

NODES = 8


@dataclass
class Round:
    """What one round of a case took.

    Attributes:
        seconds: Until the last node had its files.
        sent: By storage, in bytes.
        nodes: What each says of itself.
    """

    seconds: float
    sent: int
    nodes: list[dict[str, Any]]


class Fleet:
    """The nodes, the hub and Redis."""

    def __init__(self, bench: Bench, redis: RedisServer) -> None:
        self._bench = bench
        self.redis = redis

    def go(
        self,
        repos: Sequence[str],
        shared: str,
        *,
        meanwhile: Callable[[list[subprocess.Popen[str]]], None] | None = None,
        homes: Sequence[Path] | None = None,
    ) -> Round:
        """Has one node for each repo download it, all at the same moment."""
        with tempfile.TemporaryDirectory(dir=self._bench.scratch) as folder:
            places = homes or [Path(folder) / str(number) for number in range(len(repos))]
            nodes = [
                self._start(repo, home, shared) for repo, home in zip(repos, places, strict=True)
            ]
            for node in nodes:
                assert node.stdout is not None
                node.stdout.readline()
            self._bench.hub.reset_stats()
            for node in nodes:
                assert node.stdin is not None
                node.stdin.write("go\n")
                node.stdin.flush()
            if meanwhile is not None:
                meanwhile(nodes)
            said = [node.communicate()[0] for node in nodes]
            reports = [json.loads(text) for text in said if text]
            sent = self._bench.hub.stats().bytes_sent("storage")
            return Round(max(report["seconds"] for report in reports), sent, reports)

    def _start(self, repo: str, home: Path, shared: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "fleet_node.py"), self._bench.hub.endpoint, repo]
        command += [str(home / "hub"), shared]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._bench.environment(home),
        )


def noise(seed: str, size: int) -> Iterator[bytes]:
    """So many bytes, the same ones for the same seed, in pieces."""
    chance = random.Random(seed)
    for _ in range(size // MIB):
        yield chance.randbytes(MIB)


def publish(
    client: Client, scratch: Path, repo: str, shards: Sequence[Sequence[tuple[str, int]]]
) -> None:
    """Puts a model on the hub: of each shard the seeds of its parts, and how large they are."""
    folder = scratch / "model"
    folder.mkdir()
    for number, parts in enumerate(shards):
        path = folder / f"model-{number}.bin"
        with path.open("wb") as file:
            for seed, size in parts:
                file.writelines(noise(seed, size))
    client.create_repo(repo)
    client.upload_folder(folder, repo_id=repo)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def main() -> None:
    """Runs all cases and prints the table."""
    from xet_ffi import Client

    told = parser(__doc__, 1024, "the model").parse_args()
    with stage(told) as bench:
        shard = told.size * MIB // SHARDS
        with Client(bench.hub.endpoint, ALICE.secret, bench.scratch / "cache") as client:
            model = [[(f"model/{number}", shard)] for number in range(SHARDS)]
            publish(client, bench.scratch, "alice/model", model)
            common = int(shard * 0.7) // MIB * MIB
            for node in range(NODES):
                kin = [
                    [(f"model/{number}", common), (f"kin/{node}/{number}", shard - common)]
                    for number in range(SHARDS)
                ]
                publish(client, bench.scratch, f"alice/kin{node}", kin)
        bench.hub.line(GIGABIT)
        begin(
            bench, "case", "s", "alone, s", "wall / alone", "storage sent / needed", "tier errors"
        )
        for case in CASES:
            case(bench, told.size * MIB)


def compared(name: str, rounds: Sequence[Round], alone: Sequence[Round], needed: int) -> None:
    """Prints one row."""
    ratios = [one.seconds / other.seconds for one, other in zip(rounds, alone, strict=True)]
    cells = [
        name,
        spread([one.seconds for one in rounds]),
        spread([one.seconds for one in alone]),
        f"**{median(ratios):.2f}**",
        f"**{median([one.sent / needed for one in rounds]):.2f}**",
        f"{median([sum(node['errors'] for node in one.nodes) for one in rounds]):.0f}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def rounds(
    bench: Bench,
    repos: Sequence[str],
    *,
    meanwhile: Callable[[Fleet, list[subprocess.Popen[str]]], None] | None = None,
    shares: bool = True,
) -> tuple[list[Round], list[Round]]:
    """The case, and one node alone without a tier, in turn."""
    found: tuple[list[Round], list[Round]] = ([], [])
    for _ in range(bench.repeats):
        with RedisServer.start(bench.scratch, "--maxmemory", "4gb") as redis:
            fleet = Fleet(bench, redis)
            act = None if meanwhile is None else lambda nodes, fleet=fleet: meanwhile(fleet, nodes)
            where = redis.url if shares else "none"
            found[0].append(fleet.go(repos, where, meanwhile=act))
            found[1].append(fleet.go(repos[:1], "none"))
    return found


def together(bench: Bench, size: int) -> None:
    """All at once, one model."""
    compared("8 nodes, one model", *rounds(bench, ["alice/model"] * NODES), size)


def without(bench: Bench, size: int) -> None:
    """The same without a tier."""
    compared(
        "8 nodes, one model, no tier", *rounds(bench, ["alice/model"] * NODES, shares=False), size
    )


def kin(bench: Bench, size: int) -> None:
    """Models that share 70 %."""
    repos = [f"alice/kin{number}" for number in range(NODES)]
    distinct = int(size * (0.7 + 0.3 * NODES))
    compared("8 nodes, 8 models that share 70 %", *rounds(bench, repos), distinct)


def cold(bench: Bench, size: int) -> None:
    """What it costs one node."""
    compared("1 node, empty tier", *rounds(bench, ["alice/model"]), size)


def faulty(how: str) -> Callable[[Bench, int], None]:
    """One node whose tier fails after a second."""

    def act(fleet: Fleet, _: list[subprocess.Popen[str]]) -> None:
        time.sleep(1)
        acts: dict[str, Callable[[], object]] = {
            "killed": fleet.redis.kill,
            "frozen": fleet.redis.freeze,
            "full": lambda: fleet.redis.ask("CONFIG", "SET", "maxmemory", 1),
            "wiped": lambda: fleet.redis.ask("FLUSHALL"),
        }
        acts[how]()

    def case(bench: Bench, size: int) -> None:
        compared(f"1 node, tier {how}", *rounds(bench, ["alice/model"], meanwhile=act), size)

    return case


def killed(bench: Bench, size: int) -> None:
    """A node that fetches for others is killed."""

    def act(_: Fleet, nodes: list[subprocess.Popen[str]]) -> None:
        time.sleep(2)
        os.kill(nodes[0].pid, signal.SIGKILL)

    compared("8 nodes, one killed", *rounds(bench, ["alice/model"] * NODES, meanwhile=act), size)


CASES: Sequence[Callable[[Bench, int], None]] = (
    together,
    without,
    kin,
    cold,
    *map(faulty, ("killed", "frozen", "full", "wiped")),
    killed,
)


if __name__ == "__main__":
    main()
