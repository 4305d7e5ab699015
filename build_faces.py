"""Writes what Python and Go would otherwise copy from `xet.h` by hand, each in its own language.

    python build_faces.py           writes xet_ffi/_layout.py, go/layout.go and go/xet.h
    python build_faces.py --check   says whether they are what they would be; status 1 if not

The source is `tests/abi/layout.json`, which the library's own tests keep true: the numbers and
names of enumerations, and the fields of reports. What it can't know stands in the two tables below:
which enumerations and reports have a face, what a field is called there where that isn't its name
in C, and what may be missing. Both results are committed, so that neither build needs this.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent
LAYOUT = ROOT / "tests" / "abi" / "layout.json"
PYTHON = ROOT / "xet_ffi" / "_layout.py"
GO = ROOT / "go" / "layout.go"
HEADER = ROOT / "xet_ffi" / "xet.h"
GO_HEADER = ROOT / "go" / "xet.h"  # Go's modules can't hold links


@dataclass(frozen=True)
class Enum:
    """An enumeration whose values have names.

    Attributes:
        prefix: What its numbers' names begin with in C.
        python: The Python dictionary.
        go: The Go type.
        names: Names that aren't those of C in lower case.
        choice: Callers choose from it, too, or say nothing, for the default.
        numbers: Go keeps the numbers, and has the names for printing only.
    """

    prefix: str
    python: str
    go: str
    names: dict[str, str] = field(default_factory=dict)
    choice: bool = False
    numbers: bool = False


@dataclass(frozen=True)
class Report:
    """A struct that the library fills, and that becomes a value.

    Attributes:
        struct: Its name in C.
        python: The Python function that copies its fields.
        go: The Go type.
        rename: Fields that have another name in both languages.
        rename_go: Fields that have another name in Go, by their names in C.
        optional: Strings that may be NULL: None in Python, "" in Go.
        unknown: Numbers whose greatest value means "unknown": None in Python, -1 in Go.
        enums: Fields that are values of an enumeration, by its prefix.
        flags: Fields whose bits become fields of their own, by the prefix of the bits' names.
        truths: Numbers that are 0 or 1.
        lists: Arrays of reports: the struct, and the field that says how many there are. They are
            copied by hand in Python, where their classes are.
        hidden: Fields that have no face, such as the length of an array.
        by_hand: Pointers that may be NULL. They are copied by hand, where their classes are.
        pointer: Go's function returns a pointer.
    """

    struct: str
    python: str
    go: str
    rename: dict[str, str] = field(default_factory=dict)
    rename_go: dict[str, str] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    enums: dict[str, str] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    truths: tuple[str, ...] = ()
    lists: dict[str, tuple[str, str]] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    pointer: bool = False


ENUMS = (
    Enum("XET_PROGRESS_PHASE_", "PHASES", "Phase", numbers=True),
    Enum("XET_TRANSPORT_", "TRANSPORTS", "Transport", choice=True),
    Enum("XET_FILE_KIND_", "FILE_KINDS", "FileKind"),
    Enum("XET_WAY_", "WAYS", "Way", names={"XET_THEN_HTTP": "xet+http"}),
    Enum("XET_HASH_", "HASH_KINDS", "HashKind"),
    Enum("XET_TASK_", "TASK_STATES", "TaskState"),
    Enum("XET_PROOF_", "PROOFS", "Proof"),
)

REPORTS = (
    Report(
        "XetProgress",
        "progress",
        "Progress",
        optional=("file",),
        enums={"phase": "XET_PROGRESS_PHASE_"},
    ),
    Report(
        "XetClientInfo",
        "client_info",
        "ClientInfo",
        enums={"transport": "XET_TRANSPORT_"},
        flags={"flags": "XET_CLIENT_"},
        pointer=True,
    ),
    Report(
        "XetEntry",
        "file_info",
        "FileInfo",
        rename={"oid": "hash"},
        optional=("sha256", "xet_hash"),
        enums={"kind": "XET_FILE_KIND_"},
    ),
    Report(
        "XetEntryList",
        "listing",
        "Listing",
        rename={"entries": "files"},
        lists={"entries": ("XetEntry", "count")},
        hidden=("count",),
        pointer=True,
    ),
    Report(
        "XetFileTransfer",
        "file_transfer",
        "FileTransfer",
        optional=("hash",),
        enums={"way": "XET_WAY_", "hash_kind": "XET_HASH_"},
        truths=("verified",),
    ),
    Report(
        "XetTransfer",
        "transfer",
        "Transfer",
        lists={"file_transfers": ("XetFileTransfer", "files")},
        pointer=True,
    ),
    Report("XetPlannedFile", "planned_file", "PlannedFile"),
    Report(
        "XetPlan",
        "plan",
        "Plan",
        unknown=("disk_free",),
        lists={"files": ("XetPlannedFile", "count")},
        hidden=("count",),
        pointer=True,
    ),
    Report("XetCacheUsage", "cache_usage", "CacheUsage", pointer=True),
    Report("XetCacheItem", "cache_item", "CacheItem"),
    Report(
        "XetCacheReport",
        "cache_report",
        "CacheReport",
        lists={"items": ("XetCacheItem", "count")},
        hidden=("count",),
        pointer=True,
    ),
    # As in huggingface_hub: a commit has an oid, and a pull request's page is its pr_url. A file of
    # a listing has a hash, as in the base interface, though it is an oid as well. There are no
    # other names for these, in any language.
    Report(
        "XetCommitReport",
        "commit",
        "Commit",
        rename={"commit": "oid", "pull_request_url": "pr_url"},
        optional=("pull_request_url",),
        pointer=True,
    ),
    Report("XetDedupStats", "dedup_stats", "DedupStats"),
    Report("XetShardStats", "shard_stats", "ShardStats"),
    Report(
        "XetGroupTask",
        "group_task",
        "GroupTask",
        optional=("hash", "sha256"),
        enums={"state": "XET_TASK_"},
        by_hand=("error", "dedup"),
    ),
    Report(
        "XetGroupReport",
        "group_report",
        "GroupReport",
        enums={"state": "XET_TASK_"},
        lists={"tasks": ("XetGroupTask", "tasks_len")},
        hidden=("tasks_len",),
        by_hand=("dedup", "shards"),
        pointer=True,
    ),
    Report("XetContent", "content", "Content"),
    Report(
        "XetFileReport",
        "file_report",
        "FileReport",
        optional=("xet_hash",),
        enums={"kind": "XET_FILE_KIND_", "proof": "XET_PROOF_"},
        pointer=True,
    ),
    Report("XetRepoReport", "repo_url", "Repo", rename_go={"repo_id": "ID"}, pointer=True),
)

NUMBERS = {"u32": "int", "u64": "int64", "usize": "int", "f64": "float64"}
TEXT = "*const c_char"
INITIALISMS = {"git": "Git", "http": "HTTP", "id": "ID", "lfs": "LFS", "oid": "OID", "url": "URL"}
INITIALISMS |= {"etag": "ETag", "pr": "PR", "sha256": "SHA256", "xet": "Xet"}

Layout: TypeAlias = dict[str, list[dict[str, Any]]]


def constants(layout: Layout, enum: Enum) -> list[tuple[str, int, str]]:
    """Returns the C name, the number and the face's name of each value. A default has no name."""
    found = []
    for constant in layout["constants"]:
        name, value = constant["name"], constant["value"]
        if name.startswith(enum.prefix) and name != f"{enum.prefix}DEFAULT":
            own = name.removeprefix(enum.prefix)
            found.append((name, value, enum.names.get(own, own.lower())))
    return found


