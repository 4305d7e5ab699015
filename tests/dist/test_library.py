"""What C, Python and Go link: what it asks of a system, shows the linker, and tells of us."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from abi.toolchain import functions
from dist.conftest import DIST, MACHINE, PLATFORM, ROOT, run


def test_nothing_needs_a_newer_glibc_than_its_name_says(prefix: Path, tmp_path: Path) -> None:
    """The library of C, that of the wheel, and xet-hub."""
    for wheel in DIST.glob(f"*{MACHINE}.whl"):
        assert f"manylinux_2_17_{MACHINE}" in wheel.name
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path)
    (hub,) = tmp_path.glob("xet_hub-*.data/scripts/xet-hub")
    for binary in (prefix / "lib/libxet.so", tmp_path / "xet_ffi/libxet.so", hub):
        header = run("readelf", "--file-header", binary).lower().replace("-", "_")
        assert MACHINE in header
        symbols = run("readelf", "--dyn-syms", "--wide", binary).split()
        asked = {name.rpartition("@GLIBC_")[2] for name in symbols if "@GLIBC_" in name}
        assert asked
        assert max(tuple(map(int, version.split("."))) for version in asked) <= (2, 17)


def test_library_and_archive_show_our_functions_alone(prefix: Path) -> None:
    """Nothing that another library may have, too."""
    for binary, flags in (("libxet.so", ["--dynamic"]), ("libxet.a", ["--extern-only"])):
        listing = run("nm", "--defined-only", *flags, prefix / "lib" / binary)
        rows = [line.split() for line in listing.splitlines()]
        assert {row[2] for row in rows if len(row) == 3} == functions()


def test_all_have_the_same_header_and_library(prefix: Path) -> None:
    """C, Go and Python are told the same, of the same bytes."""
    header = (ROOT / "xet_ffi/xet.h").read_bytes()
    assert (prefix / "include/xet.h").read_bytes() == header
    (wheel,) = DIST.glob(f"xet_ffi-*{MACHINE}.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("xet_ffi/xet.h") == header
        assert archive.read("xet_ffi/libxet.so") == (prefix / "lib/libxet.so").read_bytes()
    assert module("go", "/xet.h") == header
    assert module(f"go/lib/{PLATFORM}", "/libxet.a") == (prefix / "lib/libxet.a").read_bytes()


def module(name: str, end: str) -> bytes:
    """The file of a Go module whose name ends so."""
    (path,) = (DIST / "go/github.com/xet-ffi/xet-ffi" / name / "@v").glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        (file,) = [file for file in archive.namelist() if file.endswith(end)]
        return archive.read(file)


def test_nothing_tells_where_it_was_built(prefix: Path, tmp_path: Path) -> None:
    """No folder of the machine that built it is in any file."""
    for wheel in DIST.glob(f"*{MACHINE}.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path)
    folders = [ROOT, Path.home() / ".cargo", Path.home() / ".rustup", Path.home() / ".cache"]
    files = [path for top in (prefix, tmp_path) for path in top.rglob("*") if path.is_file()]
    told = [
        (str(file), str(folder))
        for file in files
        for folder in folders
        if os.fsencode(folder) in file.read_bytes()
    ]
    assert told == []
