"""What is packed for C and Go: the library that Python loads, and how to link it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import HERE as ABI
from abi.toolchain import ROOT, SONAME, SUFFIX, TARGET, compile_c, functions, run
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
    pack = [str(ROOT / "native/packaging/tarball"), str(tmp_path_factory.mktemp("dist"))]
    done = subprocess.run([*pack, str(TARGET)], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def prefix(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its one folder, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xzf", str(tarball), "-C", str(folder)], check=True)
    (prefix,) = folder.iterdir()
    assert f"{prefix.name}.tar.gz" == tarball.name
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
    """What programs are built with, and what is to be said; no users, times or paths from here."""
    top = f"libxet-{__version__}-{sys.platform}-{platform.machine()}"
    assert tarball.name == f"{top}.tar.gz"
    with tarfile.open(tarball) as tar:
        members = tar.getmembers()
        assert {member.name for member in members if not member.isdir()} == {
            f"{top}/{name}"
            for name in (
                "LICENSE",
                "README.md",
                "THIRD-PARTY.md",
                "example/download.c",
                "include/xet.h",
                "lib/cmake/xet/xet-config-version.cmake",
                "lib/cmake/xet/xet-config.cmake",
                "lib/libxet.a",
                f"lib/{SHARED}",
                f"lib/{SHARED}.{__version__.split('.')[0]}",
                f"lib/{SHARED}.{__version__}",
                "lib/pkgconfig/xet-static.pc",
                "lib/pkgconfig/xet.pc",
                "sbom.cdx.json",
            )
        }
        assert {(member.uid, member.uname, member.mtime) for member in members} == {(0, "", 0)}
        for member in members:
            if member.isfile() and not member.name.startswith(f"{top}/lib/libxet."):
                file = tar.extractfile(member)
                assert file is not None
                assert str(ROOT) not in file.read().decode()


def test_the_archive_shows_the_linker_our_functions_alone(prefix: Path) -> None:
    """So a program may hold another SQLite, or another archive of Rust, beside it."""
    listing = ["nm", "--extern-only", "--defined-only", str(prefix / "lib/libxet.a")]
    done = subprocess.run(listing, check=True, capture_output=True, text=True)
    shown = {line.split()[2] for line in done.stdout.splitlines() if len(line.split()) == 3}
    assert shown == functions()
    # Without unwinding tables, a panic would end the process instead of becoming an error.
    sections = ["readelf", "--sections", "--wide", str(prefix / "lib/libxet.a")]
    done = subprocess.run(sections, check=True, capture_output=True, text=True)
    assert " .eh_frame " in done.stdout


def test_the_example_works_as_its_readme_says(
    prefix: Path, published: Published, tmp_path: Path
) -> None:
    """The commands of the README that is packed, in the folder that is unpacked."""
    readme = (prefix / "README.md").read_text()
    compile_it, download_it = readme.split("```sh\n")[1].split("```")[0].splitlines()
    environment = {**os.environ, "HF_ENDPOINT": published.hub.endpoint, "HF_HOME": str(tmp_path)}
    environment["HF_TOKEN"] = ALICE.secret
    download_it = download_it.replace(
        "openai-community/gpt2 config.json", "alice/model config.json"
    )
    for command in (compile_it, download_it):
        done = subprocess.run(
            command,
            shell=True,
            cwd=prefix,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()
    (prefix / "download").unlink()


@pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed")
@pytest.mark.parametrize("target", ["xet", "static"])
def test_cmake_finds_it(prefix: Path, tmp_path: Path, target: str) -> None:
    """By the folder that it lies in; a version that it isn't is refused."""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\n"
        "project(example C)\n"
        f"find_package(xet {__version__} REQUIRED)\n"
        f"add_executable(example {prefix}/example/download.c)\n"
        f"target_link_libraries(example xet::{target})\n"
    )
    configure = ["cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}"]
    for command in (configure, ["cmake", "--build", "build"]):
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([tmp_path / "build/example"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.split()[0]) == (2, "usage:")
    needs = libxet_of(tmp_path / "build/example", prefix / "lib")
    assert (needs is None) == (target == "static")
    text = (tmp_path / "CMakeLists.txt").read_text()
    (tmp_path / "CMakeLists.txt").write_text(text.replace(f"xet {__version__}", "xet 7.0"))
    refused = subprocess.run(configure, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert refused.returncode != 0


@pytest.mark.parametrize("package", ["xet", "xet-static"])
def test_c_programs_link_with_what_pkg_config_says(
    prefix: Path, tmp_path: Path, package: str
) -> None:
    """With xet a program needs the shared library at run time, with xet-static it doesn't."""
    compiled = compile_c([ABI / "base_client.c"], tmp_path / "program", libs=flags(prefix, package))
    assert compiled.worked, compiled.messages
    needs = libxet_of(compiled.program, prefix / "lib")
    assert needs == (str(prefix / "lib" / SONAME) if package == "xet" else None)


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
    assert needs == (None if static else str(prefix / "lib" / SONAME))
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
        if name == SONAME:
            return path.split(" (")[0]
    return None
