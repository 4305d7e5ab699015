"""File systems that are soon full."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def mount(*arguments: str) -> str:
    """Calls the program, and returns what it complains about."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@contextmanager
def small_file_system(mebibytes: int) -> Iterator[Path]:
    """A file system of that size; skips the test where there is no way to have one."""
    if os.getuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small file system")
    folder = Path(tempfile.mkdtemp(prefix="small-disk-"))
    problem = mount("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder))
    if problem:
        folder.rmdir()
        pytest.skip(f"can't mount here: {problem.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
