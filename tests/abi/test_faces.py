"""What Python and Go have in common comes from layout.json, through build_faces.py."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

from abi.test_layout import BASE, LAYOUT, STRUCTS
from abi.toolchain import ROOT, script

FACES: Any = script("build_faces")


def test_what_is_generated_is_what_the_layout_says_now() -> None:
    """A field or a number that is added reaches both languages, or this fails."""
    done = subprocess.run(
        [sys.executable, ROOT / "build_faces.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_report_has_a_face() -> None:
    """A struct that no caller fills is one that a language shows."""
    filled = ("Options", "Callbacks", "Deadlines", "Operation")
    reports = {name for name in STRUCTS.keys() - BASE.keys() if not name.endswith(filled)}
    # Of the list of a repo's files, the files are shown.
    assert reports == {"XetEntryList"} | {report.struct for report in FACES.REPORTS}


def test_what_is_added_to_the_layout_appears_in_both_languages() -> None:
    """A field of a report with its type, and a number with its name."""
    layout = copy.deepcopy(LAYOUT)
    (struct,) = (struct for struct in layout["structs"] if struct["name"] == "XetTransfer")
    struct["fields"].append({"name": "url_hash", "type": "*const c_char"})
    layout["constants"].append({"name": "XET_WAY_BY_POST", "value": 99})
    python, go = FACES.python(layout), FACES.go(layout)
    assert '"url_hash": text(native.url_hash),' in python
    assert "URLHash:" in go
    assert '99: "by_post",' in python
    assert 'WayByPost      Way = "by_post"' in go
