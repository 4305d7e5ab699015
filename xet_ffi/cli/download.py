"""The commands that read a repo: list, download, plan."""

from __future__ import annotations

import fnmatch
import glob
import os

from xet_ffi import EntryNotFoundError, LocalEntryNotFoundError, XetError
from xet_ffi._bar import size
from xet_ffi.cli import output
from xet_ffi.cli.output import Misuse
from xet_ffi.cli.shown import Shown, downloaded
from xet_ffi.cli.target import Target, client
from xet_ffi.cli.words import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from typing import Any

    from xet_ffi import Client, Plan, PlannedFile, Progress, Transfer


def _list(arguments: argparse.Namespace) -> int:
    repo = Target(arguments)
    with client(arguments) as hub, Shown(arguments):
        files = hub.list_files(repo.repo_id, timeout=arguments.timeout, **repo.where)
    if repo.path:
        folder = repo.path.rstrip("/") + "/"
        chosen = [file for file in files if file.path == repo.path or file.path.startswith(folder)]
        if not chosen:
            output.error(absent_from(repo, [repo.path], [file.path for file in files]))
            return output.NOT_FOUND
    else:
        chosen = list(files)
    if arguments.json:
        output.result(chosen, as_json=True)
    else:
        for file in chosen:
            output.line(f"{file.size:>15,}  {file.kind:<3}  {file.path}")
    return output.DONE


class _Choice:
    """Which files of a repo: all, those of some names, or those that fit patterns."""

    def __init__(self, arguments: argparse.Namespace, repo: Target) -> None:
        self.names: list[str] = list(arguments.filenames)
        self.include: list[str] | None = arguments.include
        self.exclude: list[str] | None = arguments.exclude
        if repo.path:
            if self.names:
                message = f"REPO names {repo.path} already: name no FILE besides"
                raise Misuse(message)
            self.names = [repo.path]
        if self.names and (self.include or self.exclude):
            message = "--include and --exclude choose from all files: name none"
            raise Misuse(message)

    @property
    def is_of_patterns(self) -> bool:
        """Whether it could be that nothing fits."""
        return bool(self.include or self.exclude)

    @property
    def single(self) -> str | None:
        """The one file that it is about."""
        is_one = len(self.names) == 1 and not self.names[0].endswith("/")
        return self.names[0] if is_one else None

    @property
    def least(self) -> int:
        """How many files there are at the least, if all are there."""
        return len(set(self.names))

    @property
    def patterns(self) -> dict[str, Any]:
        """The arguments that choose them for the client. A name stands for itself."""
        allow = [glob.escape(name) for name in self.names] or self.include
        return {"allow_patterns": allow, "ignore_patterns": self.exclude}

    def absent(self, found: Iterable[str]) -> list[str]:
        """Returns the names of which there is nothing among what was found."""
        paths = set(found)
        return [
            name
            for name in self.names
            if name not in paths
            and not (name.endswith("/") and any(path.startswith(name) for path in paths))
        ]


class _Absent(Exception):  # noqa: N818 - it's no failure
    """Fewer files are on their way than were named."""


def _until_absent(shown: Shown, choice: _Choice) -> Callable[[Progress], None]:
    """Shows progress, and ends a call that would bring only some of the files that were named.

    Who has mistyped one of ten names hears so before the other nine have come.
    """
    least = choice.least

    def watch(progress: Progress) -> None:
        shown(progress)
        if progress.phase == "downloading" and 0 < progress.files_total < least:
            raise _Absent

    return watch


def _download(arguments: argparse.Namespace) -> int:
    if arguments.local_files_only and (arguments.force_download or arguments.dry_run):
        other = "--dry-run" if arguments.dry_run else "--force-download"
        message = f"{other} asks the Hub: it has no use for --local-files-only"
        raise Misuse(message)
    if arguments.dry_run:
        return _plan(arguments)
    repo = Target(arguments)
    choice = _Choice(arguments, repo)
    how: dict[str, Any] = {
        **repo.where,
        "local_dir": arguments.local_dir,
        "local_files_only": arguments.local_files_only,
        "force_download": arguments.force_download,
        "timeout": arguments.timeout,
    }
    workers = {"max_concurrent_downloads": arguments.max_workers}
    with client(arguments, transport=arguments.transport, **workers) as hub:
        with Shown(arguments) as shown:
            try:
                if choice.single:
                    transfer = hub.download_file(repo.repo_id, choice.single, progress=shown, **how)
                else:
                    transfer = _snapshot(hub, repo, choice, shown, arguments, how)
            except _Absent:
                known = names_of(hub, repo, arguments)
                output.error(absent_from(repo, choice.absent(known), known))
                return output.NOT_FOUND
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError) or not choice.single:
                    raise
                output.error(absent_from(repo, choice.names, names_of(hub, repo, arguments)))
                return output.NOT_FOUND
        status = _check(hub, repo, choice, [f.path for f in transfer.file_transfers], arguments)
        # A folder for which nothing came may never have been made.
        if transfer.files or (status == output.DONE and os.path.isdir(transfer.path)):
            shown.summary(downloaded(transfer))
            output.result(transfer if arguments.json else transfer.path, as_json=arguments.json)
    return status


