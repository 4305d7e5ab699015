"""What `make dist` packs for C and Go: the library that Python loads, and how to link it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import HERE as ABI
from abi.toolchain import ROOT, SUFFIX, compile_c, run
from cross import golang
from cross.conftest import ALICE
from cross.conftest import HERE as CROSS
from xet_ffi import __version__
from xet_ffi._lib import LIBRARY_PATH

if TYPE_CHECKING:
    from cross.conftest import Published

SHARED = f"libxet.{SUFFIX}"


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball, packed now."""
    pack = [str(ROOT / "native" / "packaging" / "tarball"), str(tmp_path_factory.mktemp("dist"))]
    done = subprocess.run(pack, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def prefix(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix into which it was unpacked."""
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["tar", "-xzf", str(tarball), "-C", str(prefix)], check=True)
    return prefix


def flags(prefix: Path, package: str) -> list[str]:
    """What pkg-config says to compilers."""
    done = subprocess.run(
        ["pkg-config", "--cflags", "--libs", package],
        env={**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


def test_it_holds_the_library_that_python_loads(prefix: Path) -> None:
    """C, Go and Python get the same library, byte for byte, and the tree's header."""
    packed = (prefix / "lib" / SHARED).read_bytes()
    assert packed == Path(LIBRARY_PATH).read_bytes()
    (wheel,) = (ROOT / "build" / "wheel").glob("xet_ffi-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert packed == archive.read(f"xet_ffi/{SHARED}")
    header = (prefix / "include" / "xet.h").read_bytes()
    assert header == (ROOT / "xet_ffi" / "xet.h").read_bytes()


def test_it_holds_nothing_else_and_nobodys_name(tarball: Path) -> None:
    """Libraries, header and pkg-config files; no users, no times, no paths of this machine."""
    name = f"libxet-{__version__}-{sys.platform}-{platform.machine()}.tar.gz"
    assert tarball.name == name
    with tarfile.open(tarball) as tar:
        members = tar.getmembers()
        assert {member.name for member in members if member.isfile()} == {
            "include/xet.h",
            f"lib/{SHARED}",
            "lib/libxet.a",
            "lib/pkgconfig/xet.pc",
            "lib/pkgconfig/xet-static.pc",
        }
        assert {(member.uid, member.uname, member.mtime) for member in members} == {(0, "", 0)}
        for name in ("xet.pc", "xet-static.pc"):
            file = tar.extractfile(f"lib/pkgconfig/{name}")
            assert file is not None
            assert str(ROOT) not in file.read().decode()


@pytest.mark.parametrize("package", ["xet", "xet-static"])
def test_c_programs_link_with_what_pkg_config_says(
    prefix: Path, tmp_path: Path, package: str
) -> None:
    """With xet a program needs the shared library at run time, with xet-static it doesn't."""
    compiled = compile_c([ABI / "base_client.c"], tmp_path / "program", libs=flags(prefix, package))
    assert compiled.worked, compiled.messages
    needs = libxet_of(compiled.program, prefix / "lib")
    assert needs == (str(prefix / "lib" / SHARED) if package == "xet" else None)


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_go_programs_link_with_what_pkg_config_says(
    prefix: Path, published: Published, tmp_path: Path, *, static: bool
) -> None:
    """`go build` is all it takes; a static program runs where no libxet is."""
    pkg_config = prefix / "lib" / "pkgconfig"
    program = golang.build(
        CROSS / "driver.go", tmp_path / "program", pkg_config=pkg_config, static=static
    )
    needs = libxet_of(program, prefix / "lib")
    assert needs == (None if static else str(prefix / "lib" / SHARED))
    found = tmp_path / "nowhere" if static else prefix / "lib"
    command = [str(program), published.hub.endpoint, ALICE.secret, str(tmp_path / "cache")]
    command += ["file", "alice/model", "-", "-", "-", "model.safetensors"]
    done = run(command, LD_LIBRARY_PATH=str(found))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("done\t")


def libxet_of(program: Path, folder: Path) -> str | None:
    """The libxet that the loader finds for a program, if it needs one."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(
        ["ldd", str(program)], env=environment, check=True, capture_output=True, text=True
    )
    for line in done.stdout.splitlines():
        name, _, path = line.strip().partition(" => ")
        if name == SHARED:
            return path.split(" (")[0]
    return None
