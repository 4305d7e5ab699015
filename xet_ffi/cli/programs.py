"""The commands that become another program."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from xet_ffi.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

#: The variable that `_xet_ffi_switch` is named by.
SWITCH = "XET_FFI_HF_XET"
HUB = "xet-hub"


def _run(arguments: argparse.Namespace) -> int:
    words = _words(arguments)
    if not words:
        output.error("name the program to run: xet-ffi run PROGRAM ...")
        return output.USAGE
    return _become(words, {**os.environ, SWITCH: "1"})


def _serve(arguments: argparse.Namespace) -> int:
    # Beside this Python first: the one of its environment, whether or not that is on PATH.
    beside = Path(sys.executable).with_name(HUB)
    hub = str(beside) if os.access(beside, os.X_OK) else shutil.which(HUB)
    if hub is None:
        output.error(f"{HUB} is not installed: pip install 'xet-ffi[hub]'")
        return output.NOT_THERE
    return _become([hub, "serve", *_words(arguments)], dict(os.environ))


def _words(arguments: argparse.Namespace) -> list[str]:
    words: list[str] = arguments.words
    return words[1:] if words[:1] == ["--"] else words


def _become(words: list[str], environment: dict[str, str]) -> int:
    # It becomes the program, so that signals are the program's, and its end is.
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606 - it has no need of a shell
    except OSError as error:
        output.error(f"can't run {words[0]}: {error.strerror}")
        return output.NOT_THERE if isinstance(error, FileNotFoundError) else output.NOT_RUNNABLE


COMMANDS = {"run": _run, "serve": _serve}
