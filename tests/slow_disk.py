"""A slow or odd disk for one process: file-system calls that take long, fail, and are written down.

    disk = SlowDisk(tmp_path / "tools", tmp_path / "cache")
    disk.rule("metadata", delay_ms=1)  # as NFS has it
    disk.rule("close", delay_ms=12_000, match="partial", times=1)
    subprocess.run([...], env={**os.environ, **disk.environment()})
    assert disk.count("fsync", path=disk.folder / "blobs") == 1

It is a library that the system's loader puts between a program and the C library, so it works for
programs that are started with its environment and not for the process of the test. What libxet asks
of the system goes through the C library; what Go's own `os` package asks doesn't, and isn't slowed.
tests/preload/slow_disk.c lists the calls and what the words of a rule mean.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import pytest

from abi.toolchain import compile_c

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = Path(__file__).resolve().parent / "preload" / "slow_disk.c"

#: A null pointer that a header forbids is still passed on by programs that probe the system.
FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-delete-null-pointer-checks")

#: Seconds until a call that a test waits for is a failure.
DEADLINE = 60.0


class Call(NamedTuple):
    """A call that a program made: its kind, the name of the thread that made it, and the path."""

    name: str
    thread: str
    path: str


class SlowDisk:
    """A folder on a slow disk, as programs see it that run in its `environment`.

    `work` is a folder for the library and the log; it may be the same for several programs, one
    after the other. Skips the test where programs can't be slowed so.
    """

    def __init__(self, work: Path, folder: Path) -> None:
        if sys.platform != "linux":
            pytest.skip("needs LD_PRELOAD")
        work.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self._library = work / "slow_disk.so"
        self._log = work / "slow_disk.log"
        self._log.touch()
        self._rules: list[str] = []
        if not self._library.exists():
            made = compile_c([SOURCE], self._library, [*FLAGS, "-fPIC", "-shared"], ["-ldl"])
            assert made.worked, made.messages

    def rule(
        self,
        *calls: str,
        delay_ms: int = 0,
        error: int = 0,
        pretend: bool = False,
        lies: str | None = None,
        fold: bool = False,
        only: Literal["folder", "file", "there", "unwritable"] | None = None,
        match: str | None = None,
        thread: str | None = None,
        skip: int = 0,
        times: int | None = None,
        while_exists: Path | None = None,
        until_exists: Path | None = None,
    ) -> None:
        """Adds a rule for programs that are started after this.

        `error` is an errno. `pretend` says that all is well where nothing is: locks are granted to
        everyone, space is 0 of 0, and a listing doesn't say what is a folder. `lies` is what `stat`
        gets wrong: size, seconds, change, inode, inodes; see slow_disk.c. `fold` (of `all` calls)
        takes upper and lower case in names for one. `match` is a part of the path, `thread` the
        beginning of a thread's name. The first `skip` matches pass, and the rule ends after `times`
        more. A delay ends early when its rule does: `until_exists=gate` holds a call until the test
        makes `gate`.
        """
        if times == 0:
            raise ValueError("a rule that never applies proves nothing")
        words = [",".join(calls)]
        values = {
            "delay": delay_ms,
            "error": error,
            "lies": lies,
            "only": only,
            "match": match,
            "thread": thread,
            "skip": skip,
            "times": times,
            "while": while_exists,
            "until": until_exists,
        }
        words += [f"{word}={value}" for word, value in values.items() if value not in {None, 0}]
        words += ["pretend"] * pretend + ["fold"] * fold
        rule = " ".join(words)
        if ";" in rule or len(rule.split(" ")) != len(words):
            raise ValueError(f"no blanks and semicolons in a rule: {rule}")
        self._rules.append(rule)

    def environment(self) -> dict[str, str]:
        """What a program's environment must hold besides everything else."""
        return {
            "LD_PRELOAD": str(self._library),
            "SLOW_DISK_FOLDER": str(self.folder),
            "SLOW_DISK_LOG": str(self._log),
            "SLOW_DISK_RULES": ";".join(self._rules),
        }

    def run(self, program: str, *arguments: str) -> tuple[list[str], str]:
        """What a Python program has said for which the disk is so, and what its log said."""
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **self.environment(), "HF_XET_CACHE": str(self.folder / "xet")},
            # Python looks for modules where it is started: not among the sources.
            cwd=sys.prefix,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split(), done.stderr

    def calls(self, *names: str) -> list[Call]:
        """The calls that were begun so far, of the given kinds or of all, in their order."""
        text = self._log.read_text(encoding="utf-8", errors="surrogateescape")
        # Without the last piece: what stands behind the last line's end, or half a line.
        found = [Call(*line.split("\t")) for line in text.split("\n")[:-1]]
        return [call for call in found if not names or call.name in names]

    def count(self, *names: str, path: Path | None = None) -> int:
        """How many such calls were begun; with `path`, those on exactly this file or folder."""
        return sum(path is None or call.path == str(path) for call in self.calls(*names))

    def forget(self) -> None:
        """Empties the log."""
        self._log.write_bytes(b"")

    def wait_for(
        self, condition: Callable[[list[Call]], object], what: str, deadline: float = DEADLINE
    ) -> None:
        """Waits until `condition` holds for the calls so far."""
        end = time.monotonic() + deadline
        pause = threading.Event()
        while not condition(self.calls()):
            assert time.monotonic() < end, f"waited {deadline} s for {what}"
            pause.wait(0.01)
