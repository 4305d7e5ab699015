"""What is packed twice, from clones of other names, modes and times, is the same, byte for byte.

That what is built twice is the same is `make dist-again`, which takes as long as `make dist`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dist.conftest import BUILD, MACHINE, PLATFORM, ROOT, TOOLS, public_proxy, run


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two, of which one is nobody else's to read, and a year older."""
    folder = tmp_path_factory.mktemp("clones")
    clones = [folder / "one", folder / "of-another-name"]
    for clone, umask in zip(clones, (0o022, 0o077), strict=True):
        command = ["git", "clone", "--quiet", str(ROOT), str(clone)]
        subprocess.run(command, check=True, umask=umask)
    for file in clones[1].rglob("*"):
        if ".git" not in file.parts and not file.is_symlink():
            os.utime(file, (1_700_000_000, 1_700_000_000))
    return clones


def packed(clone: Path, folder: Path) -> dict[str, bytes]:
    """All that is packed there, of a library that is built already."""
    folder.mkdir()
    environ = {
        "SOURCE_DATE_EPOCH": "315532800",
        "XET_FFI_PREBUILT": str(BUILD / "libxet.so"),
        "XET_FFI_PLATFORM": f"manylinux_2_17_{MACHINE}",
    }
    wheel = ["wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)]
    run(TOOLS / "pip", *wheel, ".", cwd=clone, **environ)
    scripts = clone / "native" / "packaging"
    run(scripts / "sdist", folder, TOOLS)
    tarball = run(scripts / "tarball", folder, BUILD, MACHINE).strip()
    run(scripts / "go-modules", folder / "go", PLATFORM, tarball, GOPROXY=public_proxy())
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_clone_is_packed_as_the_other_is(clones: list[Path], tmp_path: Path) -> None:
    """All that `make dist` makes but xet-hub, which maturin builds as it packs."""
    one, other = (packed(clone, tmp_path / clone.name) for clone in clones)
    assert {Path(name).suffix for name in one} == {".whl", ".gz", ".zip", ".mod", ".info", ""}
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
