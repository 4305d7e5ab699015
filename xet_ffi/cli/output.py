"""What the commands say: results to stdout, all else to stderr; and their exit statuses."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import asdict, is_dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from xet_ffi import XetError

DONE = 0
UNKNOWN = 1
USAGE = 2
NOT_FOUND = 14
DAMAGED = 16
LOCAL_FILE = 18
#: As a shell has it.
NOT_RUNNABLE, NOT_THERE = 126, 127
INTERRUPTED = 130
#: As for a program that SIGPIPE ends.
NOBODY_READS = 141

#: The one table of exit statuses: `--help` and the manual show it. From 11 to 23 it's 10 and the
#: error's XET_CODE_*.
STATUSES = {
    DONE: "done",
    UNKNOWN: "unknown error",
    USAGE: "wrong usage",
    11: "bad argument",
    12: "bad token",
    13: "network",
    NOT_FOUND: "not found, or nothing fits",
    15: "permission",
    DAMAGED: "checksum",
    LOCAL_FILE: "local file",
    19: "timeout",
    20: "rate limit",
    21: "conflict",
    22: "disk full",
    23: "offline",
    INTERRUPTED: "interrupted",
    NOBODY_READS: "nobody reads the output",
}


class Misuse(Exception):  # noqa: N818 - it's no failure
    """Words that mean nothing here, or don't go together; the message says which."""

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: XetError) -> int:
    """Returns the exit status that stands for an error of the library."""
    status = 10 + error.code
    return status if status in STATUSES else UNKNOWN


def say(note: str = "", end: str = "\n") -> None:
    """Writes a note to stderr, if that takes it. What is done, and its status, stand without it."""
    try:
        print(note, end=end, file=sys.stderr, flush=True)
    except OSError:
        discard(2)


def error(message: str) -> None:
    """Says what went wrong."""
    say(f"{paint('error:', '1;31')} {printable(message, sys.stderr)}")


def warning(message: str) -> None:
    """Says what somebody should know though it goes on."""
    say(f"{paint('warning:', '1;33')} {printable(message, sys.stderr)}")


def line(text: str) -> None:
    """Prints a line of a result, in which names of others may stand."""
    print(printable(text, sys.stdout))


def result(value: Any, *, as_json: bool) -> None:
    """Prints the result: a value as JSON, a text as it is."""
    if as_json:
        print(json.dumps(value, indent=2, default=_plain))
    else:
        line(value)


def printable(text: str, stream: TextIO | None) -> str:
    """Returns a line as a terminal may have it, as `ls` does; elsewhere it stays as it is.

    Whoever publishes a file chooses its name. On a terminal it could move the cursor, hide what
    stands before it, or read backwards.
    """
    if text.isprintable() or not is_terminal(stream):
        return text
    return "".join([c if c.isprintable() else "?" for c in text])


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    message = f"no JSON for {type(value).__name__}"
    raise TypeError(message)


def paint(text: str, color: str, stream: TextIO | None = None) -> str:
    """Returns `text` in a color (numbers of SGR), if a terminal shows it and nobody minds.

    `NO_COLOR` is what no-color.org says: any value but an empty one.
    """
    stream = sys.stderr if stream is None else stream
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream):
        return text
    return f"\x1b[{color}m{text}\x1b[0m"


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads along."""
    return stream is not None and stream.isatty()


def prepare() -> None:
    """Lets both streams show names that their encodings have no characters for.

    Names of this machine that aren't text are written as the bytes that they are.
    """
    if sys.stderr is None:
        # Closed: what is meant for it would go to stdout.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it lasts as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_unicode = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if is_unicode else "backslashreplace")


def discard(descriptor: int) -> None:
    """Drops what is left for a descriptor. Python writes it at its end, which would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
