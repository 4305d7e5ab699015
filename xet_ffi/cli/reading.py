"""The commands that read files in place: cat."""

from __future__ import annotations

import sys
import time

from xet_ffi import EntryNotFoundError, LocalEntryNotFoundError
from xet_ffi.cli import output
from xet_ffi.cli.download import absent_from, names_of
from xet_ffi.cli.output import Misuse
from xet_ffi.cli.shown import Shown
from xet_ffi.cli.target import Target, client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from xet_ffi import File

_PIECE = 4 << 20
"""What is read and written at a time, in bytes."""


def _cat(arguments: argparse.Namespace) -> int:
    repo = Target(arguments)
    names: list[str] = list(arguments.filenames)
    if repo.path and names:
        message = f"REPO names {repo.path} already: name no FILE besides"
        raise Misuse(message)
    names = names or [repo.path]
    if not names[0]:
        message = "which FILE? `xet-ffi list` shows what there is"
        raise Misuse(message)
    left = _clock(arguments.timeout)
    with client(arguments) as hub, Shown(arguments):
        for name in names:
            try:
                file = hub.open(
                    repo.repo_id,
                    name,
                    local_files_only=arguments.local_files_only,
                    require_proof=arguments.require_proof,
                    timeout=left(),
                    **repo.where,
                )
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError):
                    raise
                output.error(absent_from(repo, [name], names_of(hub, repo, arguments)))
                return output.NOT_FOUND
            with file:
                _write(file, arguments.range or slice(None), left)
    return output.DONE


def _write(file: File, part: slice, left: Callable[[], float | None]) -> None:
    start, end, _ = part.indices(file.size)
    while start < end:
        piece = file.read_at(start, min(_PIECE, end - start), timeout=left())
        if output.is_terminal(sys.stdout) and b"\0" in piece:
            message = f"{file.path} is no text, and would upset the terminal: send it elsewhere"
            raise Misuse(message)
        sys.stdout.buffer.write(piece)
        start += len(piece)


def _clock(timeout: float | None) -> Callable[[], float | None]:
    """Returns what says how much of the time is left: a millisecond, when it's over."""
    if timeout is None:
        return lambda: None
    end = time.monotonic() + timeout
    return lambda: max(end - time.monotonic(), 0.001)


COMMANDS = {"cat": _cat}
