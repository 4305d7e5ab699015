"""The operations of a commit as the array that C reads."""

from __future__ import annotations

from xet_ffi import _call
from xet_ffi._lib import ffi, lib
from xet_ffi._structs import Struct
from xet_ffi._uploading import CommitAdd, CommitCopy, CommitDelete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any

    from xet_ffi._lib import CData
    from xet_ffi._uploading import Operation


class Operations:
    """An array of XetOperation, and all that it points at. C may use it while this object lives."""

    __slots__ = ("_keep", "array", "length")

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._keep: list[object] = []
        structs = [self._struct(operation) for operation in operations]
        self._keep.append(structs)
        self.length = len(structs)
        self.array: CData = ffi.new(
            "const XetOperation *[]", [*(struct.pointer for struct in structs), ffi.NULL]
        )

    def _struct(self, operation: Operation) -> Struct:
        struct = Struct("XetOperation")
        if isinstance(operation, CommitAdd):
            struct.text("path_in_repo", operation.path_in_repo)
            self._source(struct, operation.source)
        elif isinstance(operation, CommitDelete):
            folder = operation.path_in_repo.endswith("/")
            struct.pointer.kind = (
                lib.XET_OPERATION_DELETE_FOLDER if folder else lib.XET_OPERATION_DELETE
            )
            struct.text("path_in_repo", operation.path_in_repo)
        elif isinstance(operation, CommitCopy):
            struct.pointer.kind = lib.XET_OPERATION_COPY
            struct.text("src_path", operation.src_path_in_repo)
            struct.text("src_revision", operation.src_revision)
            struct.text("path_in_repo", operation.path_in_repo)
        else:
            message = (
                "operations: expected CommitAdd, CommitDelete or CommitCopy, "
                f"not {type(operation).__name__}"
            )
            raise TypeError(message)
        return struct

    def _source(self, struct: Struct, source: Any) -> None:
        pointer = struct.pointer
        if isinstance(source, str) or hasattr(source, "__fspath__"):
            pointer.kind = lib.XET_OPERATION_ADD_PATH
            struct.text("local_path", source)
        elif isinstance(source, (bytes, bytearray, memoryview)):
            pointer.kind = lib.XET_OPERATION_ADD_BYTES
            # Not copied: the buffer can't be resized while it is exported.
            data = ffi.from_buffer(source)
            self._keep.append(data)
            pointer.data, pointer.data_len = data, len(data)
        elif callable(getattr(source, "read", None)):
            pointer.kind = lib.XET_OPERATION_ADD_STREAM
            read = ffi.callback(
                "XetReadCallback", _Reader(source), error=-1, onerror=_hand_to_the_call
            )
            self._keep.append(read)
            pointer.read = read
        else:
            message = (
                "source: expected a path, bytes or a binary file object, "
                f"not {type(source).__name__}"
            )
            raise TypeError(message)


class _Reader:
    """A file object as a C read callback."""

    __slots__ = ("_file",)

    def __init__(self, file: Any) -> None:
        self._file = file

    def __call__(self, buffer: CData, length: int, _: CData) -> int:
        data = self._file.read(length)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            message = f"read() returned {type(data).__name__}, not bytes: open files in binary mode"
            raise TypeError(message)
        size = len(data)
        if size > length:
            message = f"read({length}) returned {size} bytes"
            raise ValueError(message)
        ffi.memmove(buffer, data, size)
        return size


def _hand_to_the_call(
    _: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Makes the call raise what `read` has raised. Read callbacks run inside a call only."""
    _call.report(error, traceback)
