"""Files that are read in place, from C: every promise of xet.h holds, and no tool finds a fault."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import HERE, VALGRIND_FLAGS, C, build, run, valgrind

if TYPE_CHECKING:
    from pathlib import Path

    from abi.conftest import Published

SOURCE = HERE / "reading.c"


def arguments(published: Published, cache_dir: Path, tmp_path: Path) -> list[str]:
    """Those of the program."""
    content = tmp_path / "content"
    content.write_bytes(published.files["model.bin"])
    return [published.hub.endpoint, str(cache_dir), str(content)]


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_every_promise_is_kept(
    published: Published, tmp_path: Path, cache_dir: Path, kind: str
) -> None:
    """By the shared and by the static library, which print nothing."""
    program = build([SOURCE], tmp_path / "reading", static=kind == "static")
    done = run([program, *arguments(published, cache_dir, tmp_path)], HOME=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 broken\n", "")


@pytest.mark.skipif(valgrind() is None, reason="valgrind is not installed")
def test_valgrind_finds_no_leak_and_no_bad_access(
    published: Published, tmp_path: Path, cache_dir: Path
) -> None:
    """Nothing is written behind a buffer, or into one that its call has given back."""
    program = build([SOURCE], tmp_path / "reading", [*C, "-g"])
    command = [str(valgrind()), *VALGRIND_FLAGS, str(program)]
    done = run(
        [*command, *arguments(published, cache_dir, tmp_path)], timeout=540, HOME=str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "darwin", reason="LeakSanitizer is not part of Apple's clang")
def test_address_sanitizer_finds_nothing(
    published: Published, tmp_path: Path, cache_dir: Path
) -> None:
    """The same with AddressSanitizer and LeakSanitizer in the program."""
    flags = ("-fsanitize=address", "-fno-omit-frame-pointer", "-g")
    program = build([SOURCE], tmp_path / "reading", [*C, *flags])
    done = run(
        [program, *arguments(published, cache_dir, tmp_path)], timeout=300, HOME=str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
