"""The wheels and the sdist, in fresh environments of every Python that there is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dist.conftest import ALICE, DIST, run

if TYPE_CHECKING:
    from hub import Hub

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv" / "dist-tools" / "bin"
(WHEEL,) = DIST.glob("xet_ffi-*x86_64.whl")
(HUB_WHEEL,) = DIST.glob("xet_hub-*x86_64.whl")
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


DOWNLOAD = """
import os, sys
from xet_ffi import Client
with Client() as client:
    model = client.download_snapshot("alice/model")
    assert sorted(os.listdir(model)) == [".gitattributes", "config.json", "model.bin"]
    print(model.bytes_network, model.path)
"""


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_a_fresh_environment_downloads_and_then_needs_no_network(
    python: str, hub: Hub, tmp_path: Path
) -> None:
    """With nothing but pip; also by the command, and the switch to our hf_xet is there."""
    run(python, "-m", "venv", tmp_path / "venv")
    here = tmp_path / "venv" / "bin"
    run(here / "pip", "install", "--quiet", WHEEL, HUB_WHEEL)
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
    assert "xet_ffi" in run(here / "python", "-c", whose, XET_FFI_HF_XET="1")
    assert run(here / "xet-hub", "--version").split()[0] == "xet-hub"


def test_the_wheels_are_what_their_names_say() -> None:
    """Nothing above glibc 2.17, and descriptions that PyPI can show."""
    for wheel in (WHEEL, HUB_WHEEL):
        assert "manylinux_2_17_x86_64" in wheel.name
    assert '"manylinux_2_17_x86_64"' in run(TOOLS / "auditwheel", "show", WHEEL)
    run(TOOLS / "twine", "check", "--strict", WHEEL, HUB_WHEEL, SDIST)
    with zipfile.ZipFile(HUB_WHEEL) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".py")]


def test_the_sdist_builds(tmp_path: Path) -> None:
    """With cargo and a C compiler, and without anything of the repository."""
    with tarfile.open(SDIST) as tar:
        names = tar.getnames()
    assert not [name for name in names if "/tests/" in name and not name.endswith(".rs")]
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    # cargo's own cache of crates is used, as it would be of anybody; what it builds is not.
    home = {name: str(Path.home() / folder) for name, folder in HOMES.items()}
    run(tmp_path / "venv/bin/pip", "install", "--quiet", SDIST, cwd=tmp_path, **home)
    script = "import xet_ffi; print(xet_ffi.__version__)"
    assert run(tmp_path / "venv/bin/python", "-c", script, cwd=tmp_path).strip()


HOMES = {"CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup"}
