"""The Go modules as a proxy serves them, in a module that knows nothing of the repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dist.conftest import ALICE, DIST, public_proxy, run

if TYPE_CHECKING:
    from hub import Hub

HERE = Path(__file__).resolve().parent
PROGRAM = """package main

import (
	"context"
	"fmt"
	"log"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func main() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	file, err := client.DownloadFile(context.Background(), "alice/model", "model.bin")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(file.Path)
}
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Go that asks our modules' proxy first, which is a folder, and has nothing of them yet."""
    return {
        "GOPROXY": f"file://{DIST}/go,{public_proxy()}",
        "GONOSUMDB": "github.com/xet-ffi/*",
        "GOFLAGS": "-mod=mod -modcacherw",
        "GOMODCACHE": str(tmp_path / "modules"),
        "PATH": os.environ["PATH"],
    }


def test_go_get_and_go_build_are_all_it_takes(
    hub: Hub, tmp_path: Path, environ: dict[str, str]
) -> None:
    """No library, no pkg-config file; what is built needs nothing of ours to run."""
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "main.go").write_text(PROGRAM)
    (folder / "go.mod").write_text("module service\n\ngo 1.24.0\n")
    run("go", "get", "github.com/xet-ffi/xet-ffi/go@v0.1.0", cwd=folder, **environ)
    run("go", "build", ".", cwd=folder, PKG_CONFIG="/bin/false", **environ)
    home = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": ALICE.secret, "HF_HOME": str(tmp_path / "h")}
    path = run(folder / "service", cwd=tmp_path, **home).strip()
    assert Path(path).stat().st_size == 3 << 20
    assert "libxet" not in run("ldd", folder / "service")


def test_another_sqlite_and_another_rust_fit_beside_it(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Each keeps its own: the archive shows the linker nothing but xet_*."""
    folder = shutil.copytree(HERE / "pair", tmp_path / "pair")
    text = (folder / "go.mod").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("replace ")]
    (folder / "go.mod").write_text("\n".join(lines) + "\n")
    rustc = ["rustc", "--edition", "2024", "--crate-type", "staticlib", "-O", "other.rs"]
    rust = {"RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup"))}
    run(*rustc, "-o", "libother.a", cwd=folder, **rust)
    run("go", "build", ".", cwd=folder, **environ)
    said = run(folder / "pair").splitlines()
    assert said == ["SQLite 3.45.1", "Rust unwinds", "libxet 0.1.0"]
