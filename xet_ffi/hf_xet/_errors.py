"""What hf_xet raises, made of what xet_ffi raises; if that is another error, it is the `__cause__`.

hf_xet has two exceptions of its own, and raises a ConnectionError for most of what they are meant
for: every HTTP status. What stands for both here is caught as either.
"""

from __future__ import annotations

from xet_ffi._errors import (
    AuthError,
    CancelledError,
    ChecksumMismatchError,
    ConflictError,
    InvalidConfigError,
    NotFoundError,
    PermissionDeniedError,
    UnknownError,
    XetError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


_OTHERS = (CancelledError, ChecksumMismatchError, ConflictError, UnknownError)
"""What is a RuntimeError there."""


class XetAuthenticationError(PermissionError):
    """A token is missing, can't be had, or was refused."""


class XetObjectNotFoundError(FileNotFoundError):
    """Storage has no such content."""


class _RefusedError(XetAuthenticationError, ConnectionError):
    """A status 401 or 403."""


class _AbsentError(XetObjectNotFoundError, ConnectionError):
    """A status 404."""


for _name, _cls in (
    ("XetAuthenticationError", _RefusedError),
    ("XetObjectNotFoundError", _AbsentError),
):
    # Tracebacks show what can be imported.
    _cls.__name__ = _cls.__qualname__ = _name
    _cls.__module__ = "xet_ffi.hf_xet"


def translated(error: XetError) -> Exception:
    """Returns what hf_xet would raise instead of `error`, with the same message.

    That is `error` itself, where it is of the class that hf_xet raises: a ConnectionError, a
    TimeoutError, an OSError, a ValueError.
    """
    is_answer = error.http_status is not None
    if isinstance(error, AuthError) or (isinstance(error, PermissionDeniedError) and is_answer):
        return _RefusedError(error.message)
    if isinstance(error, NotFoundError):
        return (_AbsentError if is_answer else XetObjectNotFoundError)(error.message)
    if isinstance(error, ConflictError) and is_answer:
        return ConnectionError(error.message)
    is_bad_hash = isinstance(error, InvalidConfigError) and error.field == "hash"
    if is_bad_hash or isinstance(error, _OTHERS):
        return RuntimeError(error.message)
    return error


def raise_translated(error: XetError) -> NoReturn:
    """Raises what hf_xet would raise instead of `error`."""
    made = translated(error)
    if made is error:
        raise error
    raise made from error


def task_error(error: BaseException) -> RuntimeError:
    """Returns what hf_xet makes of any failure of a download: its text."""
    raised = RuntimeError(f"Task error: {error}")
    raised.__cause__ = error
    return raised
