"""setuptools' build backend, whose wheels also hold xet_ffi_hf_xet.pth, editable ones included.

Python reads such a file at its start where packages are installed, and setuptools has no place for
one that is the same for every Python.
"""

from __future__ import annotations

import base64
import hashlib
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

SWITCH = Path(__file__).parent / "xet_ffi_hf_xet.pth"


def build_wheel(wheel_directory: str, *arguments: Any, **options: Any) -> str:
    """Builds a wheel, and returns its name."""
    name: str = build_meta.build_wheel(wheel_directory, *arguments, **options)
    _add(Path(wheel_directory, name), SWITCH)
    return name


def build_editable(wheel_directory: str, *arguments: Any, **options: Any) -> str:
    """Builds the wheel of an editable install, and returns its name."""
    name: str = build_meta.build_editable(wheel_directory, *arguments, **options)
    _add(Path(wheel_directory, name), SWITCH)
    return name


def _add(wheel: Path, file: Path) -> None:
    """Adds a file to a wheel, and to its list of files."""
    content = file.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    made = wheel.with_suffix(".made")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                data += f"{file.name},sha256={digest},{len(content)}\n".encode()
            new.writestr(entry, data)
        new.writestr(zipfile.ZipInfo(file.name, date_time=(1980, 1, 1, 0, 0, 0)), content)
    made.replace(wheel)
