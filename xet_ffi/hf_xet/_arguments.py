"""Arguments, of the types that hf_xet takes and of no others: a wrong one is a TypeError there."""

from __future__ import annotations

import operator
from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")

_OCTETS = frozenset({"B", "c"})
"""Formats of buffers whose items are bytes."""


def expect(value: object, cls: type[T]) -> T:
    """Returns `value`, if it is a `cls`."""
    if not isinstance(value, cls):
        message = f"{type(value).__name__!r} object is not an instance of {cls.__name__!r}"
        raise TypeError(message)
    return value


def unsigned(name: str, value: object) -> int:
    """Returns `value` as a number of 64 bits without a sign, called `name` in errors."""
    number = operator.index(value)  # type: ignore[arg-type] # it raises the TypeError that is meant
    if not 0 <= number < 2**64:
        message = f"argument {name!r}: must be from 0 to 2**64 - 1, not {number}"
        raise OverflowError(message)
    return number


def sequence(values: object) -> list[Any]:
    """Returns the items of what has numbered ones, but for the letters of a str."""
    if isinstance(values, str):
        message = "Can't extract `str` to `Vec`"
        raise TypeError(message)
    if isinstance(values, Mapping) or not hasattr(type(values), "__getitem__"):
        message = f"{type(values).__name__!r} object is not an instance of 'Sequence'"
        raise TypeError(message)
    return list(values)  # type: ignore[call-overload,no-any-return] # it has numbered items


def texts(values: object) -> list[str]:
    """Returns the items of a sequence of str."""
    return [expect(value, str) for value in sequence(values)]


def octets(data: object) -> bytes:
    """Returns content: bytes, a buffer of bytes, or a sequence of numbers from 0 to 255.

    `bytes(data)` would also make zeros of a number, and content of the keys of a dictionary.
    """
    if isinstance(data, bytes):
        return data
    try:
        view = memoryview(data)  # type: ignore[arg-type] # a TypeError says that it's no buffer
    except TypeError:
        pass
    else:
        if view.format in _OCTETS:
            return view.tobytes()
    numbers = sequence(data)
    try:
        # By its items, also where those of a buffer are larger than bytes.
        return bytes(iter(numbers))
    except ValueError as error:
        raise OverflowError(str(error)) from None


def header_fields(values: object) -> dict[str, str]:
    """Returns headers; None is none."""
    if values is None:
        return {}
    found: dict[str, str] = expect(values, dict)
    for pair in found.items():
        for text in pair:
            expect(text, str)
    return found


def token_pair(value: object) -> tuple[str, int]:
    """Returns a token and its end, as the deprecated functions take them."""
    pair = expect(value, tuple)
    if len(pair) != 2:  # noqa: PLR2004 - a pair
        message = f"expected tuple of length 2, but got tuple of length {len(pair)}"
        raise ValueError(message)
    token, expires = pair
    return expect(token, str), unsigned("token_info", expires)
