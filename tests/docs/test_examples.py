"""The programs in examples/ download a file, and say what is wrong."""

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
from docs.stage import EXAMPLES, MODEL, Stage, stage

if TYPE_CHECKING:
    from collections.abc import Sequence


def downloads(on: Stage, command: Sequence[str | Path], **more: str) -> None:
    """Runs an example for a file that is there, for one that isn't, and for nothing."""
    done = on.run([*command, MODEL, "model.safetensors"], **more)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).stat().st_size == 200_000
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
    assert "model.safetensors 200000 xet" in done.stdout