def bits(layout: Layout, prefix: str) -> list[tuple[str, int, str]]:
    """Returns the C name, the value and the face's name of each flag."""
    return [
        (constant["name"], constant["value"], constant["name"].removeprefix(prefix).lower())
        for constant in layout["constants"]
        if constant["name"].startswith(prefix)
    ]


def fields(layout: Layout, report: Report) -> list[tuple[str, str]]:
    """Returns the name and the Rust type of each field that has a face."""
    (struct,) = (s for s in layout["structs"] if s["name"] == report.struct)
    hidden = {"struct_size", *report.hidden}
    return [(f["name"], f["type"]) for f in struct["fields"] if f["name"] not in hidden]


def camel(name: str) -> str:
    """Returns a name of C as Go writes it."""
    return "".join(INITIALISMS.get(part, part.capitalize()) for part in name.lower().split("_"))


def aligned(rows: Sequence[tuple[str, ...]], indent: str) -> list[str]:
    """Returns rows whose columns begin one under the other, as gofmt wants them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return [
        indent + " ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]


def python(layout: Layout) -> str:
    """Returns xet_ffi/_layout.py."""
    lines = [
        '"""Names of numbers, and the fields of reports.',
        "",
        "Written by build_faces.py from tests/abi/layout.json: change those, and run `make faces`.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from xet_ffi._strings import optional_text, text",
        "",
        "TYPE_CHECKING = False",
        "if TYPE_CHECKING:",
        "    from typing import Any",
        "",
        "    from xet_ffi._lib import CData",
        "",
        "_UINT64_MAX = 2**64 - 1",
    ]
    for enum in ENUMS:
        lines += ["", f"{enum.python} = {{"]
        lines += [f'    {value}: "{name}",' for _, value, name in constants(layout, enum)]
        lines += ["}", f'"""The names of {enum.prefix}*."""']
    for report in REPORTS:
        lines += python_report(layout, report)
    return "\n".join(lines) + "\n"


