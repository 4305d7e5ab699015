"""What the doctor looks at on disks: room, permissions, and what file systems are able to do."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from xet_ffi._bar import size
from xet_ffi.cli import output
from xet_ffi.cli.finding import Finding, failed, ok, warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xet_ffi import ClientInfo

#: Below this a download of a model is likely to fail.
_LITTLE = 5_000_000_000


def disks(info: ClientInfo) -> Iterator[Finding]:
    """Looks at the disks of both caches."""
    for about, folder in (("cache", info.cache_dir), ("xet cache", info.xet_cache_dir)):
        place = Path(folder)
        while not place.exists() and place != place.parent:
            place = place.parent
        free = shutil.disk_usage(place).free
        told = f"{folder}: {size(free)}B free"
        if not os.access(place, os.W_OK | os.X_OK):
            variable = "HF_HUB_CACHE" if about == "cache" else "HF_XET_CACHE"
            way_out = f"let {variable} name a folder that you may write to"
            yield failed(about, f"{place} can't be written to", way_out, 15)
            continue
        if free < _LITTLE:
            yield warning(about, told, "xet-ffi cache ls --sort size, xet-ffi cache rm")
        else:
            yield ok(about, told)
        if about == "cache":
            yield from _abilities(place)


def _abilities(place: Path) -> Iterator[Finding]:
    """Tries on the cache's own disk what downloads use there."""
    try:
        with tempfile.TemporaryDirectory(prefix=".xet-ffi-doctor-", dir=place) as folder:
            yield _locks(folder)
            yield _links(folder)
    except OSError as error:
        way_out = "let HF_HUB_CACHE name a folder on another disk"
        yield failed("file system", f"{place}: {error.strerror}", way_out, output.LOCAL_FILE)


def _locks(folder: str) -> Finding:
    path = os.path.join(folder, "lock")
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for _ in range(2)]
    exclusive = fcntl.LOCK_EX | fcntl.LOCK_NB
    weak = "each process downloads by itself; a local disk (HF_HUB_CACHE) lets them share"
    try:
        fcntl.flock(descriptors[0], exclusive)
        fcntl.flock(descriptors[1], exclusive)
    except BlockingIOError:
        return ok("locks", "keep others out")
    except OSError as error:
        return warning("locks", f"are refused: {error.strerror}", weak)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return warning("locks", "are granted to everyone", weak)


def _links(folder: str) -> Finding:
    source = os.path.join(folder, "file")
    Path(source).write_bytes(b"x")
    able: list[str] = []
    unable: list[str] = []
    tries: dict[str, Callable[[], None]] = {
        "symbolic links": lambda: os.symlink("file", os.path.join(folder, "symbolic")),
        "hard links": lambda: os.link(source, os.path.join(folder, "hard")),
        "shared blocks": lambda: _clone(source, os.path.join(folder, "clone")),
    }
    for name, make in tries.items():
        (able if _works(make) else unable).append(name)
    told = f"has {', '.join(able) or 'no links'}" + (f"; no {', '.join(unable)}" if unable else "")
    if "symbolic links" in unable:
        return warning("file system", told, "each revision takes its own space; use another disk")
    return ok("file system", told)


def _works(make: Callable[[], None]) -> bool:
    try:
        make()
    except OSError:
        return False
    return True


#: ioctl of Linux: share all blocks of another file.
_FICLONE = 0x40049409


def _clone(source: str, target: str) -> None:
    with open(source, "rb") as old, open(target, "wb") as new:
        fcntl.ioctl(new, _FICLONE, old.fileno())
