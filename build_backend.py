"""setuptools' build backend, whose wheels hold two more files, editable ones included.

setuptools has no place for them: xet_ffi_hf_xet.pth, which Python reads at its start where packages
are installed, and the bill of what libxet is made of, which belongs to the metadata (PEP 770).
"""

from __future__ import annotations

import base64
import hashlib
import stat
import zipfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

HERE = Path(__file__).parent
_REGULAR_FILE = (stat.S_IFREG | 0o644) << 16


def build_wheel(wheel_directory: str, *arguments: Any, **options: Any) -> str:
    """Builds a wheel, and returns its name."""
    name: str = build_meta.build_wheel(wheel_directory, *arguments, **options)
    _complete(Path(wheel_directory, name))
    return name


def build_editable(wheel_directory: str, *arguments: Any, **options: Any) -> str:
    """Builds the wheel of an editable install, and returns its name."""
    name: str = build_meta.build_editable(wheel_directory, *arguments, **options)
    _complete(Path(wheel_directory, name))
    return name


def _complete(wheel: Path) -> None:
    """Adds the files to a wheel, and to its list of files."""
    distribution, version = wheel.name.split("-")[:2]
    added = {
        "xet_ffi_hf_xet.pth": (HERE / "xet_ffi_hf_xet.pth").read_bytes(),
        f"{distribution}-{version}.dist-info/sboms/libxet.cdx.json": (
            HERE / "sbom.cdx.json"
        ).read_bytes(),
    }
    made = wheel.with_suffix(".made")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            entry.external_attr = _REGULAR_FILE  # whatever the umask here makes of it
            if entry.filename.endswith(".dist-info/RECORD"):
                data += "".join(_record(*item) for item in added.items()).encode()
            new.writestr(entry, data)
        for name, content in added.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = _REGULAR_FILE
            new.writestr(entry, content)
    made.replace(wheel)


def _record(name: str, content: bytes) -> str:
    """A file's line in a wheel's RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"