def python_report(layout: Layout, report: Report) -> list[str]:
    """Returns the Python function that copies a report."""
    lines = [
        "",
        "",
        f"def {report.python}(native: CData) -> dict[str, Any]:",
        f'    """Copies the fields of a `const {report.struct} *`, but its arrays."""',
        "    return {",
    ]
    for name, kind in fields(layout, report):
        if name in report.lists or name in report.by_hand:
            continue
        value = f"native.{name}"
        if name in report.flags:
            lines += [
                f'        "{bit}": bool({value} & {number}),'
                for _, number, bit in bits(layout, report.flags[name])
            ]
            continue
        if name in report.enums:
            (enum,) = (e for e in ENUMS if e.prefix == report.enums[name])
            value = f'{enum.python}.get({value}, "unknown")'
        elif name in report.unknown:
            value = f"None if {value} == _UINT64_MAX else {value}"
        elif name in report.truths:
            value = f"bool({value})"
        elif kind == TEXT:
            value = f"{'optional_text' if name in report.optional else 'text'}({value})"
        elif kind not in NUMBERS:
            message = f"{report.struct}.{name}: no face for a {kind}"
            raise TypeError(message)
        lines.append(f'        "{report.rename.get(name, name)}": {value},')
    return [*lines, "    }"]


def go_enum(layout: Layout, enum: Enum) -> list[str]:
    """Returns an enumeration's Go constants, and what turns one form into the other."""
    values = constants(layout, enum)
    own = [f"{enum.go}{camel(c.removeprefix(enum.prefix))}" for c, _, _ in values]
    cases = [(c, n, v) for (c, _, v), n in zip(values, own, strict=True)]
    if enum.numbers:
        rows = [(n, enum.go, f"= C.{c}") for c, n, _ in cases]
        convert = go_printed(enum, cases)
    else:
        rows = [(n, enum.go, f'= "{v}"') for _, n, v in cases]
        rows.append((f"{enum.go}Unknown", enum.go, '= "unknown"'))
        convert = [f"// new{enum.go} returns the name of a {enum.prefix}*."]
        convert += [f"func new{enum.go}(native C.uint32_t) {enum.go} {{", "\tswitch native {"]
        for c, n, _ in cases:
            convert += [f"\tcase C.{c}:", f"\t\treturn {n}"]
        convert += ["\t}", f"\treturn {enum.go}Unknown", "}"]
    if enum.choice:
        convert += go_chosen(enum, cases)
    comment = [
        f"// The names of {enum.prefix}*; the type says what they mean. A newer library may know",
        "// more; they are unknown.",
    ]
    return ["", *comment, "const (", *aligned(rows, "\t"), ")", "", *convert]


