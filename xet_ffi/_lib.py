"""Finds libxet, opens it, and checks that it is new enough for the declarations in xet.h."""

from __future__ import annotations

import os
import sys

from xet_ffi._version import check_abi

try:
    from xet_ffi._xet_ffi import ffi
except ModuleNotFoundError as error:
    if error.name != "xet_ffi._xet_ffi":
        raise
    message = (
        "xet_ffi is not built: xet_ffi/_xet_ffi.py, which is generated from xet.h, is missing. "
        "In a source checkout, run `make build` and use .venv/bin/python, or leave this folder "
        "for the xet_ffi that is installed"
    )
    raise ImportError(message, name=error.name) from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    CData: TypeAlias = Any
    """A C value. CFFI checks its type whenever it is used."""

__all__ = ["LIBRARY_PATH", "ffi", "lib"]


def locate() -> str:
    """Returns the library's path: that of XET_FFI_LIBRARY, else the one inside this package."""
    override = os.environ.get("XET_FFI_LIBRARY")
    if override:
        return os.path.abspath(override)
    name = "libxet.dylib" if sys.platform == "darwin" else "libxet.so"
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), name)


def load(path: str) -> Any:
    """Opens the library at `path`.

    It is never closed again (RTLD_NODELETE): its threads may outlive the interpreter's modules, and
    must not find their code unmapped.

    Raises:
        ImportError: It can't be opened, isn't libxet, or is older than this package.
    """
    try:
        lib = ffi.dlopen(path, ffi.RTLD_NOW | ffi.RTLD_NODELETE)
    except OSError as error:
        message = (
            f"can't load libxet: {error}. Reinstall xet-ffi, "
            "or let XET_FFI_LIBRARY name a library that fits this machine"
        )
        raise ImportError(message, name="xet_ffi", path=path) from error
    check_abi(lib, path, ffi.error)
    return lib


LIBRARY_PATH = locate()
lib = load(LIBRARY_PATH)
