"""Which repos and revisions are in a cache, as huggingface_hub lays it out.

models--org--name/refs/main                     the commit that a branch stands for
models--org--name/snapshots/COMMIT/file         a link to a blob, or the file itself
models--org--name/blobs/HASH                    content; may be a link into the shared store
.locks/models--org--name/HASH.lock              held while a blob is brought
.locks/models--org--name/repo.xet.lock          shared by our calls while they need the repo
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from xet_ffi._dataclass import dataclass
from xet_ffi.cli import output
from xet_ffi.cli.shared_store import release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
_REPO_LOCK = "repo.xet.lock"


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
        return self.repo_id if self.repo_type == "model" else f"{self.repo_type}s/{self.repo_id}"

    @property
    def used(self) -> float:
        """When it was last used, in seconds since 1970."""
        return max((revision.used for revision in self.revisions), default=0.0)


class InUse(Exception):  # noqa: N818 - it's no failure
    """Somebody is downloading into the repo."""


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


@contextmanager
def _alone(cache_dir: str, repo: CachedRepo) -> Iterator[None]:
    """Holds all locks of a repo, so that nobody downloads into it.

    Raises:
        InUse: Somebody does.
    """
    locks = Path(cache_dir, ".locks", Path(repo.folder).name)
    locks.mkdir(parents=True, exist_ok=True)
    names = {_REPO_LOCK} | {path.name for path in locks.glob("*.lock")}
    with ExitStack() as held:
        for name in sorted(names):
            descriptor = os.open(locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            held.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse(repo.name) from None
        yield


def remove(cache_dir: str, repo: CachedRepo, commits: set[str]) -> int:
    """Removes revisions of a repo, or if those are all of it the repo, and returns what that frees.

    Contents that other revisions or, in the shared store, other repos have stay.

    Raises:
        InUse: Somebody downloads into the repo; nothing was removed.
        OSError: It can't be removed. What is left is whole: links go before contents.
    """
    folder = Path(repo.folder)
    with _alone(cache_dir, repo):
        kept = {revision.commit for revision in repo.revisions} - commits
        # First what leads there: an interruption leaves contents without a name, never the reverse.
        for path in _files(folder / "refs"):
            if not kept or _commit(path) in commits:
                path.unlink()
        gone = _contents(folder, commits) - _contents(folder, kept)
        freed, shared = 0, set()
        for commit in sorted(commits):
            snapshot = folder / "snapshots" / commit
            freed += sum(_frees(path) for path in _files(snapshot) if not path.is_symlink())
            shutil.rmtree(snapshot)
            for noted in (folder / "trees").glob(f"{commit}*"):
                noted.unlink()
        for blob in _files(folder / "blobs"):
            content = os.path.realpath(blob)
            # What no revision has may be of one that is on its way; it goes with the repo.
            if content in gone or not kept:
                if blob.is_symlink():
                    shared.add(content)
                freed += _frees(blob)
                blob.unlink()
        if not kept:
            shutil.rmtree(folder)
        freed += release(os.path.realpath(cache_dir), shared)
    return freed


def _contents(folder: Path, commits: set[str]) -> set[str]:
    """Returns where the contents of revisions really are."""
    snapshots = [folder / "snapshots" / commit for commit in commits]
    return {os.path.realpath(path) for snapshot in snapshots for path in _files(snapshot)}


def _commit(ref: Path) -> str:
    """Returns what a ref stands for; nothing, if it isn't one."""
    try:
        return ref.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _frees(path: Path) -> int:
    found = path.lstat()
    is_last = found.st_nlink == 1 and not path.is_symlink()
    return found.st_blocks * 512 if is_last else 0
