"""Programs that download, as processes of their own, for tests that kill, fork and stop them."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

    from typing_extensions import Self

#: Seconds after which a process that says nothing, or doesn't end, is stuck.
DEADLINE = 60.0

#: What every program begins with. ENDPOINT, CACHE and REPO are its arguments.
PRELUDE = """
import os, signal, sys, threading, time
from pathlib import Path
from xet_ffi import Client, XetError

ENDPOINT, CACHE, REPO, *REST = sys.argv[1:]

def say(*words):
    # In one call, so that the lines of forked processes don't mix.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def client(**options):
    return Client(ENDPOINT, token=False, cache_dir=CACHE, **options)

def announce(progress):
    # "flowing", as soon as content is on its way.
    if progress.bytes_network > 0:
        say("flowing")
"""


class Program:
    """A running Python program, from its text or a file; the `with` statement ends it at last."""

    def __init__(self, code: str | Path, *arguments: str, flags: Sequence[str] = ()) -> None:
        what = [str(code)] if isinstance(code, Path) else ["-c", PRELUDE + code]
        self._process = subprocess.Popen(
            [sys.executable, *flags, *what, *arguments],
            # Python looks for modules where it is started: not among the sources.
            cwd=sys.prefix,
            env={name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def has_said(self, wanted: str) -> bool:
        """Whether this is among the lines that came by now; they are read then."""
        came = []
        while not self._lines.empty():
            came.append(self._lines.get())
        return wanted in came

    def wait_for(self, wanted: str) -> None:
        """Reads lines until this one comes."""
        while (line := self._lines.get(timeout=DEADLINE)) != wanted:
            assert line is not None, f"it ended without saying {wanted!r}: {self._errors}"

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def end(self, within: float = DEADLINE) -> tuple[int, list[str], str]:
        """Waits until it ends by itself: exit code, lines not read yet, standard error."""
        code = self._process.wait(within)
        for reader in self._readers:
            reader.join(DEADLINE)
        lines = []
        while (line := self._lines.get_nowait()) is not None:
            lines.append(line)
        return code, lines, "".join(self._errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(DEADLINE)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
