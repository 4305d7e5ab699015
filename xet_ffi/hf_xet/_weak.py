"""What is noted without being kept alive."""

from __future__ import annotations

from weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Noted:
    """Objects that others own, for many threads at a time.

    A WeakSet can't be looked through while another thread adds to it. There is no lock: what looks
    through it may be what Ctrl-C has begun, or run in a forked child.
    """

    __slots__ = ("_refs",)

    def __init__(self) -> None:
        self._refs: set[ref[Any]] = set()

    def add(self, item: Any) -> None:
        """Notes an object, until nobody has it any more."""
        self._refs.add(ref(item, self._refs.discard))

    def all(self) -> list[Any]:
        """Returns those that are there."""
        found = [each() for each in list(self._refs)]  # `list` runs no code of Python's
        return [item for item in found if item is not None]
