"""The same faults for both clients, on one xet-hub: ``make bench-faults``.

A fault is set, then each client downloads one file, as a process of its own with an empty cache.
What it says, what it wrote and what the hub sent are looked at from outside. A client that has not
ended after ``--limit`` seconds is stopped and counts as "> N s". ``bench/RESULTS.md`` keeps the
table under "Faults".
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from run import ALICE, CLIENTS, MIB, machine  # noqa: E402

from hub import Hub  # noqa: E402
from published import commit, noise  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIZE = 64 * MIB
REPO = "alice/faults"
FILE = "model.bin"

#: Which content the two kinds of storage hold.
KINDS = ("xet", "lfs")

#: Bytes per second of a download that is killed, so that it can be met in the middle.
SLOWLY = 20_000_000


@dataclass(frozen=True)
class Ended:
    """How a download ended."""

    code: int | None
    """Its exit code; None if it was stopped."""
    seconds: float
    error: str
    """The class of the exception that ended it."""


@dataclass
class Faults:
    """Where everything is."""

    hub: Hub
    scratch: Path
    limit: float
    content: Mapping[str, bytes]

    def start(self, client: str, kind: str, home: Path) -> subprocess.Popen[str]:
        """Begins a download into the cache of a home."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        command = [sys.executable, str(HERE / "contender.py"), client, "file"]
        return subprocess.Popen(
            [*command, self.hub.endpoint, f"{REPO}-{kind}", str(home / "hub")],
            env=kept | {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], started: float) -> Ended:
        """Waits for its end, or stops it."""
        try:
            _, errors = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Ended(None, time.perf_counter() - started, "")
        seconds = time.perf_counter() - started
        raised = re.findall(r"^(?:\w+\.)*(\w+(?:Error|Exception))\b", errors, re.MULTILINE)
        return Ended(process.returncode, seconds, raised[-1] if raised else "no exception")

    def download(self, client: str, kind: str, home: Path) -> Ended:
        """A whole download."""
        started = time.perf_counter()
        return self.finish(self.start(client, kind, home), started)

    def file(self, kind: str, home: Path) -> str:
        """What stands under the file's name: right, wrong or nothing."""
        found = list((home / "hub").glob(f"models--*/snapshots/*/{FILE}"))
        if not found:
            return "no file"
        return "right file" if found[0].read_bytes() == self.content[kind] else "WRONG FILE"

    def home(self) -> Path:
        """An empty home."""
        return Path(tempfile.mkdtemp(dir=self.scratch))

    # The cases: what to write into a client's cell of the table.

    def damage(self, client: str, kind: str) -> str:
        """One byte of the stored content was flipped."""
        home = self.home()
        self.hub.corrupt(f"{REPO}-{kind}", FILE, offset=SIZE // 3)
        try:
            ended = self.download(client, kind, home)
        finally:
            self.hub.corrupt(f"{REPO}-{kind}", FILE, offset=SIZE // 3)
        return f"{self.outcome(ended)}, {self.file(kind, home)}"

    def outcome(self, ended: Ended) -> str:
        """In a word or two."""
        if ended.code is None:
            return f"**> {self.limit:.0f} s**"
        if ended.code == 0:
            return "success"
        return f"error ({ended.error})"

    def recovery(self, **fault: Any) -> Callable[[str, str], str]:
        """One answer of storage meets the fault, all others are fine: how much longer it takes."""

        def case(client: str, kind: str) -> str:
            plain = self.download(client, kind, self.home())
            home = self.home()
            self.hub.fault("storage", method="GET", times=1, **fault)
            self.hub.reset_stats()
            ended = self.download(client, kind, home)
            fired = self.hub.faults()[0]["fired"]
            self.hub.clear_faults()
            assert fired == 1, "the fault hit nothing"
            if ended.code != 0:
                return f"{self.outcome(ended)}, {self.file(kind, home)}"
            again = max(0, self.hub.stats().bytes_sent("storage") - SIZE) / MIB
            late = max(0.0, ended.seconds - plain.seconds)
            return f"{self.file(kind, home)}, +{late:.1f} s, {again:.1f} MiB again"

        return case

    def silence(self, client: str, kind: str) -> str:
        """Storage accepts and never answers."""
        self.hub.fault("storage", stall_before=3600)
        ended = self.download(client, kind, self.home())
        self.hub.clear_faults()
        return f"{self.outcome(ended)}" + (f", {ended.seconds:.0f} s" if ended.code else "")

    def kill(self, client: str, kind: str) -> str:
        """SIGKILL when storage has sent half of the file; then the same download again."""
        home = self.home()
        self.hub.fault("storage", drip=SLOWLY)
        self.hub.reset_stats()
        process = self.start(client, kind, home)
        pause = threading.Event()
        while (sent := self.hub.stats().bytes_sent("storage")) < SIZE // 2:
            assert process.poll() is None, "it ended before it could be killed"
            pause.wait(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = self.file(kind, home)
        self.hub.clear_faults()
        self.hub.reset_stats()
        ended = self.download(client, kind, home)
        if ended.code != 0:
            return f"{self.outcome(ended)}, {self.file(kind, home)}"
        again = (sent + self.hub.stats().bytes_sent("storage") - SIZE) / MIB
        named = "" if left == "no file" else f" (named before it was whole: {left})"
        return f"{self.file(kind, home)}, {again:.1f} MiB again{named}"

    def cases(self) -> dict[str, Callable[[str, str], str]]:
        """By name."""
        return {
            "a byte of the stored content is flipped": self.damage,
            "one answer stalls at a third": self.recovery(stall_after_bytes=SIZE // 3),
            "one answer is reset at a third": self.recovery(cut_after_bytes=SIZE // 3),
            "one answer is 503": self.recovery(status=503),
            "one signed URL is refused (403)": self.recovery(status=403),
            "one answer is other bytes of the right length": self.recovery(invert=True),
            "storage never answers": self.silence,
            "killed at half, and started again": self.kill,
        }


def publish(hub: Hub) -> dict[str, bytes]:
    """A repo with one file for each kind of storage, by the official client."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token=ALICE.secret)
    content = {kind: noise(SIZE, f"bench/{kind}") for kind in KINDS}
    for kind in KINDS:
        api.create_repo(f"{REPO}-{kind}")
        commit(api, f"{REPO}-{kind}", {FILE: content[kind]}, lfs=kind == "lfs")
    return content


def main() -> None:
    """Runs all cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=60, help="seconds to wait for a client")
    parser.add_argument("--scratch", help="folder for hub and caches")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        scratch = Path(folder)
        with Hub.start(scratch / "hub", [ALICE]) as hub:
            faults = Faults(hub, scratch, arguments.limit, publish(hub))
            print(f"{machine()}. Files of {SIZE // MIB} MiB.\n")
            print("| fault | storage | ours | huggingface_hub + hf_xet |")
            print("| --- " * 4 + "|")
            for name, case in faults.cases().items():
                for kind in KINDS:
                    cells = [case(client, kind) for client in CLIENTS]
                    print(f"| {name} | {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
