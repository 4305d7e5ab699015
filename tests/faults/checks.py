"""What must hold of caches, folders and processes after any fault."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Names that only an unfinished download may have.
UNFINISHED = {".incomplete", ".partial", ".chunks", ".tmp", ".copy", ".link"}

#: Of those, what an interrupted download keeps so that the next one goes on.
RESUMABLE = {".partial", ".chunks"}

#: Seconds in which a closed client's threads have ended.
ENDING = 10.0


def wrong_files(cache: Path, published: Mapping[str, Mapping[str, bytes]]) -> list[str]:
    """The finished names in a Hub cache whose content isn't what was published under them.

    `published` holds files by commit and path. A blob must hash to its own name.
    """
    wrong = []
    for path in cache.glob("models--*/snapshots/*/**/*"):
        if path.is_dir():
            continue
        commit, *parts = path.relative_to(path.parents[_depth(path, "snapshots")]).parts
        expected = published.get(commit, {}).get("/".join(parts))
        if parts == [".gitattributes"]:
            continue
        if not path.is_file() or path.read_bytes() != expected:
            wrong.append(str(path))
    blobs = [path for path in cache.glob("models--*/blobs/*") if path.suffix not in UNFINISHED]
    wrong += [str(blob) for blob in blobs if not _is_named_by_content(blob)]
    return wrong


def _depth(path: Path, folder: str) -> int:
    """Which of the path's parents has that name."""
    return next(i for i, parent in enumerate(path.parents) if parent.name == folder)


def _is_named_by_content(blob: Path) -> bool:
    if not blob.is_file():
        return False
    content = blob.read_bytes()
    if len(blob.name) == 64:
        return hashlib.sha256(content).hexdigest() == blob.name
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == blob.name


def wrong_in_folder(folder: Path, versions: Iterable[Mapping[str, bytes]]) -> list[str]:
    """The files in a local folder that are none of the versions published under their names."""
    allowed = list(versions)
    wrong = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name.startswith(".cache/") or name == ".gitattributes":
            continue
        if path.read_bytes() not in [version.get(name) for version in allowed]:
            wrong.append(str(path))
    return wrong


def unfinished(root: Path) -> list[Path]:
    """What unfinished downloads have left below a folder."""
    return [path for path in root.rglob("*") if path.suffix in UNFINISHED]


@dataclass(frozen=True)
class Usage:
    """What a process holds: open files, and threads of the library."""

    files: int
    threads: int

    @classmethod
    def of(cls, pid: int | str = "self") -> Usage:
        """As Linux counts it."""
        process = Path("/proc", str(pid))
        return cls(len(list((process / "fd").iterdir())), _threads_of_libxet(process))

    def leaked_since(self, pid: int | str = "self") -> Usage | None:
        """What the process holds beyond this, if that is still so after ENDING seconds."""
        end = time.monotonic() + ENDING
        pause = threading.Event()
        while True:
            now = Usage.of(pid)
            if now.files <= self.files and now.threads <= self.threads:
                return None
            if time.monotonic() > end:
                return now
            pause.wait(0.01)


def _threads_of_libxet(process: Path) -> int:
    return sum(_text(comm) == "xet\n" for comm in process.glob("task/*/comm"))


def _text(comm: Path) -> str:
    try:
        return comm.read_text()
    except OSError:  # the thread has just ended
        return ""
