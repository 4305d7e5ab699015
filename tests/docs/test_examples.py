"""The programs in examples/ download a file, or read a part of it, and say what is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi import toolchain
from cross import golang
from docs.stage import EXAMPLES, MODEL, MODEL_SIZE, Stage, stage

if TYPE_CHECKING:
    from collections.abc import Sequence


def downloads(on: Stage, command: Sequence[str | Path], **more: str) -> None:
    """Runs an example for a file that is there, for one that isn't, and for nothing."""
    done = on.run([*command, MODEL, "model.safetensors"], **more)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).stat().st_size == MODEL_SIZE
    missing = on.run([*command, MODEL, "model.bin"], **more)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "model.bin" in missing.stderr
    assert on.run(command, **more).returncode == 2


def test_python(tmp_path: Path) -> None:
    """examples/download.py."""
    with stage(tmp_path) as on:
        downloads(on, [sys.executable, EXAMPLES / "download.py"])


def test_c(tmp_path: Path) -> None:
    """examples/download.c, compiled with all warnings."""
    program = toolchain.build([EXAMPLES / "download.c"], tmp_path / "download")
    with stage(tmp_path) as on:
        downloads(on, [program])


#: Writes to a file what a program writes, which may be no text.
INTO_A_FILE = ("bash", "-c", '"$@" >part', "-")


def test_c_reads_in_place(tmp_path: Path) -> None:
    """examples/read.c gives the bytes that it is asked for, as far as there are any."""
    program = toolchain.build([EXAMPLES / "read.c"], tmp_path / "read")
    with stage(tmp_path) as on:
        theirs = on.api.hf_hub_download(MODEL, "model.safetensors", cache_dir=tmp_path / "theirs")
        content = Path(theirs).read_bytes()

        def part(name: str, offset: int, length: int) -> tuple[int, bytes, str]:
            done = on.run([*INTO_A_FILE, program, MODEL, name, str(offset), str(length)])
            return done.returncode, (on.folder / "part").read_bytes(), done.stderr

        wanted = [(0, 8), (70_000, 1), (123_456, 50_000), (199_000, 9_999), (0, 1 << 40)]
        for offset, length in [*wanted, (200_000, 5), (1 << 63, 5)]:
            code, found, said = part("model.safetensors", offset, length)
            assert (code, found) == (0, content[offset : offset + length]), said
            assert said.endswith(", proven\n")
        assert part("config.json", 1, 1)[:2] == (0, b"}")
        code, found, said = part("model.bin", 0, 1)
        assert (code, found) == (1, b"")
        assert "model.bin" in said
        for wrong in (-1, 1 << 64):
            assert part("model.safetensors", wrong, 1)[0] == 2


@pytest.mark.skipif(toolchain.valgrind() is None, reason="valgrind is not installed")
@pytest.mark.parametrize(
    ("name", "code"), [("model.safetensors", 0), ("config.json", 0), ("model.bin", 1)]
)
def test_c_reads_in_place_and_valgrind_finds_nothing(tmp_path: Path, name: str, code: int) -> None:
    """Of a Xet file, one of git's, and one that isn't there."""
    program = toolchain.build([EXAMPLES / "read.c"], tmp_path / "read", [*toolchain.C, "-g"])
    valgrind = [str(toolchain.valgrind()), *toolchain.VALGRIND_FLAGS]
    with stage(tmp_path) as on:
        done = on.run([*INTO_A_FILE, *valgrind, program, MODEL, name, "100000", "70000"])
        assert done.returncode == code, done.stderr


def test_go(tmp_path: Path) -> None:
    """examples/download.go."""
    program = golang.build(EXAMPLES / "download.go", tmp_path / "download")
    with stage(tmp_path) as on:
        downloads(on, [program])


def test_node(tmp_path: Path) -> None:
    """examples/node, with koffi from npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no Node on this machine")
    folder = tmp_path / "node"
    shutil.copytree(EXAMPLES / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    got = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-update-notifier"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if got.returncode != 0:
        pytest.skip(f"npm can't install koffi: {got.stderr.strip()[-300:]}")
    with stage(tmp_path) as on:
        downloads(
            on,
            ["node", folder / "download.js"],
            XET_LIBRARY=str(toolchain.shared_library()),
        )


def test_the_notebook(tmp_path: Path) -> None:
    """The cells of examples/download.ipynb run one after the other, and hold no outputs."""
    cells = json.loads((EXAMPLES / "download.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in code)
    with stage(tmp_path) as on:
        done = on.python("\n\n".join("".join(cell["source"]) for cell in code))
    assert done.returncode == 0, done.stderr
    assert f"model.safetensors {MODEL_SIZE} xet" in done.stdout
