"""What a measured process says of itself at its end.

Imports little, since it is part of what is measured.
"""

from __future__ import annotations

import sys


def report(seconds: float) -> None:
    """Prints what `measure.run` reads: seconds of work, and peak resident memory in MiB."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import
        status = dict(line.split(":", 1) for line in file)
    peak_mb = int(status["VmHWM"].split()[0]) / 1024
    sys.stdout.write(f'{{"seconds": {seconds}, "peak_mb": {peak_mb}}}')
