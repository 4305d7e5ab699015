"""The Go modules as a proxy serves them, in a module that knows nothing of the repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dist.conftest import ALICE, MODEL, run
from dist.golang import environment, service

if TYPE_CHECKING:
    from hub import Hub

HERE = Path(__file__).resolve().parent


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Go's, with nothing of ours yet."""
    return environment(tmp_path)


def downloaded(program: Path, hub: Hub, folder: Path, **environ: str) -> bytes:
    """What it brings."""
    home = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": ALICE.secret, "HF_HOME": str(folder / "h")}
    return Path(run(program, cwd=folder, **home, **environ).strip()).read_bytes()


def test_go_get_and_go_build_are_all_it_takes(
    hub: Hub, tmp_path: Path, environ: dict[str, str]
) -> None:
    """No library, no pkg-config file; what is built needs nothing of ours to run."""
    program = service(tmp_path / "service", {**environ, "PKG_CONFIG": "/bin/false"})
    assert "libxet" not in run("ldd", program)
    assert downloaded(program, hub, tmp_path) == MODEL


@pytest.mark.parametrize("tag", ["xet_system", "xet_static"])
def test_a_tag_takes_the_library_that_pkg_config_finds(
    tag: str, hub: Hub, prefix: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    """The tarball's, shared or as an archive; then none is in the module."""
    found = {**environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    program = service(tmp_path / "service", found, "-tags", tag)
    assert ("libxet.so.0" in run("ldd", program)) == (tag == "xet_system")
    loader = {"LD_LIBRARY_PATH": str(prefix / "lib")} if tag == "xet_system" else {}
    assert downloaded(program, hub, tmp_path, **loader) == MODEL


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
