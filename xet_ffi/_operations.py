"""The changes that make a commit: as values, and as the array that C reads."""

from __future__ import annotations

from xet_ffi._dataclass import dataclass
from xet_ffi._lib import ffi, lib
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from typing import IO, Any, TypeAlias

    from xet_ffi._lib import CData
    from xet_ffi._streams import Stream

    Source: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


@dataclass(frozen=True, slots=True)
class CommitAdd:
    """Adds a file, or replaces it.

    Attributes:
        path_in_repo: Where the file shall be.
        source: The path of a file; its content, as bytes; or a binary file object, which is read
            once, from where it stands to its end, for all files of a commit that it is the source
            of: on the thread that makes the call if it is an `io.BytesIO`, else on a thread of its
            own, so that the call can be cancelled while it has nothing to give.
    """

    path_in_repo: str
    source: Source


@dataclass(frozen=True, slots=True)
class CommitDelete:
    """Deletes a file, or a folder with all that is in it.

    Attributes:
        path_in_repo: What goes. A path that ends in "/" is a folder's.
    """

    path_in_repo: str


@dataclass(frozen=True, slots=True)
class CommitCopy:
    """Copies a file of the same repo.

    Attributes:
        src_path_in_repo: The file.
        path_in_repo: Where the copy shall be.
        src_revision: At which revision the file is. Default: where the commit goes.
    """

    src_path_in_repo: str
    path_in_repo: str
    src_revision: str | None = None


if TYPE_CHECKING:
    Operation: TypeAlias = CommitAdd | CommitDelete | CommitCopy


class Operations:
    """An array of XetOperation, and all that it points at. C may use it until it's closed.

    Buffers of the caller's are given back then, and not when nobody has this any more: a traceback
    may have it, and Python crashes where it collects a `memoryview` together with what has it.
    """

    __slots__ = ("_buffers", "_keep", "_streams", "array", "length")

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._keep: list[object] = []
        self._buffers: list[CData] = []
        # By the file objects' ids, which are theirs as long as the streams live.
        self._streams: dict[int, Stream] = {}
        try:
            structs = [self._struct(operation) for operation in operations]
        except BaseException:
            self.close()
            raise
        self._keep.append(structs)
        self.length = len(structs)
        self.array: CData = ffi.new(
            "const XetOperation *[]", [*(struct.pointer for struct in structs), ffi.NULL]
        )

    def close(self) -> None:
        """Ends what was begun to read the streams, and gives buffers back."""
        for stream in self._streams.values():
            stream.close()
        for buffer in self._buffers:
            ffi.release(buffer)

    def _struct(self, operation: Operation) -> Struct:
        struct = Struct("XetOperation")
        if isinstance(operation, CommitAdd):
            struct.required("path_in_repo", operation.path_in_repo)
            self._source(struct, operation.source)
        elif isinstance(operation, CommitDelete):
            struct.required("path_in_repo", operation.path_in_repo)
            folder = operation.path_in_repo.endswith("/")
            struct.pointer.kind = (
                lib.XET_OPERATION_DELETE_FOLDER if folder else lib.XET_OPERATION_DELETE
            )
        elif isinstance(operation, CommitCopy):
            struct.pointer.kind = lib.XET_OPERATION_COPY
            struct.required("src_path", operation.src_path_in_repo)
            struct.text("src_revision", operation.src_revision)
            struct.required("path_in_repo", operation.path_in_repo)
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
            struct.required("local_path", source)
        elif isinstance(source, (bytes, bytearray, memoryview)):
            pointer.kind = lib.XET_OPERATION_ADD_BYTES
            # Not copied: the buffer can't be resized while it is exported.
            data = ffi.from_buffer(source)
            self._buffers.append(data)
            pointer.data, pointer.data_len = data, len(data)
        elif callable(getattr(source, "read", None)):
            # Only now: it needs `threading` and `queue`.
            from xet_ffi._streams import READ, Stream

            pointer.kind = lib.XET_OPERATION_ADD_STREAM
            stream = self._streams.get(id(source)) or Stream(source)
            self._streams[id(source)] = stream
            self._keep.append(READ)
            pointer.read, pointer.user_data = READ, stream.user_data
        else:
            message = (
                "source: expected a path, bytes or a binary file object, "
                f"not {type(source).__name__}"
            )
            raise TypeError(message)
