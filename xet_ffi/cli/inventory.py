"""Which repos and revisions are in a cache, as huggingface_hub lays it out.

models--org--name/refs/main                     the commit that a branch stands for
models--org--name/snapshots/COMMIT/file         a link to a blob, or the file itself
models--org--name/blobs/HASH                    content; may be a link into the shared store
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from xet_ffi._dataclass import dataclass
from xet_ffi.cli import output
from xet_ffi.cli.target import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A revision that is there.

    Attributes:
        commit: The commit.
        refs: Branches, tags and pull requests that stand for it here.
        files: How many files of it are here.
        size: Bytes that they have.
        used: When it was last read or written, in seconds since 1970.
    """

    commit: str
    refs: tuple[str, ...]
    files: int
    size: int
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedRepo:
    """A repo that is there.

    Attributes:
        repo_type: "model", "dataset" or "space".
        repo_id: "namespace/name", or "name".
        folder: Where it is, absolute.
        revisions: What is there of it.
        size: Bytes that its contents have, each counted once.
    """

    repo_type: str
    repo_id: str
    folder: str
    revisions: tuple[Revision, ...]
    size: int

    @property
    def name(self) -> str:
        """Returns how the commands call it: a model by its id, others with their kind before it."""
        return named(self.repo_id, self.repo_type)

    @property
    def used(self) -> float:
        """When it was last used, in seconds since 1970."""
        return max((revision.used for revision in self.revisions), default=0.0)


def repos(cache_dir: str) -> list[CachedRepo]:
    """Returns what is in a cache, by name. What can't be looked into is told, and left out."""
    with os.scandir(cache_dir) as entries:
        folders = [
            (kind, name, Path(entry.path))
            for entry in entries
            for kind, _, name in [entry.name.partition("--")]
            if kind in _TYPES and name and entry.is_dir()
        ]
    looked = [
        _try_repo(folder, _TYPES[kind], name.replace("--", "/")) for kind, name, folder in folders
    ]
    return sorted((repo for repo in looked if repo is not None), key=lambda repo: repo.name)


def _try_repo(folder: Path, repo_type: str, repo_id: str) -> CachedRepo | None:
    try:
        return _repo(folder, repo_type, repo_id)
    except OSError as error:
        output.warning(f"can't look into {error.filename or folder}: {error.strerror}")
        return None


def _repo(folder: Path, repo_type: str, repo_id: str) -> CachedRepo:
    refs: dict[str, list[str]] = {}
    for path in _files(folder / "refs"):
        refs.setdefault(_commit(path), []).append(path.relative_to(folder / "refs").as_posix())
    sizes: dict[tuple[int, int], int] = {}
    revisions = []
    with suppress(FileNotFoundError):
        for snapshot in sorted((folder / "snapshots").iterdir()):
            if snapshot.is_dir():
                named = tuple(sorted(refs.get(snapshot.name, ())))
                revisions.append(_revision(snapshot, named, sizes))
    return CachedRepo(
        repo_type=repo_type,
        repo_id=repo_id,
        folder=str(folder),
        revisions=tuple(revisions),
        size=sum(sizes.values()),
    )


def _revision(snapshot: Path, refs: tuple[str, ...], sizes: dict[tuple[int, int], int]) -> Revision:
    own: dict[tuple[int, int], int] = {}
    files, used = 0, 0.0
    for path in _files(snapshot):
        with suppress(OSError):
            found = path.stat()
            own[found.st_dev, found.st_ino] = found.st_size
            used = max(used, found.st_atime, found.st_mtime)
            files += 1
    sizes |= own
    return Revision(commit=snapshot.name, refs=refs, files=files, size=sum(own.values()), used=used)


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            yield Path(place, name)


def _commit(ref: Path) -> str:
    """Returns what a ref stands for; nothing, if it isn't one."""
    try:
        return ref.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
