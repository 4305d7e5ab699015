"""Wrong input, many threads and forks: every promise of xet.h holds, and no tool finds a fault."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import HERE, VALGRIND_FLAGS, C, build, run, valgrind

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = pytest.mark.parametrize("name", ["bad_input", "threads", "fork", "storage"])
SANITIZE = ("-fsanitize=address", "-fno-omit-frame-pointer", "-g")


@PROGRAMS
def test_every_promise_is_kept(tmp_path: Path, cache_dir: Path, name: str) -> None:
    """The program finds no promise of xet.h broken, with the shared and the static library."""
    for kind in ("shared", "static"):
        program = build([HERE / f"{name}.c"], tmp_path / f"{name}-{kind}", static=kind == "static")
        done = run([program, cache_dir], HOME=str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith(" broken\n")
        # A library prints nothing.
        assert done.stderr == ""


@PROGRAMS
@pytest.mark.skipif(valgrind() is None, reason="valgrind is not installed")
def test_valgrind_finds_no_leak_and_no_bad_access(
    tmp_path: Path, cache_dir: Path, name: str
) -> None:
    """Nothing that the library gives or takes is lost, read too far or used after its end."""
    program = build([HERE / f"{name}.c"], tmp_path / name, [*C, "-g"])
    command = [str(valgrind()), *VALGRIND_FLAGS]
    if name == "fork":
        # The child leaves the parent's threads and connections alone: lost there, on purpose.
        command += ["--leak-check=no"]
    done = run([*command, program, cache_dir], timeout=540, HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@PROGRAMS
@pytest.mark.skipif(sys.platform == "darwin", reason="LeakSanitizer is not part of Apple's clang")
def test_address_sanitizer_finds_nothing(tmp_path: Path, cache_dir: Path, name: str) -> None:
    """The same with AddressSanitizer and LeakSanitizer in the program."""
    program = build([HERE / f"{name}.c"], tmp_path / name, [*C, *SANITIZE])
    done = run([program, cache_dir], timeout=300, HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
