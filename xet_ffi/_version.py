"""Versions: this package's, and that of the interface which the library has to have."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"


def check_abi(lib: Any, path: str, missing: type[Exception]) -> None:
    """Makes sure that a library has all that this package calls.

    Args:
        lib: The library.
        path: Where it is.
        missing: What looking for a function that it doesn't have raises.

    Raises:
        ImportError: It isn't libxet, or is older than this package; the message has both numbers.
    """
    try:
        found = lib.xet_abi_version()
    except missing as error:
        message = f"{path} is not libxet: it has no xet_abi_version"
        raise ImportError(message, name="xet_ffi", path=path) from error
    if found < lib.XET_ABI_VERSION:
        message = (
            f"{path} has ABI version {found}, but this xet_ffi needs {lib.XET_ABI_VERSION} or "
            "later. Update the library, or unset XET_FFI_LIBRARY to use the one that xet-ffi brings"
        )
        raise ImportError(message, name="xet_ffi", path=path)
