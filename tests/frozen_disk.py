"""A file system that can be made to hang, as a dead disk or a lost network share does."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED = ("mkfs.ext4", "mount", "umount", "fsfreeze")


def _run(*command: str) -> str:
    """Runs a program; returns what it complains about."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return f"{command[0]}: {done.stderr.strip()}" if done.returncode else ""


class FreezableDisk:
    """A mounted file system: between `freeze` and `thaw`, writing to it never ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._frozen = False

    def freeze(self) -> None:
        """Lets what has begun end first."""
        problem = _run("fsfreeze", "--freeze", str(self.folder))
        assert not problem, problem
        self._frozen = True

    def thaw(self) -> None:
        """Goes on."""
        if self._frozen:
            problem = _run("fsfreeze", "--unfreeze", str(self.folder))
            assert not problem, problem
            self._frozen = False


@contextmanager
def freezable_disk(base: Path, mebibytes: int) -> Iterator[FreezableDisk]:
    """An ext4 in a file; skips the test where there is no way to have one."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if os.getuid() != 0 or missing:
        pytest.skip(f"only root, with {', '.join(NEEDED)}, can freeze a file system")
    image, folder = base / "disk.img", base / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    problem = _run("mkfs.ext4", "-q", "-F", str(image)) or _run(
        "mount", "-o", "loop", str(image), str(folder)
    )
    if problem:
        pytest.skip(f"can't mount here: {problem}")
    disk = FreezableDisk(folder)
    try:
        yield disk
    finally:
        try:
            disk.thaw()
        finally:
            problem = _run("umount", "--lazy", str(folder))
            assert not problem, problem
