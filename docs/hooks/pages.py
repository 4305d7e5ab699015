"""Fills in what pages show of the code: a comment `<!-- made: NAME -->` becomes what NAME makes.

mkdocs calls `on_page_markdown` for each page.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import c_reference
import go_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "xet_ffi" / "xet.h"
PLACE = re.compile(r"^<!-- made: ([\w-]+) -->$", re.MULTILINE)


def commands() -> str:
    """The commands: from their own table, by the Python that has the package."""
    python = os.environ.get("XET_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
    program = "from xet_ffi.cli.manual import markdown; print(markdown())"
    return _output([python, "-c", program])


def go() -> str:
    """The reference of the Go package."""
    return go_reference.markdown(_output(["go", "doc", "-all", "."], folder=ROOT / "go"))


def c() -> str:
    """The reference of the header."""
    return c_reference.reference(HEADER.read_text(encoding="utf-8"))


def contract() -> str:
    """What the header says of all its functions."""
    return c_reference.contract(HEADER.read_text(encoding="utf-8"))


def figures() -> str:
    """All that was measured."""
    return _without_title(ROOT / "bench" / "RESULTS.md")


def security() -> str:
    """What is promised, and how to report."""
    return _without_title(ROOT / "SECURITY.md")


MAKERS = {made.__name__: made for made in (commands, go, c, contract, figures, security)}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns the page with what its places stand for."""
    return PLACE.sub(lambda place: MAKERS[place[1]](), markdown)


def _without_title(file: Path) -> str:
    return re.sub(r"\A# .*\n", "", file.read_text(encoding="utf-8"))


def _output(command: list[str], folder: Path | None = None) -> str:
    return subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.PIPE).stdout
