"""A small command line: `xet-ffi [list | download | upload | cache | run]`, or `python -m xet_ffi`.

Flags mean what they mean to `hf download` and `hf upload`. The result goes to stdout, everything
else to stderr.
"""

from __future__ import annotations

import argparse
import fnmatch
import glob
import io
import json
import os
import stat
import sys
from dataclasses import asdict
from pathlib import Path

from xet_ffi import (
    Client,
    Commit,
    Plan,
    PlannedFile,
    UnknownError,
    XetError,
    __version__,
    cache,
)
from xet_ffi._lib import LIBRARY_PATH, lib
from xet_ffi._strings import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no other name

_SCRIPT = "xet-ffi"
USAGE_ERROR = 2
INTERRUPTED = 130
#: As for a program that SIGPIPE ends.
NOBODY_READS = 141
NOT_FOUND = 14
DAMAGED = 16
LOCAL_FILE = 18
#: As a shell has it.
NOT_RUNNABLE, NOT_THERE = 126, 127
#: The variable that `_xet_ffi_switch` is named by.
SWITCH = "XET_FFI_HF_XET"
EXIT_STATUS = """\
exit status: 0 done; 1 unknown error; 2 wrong usage; 130 interrupted; 141 nobody reads the output;
else 10 plus the error's XET_CODE_*: 11 bad argument, 12 bad token, 13 network, 14 not found, 15
permission, 16 checksum, 18 local file, 19 timeout, 20 rate limit, 21 conflict, 22 disk
full, 23 offline"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    if sys.stderr is None:
        # Closed: what is meant for it would go to stdout.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it lasts as long as the process
    for stream in (sys.stdout, sys.stderr):
        _write_any_name(stream)
    try:
        return _run(arguments)
    finally:
        # Python does so at its end, where a failure would become the status.
        _say(end="")


def _run(arguments: list[str] | None) -> int:
    parsed = _parser().parse_args(arguments)
    if parsed.command.startswith("cache ") and not _has_cache(parsed):
        return LOCAL_FILE
    try:
        status = _COMMANDS[parsed.command](parsed)
        if sys.stdout is not None:
            sys.stdout.flush()
    except XetError as error:
        _say(f"error: {error}")
        _print_commits(error)
        return 1 if isinstance(error, UnknownError) else 10 + error.code
    except BrokenPipeError:
        _discard(1)
        return NOBODY_READS
    except OSError as error:
        # Errors of the library are XetErrors; what it did is done.
        _say(f"error: can't write the result: {error.strerror}")
        _discard(1)
        return LOCAL_FILE
    except KeyboardInterrupt as interrupt:
        # The call that was interrupted may have had its say: commits that were made stay.
        ended = interrupt.__context__
        if isinstance(ended, XetError) and (ended.commits or ended.kind == "commit_unknown"):
            _say(f"interrupted: {ended}")
            _print_commits(ended)
        return INTERRUPTED
    return status


def _print_commits(error: XetError) -> None:
    for made in error.commits:
        _say(f"committed before that: {made.url}")


def _say(note: str = "", end: str = "\n") -> None:
    """Writes a note to stderr, if that takes it. What is done, and its status, stand without it."""
    try:
        print(note, end=end, file=sys.stderr, flush=True)
    except OSError:
        _discard(2)


def _discard(descriptor: int) -> None:
    """Python writes at its end what is left, which would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _write_any_name(stream: object) -> None:
    """Lets a terminal, or a pipe, show names that its encoding has no characters for.

    Names of this machine that aren't text are written as the bytes that they are.
    """
    if isinstance(stream, io.TextIOWrapper):
        is_unicode = stream.encoding.lower().replace("-", "") == "utf8"
        stream.reconfigure(errors="surrogateescape" if is_unicode else "backslashreplace")


