"""What a person sees of a running call: a bar, what the log has to say, and one line at the end."""

from __future__ import annotations

import logging
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

#: What the bar says of troubles that pass by themselves, by the targets that xet.h names. The call
#: gets over it, and counts it.
_PASSING = {
    "stalled": "storage is silent, trying another connection",
    "broke": "the connection broke, taking it up again",
    "retried": "trying again",
    "waiting": "another download has it, waiting for that",
}
#: What the commands have better words for.
_TOLD_ELSEWHERE = {"none_fits", "finding"}
_TOLD = "xet_ffi_core::told::"


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
        # The Rust module says nothing to people.
        target, message = (
            map(str, record.args) if isinstance(record.args, tuple) else ("", record.getMessage())
        )
        event = target.removeprefix(_TOLD) if target.startswith(_TOLD) else ""
        if self._is_verbose:
            if record.levelno >= self._level:
                self.line(f"{record.levelname.lower()}: {message}")
        elif event in _PASSING:
            if self._bar is not None:
                self._bar.note(_PASSING[event])
        elif (
            record.levelno >= logging.WARNING
            and message not in self._said
            and event not in _TOLD_ELSEWHERE
        ):
            self._said.add(message)
            self._wipe()
            output.warning(message)

    def error(self, message: str) -> None:
        """Says what went wrong with one of several things."""
        self._wipe()
        output.error(message)

    def line(self, text: str) -> None:
        """Says something while the call runs, or between two."""
        self._wipe()
        output.say(output.printable(text, sys.stderr))

    def _wipe(self) -> None:
        if self._bar is not None:
            self._bar.wipe()

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
