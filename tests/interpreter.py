"""Runs Python code in an interpreter of its own, with the installed package."""

import os
import subprocess
import sys
from collections.abc import Sequence


def python(
    code: str, flags: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Returns how `code` ended and what it printed."""
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        env={**os.environ, **environment},
        # Python looks for modules where it is started: not among the sources.
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
