"""The tarball for C in an unpacked folder: its example, by pkg-config and by CMake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dist.conftest import ALICE, MODEL, run

if TYPE_CHECKING:
    from hub import Hub


def download(program: Path, hub: Hub, folder: Path, **environ: str) -> bytes:
    """What the example brings."""
    home = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": ALICE.secret, "HF_HOME": str(folder / "home")}
    said = run(program, "alice/model", "model.bin", cwd=folder, **home, **environ)
    return Path(said.strip()).read_bytes()


@pytest.mark.parametrize("package", ["xet", "xet-static"])
def test_pkg_config_finds_it(package: str, prefix: Path, hub: Hub, tmp_path: Path) -> None:
    """Only a program that is linked with `xet` needs the library where it runs."""
    flags = run(
        *("pkg-config", "--cflags", "--libs", package),
        PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"),
    ).split()
    program = tmp_path / "example"
    run("cc", prefix / "example/download.c", "-o", program, *flags)
    assert ("libxet.so.0" in run("ldd", program)) == (package == "xet")
    loader = {"LD_LIBRARY_PATH": str(prefix / "lib")} if package == "xet" else {}
    assert download(program, hub, tmp_path, **loader) == MODEL


@pytest.mark.parametrize("target", ["xet::xet", "xet::static"])
def test_cmake_finds_it(target: str, prefix: Path, hub: Hub, tmp_path: Path) -> None:
    """Where the folder was unpacked."""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\n"
        "project(example C)\n"
        "find_package(xet REQUIRED)\n"
        f"add_executable(example {prefix}/example/download.c)\n"
        f"target_link_libraries(example {target})\n"
    )
    run("cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}", cwd=tmp_path)
    run("cmake", "--build", "build", cwd=tmp_path)
    program = tmp_path / "build/example"
    assert ("libxet.so.0" in run("ldd", program)) == (target == "xet::xet")
    assert download(program, hub, tmp_path) == MODEL
