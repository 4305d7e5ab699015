"""Uploads side by side with huggingface_hub + hf_xet, on one xet-hub, in one run.

Each run has a repo, a home and content of its own, so that nothing of an earlier one is on the
Hub. The content is random bytes, written just before; both clients read it from the page cache.
Bytes and requests are counted by the hub, time and memory by the operating system.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from measure import run  # noqa: E402
from run import ALICE, MIB, Bench, Samples, machine, row  # noqa: E402

from hub import Hub, Stats  # noqa: E402

Make = Callable[[random.Random, Path], Path]


@dataclass
class Case:
    """What is uploaded."""

    name: str
    task: str
    make: Make
    """Writes the content below a folder and returns what to upload."""
    change: Callable[[random.Random, Path], None] | None = None
    """What happens to the content after a first upload that isn't measured."""
    again: bool = False
    """Whether there is such a first upload."""


def file_of(size: int) -> Make:
    """A file of random bytes."""

    def make(rng: random.Random, folder: Path) -> Path:
        path = folder / "model.bin"
        with path.open("wb") as file:
            for _ in range(size // MIB):
                file.write(rng.randbytes(MIB))
        return path

    return make


def small_files(rng: random.Random, folder: Path) -> Path:
    """1,000 files of a few kilobytes: 900 of text, 100 that go to Xet storage."""
    for i in range(1000):
        parent = folder / f"part{i % 10}"
        parent.mkdir(exist_ok=True)
        if i % 10 == 0:
            (parent / f"{i}.bin").write_bytes(rng.randbytes(rng.randrange(1000, 9000)))
        else:
            lines = (f"{rng.random()}\n" for _ in range(rng.randrange(20, 120)))
            (parent / f"{i}.txt").write_text("".join(lines))
    return folder


def change_a_tenth(rng: random.Random, path: Path) -> None:
    """Writes anew a tenth of a file, in the middle, as one piece."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size * 4 // 10)
        for _ in range(size // 10 // MIB):
            file.write(rng.randbytes(MIB))


def sent(stats: Stats) -> float:
    """Content that the hub has received, in MiB."""
    received = stats.raw["xorb_bytes_received"] + stats.raw["lfs_bytes_received"]
    return float(received) / MIB


def upload(bench: Bench, case: Case) -> Mapping[str, Samples]:
    """Measures one case."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=bench.hub.endpoint, token=ALICE.secret)
    rng = random.Random(case.name)
    number = iter(range(1000))

    def once(client: str, samples: Samples) -> None:
        repo = f"alice/{case.task}-{client}-{rng.randrange(1 << 30)}-{next(number)}"
        api.create_repo(repo)
        content = Path(tempfile.mkdtemp(dir=bench.scratch))
        with bench.home() as home:
            path = case.make(rng, content)
            environment = bench.environment(home) | {"HF_TOKEN": ALICE.secret}
            script = str(HERE / "uploader.py")
            command = [sys.executable, script, client, case.task, bench.hub.endpoint, repo]
            command.append(str(path))
            if case.again:
                run(command, environment)
                if case.change is not None:
                    case.change(rng, path)
            bench.hub.reset_stats()
            samples.runs.append(run(command, environment))
            stats = bench.hub.stats()
            samples.requests.append(stats.requests("hub"))
            samples.megabytes.append(sent(stats))
        shutil.rmtree(content)
        api.delete_repo(repo)

    return bench.compare(once)


def main() -> None:
    """Runs all cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, help="of the large file, in MiB")
    parser.add_argument("--scratch", help="folder for hub and content; a RAM disk measures no disk")
    parser.add_argument("--only", help="cases whose name holds this")
    arguments = parser.parse_args()
    large = file_of(arguments.size * MIB)
    cases = [
        Case("cold file", "file", large),
        Case("file, a tenth changed", "file", large, change_a_tenth, again=True),
        Case("file, unchanged", "file", large, again=True),
        Case("cold folder of 1,000 small files", "folder", small_files),
        Case("folder of 1,000 small files, unchanged", "folder", small_files, again=True),
    ]
    print(f"{machine()}. {arguments.repeats} runs each, in turn; median (min-max).\n")
    print(
        "| case | ours, s | official, s | ratio | CPU s, ours | official | peak MiB, ours "
        "| official | Hub requests, ours | official | MiB sent, ours | official |"
    )
    print("| --- " * 12 + "|")
    for case in cases:
        if arguments.only and arguments.only not in case.name:
            continue
        # A hub of its own: it keeps what was uploaded, and the RAM disk has an end.
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            scratch = Path(folder)
            with Hub.start(scratch / "hub", [ALICE]) as hub:
                samples = upload(Bench(hub, scratch, arguments.repeats), case)
        print(row(case.name, samples, lambda r: r.work), flush=True)


if __name__ == "__main__":
    main()
