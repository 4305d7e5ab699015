"""How long the requests of one call may take."""

from __future__ import annotations

from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from typing_extensions import TypedDict

    class Deadlines(TypedDict, total=False):
        """Keyword arguments of calls; what isn't given is the client's."""

        connect_timeout: float | None
        first_byte_timeout: float | None
        read_timeout: float | None
        min_speed: int | None


_SECONDS = ("connect_timeout", "first_byte_timeout", "read_timeout")


def _fill(options: Struct, deadlines: Mapping[str, Any]) -> None:
    """Sets the fields of a struct that has them."""
    for field in _SECONDS:
        options.seconds(field, deadlines.get(field))
    options.speed("min_speed", deadlines.get("min_speed"))


def attach(options: Struct, deadlines: Mapping[str, Any]) -> None:
    """Sets the `deadlines` of a call's options, if there are any."""
    unknown = deadlines.keys() - {*_SECONDS, "min_speed"}
    if unknown:
        message = f"got an unexpected keyword argument {min(unknown)!r}"
        raise TypeError(message)
    if deadlines:
        struct = Struct("XetDeadlines")
        _fill(struct, deadlines)
        options.nested("deadlines", struct)
