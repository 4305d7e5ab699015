"""The one table of commands: the parser, `--help`, the manual and completion all come from here.

Options about the client and about what is shown may stand before the command, too; a command that
has no use for one refuses it there as it does behind.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from xet_ffi.cli.output import STATUSES
from xet_ffi.cli.parsing import Parser
from xet_ffi.cli.words import age, cached, duration, given, part, repo, size, workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from xet_ffi.cli.parsing import Commands

    Parents: TypeAlias = list[Any]

SCRIPT = "xet-ffi"
DESCRIPTION = (
    "Moves Hugging Face repositories over the Xet protocol: verified, resumable, deduplicated."
)
#: Shells of which `completion` knows.
SHELLS = ("bash", "zsh", "fish")

#: Options that may stand before the command, by their names there: what they are if nobody says.
_COMMON: dict[str, Any] = {
    "endpoint": None,
    "token": None,
    "cache_dir": None,
    "timeout": None,
    "json": False,
    "quiet": False,
    "verbose": 0,
}


def exit_status() -> str:
    """Returns the table of exit statuses as `--help` has it."""
    lines = [f"  {status:>3}  {meaning}" for status, meaning in STATUSES.items()]
    return "\n".join(["exit status:", *lines])


def parser() -> Parser:
    """Returns the parser of all commands."""
    made = Parser(
        prog=SCRIPT if Path(sys.argv[0]).name == SCRIPT else "python -m xet_ffi",
        description=DESCRIPTION,
        epilog=exit_status(),
        parents=[common(help_is_shown=False) for common in (_client, _call, _shown)],
    )
    made.set_defaults(command=None, **_COMMON)
    made.add_argument("-V", "--version", action="store_true", help="say what is installed")
    commands = made.add_subparsers(title="commands", metavar="COMMAND")
    _add_reading(commands)
    _add_upload(commands)
    _add_cache(commands)
    _add_helpers(commands)
    return made


def parse(words: list[str] | None) -> argparse.Namespace:
    """Parses the words of the command line, or ends the process with what is wrong with them."""
    whole = parser()
    parsed = whole.parse_args(words)
    if parsed.command is not None:
        has: frozenset[str] = parsed.options
        for name, default in _COMMON.items():
            if name not in has and getattr(parsed, name) != default:
                option = name.replace("_", "-")
                whole.error(f"{parsed.command} has no use for --{option}")
    return parsed


# Each of the following adds a group of options. What isn't given stays unset, so that what stands
# before the command counts.


def _shown(*, help_is_shown: bool = True, as_json: bool = True) -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    told = _help_of(help_is_shown)
    if as_json:
        group.add_argument("--json", action="store_true", help=told("print JSON"))
    group.add_argument(
        "-q", "--quiet", action="store_true", help=told("no progress bar, and no summary")
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        help=told("show the log; -vv: all of it"),
    )
    return group


def _client(*, help_is_shown: bool = True, cache: bool = True) -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    told = _help_of(help_is_shown)
    group.add_argument(
        "--endpoint", metavar="URL", type=given, help=told("the Hub (default: HF_ENDPOINT)")
    )
    group.add_argument(
        "--token", type=given, help=told("access token (default: that of `hf auth login`)")
    )
    if cache:
        _add_cache_dir(group, told("root of the cache (default: HF_HUB_CACHE)"))
    return group


def _help_of(shown: bool) -> Any:
    return lambda text: text if shown else argparse.SUPPRESS


def _add_cache_dir(group: argparse.ArgumentParser, text: str) -> None:
    group.add_argument("--cache-dir", metavar="DIR", type=given, help=text)


def _call(*, help_is_shown: bool = True) -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    told = _help_of(help_is_shown)("give up after so long: 90s, 10m, 2h")
    group.add_argument("--timeout", metavar="TIME", type=duration, help=told)
    return group


def _repo() -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument(
        "repo",
        metavar="REPO",
        type=repo,
        help="[datasets/]NAMESPACE/NAME[@REVISION] or hf://[datasets/]NAMESPACE/NAME[@REVISION][/PATH]",
    )
    group.add_argument(
        "--repo-type", "--type", choices=["model", "dataset", "space"], help="default: model"
    )
    group.add_argument("--revision", help="branch, tag, commit or refs/pr/N (default: main)")
    return group


def _choice(verb: str) -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False)
    for name, meaning in (("include", "only files that fit"), ("exclude", "no files that fit")):
        group.add_argument(
            f"--{name}",
            action="append",
            metavar="PATTERN",
            help=f"{verb} {meaning}, such as '*.json' or 'folder/*'; may be repeated",
        )
    return group


def _files() -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument(
        "filenames",
        metavar="FILE",
        nargs="*",
        default=[],
        type=given,
        help="names of files, or of folders with a slash at the end (default: all files)",
    )
    group.add_argument(
        "--local-dir", metavar="DIR", type=given, help="download to here, not to the cache"
    )
    group.add_argument("--force-download", action="store_true", help="even what is present")
    group.add_argument(
        "--transport",
        choices=["auto", "xet", "http"],
        help="which way Xet files come (default: XET_FFI_TRANSPORT, else auto)",
    )
    return group


def _add(
    commands: Commands, name: str, parents: Parents, about: str, command: str = "", more: str = ""
) -> Parser:
    """Adds a command. It knows which of the common options it has."""
    made = commands.add_parser(
        name, parents=parents, help=about, description=f"{about[0].upper()}{about[1:]}. {more}"
    )
    has = frozenset(action.dest for action in made._actions)  # noqa: SLF001 - there is no other way
    made.set_defaults(command=command or name, options=has)
    return made


def _add_reading(commands: Commands) -> None:
    listed = _add(
        commands, "list", [_repo(), _client(), _call(), _shown()], "list the files of a repo"
    )
    listed.surplus = "; those of a folder: xet-ffi list hf://NAMESPACE/NAME/FOLDER"
    reading = [_repo(), _files(), _choice("take"), _client(), _call(), _shown()]
    download = _add(
        commands,
        "download",
        reading,
        "download a repo, or files of it",
        more="The path goes to stdout. What was interrupted goes on where it was.",
    )
    download.add_argument(
        "--local-files-only", action="store_true", help="use what is on this machine, ask nobody"
    )
    download.add_argument(
        "--max-workers", metavar="N", type=workers, help="large files at a time (default: 8)"
    )
    download.add_argument("--dry-run", action="store_true", help="the same as `plan`")
    _add(
        commands,
        "plan",
        reading,
        "say what a download would do",
        more="Which bytes are here, which can be reused, which would come; and whether they fit.",
    )
    cat = _add(
        commands,
        "cat",
        [_repo(), _client(), _call(), _shown(as_json=False)],
        "write files, or a part of them, to stdout",
        more="They are read in place: of a file only what is asked for comes.",
    )
    cat.takes_negative_values()
    cat.add_argument(
        "filenames",
        metavar="FILE",
        nargs="*",
        default=[],
        type=given,
        help="names of files; needed, unless REPO names one",
    )
    cat.add_argument(
        "--range",
        metavar="A:B",
        type=part,
        help="bytes A to B, without B, as Python's slices: :1MB, 8:1KiB, -8: (the last 8 bytes)",
    )
    cat.add_argument(
        "--local-files-only", action="store_true", help="use what is on this machine, ask nobody"
    )
    cat.add_argument(
        "--require-proof",
        action="store_true",
        help="write nothing that isn't proven to be of the file that the Hub has published",
    )
    tensors = _add(
        commands,
        "tensors",
        [_repo(), _client(), _call(), _shown()],
        "list the tensors of a repo",
        more="Of its safetensors files, of which only the headers are read. A PATH behind REPO is "
        "one file, or a folder.",
    )
    tensors.add_argument(
        "patterns",
        metavar="PATTERN",
        nargs="*",
        default=[],
        type=given,
        help="names of tensors, or patterns such as 'model.layers.0.*' (default: all)",
    )
    tensors.add_argument(
        "--include",
        action="append",
        metavar="PATTERN",
        help="take only files that fit (default: '*.safetensors'); may be repeated",
    )
    tensors.add_argument(
        "--local-files-only", action="store_true", help="use what is on this machine, ask nobody"
    )


def _add_upload(commands: Commands) -> None:
    upload = _add(
        commands,
        "upload",
        [_repo(), _choice("upload"), _client(cache=False), _call(), _shown()],
        "upload a file or a folder",
        more="The repo and the branch are created if they aren't there. The commit's URL goes to "
        "stdout.",
    )
    upload.surplus = "; one file or folder is uploaded: name a folder, and choose with --include"
    upload.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        type=given,
        help="file or folder; needed, unless one here is called like the repo",
    )
    upload.add_argument(
        "path_in_repo",
        metavar="PATH_IN_REPO",
        nargs="?",
        type=given,
        help="where it goes; a file goes into a folder if this ends with a slash",
    )
    upload.add_argument(
        "--delete", action="append", metavar="PATTERN", help="delete these of the repo"
    )
    upload.add_argument("--commit-message", metavar="TEXT", help="title of the commit")
    upload.add_argument("--commit-description", metavar="TEXT", help="the rest of its message")
    upload.add_argument("--create-pr", action="store_true", help="open a pull request")
    upload.add_argument(
        "--private", action="store_true", help="private, if the repo has to be created"
    )
    # What it does by itself now; scripts say it still.
    upload.add_argument("--create-repo", action="store_true", help=argparse.SUPPRESS)
    upload.add_argument(
        "--no-create-repo", action="store_true", help="fail if the repo or the branch isn't there"
    )


def _add_cache(commands: Commands) -> None:
    care = commands.add_parser("cache", help="look after the cache", description="The cache.")
    actions = care.add_subparsers(title="commands", metavar="COMMAND", required=True)
    about = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_cache_dir(about, "root of the cache (default: HF_HUB_CACHE)")
    parents = [about, _shown()]
    asking: Parents = [_client(), _shown()]

    listed = _add(actions, "ls", parents, "list the repos that are there", "cache ls")
    listed.add_argument("--revisions", action="store_true", help="a line for each revision")
    listed.add_argument(
        "--sort", choices=["name", "size", "used"], default="name", help="default: name"
    )
    _add(actions, "usage", parents, "say how much it takes", "cache usage")
    remove = _add(
        actions,
        "rm",
        parents,
        "remove repos or revisions",
        "cache rm",
        "A repo that is being downloaded stays, and that is said.",
    )
    remove.add_argument(
        "targets",
        metavar="REPO[@REVISION]",
        nargs="+",
        type=cached,
        help="as `cache ls` shows them; a commit may be shortened",
    )
    remove.add_argument("-y", "--yes", action="store_true", help="don't ask")
    remove.add_argument("--dry-run", action="store_true", help="only say what would go")
    verify = _add(actions, "verify", asking, "hash everything again", "cache verify")
    verify.add_argument(
        "repo", metavar="REPO", nargs="?", type=cached, help="only this one (default: all)"
    )
    verify.add_argument(
        "--repair",
        action="store_true",
        help="download again what is damaged or missing, and only that",
    )
    prune = _add(
        actions,
        "prune",
        parents,
        "remove what nothing refers to",
        "cache prune",
        "What a branch or tag stands for stays, whatever its size and age: `cache rm` removes it. "
        "What was read in place goes by age and size only.",
    )
    prune.add_argument(
        "--size",
        type=size,
        metavar="SIZE",
        help="what was read in place, then what was not used for longest, until the cache has at "
        "most this: 500MB, 10GB",
    )
    prune.add_argument(
        "--older-than", type=age, metavar="AGE", help="not used for so long: 12h, 30d, 6mo"
    )
    prune.add_argument("--unreferenced", action="store_true", help="all that nothing refers to")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    index = _add(actions, "index", asking, "make its chunks known for reuse", "cache index")
    index.add_argument("--rebuild", action="store_true", help="begin with an empty index")


def _add_helpers(commands: Commands) -> None:
    doctor = _add(
        commands,
        "doctor",
        [_client(), _call(), _shown()],
        "look at what could be in the way",
        more="With a repo that has Xet files it also asks the CAS and the storage for bytes.",
    )
    doctor.add_argument("repo", metavar="REPO", nargs="?", type=repo, help="a repo to ask about")
    run = _add(
        commands,
        "run",
        [],
        "run a program whose huggingface_hub moves files with libxet",
        more="It runs with XET_FFI_HF_XET=1: in its Python, if xet-ffi is installed there, and in "
        "those that it starts, `import hf_xet` means libxet. The exit status is that of the "
        "program; 126 or 127 if it can't be run.",
    )
    run.add_argument("words", metavar="PROGRAM ...", nargs=argparse.REMAINDER)
    serve = _add(
        commands,
        "serve",
        [],
        "serve a Hub on this machine (xet-hub, if it's installed)",
        more="What follows goes to `xet-hub serve`, such as --data DIR: `xet-ffi serve -- --help` "
        "lists its options.",
    )
    serve.add_argument("words", metavar="OPTIONS ...", nargs=argparse.REMAINDER)
    completion = _add(
        commands,
        "completion",
        [],
        "print a script that completes commands in a shell",
        more='Such as: eval "$(xet-ffi completion bash)"',
    )
    completion.add_argument("shell", choices=SHELLS)
    _add(commands, "man", [], "print the manual", more="Such as: xet-ffi man | man -l -")
    told = _add(commands, "help", [], "say what a command does, and its options")
    told.add_argument("words", metavar="COMMAND", nargs="*", help="default: all commands")
