"""A binding and a library of different versions, or a binding without one: it works or says why."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import ROOT, SONAME, SUFFIX, TARGET, compile_c, run, shared_library
from cross import golang
from cross.conftest import ALICE, HERE
from xet_ffi._lib import lib

if TYPE_CHECKING:
    from pathlib import Path

    from cross.conftest import Published

#: The version that both bindings were made with.
NEEDED: int = lib.XET_ABI_VERSION

#: All that a library of another version surely has.
STAND_IN = """
#include <stdint.h>
uint32_t xet_abi_version(void);
const char *xet_version(void);
uint32_t xet_abi_version(void) { return %d; }
const char *xet_version(void) { return "0.0.7"; }
"""


@pytest.fixture(scope="module")
def go_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go driver, which here looks for libxet where the loader is told to."""
    folder = tmp_path_factory.mktemp("versions")
    script = ROOT / "native" / "packaging" / "pkgconfig"
    subprocess.run([script, folder, TARGET, ROOT / "xet_ffi"], check=True)
    return golang.build(HERE / "driver.go", folder / "driver", pkg_config=folder)


def library(folder: Path, name: str, version: int, *, real: bool) -> Path:
    """A library that says it has a version; with `real`, it brings in today's functions."""
    source, built = folder / "library.c", folder / name
    source.write_text(STAND_IN % version)
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}"]
    libs = ["-Wl,--no-as-needed", str(shared_library())] if real else []
    compiled = compile_c([source], built, flags, libs)
    assert compiled.worked, compiled.messages
    return built


def listing(published: Published, cache: Path) -> list[str]:
    """The rest of a command line that lists a model."""
    return [published.hub.endpoint, ALICE.secret, str(cache), "list", "alice/model", "-", "-"]


def test_go_refuses_an_older_library(go_driver: Path, published: Published, tmp_path: Path) -> None:
    """With both numbers, before it needs a function that the library lacks."""
    older = library(tmp_path, SONAME, NEEDED - 1, real=False)
    command = [str(go_driver), *listing(published, tmp_path / "cache")]
    done = run(command, LD_LIBRARY_PATH=str(older.parent))
    assert (done.returncode, done.stderr) == (0, "")
    name, code, message, details = done.stdout.rstrip("\n").split("\t")
    assert (name, code) == ("error", "99")
    assert f"libxet 0.0.7 has ABI version {NEEDED - 1}" in message
    assert f"needs {NEEDED} or later" in message
    assert json.loads(details)["kind"] == "library_too_old"


def test_python_refuses_an_older_library(published: Published, tmp_path: Path) -> None:
    """With both numbers, and with the library's path."""
    older = library(tmp_path, SONAME, NEEDED - 1, real=False)
    command = [sys.executable, str(HERE / "driver.py"), *listing(published, tmp_path / "cache")]
    done = run(command, XET_FFI_LIBRARY=str(older))
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {older} has ABI version {NEEDED - 1}, ")
    assert f"needs {NEEDED} or later" in last


def test_go_and_python_take_a_newer_library(
    go_driver: Path, published: Published, tmp_path: Path
) -> None:
    """A later version only has more; both work with it as with their own."""
    newer = library(tmp_path, f"libnewer.{SUFFIX}", NEEDED + 1, real=True)
    rest = listing(published, tmp_path / "cache")
    in_go = run([str(go_driver), *rest], LD_PRELOAD=str(newer))
    in_python = run([sys.executable, str(HERE / "driver.py"), *rest], XET_FFI_LIBRARY=str(newer))
    said = run(
        [sys.executable, "-c", "from xet_ffi._lib import lib; print(lib.xet_abi_version())"],
        XET_FFI_LIBRARY=str(newer),
    )
    assert said.stdout == f"{NEEDED + 1}\n"
    for done in (in_go, in_python):
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("entry\t")
    assert in_go.stdout == in_python.stdout


def test_a_missing_library_is_named(go_driver: Path, published: Published, tmp_path: Path) -> None:
    """By the loader, for a program that is linked with it, and by Python's ImportError."""
    rest = listing(published, tmp_path / "cache")
    in_go = run([str(go_driver), *rest], LD_LIBRARY_PATH=str(tmp_path))
    assert in_go.returncode != 0
    assert f"libxet.{SUFFIX}" in in_go.stderr
    assert "cannot open shared object file" in in_go.stderr
    nowhere = tmp_path / f"libxet.{SUFFIX}"
    in_python = run([sys.executable, str(HERE / "driver.py"), *rest], XET_FFI_LIBRARY=str(nowhere))
    assert in_python.returncode == 1
    last = in_python.stderr.splitlines()[-1]
    assert last.startswith("ImportError: can't load libxet: ")
    assert str(nowhere) in last
