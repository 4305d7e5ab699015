"""The command line: `xet-ffi COMMAND`, or `python -m xet_ffi`.

Flags mean what they mean to `hf download` and `hf upload`. The result goes to stdout, everything
else to stderr. `grammar` is the table of commands; each command is a function that takes what was
parsed and returns an exit status, in the module of its kind.
"""

from __future__ import annotations

import sys
from importlib import import_module

from xet_ffi import XetError
from xet_ffi.cli import output
from xet_ffi.cli.grammar import parse, parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    output.prepare()
    try:
        return _run(arguments)
    finally:
        # Python does so at its end, where a failure would become the status.
        output.say(end="")


def _run(arguments: list[str] | None) -> int:
    try:
        parsed = parse(arguments)
        status = _command(parsed)
        if sys.stdout is not None:
            sys.stdout.flush()
    except output.Misuse as misuse:
        output.error(str(misuse))
        return misuse.status
    except XetError as error:
        output.error(str(error))
        _print_commits(error)
        return output.status_of(error)
    except BrokenPipeError:
        output.discard(1)
        return output.NOBODY_READS
    except OSError as error:
        return _of_this_machine(error)
    except KeyboardInterrupt as interrupt:
        # The call that was interrupted may have had its say: commits that were made stay.
        ended = interrupt.__context__
        if isinstance(ended, XetError) and (ended.commits or ended.kind == "commit_unknown"):
            output.say(f"interrupted: {ended}")
            _print_commits(ended)
        return output.INTERRUPTED
    return status


def _of_this_machine(error: OSError) -> int:
    """Says what failed here. Errors of the library are XetErrors: what it did is done."""
    if error.filename is not None:
        output.error(f"{error.filename}: {error.strerror}")
    else:
        output.error(f"can't write the result: {error.strerror}")
        output.discard(1)
    return output.LOCAL_FILE


def _print_commits(error: XetError) -> None:
    for made in error.commits:
        output.say(f"committed before that: {made.url}")


def _command(parsed: argparse.Namespace) -> int:
    if parsed.version:
        from xet_ffi.cli import about

        return about.version(parsed)
    if parsed.command is None:
        parser().print_help()
        return output.DONE
    # Each in its turn: a download needs nothing of what looks after a cache.
    kind, _, action = parsed.command.partition(" ")
    module = import_module(f"xet_ffi.cli.{_MODULES[kind]}")
    status: int = module.COMMANDS[action or kind](parsed)
    return status


#: Where the commands are.
_MODULES = {
    "list": "download",
    "download": "download",
    "plan": "download",
    "cat": "reading",
    "tensors": "tensors",
    "upload": "upload",
    "cache": "cache",
    "doctor": "doctor",
    "run": "programs",
    "serve": "programs",
    "completion": "about",
    "man": "about",
    "help": "about",
}
