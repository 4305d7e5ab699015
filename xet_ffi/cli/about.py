"""The commands that tell of the command itself: version, completion, the manual."""

from __future__ import annotations

import argparse

from xet_ffi import __version__
from xet_ffi._lib import LIBRARY_PATH, lib
from xet_ffi._strings import text
from xet_ffi.cli import output
from xet_ffi.cli.grammar import SCRIPT, parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def version(_: argparse.Namespace) -> int:
    """Says what is installed, as a bug report needs it."""
    print(f"xet_ffi {__version__}")
    print(f"libxet  {text(lib.xet_version())}, ABI version {lib.xet_abi_version()}")
    print(f"        {LIBRARY_PATH}")
    return output.DONE


def completion(arguments: argparse.Namespace) -> int:
    """Prints what a shell needs to complete words. shtab knows how; it's an extra."""
    try:
        import shtab
    except ImportError:
        output.error("completion needs shtab: pip install 'xet-ffi[completion]'")
        return output.LOCAL_FILE
    made = parser()
    made.prog = SCRIPT
    _prepare(made, {"path": shtab.FILE, "local_dir": shtab.DIR, "cache_dir": shtab.DIR})
    print(shtab.complete(made, shell=arguments.shell))
    return output.DONE


def _prepare(made: argparse.ArgumentParser, kinds: dict[str, Any]) -> None:
    """Tells shtab what argparse doesn't: which arguments are files or folders, or commands.

    It looks at `complete` and at `choices`, and shows the description of a command, of which a line
    has room for the beginning alone.
    """
    for action in made._actions:  # noqa: SLF001 - argparse has no other way to ask
        if action.dest in kinds:
            action.complete = kinds[action.dest]  # type: ignore[attr-defined] # shtab's
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            for shown in action._choices_actions:  # noqa: SLF001 - the same
                action.choices[shown.dest].description = shown.help
            for name, command in action.choices.items():
                if name == "help":
                    command._actions[-1].choices = list(action.choices)  # noqa: SLF001 - the same
                _prepare(command, kinds)


def man(_: argparse.Namespace) -> int:
    """Prints the manual."""
    from xet_ffi.cli.manual import page

    print(page())
    return output.DONE


def help_(arguments: argparse.Namespace) -> int:
    """Says what `COMMAND --help` says."""
    parser().parse_args([*arguments.words, "--help"])
    return output.DONE


COMMANDS = {"completion": completion, "man": man, "help": help_}
