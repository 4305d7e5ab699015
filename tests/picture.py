"""Pictures of folders, to compare what two programs made and to show that nothing changed."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

#: By relative path: the kind, the permissions, and the link's target or the content's hash.
Picture = dict[str, tuple[str, str, str]]


def picture(root: Path) -> Picture:
    """Everything below `root`. Links are looked at, not followed."""
    found: Picture = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder, name)
            status = path.lstat()
            mode = f"{stat.S_IMODE(status.st_mode):o}"
            if stat.S_ISLNK(status.st_mode):
                seen = ("link", "", str(path.readlink()))
            elif stat.S_ISDIR(status.st_mode):
                seen = ("folder", mode, "")
            else:
                seen = ("file", mode, hashlib.sha256(path.read_bytes()).hexdigest())
            found[path.relative_to(root).as_posix()] = seen
    return found


def contents(root: Path) -> dict[str, bytes]:
    """The content of every file below `root`, through links, by path with "/"."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
