"""Runs a command as a whole process and says what it cost, as the operating system counted it.

The command reports the seconds of its work and its peak memory itself, with `report.report`. (The
peak that `wait4` gives is no use: it includes what this process had resident when it forked.)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One finished process."""

    wall: float
    """Seconds from start to end, interpreter included."""
    work: float
    """Seconds that the process itself measured around its work."""
    cpu: float
    """User and system seconds."""
    peak_mb: float
    """Largest resident set, in MiB."""


def run(command: Sequence[str], env: Mapping[str, str]) -> Run:
    """Runs ``command``, which ends with `report.report`, and fails loudly if it fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=dict(env))
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{err.read().decode(errors='replace')}")
        result = json.load(out)
        return Run(
            wall=wall,
            work=float(result["seconds"]),
            cpu=usage.ru_utime + usage.ru_stime,
            peak_mb=float(result["peak_mb"]),
        )


def median(values: Sequence[float]) -> float:
    """The middle of the values."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """``median (min-max)`` with sensible digits."""
    return f"{median(values):.3g} ({min(values):.3g}-{max(values):.3g})"
