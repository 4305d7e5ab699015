"""Text from the library: UTF-8 and NUL-terminated in C, `str` in Python."""

from __future__ import annotations

from xet_ffi._lib import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xet_ffi._lib import CData


def text(pointer: CData) -> str:
    """Copies a `const char *` that isn't NULL."""
    return ffi.string(pointer).decode()


def optional_text(pointer: CData) -> str | None:
    """Copies a `const char *`; NULL is None."""
    return text(pointer) if pointer else None
