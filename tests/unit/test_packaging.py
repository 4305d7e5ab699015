"""What is generated, copied and repeated agrees with its one source."""

import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import cffi
import pytest

import xet_ffi
from abi.toolchain import script
from xet_ffi import _xet_ffi
from xet_ffi._lib import LIBRARY_PATH, lib
from xet_ffi._strings import text

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "xet_ffi" / "xet.h").read_text(encoding="utf-8")
SUFFIX = "dylib" if sys.platform == "darwin" else "so"


def test_the_generated_module_is_what_the_header_says_now(tmp_path: Path) -> None:
    """A header that changed after the last build would be read with the old declarations."""
    _, _, rest = HEADER.partition("/* begin cdef */")
    ffi = cffi.FFI()
    ffi.set_source("xet_ffi._xet_ffi", None)
    ffi.cdef(rest.partition("/* end cdef */")[0])
    expected = tmp_path / "expected.py"
    ffi.emit_python_code(str(expected))
    assert Path(_xet_ffi.__file__).read_text(encoding="utf-8") == expected.read_text("utf-8")


def test_the_generated_module_is_not_committed() -> None:
    """A committed copy would be a second place that declares the interface."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    git = shutil.which("git")
    assert git is not None
    tracked = subprocess.run(
        [git, "ls-files", "xet_ffi"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert "xet_ffi/xet.h" in tracked
    assert "xet_ffi/_xet_ffi.py" not in tracked
    assert not [name for name in tracked if name.endswith((".so", ".dylib"))]


def test_the_header_travels_with_the_package() -> None:
    """C and Go programs can build against what the wheel holds."""
    installed = resources.files(xet_ffi).joinpath("xet.h").read_text(encoding="utf-8")
    assert installed == HEADER


def test_all_versions_are_one() -> None:
    """The package, its metadata, the crate and the library are released together."""
    cargo = (ROOT / "native" / "Cargo.toml").read_text(encoding="utf-8")
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.compile(r'^version = "(.+)"$', re.MULTILINE)
    assert version.findall(cargo) == [xet_ffi.__version__]
    assert version.findall(pyproject) == [xet_ffi.__version__]
    assert metadata.version("xet-ffi") == xet_ffi.__version__
    assert text(lib.xet_version()) == xet_ffi.__version__
    assert f'such as "{xet_ffi.__version__}"' in HEADER


def test_the_library_has_the_abi_version_of_the_header() -> None:
    """Both come from one checkout here, so they are equal, not only compatible."""
    declared = re.search(r"#define XET_ABI_VERSION (\d+)", HEADER)
    assert declared is not None
    assert lib.xet_abi_version() == int(declared[1]) == lib.XET_ABI_VERSION


def test_python_gets_the_very_library_that_cargo_built() -> None:
    """C, Go and Python are three faces of one artifact; nothing may strip or rebuild it."""
    built = ROOT / "native" / "target" / "release" / f"libxet.{SUFFIX}"
    packaged = resources.files(xet_ffi).joinpath(f"libxet.{SUFFIX}")
    assert Path(LIBRARY_PATH).name == built.name
    assert packaged.read_bytes() == built.read_bytes()


def test_one_wheel_serves_every_python() -> None:
    """It names a platform and no interpreter; it holds library, header and types, and no server."""
    (wheel,) = (ROOT / "build" / "wheel").glob("xet_ffi-*.whl")
    assert re.fullmatch(r"xet_ffi-[\d.]+-py3-none-\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    files = (f"libxet.{SUFFIX}", "xet.h", "py.typed", "_xet_ffi.py")
    for wanted in (*files, "hub/__init__.py", "cli/grammar.py"):
        assert f"xet_ffi/{wanted}" in names
    assert not [name for name in names if "xet-hub" in name]
    assert [name for name in names if name.endswith(".dist-info/sboms/libxet.cdx.json")]
    assert [name for name in names if name.endswith(".dist-info/licenses/THIRD-PARTY.md")]


def test_the_wheel_brings_the_switch_to_our_hf_xet() -> None:
    """The line that Python reads at its start, and what it names; never a hf_xet of its own."""
    (wheel,) = (ROOT / "build" / "wheel").glob("xet_ffi-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
        line = archive.read("xet_ffi_hf_xet.pth")
        listed = [row.split(",")[0] for row in archive.read(record).decode().splitlines()]
    assert line == (ROOT / "xet_ffi_hf_xet.pth").read_bytes()
    assert {"_xet_ffi_command.py", "_xet_ffi_switch.py", "xet_ffi/hf_xet/__init__.py"} <= {*names}
    assert sorted(listed) == sorted(names)
    assert not [name for name in names if name.startswith("hf_xet")]


def test_an_editable_install_brings_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its wheel, which setuptools makes in another way, goes through the same hands."""
    backend: Any = script("build_backend")

    def build(folder: str, *_: object) -> str:
        with zipfile.ZipFile(Path(folder, "x-1-py3.whl"), "w") as archive:
            archive.writestr("x-1.dist-info/RECORD", "x-1.dist-info/RECORD,,\n")
        return "x-1-py3.whl"

    monkeypatch.setattr(backend.build_meta, "build_editable", build)
    assert backend.build_editable(str(tmp_path), None, None) == "x-1-py3.whl"
    with zipfile.ZipFile(tmp_path / "x-1-py3.whl") as archive:
        assert archive.namelist()[:2] == ["x-1.dist-info/RECORD", "xet_ffi_hf_xet.pth"]
        name, digest, size = archive.read("x-1.dist-info/RECORD").decode().split()[1].split(",")
    content = (ROOT / name).read_bytes()
    assert digest.startswith("sha256=")
    assert int(size) == len(content)