class _Parser(argparse.ArgumentParser):
    """One that takes options in between arguments, too, as `hf` does."""

    _has_commands = False
    _is_within = False

    def add_subparsers(self, **options: Any) -> Any:
        self._has_commands = True
        return super().add_subparsers(**options)

    def parse_known_args(self, *arguments: Any) -> Any:  # type: ignore[override] # as it's called
        # A parser of commands leaves what follows one to that one's, and one of a program to that.
        takes_the_rest = any(action.nargs == argparse.REMAINDER for action in self._actions)
        if self._has_commands or self._is_within or takes_the_rest:
            return super().parse_known_args(*arguments)
        self._is_within = True
        try:
            return self.parse_known_intermixed_args(*arguments)
        finally:
            self._is_within = False


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_SCRIPT if Path(sys.argv[0]).name == _SCRIPT else "python -m xet_ffi",
        description="Moves Hugging Face repositories over the Xet protocol.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command="version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("repo_id", metavar="REPO", help='"name" or "namespace/name"')
    common.add_argument("--repo-type", choices=["model", "dataset", "space"], default="model")
    common.add_argument("--revision", help="branch, tag, commit or refs/pr/N (default: main)")
    common.add_argument("--token", help="access token (default: that of `hf auth login`)")
    common.add_argument("--json", action="store_true", help="print JSON")

    listing = commands.add_parser("list", parents=[common], help="list the files of a repo")
    listing.set_defaults(command="list")

    download = commands.add_parser("download", parents=[common], help="download a repo or files")
    download.set_defaults(command="download")
    download.add_argument(
        "filenames", metavar="FILE", nargs="*", default=[], type=_given, help="files (default: all)"
    )
    download.add_argument("--include", action="append", metavar="PATTERN", help="only these files")
    download.add_argument("--exclude", action="append", metavar="PATTERN", help="not these files")
    download.add_argument("--cache-dir", metavar="DIR", type=_given, help="root of the cache")
    download.add_argument(
        "--local-dir", metavar="DIR", type=_given, help="download to here, not to the cache"
    )
    download.add_argument("--force-download", action="store_true", help="even what is present")
    download.add_argument(
        "--transport",
        choices=["auto", "xet", "http"],
        help="which way Xet files come (default: XET_FFI_TRANSPORT, else auto)",
    )
    download.add_argument(
        "--dry-run", action="store_true", help="say what would be downloaded, and change nothing"
    )
    download.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_upload(commands, common)
    _add_cache(commands)
    run = commands.add_parser(
        "run",
        help="run a program whose huggingface_hub moves files with libxet",
        description="Runs a program with XET_FFI_HF_XET=1: in its Python, if xet-ffi is installed "
        "there, and in those that it starts, `import hf_xet` means libxet. Its exit status is that "
        "of the program; 126 or 127 if it can't be run.",
    )
    run.set_defaults(command="run")
    run.add_argument("words", metavar="-- PROGRAM ...", nargs=argparse.REMAINDER)
    return parser


