"""What the wheels and the sdist say of themselves, and hold."""

from __future__ import annotations

import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from dist.conftest import DIST, MACHINE, TOOLS, run

(WHEEL,) = DIST.glob(f"xet_ffi-*{MACHINE}.whl")
(HUB_WHEEL,) = DIST.glob(f"xet_hub-*{MACHINE}.whl")
(SDIST,) = DIST.glob("xet_ffi-*.tar.gz")


def test_the_wheels_are_what_their_names_say() -> None:
    """Nothing above glibc 2.17, and descriptions that PyPI can show."""
    for wheel in (WHEEL, HUB_WHEEL):
        assert f"manylinux_2_17_{MACHINE}" in wheel.name
    assert f'"manylinux_2_17_{MACHINE}"' in run(TOOLS / "auditwheel", "show", WHEEL)
    run(TOOLS / "twine", "check", "--strict", WHEEL, HUB_WHEEL, SDIST)
    with zipfile.ZipFile(HUB_WHEEL) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".py")]


@pytest.mark.parametrize("wheel", [WHEEL, HUB_WHEEL], ids=["xet-ffi", "xet-hub"])
def test_what_the_metadata_says_is_true(wheel: Path) -> None:
    """Licences and notices are there; PyPI knows the classifiers, and they claim what is tested."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (path,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        told = message_from_bytes(archive.read(path))
    info = path.rpartition("/")[0]
    assert told.get_all("License-File") == ["LICENSE", "THIRD-PARTY.md"]
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/THIRD-PARTY.md"} <= {*names}
    assert [name for name in names if name.startswith(f"{info}/sboms/")]
    urls = [url.split(", ")[0] for url in told.get_all("Project-URL", [])]
    assert sorted(urls) == ["Changelog", "Homepage", "Issues"]
    classifiers = told.get_all("Classifier", [])
    known = "import sys, trove_classifiers as t; print(sorted({*sys.argv[1:]} - t.classifiers))"
    assert run(TOOLS / "python", "-c", known, *classifiers) == "[]\n"
    systems = [name for name in classifiers if name.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]


def test_the_sdist_holds_no_tests() -> None:
    """But those that stand beside the code."""
    with tarfile.open(SDIST) as tar:
        names = tar.getnames()
    assert not [name for name in names if "/tests/" in name]
