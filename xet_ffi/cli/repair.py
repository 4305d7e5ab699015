"""Which files of which repos a blob is, and how they are had again."""

from __future__ import annotations

import os

from xet_ffi import Client, XetError
from xet_ffi._dataclass import dataclass
from xet_ffi.cli import inventory, output
from xet_ffi.cli.shown import Shown, downloaded
from xet_ffi.cli.target import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from xet_ffi.cache import CacheItem
    from xet_ffi.cli.inventory import CachedRepo


#: What a look at the cache says of a link of a revision to what isn't there, and how it begins to
#: say that something is damaged.
MISSING, _DAMAGED = "leads to content that isn't there", "has the hash "


def is_reparable(item: CacheItem) -> bool:
    """Whether another download mends it."""
    return item.reason == MISSING or item.reason.startswith(_DAMAGED)


@dataclass(frozen=True, slots=True)
class Place:
    """A file of a revision.

    Attributes:
        repo: Its repo.
        commit: The revision.
        path: Its path in the repo.
    """

    repo: CachedRepo
    commit: str
    path: str

    def __str__(self) -> str:
        return f"{self.repo.name}@{self.commit[:12]}/{self.path}"


def places(root: str, paths: Iterable[str]) -> dict[str, list[Place]]:
    """Returns for each path, of a blob or a file, the files of revisions that have it."""
    by_content = {os.path.realpath(path): path for path in paths}
    found: dict[str, list[Place]] = {path: [] for path in by_content.values()}
    if not found:
        return found
    for repo in inventory.repos(root):
        for revision in repo.revisions:
            snapshot = os.path.join(repo.folder, "snapshots", revision.commit)
            for place, _, names in os.walk(snapshot):
                for name in names:
                    file = os.path.join(place, name)
                    content = by_content.get(os.path.realpath(file))
                    if content is not None:
                        inside = os.path.relpath(file, snapshot)
                        found[content].append(Place(repo, revision.commit, inside))
    return found


def repair(arguments: argparse.Namespace, root: str, damaged: dict[str, list[Place]]) -> int:
    """Downloads again what is damaged, and returns how many contents are right now.

    A content is fetched once, for the first file that has it; the others lead to the same.
    """
    arguments.cache_dir = root
    with client(arguments) as hub:
        return sum(_again(hub, arguments, path, files) for path, files in damaged.items())


def _again(hub: Client, arguments: argparse.Namespace, path: str, files: list[Place]) -> bool:
    if not files:
        output.warning(f"no revision has {path}; `xet-ffi cache prune --unreferenced` removes it")
        return False
    first = files[0]
    with Shown(arguments) as shown:
        try:
            transfer = hub.download_file(
                first.repo.repo_id,
                first.path,
                repo_type=first.repo.repo_type,
                revision=first.commit,
                force_download=True,
                progress=shown,
            )
        except XetError as error:
            output.error(f"can't repair {first}: {error}")
            return False
    shown.summary(f"{first}: {downloaded(transfer)}")
    return True
