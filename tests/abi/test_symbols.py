"""The library exports the functions of xet.h, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import (
    HERE,
    SONAME,
    C,
    compile_c,
    ffi,
    functions,
    shared_library,
    static_library,
)

if TYPE_CHECKING:
    from pathlib import Path

#: The base interface, as types: these calls must compile for ever.
BASE = {
    "xet_version_1_0_0": "void (*)(void)",
    "xet_client_new": "XetClient *(*)(const XetConfig *)",
    "xet_client_free": "void (*)(XetClient *)",
    "xet_client_set_progress_callback": (
        "XetError *(*)(XetClient *, XetProgressCallback, void *, uint32_t)"
    ),
    "xet_list_files": "XetError *(*)(XetClient *, const char *, const char *, XetFileList **)",
    "xet_download_file": (
        "XetError *(*)(XetClient *, const XetDownloadRequest *, const XetCancellationToken *,"
        " char **)"
    ),
    "xet_download_snapshot": (
        "XetError *(*)(XetClient *, const char *, const char *, const char *, const char *,"
        " const XetCancellationToken *, char **)"
    ),
    "xet_free_error": "void (*)(XetError *)",
    "xet_free_file_list": "void (*)(XetFileList *)",
    "xet_free_string": "void (*)(char *)",
}


def defined(library: Path, *flags: str) -> set[str]:
    """The names that a library defines for others, without versions."""
    command = ["nm", "--defined-only", *flags, str(library)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    names = {row[2].partition("@")[0] for row in rows if len(row) == 3}
    return {name.removeprefix("_") for name in names} if sys.platform == "darwin" else names


def test_the_shared_library_exports_what_the_header_declares() -> None:
    """Exported symbols and declared functions are the same set: nothing of a dependency leaks."""
    flags = ["-g"] if sys.platform == "darwin" else ["-D"]
    assert defined(shared_library(), *flags) == functions()


def test_the_static_library_defines_what_the_header_declares() -> None:
    """The static library defines the same functions, and no others of our prefix."""
    ours = {name for name in defined(static_library(), "-g") if name.startswith("xet_")}
    assert ours == functions()


def test_cffi_resolves_what_the_header_declares() -> None:
    """CFFI reads the same functions in the header and finds each in the library."""
    lib = ffi().dlopen(str(shared_library()))
    assert {name for name in dir(lib) if name.startswith("xet_")} == functions()
    for name in functions():
        assert ffi().typeof(getattr(lib, name)).kind == "function"


def test_base_functions_are_fixed_for_ever(tmp_path: Path) -> None:
    """The functions of the base interface keep their names and types."""
    checks = [
        f'_Static_assert(_Generic(&{name}, {kind}: 1, default: 0), "{name}");'
        for name, kind in BASE.items()
    ]
    source = tmp_path / "base.c"
    source.write_text('#include "xet.h"\n' + "\n".join(checks) + "\n")
    compiled = compile_c([source], tmp_path / "base.o", [*C, "-c"])
    assert compiled.worked, compiled.messages


def test_the_frozen_declarations_are_the_base() -> None:
    """base_abi.h, with which base_client.c is built, declares exactly these functions."""
    text = (HERE / "base_abi.h").read_text(encoding="utf-8")
    assert {name for name in functions() if f"{name}(" in text} == set(BASE)


@pytest.mark.skipif(sys.platform != "linux", reason="sonames are a matter of ELF")
def test_programs_look_for_the_library_by_its_name() -> None:
    """The soname has no path, so that a program finds the library wherever it is installed."""
    command = ["readelf", "-d", str(shared_library())]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"soname: [{SONAME}]" in listing
