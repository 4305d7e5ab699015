"""File systems that refuse what a local disk does, or only say that they did it.

    disk = SlowDisk(tmp_path / "tools", tmp_path / "cache")
    odd_disk.make(disk, "fuse")

Each kind is made of rules for a `SlowDisk`, after what such file systems were seen to answer.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slow_disk import SlowDisk

#: What a rule of a `SlowDisk` says, with the calls that it is about under "calls".
Rule = dict[str, Any]

KINDS: dict[str, list[Rule]] = {
    # Mounted without locks between machines, as kernels of compute nodes have it.
    "lustre": [
        {"calls": "flock,lock", "pretend": True},
        {"calls": "clone", "error": errno.EOPNOTSUPP},
        {"calls": "copy", "error": errno.EXDEV},
        {"calls": "allocate", "error": errno.EOPNOTSUPP},
    ],
    # Without a lock server; the server's own disk knows no blocks that are shared.
    "nfs": [
        {"calls": "flock,lock", "error": errno.ENOLCK},
        {"calls": "fsync", "only": "folder", "error": errno.EINVAL},
        {"calls": "clone", "error": errno.EOPNOTSUPP},
        {"calls": "copy", "error": errno.EIO},
        {"calls": "allocate", "error": errno.EOPNOTSUPP},
        {"calls": "utime", "error": errno.EPERM},
        {"calls": "readdir", "pretend": True},
    ],
    # No links, no permissions, and nothing is replaced that somebody has open.
    "cifs": [
        {"calls": "symlink", "error": errno.EOPNOTSUPP},
        {"calls": "link", "error": errno.EOPNOTSUPP},
        {"calls": "chmod", "error": errno.EPERM},
        {"calls": "fsync", "only": "folder", "error": errno.EBADF},
        {"calls": "rename", "only": "there", "error": errno.EBUSY},
        {"calls": "clone", "error": errno.EINVAL},
        {"calls": "copy", "error": errno.EINVAL},
    ],
    # A bucket behind a program of the user's.
    "fuse": [
        {"calls": "flock,lock", "error": errno.ENOSYS},
        {"calls": "statfs", "pretend": True},
        {"calls": "symlink", "error": errno.ENOSYS},
        {"calls": "link", "error": errno.EPERM},
        {"calls": "chmod", "error": errno.ENOSYS},
        {"calls": "utime", "error": errno.ENOSYS},
        {"calls": "fsync", "error": errno.EINVAL},
        {"calls": "fdatasync", "error": errno.ENOSYS},
        {"calls": "allocate", "error": errno.ENOSYS},
        {"calls": "clone", "error": errno.ENOTTY},
        {"calls": "copy", "error": errno.ENOSYS},
        {"calls": "readdir", "pretend": True},
    ],
}


def make(disk: SlowDisk, kind: str) -> None:
    """Has `disk` answer as that kind of file system."""
    for rule in KINDS[kind]:
        words = dict(rule)
        disk.rule(*words.pop("calls").split(","), **words)
