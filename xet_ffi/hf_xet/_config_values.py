"""The values of a XetConfig: what hf_xet takes from Python for each kind, and from the environment.

A kind is a name of the table in _config_table.py. From Python, a value of a wrong type is a
TypeError, and one that can't be is a ValueError or OverflowError. A variable that can't be
understood counts as if it were unset, and is warned of.
"""

from __future__ import annotations

import math
import operator
import re
import struct
from datetime import timedelta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias, TypeVar

    T = TypeVar("T")

    Value: TypeAlias = int | float | bool | str | timedelta | None

_SECONDS = {
    1e-9: "nanos nsec ns",
    1e-6: "usec us",
    1e-3: "millis msec ms",
    1: "seconds second secs sec s",
    60: "minutes minute mins min m",
    3600: "hours hour hrs hr h",
    86_400: "days day d",
    7 * 86_400: "weeks week wks wk w",
    2_630_016: "months month M",
    31_557_600: "years year yrs yr y",
}
_UNITS = {name: seconds for seconds, names in _SECONDS.items() for name in names.split()}
_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")
_NUMBER = re.compile(
    r"[+-]?(inf|infinity|nan|[0-9]+\.?[0-9]*(e[+-]?[0-9]+)?|\.[0-9]+(e[+-]?[0-9]+)?)"
)
_PREFIXES = "kmgtp"
_MOST_BYTES = 2**64 - 1
_YES = frozenset(("1", "true", "yes", "y", "on"))
_NO = frozenset(("0", "false", "no", "n", "off"))


def from_python(kind: str, value: object, choices: tuple[str, ...] = ()) -> Value:
    """Returns the value that hf_xet makes of a Python object.

    Raises:
        TypeError: It is of a wrong type.
        ValueError: It is none of the choices, or no duration or size.
        OverflowError: The number doesn't fit.
    """
    if kind.endswith("?"):
        return None if value is None else from_python(kind[:-1], value, choices)
    if kind == "enum":
        return _choose(_expected(value, str), choices)
    return _FROM_PYTHON[kind](value)


def from_text(kind: str, text: str, choices: tuple[str, ...] = ()) -> Value:
    """Returns the value that a variable stands for.

    Raises:
        ValueError: For none.
    """
    if kind.endswith("?"):
        return None if not text.strip() else from_text(kind[:-1], text, choices)
    if kind == "enum":
        return _choose(text, choices)
    return _FROM_TEXT[kind](text)


def duration(text: str) -> timedelta:
    """Returns the time that words such as "500ms", "1s" or "2m30s" stand for.

    Raises:
        ValueError: They stand for none.
    """
    seconds, position = 0.0, 0
    text = text.strip()
    if text == "0":
        return timedelta()
    while position < len(text) and (found := _DURATION.match(text, position)):
        number, unit = found.groups()
        if unit not in _UNITS:
            break
        seconds += float(number) * _UNITS[unit]
        position = found.end()
    if not text or position < len(text) or seconds > timedelta.max.total_seconds():
        message = f"Invalid duration string {text!r}: expected one like '500ms', '1s' or '2m30s'"
        raise ValueError(message)
    return timedelta(microseconds=math.floor(seconds * 1e6 + 1e-6))


def size(text: str) -> int:
    """Returns the bytes that words such as "8mb" (powers of 1000) or "8 MiB" stand for.

    Raises:
        ValueError: They stand for none.
    """
    number = text.strip().lower()
    for power, prefix in enumerate(_PREFIXES, 1):
        for suffix, base in ((f"{prefix}ib", 1024), (f"{prefix}b", 1000)):
            if number.endswith(suffix):
                return _bytes(number.removesuffix(suffix), base**power)
    return _bytes(number.removesuffix("b"), 1)


def _bytes(number: str, factor: int) -> int:
    try:
        exact = _real(number.strip()) * factor
    except ValueError as error:
        message = f"Invalid byte size: {error}"
        raise ValueError(message) from None
    if not exact > 0:  # NaN, too
        return 0
    return _MOST_BYTES if exact >= _MOST_BYTES else math.floor(exact + 0.5)


def _real(text: str) -> float:
    if not _NUMBER.fullmatch(text.lower()):
        message = f"{text!r} is no number"
        raise ValueError(message)
    return float(text)


def _single(value: float) -> float:
    """Returns what is left of a number in 32 bits."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _real_from_python(value: object) -> float:
    if isinstance(value, str) or not hasattr(value, "__float__"):
        message = f"must be real number, not {type(value).__name__}"
        raise TypeError(message)
    return float(value)


def _whole(value: object, bits: int) -> int:
    number = operator.index(value)  # type: ignore[arg-type] # it raises the TypeError that is meant
    if number < 0:
        message = "can't convert negative int to unsigned"
        raise OverflowError(message)
    if number >= 2**bits:
        message = f"int too big to convert: it has {bits} bits"
        raise OverflowError(message)
    return number


def _whole_from_text(text: str, bits: int) -> int:
    if not re.fullmatch(r"\+?[0-9]+", text) or int(text) >= 2**bits:
        message = f"{text!r} is no number of {bits} bits"
        raise ValueError(message)
    return int(text)


def _truth_from_text(text: str) -> bool:
    word = text.strip().lower()
    if word not in _YES | _NO:
        message = f"{text!r} is neither true nor false"
        raise ValueError(message)
    return word in _YES


def _size_from_python(value: object) -> int:
    if isinstance(value, int) and 0 <= value <= _MOST_BYTES:
        return int(value)
    if isinstance(value, str):
        return size(value)
    message = "Expected int (bytes) or string (e.g. '8mb')"
    raise TypeError(message)


def _duration_from_python(value: object) -> timedelta:
    if isinstance(value, str):
        return duration(value)
    time = _expected(value, timedelta)
    if time < timedelta():
        message = f"a duration can't be negative: {time!r}"
        raise ValueError(message)
    return time


def _choose(text: str, choices: tuple[str, ...]) -> str:
    word = text.lower()
    if word not in choices:
        message = f'"{text}" is not a valid value. Valid values are: {list(choices)}'
        raise ValueError(message)
    return word


def _expected(value: object, cls: type[T]) -> T:
    if not isinstance(value, cls):
        message = f"{type(value).__name__!r} object is not an instance of {cls.__name__!r}"
        raise TypeError(message)
    return value


_FROM_PYTHON: dict[str, Callable[[object], Value]] = {
    "u32": lambda value: _whole(value, 32),
    "u64": lambda value: _whole(value, 64),
    "f32": lambda value: _single(_real_from_python(value)),
    "f64": _real_from_python,
    "bool": lambda value: _expected(value, bool),
    "size": _size_from_python,
    "duration": _duration_from_python,
    "str": lambda value: _expected(value, str),
}
_FROM_TEXT: dict[str, Callable[[str], Value]] = {
    "u32": lambda text: _whole_from_text(text, 32),
    "u64": lambda text: _whole_from_text(text, 64),
    "f32": lambda text: _single(_real(text)),
    "f64": _real,
    "bool": _truth_from_text,
    "size": size,
    "duration": duration,
    "str": lambda text: text,
}
