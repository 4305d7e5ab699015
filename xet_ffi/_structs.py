"""Structs that the caller fills: Python arguments in, one pointer with all that it needs out."""

from __future__ import annotations

from os import fspath

from xet_ffi._errors import invalid
from xet_ffi._lib import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike
    from typing import Any

    from typing_extensions import TypedDict

    from xet_ffi._lib import CData

    class Deadlines(TypedDict, total=False):
        """Keyword arguments of calls: how long their requests may take, as the client's do."""

        connect_timeout: float | None
        first_byte_timeout: float | None
        read_timeout: float | None
        min_speed: int | None


_DEADLINES = ("connect_timeout", "first_byte_timeout", "read_timeout")


class Struct:
    """A zeroed struct that begins with `struct_size`, and the strings that it points at.

    What an argument leaves at None stays zero, which means "default" everywhere in xet.h. Errors
    name the argument as the Python caller knows it. C may use `pointer` while this object lives.
    """

    __slots__ = ("_keep", "pointer")

    def __init__(self, ctype: str) -> None:
        self.pointer: CData = ffi.new(f"{ctype} *")
        self.pointer.struct_size = ffi.sizeof(ctype)
        self._keep: list[CData | Struct] = []

    def required(self, field: str, value: str | PathLike[str]) -> None:
        """Sets a string that has no default."""
        setattr(self.pointer, field, self._c_string(value, field))

    def text(self, field: str, value: str | PathLike[str] | None) -> None:
        """Sets a string."""
        if value is not None:
            self.required(field, value)

    def texts(self, field: str, values: Iterable[str | PathLike[str]] | str | None) -> None:
        """Sets an array of strings and its `_len`. A lone string is an array of one.

        An empty array is not NULL: with it nothing matches, without it everything does.
        """
        if values is None:
            return
        items = [values] if isinstance(values, str) else list(values)
        strings = [self._c_string(item, f"{field}[{i}]") for i, item in enumerate(items)]
        # One more than needed: C has no arrays of length 0, and NULL ends the array.
        array = ffi.new("const char *[]", [*strings, ffi.NULL])
        self._keep.append(array)
        setattr(self.pointer, field, array)
        setattr(self.pointer, f"{field}_len", len(items))

    def headers(self, field: str, values: Mapping[str, str] | None) -> None:
        """Sets an array of headers and its `_len`."""
        if not values:
            return
        array = ffi.new("XetHeader[]", len(values))
        for i, (name, value) in enumerate(values.items()):
            array[i].name = self._c_string(name, f"{field}[{i}]")
            array[i].value = self._c_string(value, f"{field}[{i}]")
        self._keep.append(array)
        setattr(self.pointer, field, array)
        setattr(self.pointer, f"{field}_len", len(values))

    def count(
        self, field: str, value: int | None, *, least: int = 1, argument: str | None = None
    ) -> None:
        """Sets a number that is at least `least`, and called `argument`, if not like the field."""
        if value is not None:
            setattr(self.pointer, field, self._number(field, value, least, argument or field))

    def seconds(self, field: str, value: float | None) -> None:
        """Sets `<field>_ms` from a time in seconds, rounded up so that no wait becomes 0."""
        if value is None:
            return
        if not hasattr(value, "__float__"):
            raise _unexpected(field, "a number of seconds", value)
        limit = self._greatest(f"{field}_ms") // 1000
        if not 0 < value <= limit:  # false for NaN, too
            raise invalid(field, f"must be more than 0 and at most {limit} seconds, not {value}")
        setattr(self.pointer, f"{field}_ms", int(-(-value * 1000 // 1)))

    def choice(self, field: str, value: str | None, choices: dict[str, int]) -> None:
        """Sets a number by its name."""
        if value is None:
            return
        if not isinstance(value, str):
            raise _unexpected(field, "str", value)
        if value not in choices:
            raise invalid(field, f"must be one of {', '.join(choices)}, not {value!r}")
        setattr(self.pointer, field, choices[value])

    def speed(self, field: str, value: int | None) -> None:
        """Sets a number of bytes per second, of which 0 means that any speed will do.

        In C, 0 is the default, and 1 the least that can be asked for.
        """
        if value is not None:
            setattr(self.pointer, field, max(self._number(field, value, 0, field), 1))

    def nested(self, field: str, struct: Struct) -> None:
        """Sets a pointer to another struct."""
        self._keep.append(struct)
        setattr(self.pointer, field, struct.pointer)

    def deadlines(self, values: Mapping[str, Any]) -> None:
        """Sets `deadlines`, if there are any; what isn't given is the client's."""
        unknown = values.keys() - {*_DEADLINES, "min_speed"}
        if unknown:
            message = f"got an unexpected keyword argument {min(unknown)!r}"
            raise TypeError(message)
        if values:
            struct = Struct("XetDeadlines")
            for field in _DEADLINES:
                struct.seconds(field, values.get(field))
            struct.speed("min_speed", values.get("min_speed"))
            self.nested("deadlines", struct)

    def flag(self, flag: int, *, on: bool) -> None:
        """Switches a bit of `flags` on."""
        if on:
            self.pointer.flags |= flag

    def _number(self, field: str, value: int, least: int, argument: str) -> int:
        """Returns `value`, if it fits into the field."""
        if not hasattr(value, "__index__"):
            raise _unexpected(argument, "int", value)
        most = self._greatest(field)
        if not least <= value <= most:
            raise invalid(argument, f"must be at least {least} and at most {most}, not {value}")
        return value

    def _greatest(self, field: str) -> int:
        """Returns the greatest number that the field can hold, by its type in xet.h."""
        fields = dict(ffi.typeof(self.pointer).item.fields)
        greatest: int = 2 ** (8 * ffi.sizeof(fields[field].type)) - 1
        return greatest

    def _c_string(self, value: str | PathLike[str], field: str) -> CData:
        """Returns `value` as a `char[]` that lives as long as the struct."""
        value = fspath(value) if hasattr(value, "__fspath__") else value
        if not isinstance(value, str):
            raise _unexpected(field, "str", value)
        try:
            encoded = value.encode()
        except UnicodeEncodeError:
            raise invalid(field, "is not valid Unicode") from None
        if b"\0" in encoded:
            raise invalid(field, "holds a NUL character")
        string = ffi.new("char[]", encoded)
        self._keep.append(string)
        return string


def _unexpected(argument: str, expected: str, value: object) -> TypeError:
    """Returns the error for an argument of the wrong type."""
    return TypeError(f"{argument}: expected {expected}, not {type(value).__name__}")