def _snapshot(
    hub: Client,
    repo: Target,
    choice: _Choice,
    shown: Shown,
    arguments: argparse.Namespace,
    how: dict[str, Any],
) -> Transfer:
    def bring(progress: Callable[[Progress], None]) -> Transfer:
        return hub.download_snapshot(repo.repo_id, progress=progress, **choice.patterns, **how)

    try:
        return bring(_until_absent(shown, choice))
    except _Absent:
        # It may be that the Hub names a file that can't be had: then the others are to come.
        if choice.absent(names_of(hub, repo, arguments)):
            raise
        return bring(shown)


def _check(
    hub: Client, repo: Target, choice: _Choice, found: list[str], arguments: argparse.Namespace
) -> int:
    """Says what was asked for and isn't there; the exit status for that."""
    if absent := choice.absent(found):
        known = found if arguments.local_files_only else names_of(hub, repo, arguments)
        output.error(absent_from(repo, absent, known))
        return output.NOT_FOUND
    if found:
        return output.DONE
    if choice.is_of_patterns:
        output.error(f"no file of {repo} fits the patterns; `xet-ffi list` shows what there is")
        return output.NOT_FOUND
    output.warning(f"{repo} has no files")
    return output.DONE


def names_of(hub: Client, repo: Target, arguments: argparse.Namespace) -> list[str]:
    """Returns the names that there are, for a hint; none if the Hub won't say."""
    try:
        files = hub.list_files(repo.repo_id, timeout=arguments.timeout, **repo.where)
    except XetError:
        return []
    return [file.path for file in files]


def absent_from(repo: Target, absent: list[str], known: list[str]) -> str:
    """Returns the sentence for names that a repo doesn't have, with what may have been meant."""
    hints = [hint for name in absent if (hint := _hint(name, known))]
    return "; ".join(
        [f"{repo.repo_id} has no {', '.join(absent)} at {repo.revision or 'main'}", *hints]
    )


def _hint(name: str, known: list[str]) -> str | None:
    folders = {path[: at + 1] for path in known for at, letter in enumerate(path) if letter == "/"}
    if f"{name}/" in folders:
        return f"a folder has a slash at its end: {name}/"
    if any(letter in name for letter in "*?[") and fnmatch.filter(known, name):
        return f"a FILE is a name; patterns are for --include '{name}'"
    # A wrong folder is as likely as a wrong name.
    by_last = {path.rpartition("/")[2]: path for path in known}
    found = by_last.get(name.rpartition("/")[2]) or nearest(name, [*known, *folders])
    return f"did you mean {found}?" if found else None


def _plan(arguments: argparse.Namespace) -> int:
    repo = Target(arguments)
    choice = _Choice(arguments, repo)
    with client(arguments, transport=arguments.transport) as hub:
        with Shown(arguments):
            plan = hub.plan_snapshot(
                repo.repo_id,
                local_dir=arguments.local_dir,
                force_download=arguments.force_download,
                timeout=arguments.timeout,
                **choice.patterns,
                **repo.where,
            )
        status = _check(hub, repo, choice, [file.path for file in plan.files], arguments)
    if arguments.json:
        output.result(plan, as_json=True)
        return status
    if not plan.files and status != output.DONE:
        return status
    print(f"{'present':>15}  {'reusable':>15}  {'remote':>15}  file")
    for file in plan.files:
        output.line(f"{_planned(file)}  {file.path}")
    print(_planned(plan), " total")
    free = "" if plan.disk_free is None else f", {plan.disk_free:,} free"
    print(f"disk: {plan.disk_need:,} needed{free}")
    if plan.disk_free is not None and plan.disk_free < plan.disk_need:
        lacking = size(plan.disk_need - plan.disk_free)
        output.warning(f"it doesn't fit: {lacking}B more have to be free")
    if plan.windows > 1:
        print(f"rate limit: {plan.requests:,} requests need {plan.windows:,} of the Hub's windows")
    return status


def _planned(plan: Plan | PlannedFile) -> str:
    return f"{plan.bytes_present:>15,}  {plan.bytes_reusable:>15,}  {plan.bytes_remote:>15,}"


COMMANDS = {"list": _list, "download": _download, "plan": _plan}
