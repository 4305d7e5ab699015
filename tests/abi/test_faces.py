"""What Python and Go have in common comes from layout.json, through build_faces.py."""

from __future__ import annotations

import copy
import dataclasses
import re
import subprocess
import sys
from typing import Any

import pytest

from abi.test_layout import BASE, LAYOUT, STRUCTS
from abi.toolchain import ROOT, declarations, script

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


#: What Python needs beside the sections: the library, memory, how calls and how values are made.
#: Besides, a bar, errors for where huggingface_hub is installed, and the client for asyncio.
PLUMBING = {
    "aio",
    "_bar",
    "_call",
    "_contents",
    "_dataclass",
    "_groups",
    "_handle",
    "_layout",
    "_lib",
    "_official",
    "_operations",
    "_position",
    "_streams",
    "_strings",
    "_structs",
    "_threads",
    "_tokens",
}

#: And Go, which also has how it is built.
GO_PLUMBING = {"arena", "call", "debug", "debug_off", "ffi", "handle", "layout", "values"}
GO_PLUMBING |= {"operations", "options", "stream", "nocgo"}
GO_PLUMBING |= {"contents", "fs", "groups", "readers", "sending", "tokens"}
GO_PLUMBING |= {"bundled_linux_amd64", "bundled_linux_arm64", "bundled_none"}


def sections() -> list[str]:
    """The sections of xet.h, in the alphabet's order, by their first words."""
    found = re.findall(r"^/\* ---- (?:xet )?(\w+)[\w ]* -+ \*/$", declarations(), re.MULTILINE)
    assert len(found) > 1
    return sorted(found)


def test_python_has_a_module_for_each_section_of_the_header() -> None:
    """Named like it: who knows the header knows where to look. The others are plumbing."""
    modules = {path.stem for path in (ROOT / "xet_ffi").glob("*.py")}
    modules -= {"__init__", "__main__", "_xet_ffi", *PLUMBING}
    assert sorted(module.removeprefix("_") for module in modules) == sections()


def test_go_has_a_file_for_each_section_of_the_header() -> None:
    """Named like it, too, and like Python's module."""
    files = {path.stem for path in (ROOT / "go").glob("*.go") if not path.match("*_test.go")}
    assert files >= GO_PLUMBING
    assert sorted(files - GO_PLUMBING) == sections()


def test_every_report_has_a_face() -> None:
    """A struct that no caller fills is one that a language shows."""
    filled = (
        "Options",
        "Callbacks",
        "Deadlines",
        "Operation",
        "Header",
        "Download",
        "Upload",
        "Range",
    )
    reports = {name for name in STRUCTS.keys() - BASE.keys() if not name.endswith(filled)}
    # What is only looked into: a piece is bytes, and a list of contents is a list of reports.
    reports -= {"XetPiece", "XetContentList"}
    assert reports == {report.struct for report in FACES.REPORTS}


#: A listing is a list that has a commit besides; its entries are the values.
VALUES = [report for report in FACES.REPORTS if report.go != "Listing"]


@pytest.mark.parametrize("report", VALUES, ids=lambda report: str(report.struct))
def test_a_value_of_python_has_the_fields_of_its_report(report: Any) -> None:
    """No more and no fewer, so that none stays unset and none is lost."""
    import xet_ffi
    from xet_ffi import cache, storage

    name = {"Repo": "RepoUrl"}.get(report.go, report.go)
    places = (xet_ffi, cache, storage)
    cls = next(getattr(place, name) for place in places if hasattr(place, name))
    fields = [
        report.rename.get(field, field)
        for field, _ in FACES.fields(LAYOUT, report)
        if field not in report.flags
    ]
    for prefix in report.flags.values():
        fields += [name for _, _, name in FACES.bits(LAYOUT, prefix)]
    assert sorted(field.name for field in dataclasses.fields(cls)) == sorted(fields)


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
