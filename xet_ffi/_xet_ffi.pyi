# The module that build_ffi.py generates from xet.h. What C functions and structs it knows stands in
# the header alone, so cdata and the opened library are Any; CFFI checks them at run time.
from collections.abc import Callable
from typing import Any

class _FFI:
    NULL: Any
    RTLD_NOW: int
    RTLD_NODELETE: int

    def dlopen(self, path: str, flags: int, /) -> Any: ...
    def new(self, ctype: str, init: object = ..., /) -> Any: ...
    def gc(self, cdata: Any, destructor: Callable[[Any], None], /) -> Any: ...
    def string(self, cdata: Any, /) -> bytes: ...
    def sizeof(self, ctype: str, /) -> int: ...
    def offsetof(self, ctype: str, field: str, /) -> int: ...
    def callback(
        self,
        ctype: str,
        function: Callable[..., object],
        *,
        error: object = ...,
        onerror: Callable[..., None],
    ) -> Any: ...

ffi: _FFI