def go_printed(enum: Enum, cases: list[tuple[str, str, str]]) -> list[str]:
    """Returns what prints a number by its name."""
    receiver = enum.go[0].lower()
    lines = [f"// String returns the name of a {enum.prefix}*."]
    lines += [f"func ({receiver} {enum.go}) String() string {{", f"\tswitch {receiver} {{"]
    for _, n, v in cases:
        lines += [f"\tcase {n}:", f'\t\treturn "{v}"']
    return [*lines, "\t}", f'\treturn fmt.Sprintf("{enum.go}(%d)", int({receiver}))', "}"]


def go_chosen(enum: Enum, cases: list[tuple[str, str, str]]) -> list[str]:
    """Returns what turns a name that was chosen into its number."""
    receiver = enum.go[0].lower()
    lines = ["", f"// native returns the {enum.prefix}* of a name, and whether there is one."]
    lines += [f"func ({receiver} {enum.go}) native() (C.uint32_t, bool) {{"]
    lines += [f"\tswitch {receiver} {{", '\tcase "":', f"\t\treturn C.{enum.prefix}DEFAULT, true"]
    for c, n, _ in cases:
        lines += [f"\tcase {n}:", f"\t\treturn C.{c}, true"]
    lines += ["\t}", f"\treturn C.{enum.prefix}DEFAULT, false", "}", ""]
    names = f"{receiver}{enum.go[1:]}Names"
    lines += [f"// {names} are all that can be chosen, for messages."]
    return [*lines, f'const {names} = "{", ".join(v for _, _, v in cases)}"']


def go_report(layout: Layout, report: Report) -> list[str]:
    """Returns the Go function that copies a report."""
    rows = []
    for name, kind in fields(layout, report):
        if name in report.by_hand:
            continue
        value = f"native.{name}"
        if name in report.flags:
            rows += [
                (f"{camel(bit)}:", f"{value}&C.{constant} != 0,")
                for constant, _, bit in bits(layout, report.flags[name])
            ]
            continue
        if name in report.enums:
            (enum,) = (e for e in ENUMS if e.prefix == report.enums[name])
            value = f"{enum.go}({value})" if enum.numbers else f"new{enum.go}({value})"
        elif name in report.lists:
            struct, count = report.lists[name]
            (element,) = (r for r in REPORTS if r.struct == struct)
            value = f"newSlice({value}, int(native.{count}), new{element.go})"
        elif name in report.unknown:
            value = f"orUnknown({value})"
        elif name in report.truths:
            value = f"{value} != 0"
        elif kind == TEXT:
            value = f"C.GoString({value})"
        else:
            value = f"{NUMBERS[kind]}({value})"
        own = report.rename_go.get(name) or camel(report.rename.get(name, name))
        rows.append((f"{own}:", f"{value},"))
    result, literal = (f"*{report.go}", f"&{report.go}") if report.pointer else (report.go,) * 2
    return [
        "",
        f"func new{report.go}(native *C.{report.struct}) {result} {{",
        f"\treturn {literal}{{",
        *aligned(rows, "\t\t"),
        "\t}",
        "}",
    ]


def go(layout: Layout) -> str:
    """Returns go/layout.go."""
    lines = [
        "// Code generated by build_faces.py from tests/abi/layout.json. DO NOT EDIT.",
        "",
        "package xet",
        "",
        '// #include "callbacks.h"',
        'import "C"',
        "",
        'import "fmt"',
    ]
    for enum in ENUMS:
        lines += go_enum(layout, enum)
    lines += ["", "// Each of these copies a report, to values that own no C memory."]
    for report in REPORTS:
        lines += go_report(layout, report)
    return "\n".join(lines) + "\n"


def outputs() -> dict[Path, str]:
    """Returns the files and what they hold."""
    layout: Layout = json.loads(LAYOUT.read_text(encoding="utf-8"))
    header = HEADER.read_text(encoding="utf-8")
    return {PYTHON: python(layout), GO: go(layout), GO_HEADER: header}


def main(arguments: list[str]) -> int:
    """Writes the files, or checks them."""
    stale = [
        path
        for path, content in outputs().items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]
    if arguments == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run `make faces`\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(outputs()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