def _add_upload(commands: Commands, common: argparse.ArgumentParser) -> None:
    upload = commands.add_parser("upload", parents=[common], help="upload a file or a folder")
    upload.set_defaults(command="upload")
    upload.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        type=_given,
        help="file or folder (default: the one here that is called like the repo)",
    )
    upload.add_argument(
        "path_in_repo",
        metavar="PATH_IN_REPO",
        nargs="?",
        type=_given,
        help="where it goes; a file goes into a folder if this ends with a slash",
    )
    upload.add_argument("--include", action="append", metavar="PATTERN", help="only these files")
    upload.add_argument("--exclude", action="append", metavar="PATTERN", help="not these files")
    upload.add_argument("--delete", action="append", metavar="PATTERN", help="delete these there")
    upload.add_argument("--commit-message", metavar="TEXT", help="title of the commit")
    upload.add_argument("--commit-description", metavar="TEXT", help="the rest of its message")
    upload.add_argument("--create-pr", action="store_true", help="open a pull request")
    upload.add_argument("--create-repo", action="store_true", help="if it isn't there yet")
    upload.add_argument("--private", action="store_true", help="create it private")
    upload.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_cache(commands: Commands) -> None:
    care = commands.add_parser("cache", help="look after the cache")
    actions = care.add_subparsers(title="commands", metavar="COMMAND", required=True)
    about = argparse.ArgumentParser(add_help=False)
    about.add_argument("--cache-dir", metavar="DIR", type=_given, help="root of the cache")
    about.add_argument("--json", action="store_true", help="print JSON")
    about.add_argument("--quiet", action="store_true", help="no progress bar")
    usage = actions.add_parser("usage", parents=[about], help="how much it takes")
    usage.set_defaults(command="cache usage")
    verify = actions.add_parser("verify", parents=[about], help="hash everything again")
    verify.set_defaults(command="cache verify")
    prune = actions.add_parser("prune", parents=[about], help="remove what nothing refers to")
    prune.set_defaults(command="cache prune")
    prune.add_argument("--size", type=int, metavar="BYTES", help="until this much is left")
    prune.add_argument("--older-than", type=float, metavar="DAYS", help="not used for so long")
    prune.add_argument("--unreferenced", action="store_true", help="all that nothing refers to")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    index = actions.add_parser("index", parents=[about], help="make its chunks known for reuse")
    index.set_defaults(command="cache index")
    index.add_argument("--token", help="access token (default: that of `hf auth login`)")
    index.add_argument("--rebuild", action="store_true", help="begin with an empty index")


def _given(argument: str) -> str:
    """A path or name. An empty one is what a script makes of a variable that isn't set."""
    if not argument:
        message = "is empty"
        raise argparse.ArgumentTypeError(message)
    return argument


