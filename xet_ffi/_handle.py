"""Owning pointers.

A C object belongs to one `Handle`. The pointer inside is a cdata with the C destructor attached,
and Python's reference count of that cdata says who is using it: the handle itself, and the argument
list of every call that is running. So

- `close` drops the handle's reference. If another thread is inside a call, the object is freed
  when that call returns; a call that is about to begin either has the pointer already, and keeps it
  alive, or finds the handle closed. There is no moment between the two, and no lock to inherit at
  fork.
- an object that is never closed is freed with the last reference, also at interpreter exit.
  The library stays mapped until the process ends (see `_lib.load`), so that is always safe.
- a forked child has its own copy of the count and of the object, and frees only those.

For this to hold, `pointer` must be called inside the argument list and not be kept in a variable,
where a traceback could hold on to it.
"""

from __future__ import annotations

from xet_ffi._errors import ClosedError
from xet_ffi._lib import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Self

    from xet_ffi._lib import CData


class Handle:
    """Owns one C object, called `name` in errors."""

    __slots__ = ("_name", "_pointer")

    def __init__(self, pointer: CData, free: Callable[[CData], None], name: str) -> None:
        self._pointer: CData | None = ffi.gc(pointer, free)
        self._name = name

    @classmethod
    def adopt(cls, pointer: CData, name: str) -> Handle:
        """Owns an object that has its destructor attached already, as `_call.run` returns it."""
        handle = object.__new__(cls)
        handle._pointer, handle._name = pointer, name
        return handle

    def pointer(self) -> CData:
        """Returns the pointer for one call.

        Raises:
            ClosedError: The handle was closed.
        """
        pointer = self._pointer
        if pointer is None:
            message = f"{self._name}: operation on a closed {self._name}"
            raise ClosedError(message, details={"kind": "invalid_argument", "field": self._name})
        return pointer

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._pointer is None

    def close(self) -> None:
        """Gives the object up. Never waits; closing twice is fine."""
        self._pointer = None

    def __reduce__(self) -> NoReturn:
        message = f"a {self._name} can't be pickled: make one in each process"
        raise TypeError(message)


class Owner:
    """Has one C object, which it gives up when it's closed, or a `with` block ends."""

    __slots__ = ("_handle",)

    _handle: Handle

    def close(self) -> None:
        """Gives it up. Closing twice is fine, and so is not closing."""
        self._handle.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._handle.closed

    def __enter__(self) -> Self:
        self._handle.pointer()
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
