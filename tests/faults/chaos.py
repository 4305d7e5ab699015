"""Downloads for minutes while everything fails: ``make chaos CHAOS_FLAGS="--seconds N --seed S"``.

Each round has a cache and a folder of its own. In each of its waves some processes download and
list at once, through proxies, while requests meet faults of the matrix and connections faults of
TCP; some of the processes are killed. After each wave the cache and the folder are checked, and at
the end of the round a process without faults must make them whole. Then the totals: the exit status
is 1 if a file was wrong, a call hung, a process crashed or a lock stayed.

All choices come from the seed (and the number of the round); when exactly things meet, doesn't.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults.cell import arm
from faults.checks import unfinished, wrong_files, wrong_in_folder
from faults.content import NEW, OLD, REPO
from faults.matrix import COLUMNS, HTTP, TCP
from faults.stage import Stage, open_stage
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The `timeout` of a call, in seconds, and how much later it counts as hanging.
LIMIT = 8.0
GRACE = 15.0

WORKERS = 4
CALLS = 3
WAVES = 3


@dataclass
class Totals:
    """What happened."""

    rounds: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    kills: int = 0
    wrong: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    locks: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.wrong or self.hangs or self.crashes or self.locks)

    def lines(self) -> Iterator[str]:
        """The report."""
        yield f"rounds               {self.rounds}"
        yield f"operations           {self.operations.total()}"
        for kind, count in self.operations.most_common():
            yield f"  {kind:<18} {count}"
        yield f"faults injected      {self.faults}"
        yield f"kills                {self.kills}"
        for name, found in (
            ("wrong files", self.wrong),
            ("hangs", self.hangs),
            ("crashes", self.crashes),
            ("locks left", self.locks),
        ):
            yield f"{name:<21}{len(found)}"
            yield from (f"  {what}" for what in found)


class Worker:
    """A process of chaos_worker.py, with calls to make."""

    def __init__(self, endpoint: str, cache: Path, calls: list[dict[str, Any]]) -> None:
        options = json.dumps({"read_timeout": 1, "connect_timeout": 1, "max_attempts": 3})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.chaos_worker", endpoint, str(cache), options],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
                # What one cache has is reused there, and nowhere else.
                "XET_FFI_REUSE_INDEX_BYTES": str(1 << 29),
                "HF_XET_CACHE": f"{cache}-xet",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.writelines(json.dumps(call) + "\n" for call in calls)
        self._process.stdin.close()
        self._calls = calls
        self._killed = False
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line.strip())
        self._answers.put(None)

    def kill(self, how: signal.Signals) -> bool:
        """Kills it, if it is still at work."""
        if self._process.poll() is not None:
            return False
        self._killed = True
        self._process.send_signal(how)
        return True

    def account(self, totals: Totals) -> None:
        """Waits for its answers, and counts them."""
        for call in self._calls:
            try:
                answer = self._answers.get(timeout=LIMIT + GRACE)
            except queue.Empty:
                totals.hangs.append(json.dumps(call))
                break
            if answer is None:
                break
            totals.operations[answer] += 1
            if answer == "wrong":
                totals.wrong.append(json.dumps(call))
            elif answer == "internal":
                totals.crashes.append(f"internal error: {json.dumps(call)}")
        self._end(totals)

    def _end(self, totals: Totals) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            totals.hangs.append("a process that had answered did not end")
            self._process.kill()
            code = self._process.wait()
        errors = self._process.stderr.read()
        if not self._killed and (code != 0 or errors):
            totals.crashes.append(f"exit code {code}: {errors[-2000:]}")
        self._process.stderr.close()
        self._process.stdout.close()


@dataclass
class Round:
    """One cache and one folder, some waves of trouble, and a happy end."""

    stage: Stage
    root: Path
    rng: random.Random
    totals: Totals

    @property
    def cache(self) -> Path:
        """The cache."""
        return self.root / "cache"

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.root / "folder"

    def run(self) -> None:
        """All of it."""
        for _ in range(WAVES):
            self.stage.heal()
            self.stage.through_wires()
            self.wave()
            # The last rule is only the speed.
            self.totals.faults += sum(rule["fired"] for rule in self.stage.hub.faults()[:-1])
            self.check()
            if self.rng.random() < 0.5:
                for folder in (self.cache, self.folder):
                    shutil.rmtree(folder, ignore_errors=True)
        self.stage.heal()
        self.finish()
        self.check()
        self.totals.rounds += 1

    def wave(self) -> None:
        """Processes at work, faults in their way, and death."""
        for _ in range(self.rng.randint(1, 4)):
            name = self.rng.choice(list(HTTP))
            column = COLUMNS[self.rng.choice(HTTP[name].columns)]
            arm(self.stage, column, HTTP[name], times=self.rng.choice([1, 1, 2, 4, None]))
        # Slow enough that processes meet each other, and their death.
        self.stage.hub.fault("storage", drip=self.rng.choice([1, 3, 10]) * 1_000_000)
        for wire in self.stage.wires.values():
            if self.rng.random() < 0.25:
                toxic = TCP[self.rng.choice(list(TCP))]
                if toxic.name:
                    share = self.rng.choice([0.3, 1.0])
                    wire.add(
                        toxic.name, upstream=toxic.upstream, toxicity=share, **toxic.attributes
                    )
                    self.totals.faults += 1
        endpoint = self.stage.wires["hub"].url
        calls = [[self.call() for _ in range(CALLS)] for _ in range(WORKERS)]
        kills = [
            (self.rng.uniform(0.1, 3), number, self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
            for number in range(WORKERS)
            if self.rng.random() < 0.4
        ]
        workers = [Worker(endpoint, self.cache, each) for each in calls]
        started = time.monotonic()
        pause = threading.Event()
        for when, number, how in sorted(kills):
            pause.wait(max(0.0, started + when - time.monotonic()))
            self.totals.kills += workers[number].kill(how)
        for worker in workers:
            worker.account(self.totals)

    def call(self) -> dict[str, Any]:
        """Something to do."""
        old = self.rng.random() < 0.5
        return {
            "what": self.rng.choice(["file", "file", "file", "snapshot", "list"]),
            "old": old,
            "revision": self.stage.old if old else self.rng.choice([self.stage.new, "main"]),
            "file": self.rng.choice(list(NEW)),
            "folder": self.rng.choice([None, None, str(self.folder)]),
            "limit": LIMIT,
        }

    def check(self) -> None:
        """Whatever happened, this holds."""
        self.totals.wrong += wrong_files(self.cache, self.stage.published)
        self.totals.wrong += wrong_in_folder(self.folder, [OLD, NEW])
        self.totals.wrong += odd_in(self.cache)
        self.totals.locks += [str(path) for path in self.root.rglob("*.lock") if is_locked(path)]

    def finish(self) -> None:
        """Without faults, what was begun is finished, and nothing is left over."""
        try:
            with Client(self.stage.hub.endpoint, token=False, cache_dir=self.cache) as client:
                for revision in (self.stage.old, self.stage.new):
                    for folder in (None, self.folder):
                        client.download_snapshot(
                            REPO, revision=revision, local_dir=folder, timeout=LIMIT + GRACE
                        )
        except XetError as error:
            self.totals.crashes.append(f"without faults: {error}")
            return
        self.totals.wrong += wrong_in_folder(self.folder, [NEW])
        self.totals.wrong += [f"left over: {path}" for path in unfinished(self.root)]


def odd_in(cache: Path) -> list[str]:
    """What huggingface_hub finds odd in a cache."""
    from huggingface_hub import scan_cache_dir

    return [str(warning) for warning in scan_cache_dir(cache).warnings] if cache.is_dir() else []


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock, although nobody is at work."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def soak(base: Path, seconds: float, seed: int, first: int = 0) -> Totals:
    """Plays rounds until the time is over."""
    totals = Totals()
    end = time.monotonic() + seconds
    with open_stage(base) as stage:
        number = first
        while time.monotonic() < end and totals.is_clean:
            with tempfile.TemporaryDirectory(dir=base) as root:
                rng = random.Random(f"{seed}/{number}")
                Round(stage, Path(root), rng, totals).run()
            number += 1
    if not totals.is_clean:
        sys.stderr.write(f"repeat with --seed {seed} --round {number - 1}\n")
    return totals


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--round", type=int, default=0, help="the first round to play")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    sys.stdout.write(f"seed                 {seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="chaos-") as base:
        totals = soak(Path(base), arguments.seconds, seed, arguments.round)
    sys.stdout.write("\n".join(totals.lines()) + "\n")
    return 0 if totals.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
