"""Names of tasks, and how tasks, groups and sessions are."""

from __future__ import annotations

import enum
from itertools import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

_numbers = count(1)


class Sealed:
    """What only this package makes, by `object.__new__`."""

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> Self:
        """Refuses to make one."""
        message = f"cannot create {cls.__name__!r} instances"
        raise TypeError(message)


class UniqueId(Sealed):
    """A task's number, which no other of this process has."""

    __slots__ = ("_number",)
    _number: int

    def __repr__(self) -> str:
        return f"UniqueId({self._number})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UniqueId) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


def new_id() -> UniqueId:
    """Returns the next one."""
    made = object.__new__(UniqueId)
    made._number = next(_numbers)
    return made


class XetTaskState(enum.Enum):
    """What `status()` returns. It raises instead for what has failed."""

    Running = 0
    Finalizing = 1
    Completed = 2
    UserCancelled = 3

    def __int__(self) -> int:
        return int(self.value)

    def __repr__(self) -> str:
        return f"XetTaskState.{self.name}"


STATES = {
    "running": XetTaskState.Running,
    "finalizing": XetTaskState.Finalizing,
    "done": XetTaskState.Completed,
    "cancelled": XetTaskState.UserCancelled,
}
"""What a state of xet_ffi is here; "failed" is raised."""
