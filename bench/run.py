"""Side by side with huggingface_hub + hf_xet, on one xet-hub, in one run: ``make bench``.

Each case runs the two clients in turn, each run a process of its own with an empty (or, where the
case says so, a full) cache. Bytes and requests are counted by the hub, time and memory by the
operating system. The table goes to the terminal; ``bench/RESULTS.md`` keeps the ones worth keeping,
with what was learnt.

``--against PYTHON`` puts another build of xet_ffi, the one installed for that interpreter, in
the place of the official client: what does a change cost?
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from measure import Run, median, run, spread  # noqa: E402

from hub import Hub, Token  # noqa: E402

CLIENTS = ("ours", "official")
#: The same when another build of ours is what it is compared with.
BUILDS = ("ours", "other")
MIB = 1 << 20
ALICE = Token("alice", "hf_alice_secret")


@dataclass
class Samples:
    """The runs of one client in one case."""

    runs: list[Run] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """Where everything is, and how often to run it."""

    hub: Hub
    scratch: Path
    repeats: int
    other: str | None = None
    """The interpreter that has another build of ours."""

    @property
    def clients(self) -> tuple[str, str]:
        """The two that are compared."""
        return BUILDS if self.other else CLIENTS

    def command(self, script: str, client: str, *arguments: str) -> list[str]:
        """Runs a client's part of a script."""
        python = self.other if self.other and client == "other" else sys.executable
        name = "official" if client == "official" else "ours"
        return [python, str(HERE / script), name, *arguments]

    def environment(self, home: Path) -> dict[str, str]:
        """What both clients see: a home of their own, no progress bars, no other settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return kept | {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    @contextmanager
    def home(self) -> Iterator[Path]:
        """An empty home, gone afterwards."""
        path = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def compare(self, once: Callable[[str, Samples], None]) -> Mapping[str, Samples]:
        """Runs ``once`` for the clients in turn, after a round that doesn't count."""
        samples = {client: Samples() for client in self.clients}
        for client in self.clients:
            once(client, Samples())
        for _ in range(self.repeats):
            for client in self.clients:
                once(client, samples[client])
        return samples

    def download(self, task: str, repo: str, *, warm: bool) -> Mapping[str, Samples]:
        """Downloads; with ``warm``, into a cache that the same client has filled before."""

        def once(client: str, samples: Samples) -> None:
            with self.home() as home:
                where = (self.hub.endpoint, repo, str(home / "hub"))
                command = self.command("contender.py", client, task, *where)
                if warm:
                    run(command, self.environment(home))
                self.hub.reset_stats()
                samples.runs.append(run(command, self.environment(home)))
                stats = self.hub.stats()
                samples.requests.append(stats.requests("hub"))
                samples.megabytes.append(stats.bytes_sent("storage") / MIB)

        return self.compare(once)

    def start(self) -> Mapping[str, Samples]:
        """Imports a client and makes it ready."""

        def once(client: str, samples: Samples) -> None:
            with self.home() as home:
                samples.runs.append(run(self.command("start.py", client), self.environment(home)))

        return self.compare(once)


def publish(hub: Hub, scratch: Path, size: int) -> None:
    """Puts the two repos on the hub, with the official client."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token=ALICE.secret)
    rng = random.Random(20)
    big = scratch / "big"
    big.mkdir()
    with (big / "model.bin").open("wb") as file:
        for _ in range(size // MIB):
            file.write(rng.randbytes(MIB))
    many = scratch / "many"
    (many / "weights").mkdir(parents=True)
    for i in range(500):
        text = f"# file {i}\n" + "".join(f"{rng.random()}\n" for _ in range(rng.randrange(20, 120)))
        (many / f"part{i % 10}").mkdir(exist_ok=True)
        (many / f"part{i % 10}" / f"{i}.txt").write_text(text)
    for i in range(20):
        (many / "weights" / f"{i}.bin").write_bytes(rng.randbytes(MIB))
    for repo, folder in (("alice/big", big), ("alice/many", many)):
        api.create_repo(repo)
        api.upload_folder(repo_id=repo, folder_path=folder)
        shutil.rmtree(folder)


def row(name: str, samples: Mapping[str, Samples], value: Callable[[Run], float]) -> str:
    """One line of the table: for both clients the time, the cost, and what the hub saw.

    The ratio is the median of the run-by-run ratios: how many times as fast ours is.
    """
    both = list(samples.values())
    ratios = [value(b) / value(a) for a, b in zip(*(each.runs for each in both), strict=True)]
    cells = [
        name,
        *(spread([value(run) for run in each.runs]) for each in both),
        f"**{median(ratios):.2f}**",
        *(f"{median([run.cpu for run in each.runs]):.2f}" for each in both),
        *(f"{median([run.peak_mb for run in each.runs]):.0f}" for each in both),
        *(f"{median(each.requests):.0f}" if each.requests else "-" for each in both),
        *(f"{median(each.megabytes):.0f}" if each.megabytes else "-" for each in both),
    ]
    return "| " + " | ".join(cells) + " |"


def parser(description: str | None, size: int, of: str) -> argparse.ArgumentParser:
    """What a bench is told: how often, how large, and where."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=size, help=f"of {of}, in MiB")
    parser.add_argument("--scratch", help="folder for hub and caches; a RAM disk measures no disk")
    return parser


@contextmanager
def stage(told: argparse.Namespace, *of_hub: str) -> Iterator[Bench]:
    """A hub, which has these arguments, and a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=told.scratch) as folder:
        scratch = Path(folder)
        with Hub.start(scratch / "hub", [ALICE], args=of_hub) as hub:
            yield Bench(hub, scratch, told.repeats)


def begin(bench: Bench, *columns: str) -> None:
    """Prints what stands above the rows of a table."""
    print(f"{machine()}. {bench.repeats} runs each, in turn; median (min-max).\n")
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")


def machine() -> str:
    """The machine in one line."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def main() -> None:
    """Runs all cases and prints the table."""
    options = parser(__doc__, 1024, "the large file")
    options.add_argument("--against", metavar="PYTHON", help="compare with its build of xet_ffi")
    told = options.parse_args()
    # The real Hub redirects each plain file once more, to its own cache. Without that, the number
    # of requests shows what a client asks for.
    with stage(told, "--resolve-cache-redirect", "false") as bench:
        bench.other = told.against
        publish(bench.hub, bench.scratch, told.size * MIB)
        ours, other = bench.clients
        begin(
            bench,
            *("case", f"{ours}, s", f"{other}, s", "ratio", f"CPU s, {ours}", other),
            *(f"peak MiB, {ours}", other, f"Hub requests, {ours}", other),
            *(f"storage MiB, {ours}", other),
        )
        big = bench.download("file", "alice/big", warm=False)
        print(row("cold file, download", big, lambda r: r.work), flush=True)
        print(row("cold file, whole process", big, lambda r: r.wall), flush=True)
        many = bench.download("snapshot", "alice/many", warm=False)
        print(row("cold snapshot of 520 files, download", many, lambda r: r.work), flush=True)
        again = bench.download("snapshot", "alice/many", warm=True)
        print(row("no-op snapshot, whole process", again, lambda r: r.wall), flush=True)
        ready = bench.start()
        print(row("import and client", ready, lambda r: r.work), flush=True)


if __name__ == "__main__":
    main()
