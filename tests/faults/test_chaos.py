"""A short soak; `make chaos` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_chaos_for_a_while() -> None:
    """Twenty seconds of everything at once: no wrong file, no hang, no crash, no lock left."""
    script = Path(__file__).parent / "chaos.py"
    done = subprocess.run(
        [sys.executable, str(script), "--seconds", "20"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    totals = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    assert int(totals["operations"]) > 0
    assert int(totals["faults injected"]) > 0
