"""What a person sees of a running call: a bar, what the log has to say, and one line at the end."""

from __future__ import annotations

import logging
import re
import sys

from xet_ffi._bar import size
from xet_ffi._progress import Bar
from xet_ffi.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from types import TracebackType

    from typing_extensions import Self

    from xet_ffi import Commit, Progress, Transfer

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)

#: How messages of the log begin that tell of a passing trouble, and what the bar says of it. The
#: call gets over it by itself, and counts it.
_PASSING = {
    re.compile(beginning): told
    for beginning, told in {
        "a stream stalled": "storage is silent, trying another connection",
        "a download broke|a part broke off": "the connection broke, taking it up again",
        "can't .{1,99}? yet: ": "trying again",
    }.items()
}
#: What begins messages that the commands have better words for.
_TOLD_ELSEWHERE = ("none of the ", "a cached file is damaged", "a cached file isn't verified")


class Shown(logging.Handler):
    """The progress callback of one call, and the handler of its log; use it in a `with`.

    There is a bar if a terminal can show it. Warnings are lines above it, each once; what passes by
    itself is told in the bar. With `-v` the log is shown as it comes. Without a terminal there is
    no bar and no summary, unless `-v` asks for that.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(logging.INFO)
        verbose: int = arguments.verbose
        self._level = _LEVELS[min(verbose, len(_LEVELS) - 1)]
        self._is_verbose = verbose > 0
        self._quiet: bool = arguments.quiet
        self._said: set[str] = set()
        self._bar = None if self._quiet else Bar()
        self._logger = logging.getLogger("xet_ffi")

    def __enter__(self) -> Self:
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(min(self._level, logging.INFO))
        self.setLevel(min(self._level, logging.INFO))
        self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
        if self._bar is not None:
            self._bar.close(keep=False)

    def __call__(self, progress: Progress) -> None:
        """Shows how far the call is."""
        if self._bar is not None:
            self._bar(progress)

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a record of the log."""
        # The first argument is the Rust module, which says nothing to people.
        message = str(record.args[-1]) if isinstance(record.args, tuple) else record.getMessage()
        passing = next((told for known, told in _PASSING.items() if known.match(message)), "")
        if self._is_verbose:
            if record.levelno >= self._level:
                self._line(f"{record.levelname.lower()}: {message}")
        elif passing:
            if self._bar is not None:
                self._bar.note(passing)
        elif (
            record.levelno >= logging.WARNING
            and message not in self._said
            and not message.startswith(_TOLD_ELSEWHERE)
        ):
            self._said.add(message)
            self._line(f"{output.paint('warning:', '1;33')} {message}")

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.wipe()
        output.say(text)

    def summary(self, line: str) -> None:
        """Says in one line what was done, where somebody reads along."""
        if not self._quiet and (self._is_verbose or output.is_terminal(sys.stderr)):
            output.say(line)


def downloaded(transfer: Transfer) -> str:
    """Returns the closing line of a download."""
    verified = sum(file.verified for file in transfer.file_transfers)
    known = transfer.files - verified
    parts = [
        f"{_count(transfer.files, 'file')}, {size(transfer.bytes_total)}B",
        f"{size(transfer.bytes_network)}B from the network",
        f"{size(transfer.bytes_reused)}B reused",
        f"{transfer.seconds:.1f} s",
        f"{verified} verified" + (f", {known} from before" if known else ""),
    ]
    parts += [
        _count(number, what)
        for number, what in (
            (transfer.retries, "request repeated"),
            (transfer.stalls, "stall"),
            (transfer.fallbacks, "file by another way"),
        )
        if number
    ]
    return "; ".join(parts)


def uploaded(commit: Commit) -> str:
    """Returns the closing line of an upload."""
    parts = [
        f"{_count(commit.files, 'file')}, {size(commit.bytes_total)}B",
        f"{commit.files_changed} changed",
        f"{size(commit.bytes_sent)}B sent",
        f"{size(commit.bytes_on_hub)}B on the Hub before",
        f"{commit.seconds:.1f} s",
    ]
    if commit.retries:
        parts.append(_count(commit.retries, "request repeated"))
    return "; ".join(parts)


def _count(number: int, what: str) -> str:
    noun, space, rest = what.partition(" ")
    return f"{number:,} {noun}{'' if number == 1 else 's'}{space}{rest}"
