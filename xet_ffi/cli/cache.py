"""The commands that look after the cache."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from xet_ffi import Client, XetError, cache
from xet_ffi._bar import size
from xet_ffi.cli import inventory, output, repair
from xet_ffi.cli.output import Misuse
from xet_ffi.cli.shown import Shown
from xet_ffi.cli.target import named
from xet_ffi.cli.words import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Any

    from xet_ffi.cli.inventory import CachedRepo, Revision
    from xet_ffi.cli.words import Repo

_SHORT = 12
_DAY = 86_400
_REVISION_HEADS = ["REPO", "REVISION", "SIZE", "FILES", "USED", "REFS"]


#: Limits what is kept of what was read in place.
_READ_LIMIT = "XET_FFI_READ_CACHE_BYTES"


def _root(arguments: argparse.Namespace) -> str | None:
    """Returns the root of the cache; None, and it's said, if the caller named one that isn't."""
    with Client(cache_dir=arguments.cache_dir, offline=True) as client:
        root = client.info().cache_dir
    if arguments.cache_dir is None or Path(root).is_dir():
        return root
    output.error(f"there is no folder {arguments.cache_dir}")
    return None


def _in_a_cache(command: Callable[[argparse.Namespace, str], int]) -> Callable[..., int]:
    def checked(arguments: argparse.Namespace) -> int:
        root = _root(arguments)
        return output.LOCAL_FILE if root is None else command(arguments, root)

    return checked


def _ls(arguments: argparse.Namespace, root: str) -> int:
    found = inventory.repos(root) if Path(root).is_dir() else []
    keys: dict[str, Callable[[CachedRepo], object]] = {
        "name": lambda repo: repo.name,
        "size": lambda repo: -repo.size,
        "used": lambda repo: -repo.used,
    }
    found.sort(key=keys[arguments.sort])  # type: ignore[arg-type] # each is of one kind
    if arguments.json:
        output.result([{"name": repo.name, **asdict(repo)} for repo in found], as_json=True)
        return output.DONE
    if not found:
        output.say(f"nothing in {root}")
        return output.DONE
    if arguments.revisions:
        rows = [_revision_row(repo, one) for repo in found for one in repo.revisions]
        _table(_REVISION_HEADS, rows)
    else:
        rows = [_repo_row(repo) for repo in found]
        _table(["REPO", "SIZE", "REVISIONS", "USED", "REFS"], rows)
    total = sum(repo.size for repo in found)
    repos = f"{len(found)} repo{'' if len(found) == 1 else 's'}"
    if output.is_terminal(sys.stdout):
        output.say(f"{repos}, {size(total)}B in {root}")
    return output.DONE


def _repo_row(repo: CachedRepo) -> list[str]:
    refs = " ".join(ref for one in repo.revisions for ref in one.refs)
    return [repo.name, f"{size(repo.size)}B", str(len(repo.revisions)), _ago(repo.used), refs]


def _revision_row(repo: CachedRepo, one: Revision) -> list[str]:
    refs = " ".join(one.refs)
    amount = f"{size(one.size)}B"
    return [repo.name, one.commit[:_SHORT], amount, str(one.files), _ago(one.used), refs]


def _ago(moment: float) -> str:
    if not moment:
        return "never"
    seconds = max(time.time() - moment, 0)
    for unit, length in (("d", _DAY), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _table(heads: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        output.line("  ".join(cells).rstrip())


def _usage(arguments: argparse.Namespace, root: str) -> int:
    with Shown(arguments) as shown:
        usage = cache.usage(cache_dir=root, progress=shown)
    if arguments.json:
        output.result(usage, as_json=True)
    else:
        for name, value in asdict(usage).items():
            about = name.replace("_", " ")
            if name == "read_bytes":
                about += f": read in place, kept in {_read_folder(root)}; {_READ_LIMIT} limits it"
            output.line(f"{value:>20,}  {about}")
    return output.DONE


def _read_folder(root: str) -> Path:
    """Returns where what was read in place is kept."""
    with Client(cache_dir=root, offline=True) as client:
        return Path(client.info().xet_cache_dir, "xet-ffi", "read")


def _rm(arguments: argparse.Namespace, root: str) -> int:
    found = _found(root)
    chosen: dict[str, set[str] | None] = {}
    for target in arguments.targets:
        repo, commits = _choose(target, found)
        before = chosen.get(repo.name, set())
        # The whole repo, or another revision of it.
        chosen[repo.name] = None if commits is None or before is None else before | commits
    if arguments.json:
        rows = [
            {"name": name, "commits": [one.commit for one in _revisions(found[name], commits)]}
            for name, commits in chosen.items()
        ]
        output.result(rows, as_json=True)
    else:
        lines = [_going(found[name], commits) for name, commits in chosen.items()]
        _table(_REVISION_HEADS, [row for rows in lines for row in rows])
    if arguments.dry_run:
        return output.DONE
    if not arguments.yes and not _confirmed():
        return output.INTERRUPTED
    with Client(cache_dir=root, offline=True) as client, Shown(arguments) as shown:
        statuses = [
            _remove(client, found[name], commits, shown) for name, commits in chosen.items()
        ]
    return next((status for status in statuses if status), output.DONE)


def _found(root: str) -> dict[str, CachedRepo]:
    return {repo.name: repo for repo in inventory.repos(root)} if Path(root).is_dir() else {}


def _revisions(repo: CachedRepo, commits: set[str] | None) -> list[Revision]:
    return [one for one in repo.revisions if commits is None or one.commit in commits]


def _going(repo: CachedRepo, commits: set[str] | None) -> list[list[str]]:
    rows = [_revision_row(repo, one) for one in _revisions(repo, commits)]
    # What an interrupted download has left has none.
    return rows or [[repo.name, "none", f"{size(repo.size)}B", "0", "never", ""]]


def _remove(client: Client, repo: CachedRepo, commits: set[str] | None, shown: Shown) -> int:
    try:
        report = client.cache_remove(
            repo.repo_id,
            repo_type=repo.repo_type,
            commits=None if commits is None else sorted(commits),
            progress=shown,
        )
    except XetError as error:
        # The others can go all the same.
        shown.error(str(error))
        return output.status_of(error)
    kept = report.items[report.files :]
    for item in kept:
        shown.error(f"{item.path}: {item.reason}")
    shown.line(f"removed {repo.name}: {size(report.bytes)}B freed")
    return output.LOCAL_FILE if kept else output.DONE


def _choose(target: Repo, found: dict[str, CachedRepo]) -> tuple[CachedRepo, set[str] | None]:
    """Returns what is meant: a repo, and revisions of it; None: all of it."""
    full, revision = named(target.repo_id, target.repo_type), target.revision
    repo = found.get(full)
    if repo is None:
        message = f"{full} is not in the cache{did_you_mean(full, found)}"
        raise Misuse(message, output.NOT_FOUND)
    if revision is None:
        return repo, None
    fitting = [
        one.commit
        for one in repo.revisions
        if revision in one.refs or one.commit.startswith(revision)
    ]
    if len(fitting) == 1:
        return repo, set(fitting)
    why = "stands for several revisions" if fitting else "is not in the cache"
    message = f"{full}@{revision} {why}; `xet-ffi cache ls --revisions` shows what there is"
    raise Misuse(message, output.NOT_FOUND)


def _confirmed() -> bool:
    """Whether a person says so. Where there is none to ask, `--yes` has to."""
    if not output.is_terminal(sys.stdin):
        message = "there is nobody to ask: say --yes to remove these, or --dry-run to look"
        raise Misuse(message)
    output.say("Remove these? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _whole(target: Repo, root: str) -> CachedRepo:
    """Returns the repo that is meant, all of it."""
    if target.revision is not None:
        message = "a repo is verified as a whole: leave out the revision"
        raise Misuse(message)
    return _choose(target, _found(root))[0]


def _verify(arguments: argparse.Namespace, root: str) -> int:
    of: dict[str, Any] = {}
    if arguments.repo is not None:
        repo = _whole(arguments.repo, root)
        of = {"repo_id": repo.repo_id, "repo_type": repo.repo_type}
    with Shown(arguments) as shown:
        report = cache.verify(**of, cache_dir=root, progress=shown)
    places = repair.places(root, [item.path for item in report.items])
    damaged = [item for item in report.items if repair.is_reparable(item)]
    others = len(report.items) - len(damaged)
    if arguments.json and not arguments.repair:
        rows = [
            {**asdict(item), "files": [str(place) for place in places[item.path]]}
            for item in report.items
        ]
        output.result({**asdict(report), "items": rows}, as_json=True)
    elif not arguments.json:
        for item in report.items:
            where = ", ".join(map(str, places[item.path])) or item.path
            output.line(f"{item.bytes:>15,}  {where}: {item.reason}")
            if where != item.path:
                output.line(f"{'':15}  {item.path}")
        missing = sum(item.reason == repair.MISSING for item in damaged)
        told = [f"{report.files:,} files verified", f"{len(damaged) - missing} damaged"]
        told += [f"{missing} missing"] if missing else []
        told += [f"{others} not looked into"] if others else []
        print(", ".join(told))
    if arguments.repair:
        fixed = repair.repair(arguments, root, {item.path: places[item.path] for item in damaged})
        if arguments.json:
            output.result({**asdict(report), "repaired": fixed}, as_json=True)
        else:
            print(f"{fixed} of {len(damaged)} repaired")
        damaged = damaged[fixed:]
    elif damaged:
        output.say("`xet-ffi cache verify --repair` downloads again what is damaged or missing")
    if damaged:
        return output.DAMAGED
    return output.LOCAL_FILE if others else output.DONE


def _prune(arguments: argparse.Namespace, root: str) -> int:
    if arguments.size is None and arguments.older_than is None and not arguments.unreferenced:
        message = "say what may go: --size, --older-than or --unreferenced"
        raise Misuse(message)
    with Shown(arguments) as shown:
        report = cache.prune(
            size=arguments.size,
            older_than=arguments.older_than,
            unreferenced=arguments.unreferenced,
            dry_run=arguments.dry_run,
            cache_dir=root,
            progress=shown,
        )
    if arguments.size is None and arguments.older_than is None:
        report = replace(report, items=(*report.items, *_read_in_place(root)))
    if arguments.json:
        output.result(report, as_json=True)
    else:
        for number, item in enumerate(report.items):
            # Those that went come first.
            amount = f"{item.bytes:,}" if number < report.files else "kept"
            output.line(f"{amount:>15}  {item.path}: {item.reason}")
        print(f"{report.bytes:,} bytes {'would be freed' if arguments.dry_run else 'freed'}")
    if arguments.size is not None:
        _tell_rest(arguments, root, report.bytes)
    return output.DONE


def _read_in_place(root: str) -> Iterator[cache.CacheItem]:
    """Yields what is kept of it, if there is any, as something that could have gone."""
    folder = _read_folder(root)
    # Adding up looks at all of the cache.
    if folder.is_dir() and (kept := cache.usage(cache_dir=root).read_bytes):
        reason = (
            f"kept: {kept:,} bytes that were read in place; {_READ_LIMIT} limits them, --size and "
            "--older-than remove them"
        )
        yield cache.CacheItem(path=str(folder), reason=reason, bytes=kept)


def _tell_rest(arguments: argparse.Namespace, root: str, freed: int) -> None:
    """Says that a cache is larger than was asked for, if what is left isn't for pruning."""
    usage = cache.usage(cache_dir=root)
    rest = usage.bytes + usage.bytes_partial + usage.read_bytes
    rest -= freed if arguments.dry_run else 0
    if rest > arguments.size:
        output.warning(
            f"the cache {'would have' if arguments.dry_run else 'has'} {size(rest)}B still: what a "
            "branch or tag stands for, or is in use, isn't pruned; `xet-ffi cache ls --sort used` "
            "shows it, `xet-ffi cache rm` removes it"
        )


def _index(arguments: argparse.Namespace, root: str) -> int:
    with Shown(arguments) as shown:
        report = cache.index(
            rebuild=arguments.rebuild,
            cache_dir=root,
            endpoint=arguments.endpoint,
            token=arguments.token,
            progress=shown,
        )
    if arguments.json:
        output.result(report, as_json=True)
    else:
        for item in report.items:
            output.line(f"{item.bytes:>15,}  {item.path}: {item.reason}")
        print(f"{report.files:,} files indexed, {report.bytes:,} bytes")
    return output.LOCAL_FILE if report.items and not report.files else output.DONE


COMMANDS = {
    "ls": _in_a_cache(_ls),
    "usage": _in_a_cache(_usage),
    "rm": _in_a_cache(_rm),
    "verify": _in_a_cache(_verify),
    "prune": _in_a_cache(_prune),
    "index": _in_a_cache(_index),
}
