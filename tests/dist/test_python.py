"""The wheels and the sdist, in fresh environments of every Python that there is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dist.conftest import ALICE, DIST, DOWNLOAD, MACHINE, ROOT, run

if TYPE_CHECKING:
    from hub import Hub

(WHEEL,) = DIST.glob(f"xet_ffi-*{MACHINE}.whl")
(HUB_WHEEL,) = DIST.glob(f"xet_hub-*{MACHINE}.whl")
(SDIST,) = DIST.glob("xet_ffi-*.tar.gz")


def pythons() -> list[str]:
    """Those on PATH, and those of pyenv, which shows only one at a time there."""
    found: dict[str, str] = {}
    for version in ("3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t"):
        places = [shutil.which(f"python{version}")]
        places += map(str, (Path.home() / ".pyenv" / "versions").glob(f"*/bin/python{version}"))
        for place in filter(None, places):
            done = subprocess.run(
                [place, "-c", "import ssl, venv"], check=False, capture_output=True
            )
            if done.returncode == 0:
                found.setdefault(version, place)
    return [*found.values()]


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_a_fresh_environment_downloads_and_then_needs_no_network(
    python: str, hub: Hub, tmp_path: Path
) -> None:
    """With nothing but pip; also by the command, and the switch to our hf_xet is there."""
    run(python, "-m", "venv", tmp_path / "venv")
    here = tmp_path / "venv" / "bin"
    run(here / "pip", "install", "--quiet", "--find-links", DIST, f"{WHEEL}[hub]")
    environ = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": ALICE.secret,
        "HF_HOME": str(tmp_path / "home"),
    }
    first = run(here / "python", "-c", DOWNLOAD, cwd=tmp_path, **environ)
    assert int(first.split()[0]) > 3 << 20
    again = run(here / "python", "-c", DOWNLOAD, cwd=tmp_path, HF_HUB_OFFLINE="1", **environ)
    assert again.split() == ["0", first.split()[1]]
    listed = run(here / "xet-ffi", "list", "alice/model", cwd=tmp_path, **environ)
    assert "model.bin" in listed
    whose = "import hf_xet; print(hf_xet.__file__)"
    path = run(here / "python", "-c", whose, cwd=tmp_path, XET_FFI_HF_XET="1")
    assert Path(path).is_relative_to(tmp_path / "venv")
    assert "xet_ffi" in path
    assert run(here / "xet-hub", "--version").split()[0] == "xet-hub"


@pytest.fixture(scope="module")
def rust(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For cargo: the crates that it has, as anybody's, and nothing that it has built."""
    home = {"CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup"}
    environ = {
        name: os.environ.get(name, str(Path.home() / folder)) for name, folder in home.items()
    }
    return {**environ, "CARGO_TARGET_DIR": str(tmp_path_factory.mktemp("target"))}


@pytest.mark.parametrize("source", [str(SDIST), f"git+{ROOT.as_uri()}"], ids=["sdist", "git"])
def test_the_sources_install(source: str, hub: Hub, rust: dict[str, str], tmp_path: Path) -> None:
    """With cargo and a C compiler, and nothing else of the repository; and then it runs."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    here = tmp_path / "venv" / "bin"
    # pip's cache has what it built of an sdist of that path before.
    run(here / "pip", "install", "--quiet", "--no-cache-dir", source, cwd=tmp_path, **rust)
    environ = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": ALICE.secret, "HF_HOME": str(tmp_path)}
    network, _ = run(here / "python", "-c", DOWNLOAD, cwd=tmp_path, **environ).split()
    assert int(network) > 3 << 20
    with zipfile.ZipFile(WHEEL) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    assert [name for name in names if not (site / name).exists()] == []
