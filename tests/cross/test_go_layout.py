"""cgo sees the structs and numbers of the library, as C, C++, CFFI and Rust do (tests/abi)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from abi.toolchain import HERE as ABI
from abi.toolchain import ROOT, functions, run
from cross import golang

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT: dict[str, Any] = json.loads((ABI / "layout.json").read_text(encoding="utf-8"))


def test_cgo_sees_the_structs_and_numbers_of_the_library(tmp_path: Path) -> None:
    """A Go program prints the same sizes, offsets and constants."""
    expected = [(f"C.{number['name']}", number["value"]) for number in LAYOUT["constants"]]
    for struct in LAYOUT["structs"]:
        value = f"(C.{struct['name']}{{}})"
        expected.append((f"unsafe.Sizeof{value}", struct["size"]))
        expected.append((f"unsafe.Alignof{value}", struct["align"]))
        for field in struct["fields"]:
            name = f"(C.{struct['name']}{{}}.{field['name']})"
            expected.append((f"unsafe.Offsetof{name}", field["offset"]))
            expected.append((f"unsafe.Sizeof{name}", field["size"]))
    source = tmp_path / "layout.go"
    lines = "".join(f"\tfmt.Println(int64({expression}))\n" for expression, _ in expected)
    source.write_text(
        "package main\n\n// #cgo pkg-config: xet\n// #include <xet.h>\n"
        'import "C"\n\nimport (\n\t"fmt"\n\t"unsafe"\n)\n\nfunc main() {\n' + lines + "}\n"
    )
    printed = run([golang.build(source, tmp_path / "layout")]).stdout.split()
    seen = list(zip([expression for expression, _ in expected], map(int, printed), strict=True))
    assert seen == expected


def test_go_has_a_name_for_every_number() -> None:
    """No code, phase, level, kind or flag of the header is missing in the Go package."""
    source = "".join(path.read_text("utf-8") for path in (ROOT / "go").glob("*.go"))
    used = set(re.findall(r"\bC\.(XET_[A-Z0-9_]+)", source))
    known = {number["name"] for number in LAYOUT["constants"]}
    known -= {"XET_READ_FAILED", "XET_TOKEN_FAILED"}  # what xet_read_fail and xet_token_fail return
    known -= {"XET_SHA256_COMPUTED"}  # 0, which says nothing else than a field that isn't set
    known -= {"XET_STREAM_UNORDERED"}  # a reader of Go's reads in order
    assert used == known


def test_go_uses_the_interface_but_not_its_older_half() -> None:
    """What Go calls is declared; the base functions, which can do less, it leaves to others."""
    sources = [*(ROOT / "go").glob("*.go"), ROOT / "go" / "callbacks.c"]
    text = "".join(path.read_text("utf-8") for path in sources)
    used = set(re.findall(r"\b(xet_[a-z0-9_]+)\(", text))
    assert used <= functions()
    older = {
        "xet_client_new",
        "xet_last_error",
        "xet_client_set_progress_callback",
        "xet_list_files",
        "xet_free_file_list",
        "xet_download_file",
        "xet_download_snapshot",
        "xet_version_1_0_0",
    }
    # Go closes a group, serves it and asks for its report, so that a failed wait has one, too.
    assert functions() - used == older | {"xet_group_wait"}


def test_there_is_one_header() -> None:
    """The header beside the Go files is the tree's; a copy, since Go's modules can't hold links."""
    copy = ROOT / "go" / "xet.h"
    assert not copy.is_symlink()
    assert copy.read_bytes() == (ROOT / "xet_ffi" / "xet.h").read_bytes(), "run `make faces`"