def _version(_: argparse.Namespace) -> int:
    print(f"xet_ffi {__version__}")
    print(f"libxet  {text(lib.xet_version())}, ABI version {lib.xet_abi_version()}")
    print(f"        {LIBRARY_PATH}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    with Client(token=arguments.token) as client:
        files = client.list_files(
            arguments.repo_id, repo_type=arguments.repo_type, revision=arguments.revision
        )
    if arguments.json:
        print(json.dumps([asdict(file) for file in files], indent=2))
    else:
        for file in files:
            print(f"{file.size:>15,}  {file.kind:<3}  {file.path}")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    if arguments.filenames and (arguments.include or arguments.exclude):
        _say("error: --include and --exclude choose from all files: name none")
        return USAGE_ERROR
    with Client(
        token=arguments.token, cache_dir=arguments.cache_dir, transport=arguments.transport
    ) as client:
        if arguments.dry_run:
            return _plan(client, arguments)
        if len(arguments.filenames) == 1:
            transfer = client.download_file(
                arguments.repo_id,
                arguments.filenames[0],
                repo_type=arguments.repo_type,
                revision=arguments.revision,
                local_dir=arguments.local_dir,
                force_download=arguments.force_download,
                progress=not arguments.quiet,
            )
        else:
            transfer = client.download_snapshot(
                arguments.repo_id,
                repo_type=arguments.repo_type,
                revision=arguments.revision,
                local_dir=arguments.local_dir,
                allow_patterns=_wanted(arguments),
                ignore_patterns=arguments.exclude,
                force_download=arguments.force_download,
                progress=not arguments.quiet,
            )
    _tell_unfit(arguments, transfer.files)
    if arguments.json:
        print(json.dumps(asdict(transfer), indent=2))
    else:
        print(transfer.path)
    return _tell_absent(arguments, [file.path for file in transfer.file_transfers])


def _wanted(arguments: argparse.Namespace) -> list[str] | None:
    """The patterns of the files to download. A name stands for itself, too, whatever is in it."""
    names = arguments.filenames
    return [*names, *map(glob.escape, names)] or arguments.include


def _tell_unfit(arguments: argparse.Namespace, files: int) -> None:
    """Says that the patterns fit nothing."""
    if not files and (arguments.include or arguments.exclude):
        _say("no file of the repo fits the patterns")


def _tell_absent(arguments: argparse.Namespace, found: list[str]) -> int:
    """Says which of the names that were asked for the repo doesn't have; the exit status for that.

    A name may be a pattern, as those of `--include` are; one that ends with a slash is a folder.
    """
    known = set(found)

    def is_absent(name: str) -> bool:
        pattern = f"{name}*" if name.endswith("/") else name
        is_there = name in known or any(fnmatch.fnmatchcase(path, pattern) for path in found)
        return not is_there

    absent = [name for name in arguments.filenames if is_absent(name)]
    if absent:
        revision = arguments.revision or "main"
        names = ", ".join(absent)
        _say(f"error: {arguments.repo_id} has no {names} at {revision}")
    return NOT_FOUND if absent else 0


def _plan(client: Client, arguments: argparse.Namespace) -> int:
    plan = client.plan_snapshot(
        arguments.repo_id,
        repo_type=arguments.repo_type,
        revision=arguments.revision,
        local_dir=arguments.local_dir,
        allow_patterns=_wanted(arguments),
        ignore_patterns=arguments.exclude,
        force_download=arguments.force_download,
    )
    _tell_unfit(arguments, len(plan.files))
    status = _tell_absent(arguments, [file.path for file in plan.files])
    if arguments.json:
        print(json.dumps(asdict(plan), indent=2))
        return status
    print(f"{'present':>15}  {'reusable':>15}  {'remote':>15}  file")
    for file in plan.files:
        print(_planned(file), f" {file.path}")
    print(_planned(plan), " total")
    free = "" if plan.disk_free is None else f", {plan.disk_free:,} free"
    print(f"disk: {plan.disk_need:,} needed{free}")
    if plan.windows > 1:
        print(f"rate limit: {plan.requests:,} requests need {plan.windows:,} of the Hub's windows")
    return status


def _planned(plan: Plan | PlannedFile) -> str:
    return f"{plan.bytes_present:>15,}  {plan.bytes_reusable:>15,}  {plan.bytes_remote:>15,}"


def _upload(arguments: argparse.Namespace) -> int:
    name = arguments.repo_id.rpartition("/")[2]
    path = Path(arguments.path or name).expanduser()
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        hint = "" if arguments.path else "; name the file or folder to upload"
        _say(f"error: can't look at {path}: {error.strerror}{hint}")
        return LOCAL_FILE
    if (arguments.include or arguments.exclude or arguments.delete) and not is_folder:
        _say("error: --include, --exclude and --delete are for folders")
        return USAGE_ERROR
    with Client(token=arguments.token) as client:
        if arguments.create_repo or arguments.private:
            client.create_repo(
                arguments.repo_id,
                repo_type=arguments.repo_type,
                private=arguments.private or None,
                exist_ok=True,
            )
        if is_folder:
            commit = client.upload_folder(
                path,
                arguments.repo_id,
                path_in_repo=arguments.path_in_repo,
                repo_type=arguments.repo_type,
                revision=arguments.revision,
                allow_patterns=arguments.include,
                ignore_patterns=arguments.exclude,
                delete_patterns=arguments.delete,
                commit_message=arguments.commit_message,
                commit_description=arguments.commit_description,
                create_pr=arguments.create_pr,
                progress=not arguments.quiet,
            )
        else:
            place = arguments.path_in_repo or path.name
            commit = client.upload_file(
                path,
                f"{place}{path.name}" if place.endswith("/") else place,
                arguments.repo_id,
                repo_type=arguments.repo_type,
                revision=arguments.revision,
                commit_message=arguments.commit_message,
                commit_description=arguments.commit_description,
                create_pr=arguments.create_pr,
                progress=not arguments.quiet,
            )
    _tell_left_out(commit, chooses=bool(arguments.include or arguments.exclude))
    url = commit.pr_url or commit.commit_url
    print(json.dumps(asdict(commit), indent=2) if arguments.json else url)
    return 0


def _tell_left_out(commit: Commit, *, chooses: bool) -> None:
    """Says what a reader of the URL alone would take for done."""
    if commit.files_left_out:
        kinds = "sockets, pipes, devices, or links that lead nowhere or in a circle"
        note = f"left out: {commit.files_left_out:,} files that are no content ({kinds})"
        _say(f"{note}; RUST_LOG=warn names them")
    if not commit.nothing_to_commit:
        return
    if commit.files:
        why = "the Hub has these files already"
    elif chooses:
        why = "no file of the folder fits the patterns"
    else:
        why = "the folder has no files"
    _say(f"nothing to commit: {why}")


def _has_cache(arguments: argparse.Namespace) -> bool:
    """Whether there is something to look after where the caller said; else that is said."""
    folder = arguments.cache_dir
    if folder is None or Path(folder).expanduser().is_dir():
        return True
    _say(f"error: there is no folder {folder}")
    return False


def _cache_usage(arguments: argparse.Namespace) -> int:
    usage = cache.usage(cache_dir=arguments.cache_dir)
    if arguments.json:
        print(json.dumps(asdict(usage), indent=2))
    else:
        for name, value in asdict(usage).items():
            print(f"{value:>20,}  {name.replace('_', ' ')}")
    return 0


def _cache_verify(arguments: argparse.Namespace) -> int:
    report = cache.verify(cache_dir=arguments.cache_dir, progress=not arguments.quiet)
    damaged = sum(item.reason.startswith("has the hash ") for item in report.items)
    others = len(report.items) - damaged
    unknown = f", {others} not looked into" if others else ""
    _print_report(report, arguments, f"{report.files:,} files verified, {damaged} damaged{unknown}")
    if damaged:
        return DAMAGED
    return LOCAL_FILE if others else 0


def _cache_prune(arguments: argparse.Namespace) -> int:
    days = arguments.older_than
    report = cache.prune(
        size=arguments.size,
        older_than=None if days is None else days * 86_400,
        unreferenced=arguments.unreferenced,
        dry_run=arguments.dry_run,
        cache_dir=arguments.cache_dir,
        progress=not arguments.quiet,
    )
    done = "would be freed" if arguments.dry_run else "freed"
    _print_report(report, arguments, f"{report.bytes:,} bytes {done}")
    return 0


def _cache_index(arguments: argparse.Namespace) -> int:
    report = cache.index(
        rebuild=arguments.rebuild,
        cache_dir=arguments.cache_dir,
        token=arguments.token,
        progress=not arguments.quiet,
    )
    _print_report(report, arguments, f"{report.files:,} files indexed, {report.bytes:,} bytes")
    return LOCAL_FILE if report.items and not report.files else 0


def _run_program(arguments: argparse.Namespace) -> int:
    words: list[str] = arguments.words
    if words[:1] == ["--"]:
        words = words[1:]
    if not words:
        print("error: name the program to run: xet-ffi run -- PROGRAM ...", file=sys.stderr)
        return USAGE_ERROR
    # It becomes the program, so that signals are the program's, and its end is.
    try:
        os.execvpe(words[0], words, {**os.environ, SWITCH: "1"})  # noqa: S606 - it has no need of one
    except OSError as error:
        print(f"error: can't run {words[0]}: {error.strerror}", file=sys.stderr)
        return NOT_THERE if isinstance(error, FileNotFoundError) else NOT_RUNNABLE


def _print_report(report: cache.CacheReport, arguments: argparse.Namespace, summary: str) -> None:
    if arguments.json:
        print(json.dumps(asdict(report), indent=2))
        return
    for item in report.items:
        print(f"{item.bytes:>15,}  {item.path}: {item.reason}")
    print(summary)


_COMMANDS = {
    "version": _version,
    "list": _list,
    "download": _download,
    "upload": _upload,
    "cache usage": _cache_usage,
    "cache verify": _cache_verify,
    "cache prune": _cache_prune,
    "cache index": _cache_index,
    "run": _run_program,
}

if __name__ == "__main__":
    sys.exit(main())
