"""What hf_xet's deprecated functions take and return."""

from __future__ import annotations

from xet_ffi._dataclass import dataclass
from xet_ffi.hf_xet._arguments import expect, unsigned


class PyXetDownloadInfo:
    """A file to download: where to, its Xet hash, and its size, if that's known."""

    __slots__ = ("__dict__", "_file_size", "_hash", "destination_path")

    def __init__(
        self,
        destination_path: str,
        hash: str,  # noqa: A002 - hf_xet's name
        file_size: int | None = None,
    ) -> None:
        self.destination_path = expect(destination_path, str)
        self._hash = expect(hash, str)
        self._file_size = None if file_size is None else unsigned("file_size", file_size)

    @property
    def hash(self) -> str:
        """The Xet hash."""
        return self._hash

    @property
    def file_size(self) -> int | None:
        """In bytes; None if it isn't known."""
        return self._file_size

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.destination_path}, {self._hash}, {self._file_size})"


class PyPointerFile(PyXetDownloadInfo):
    """A file to download, as versions before called it."""

    __slots__ = ()

    def __init__(self, path: str, hash: str, filesize: int) -> None:  # noqa: A002 - as above
        super().__init__(path, hash, unsigned("filesize", filesize))

    @property
    def path(self) -> str:
        """Where it goes."""
        return self.destination_path

    @path.setter
    def path(self, path: str) -> None:
        self.destination_path = path

    @property
    def filesize(self) -> int | None:
        """In bytes."""
        return self._file_size


class PyXetUploadInfo:
    """A file that was uploaded or hashed: its Xet hash, its size and its SHA-256. Immutable."""

    __slots__ = ("_file_size", "_hash", "_sha256")

    def __init__(self, hash: str, file_size: int) -> None:  # noqa: A002 - hf_xet's name
        self._hash = expect(hash, str)
        self._file_size = unsigned("file_size", file_size)
        self._sha256: str | None = None

    @property
    def hash(self) -> str:
        """The Xet hash."""
        return self._hash

    @property
    def file_size(self) -> int:
        """In bytes."""
        return self._file_size

    @property
    def filesize(self) -> int:
        """In bytes, as versions before called it."""
        return self._file_size

    @property
    def sha256(self) -> str | None:
        """Of an upload that has one; else None."""
        return self._sha256

    def __repr__(self) -> str:
        return f"PyXetUploadInfo({self._hash}, {self._file_size}, {self._sha256!r})"


def uploaded(hash: str, size: int, sha256: str | None) -> PyXetUploadInfo:  # noqa: A002 - as above
    """Returns what became of an upload."""
    info = PyXetUploadInfo(hash, size)
    info._sha256 = sha256
    return info


@dataclass(frozen=True, slots=True, kw_only=True)
class PyItemProgressUpdate:
    """How far one file is, and what came since the last time."""

    item_name: str
    total_bytes: int
    bytes_completed: int
    bytes_completion_increment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PyTotalProgressUpdate:
    """How far all files are, and what came since the last time; as GroupProgressReport has it."""

    total_bytes: int
    total_bytes_increment: int
    total_bytes_completed: int
    total_bytes_completion_increment: int
    total_bytes_completion_rate: float | None
    total_transfer_bytes: int
    total_transfer_bytes_increment: int
    total_transfer_bytes_completed: int
    total_transfer_bytes_completion_increment: int
    total_transfer_bytes_completion_rate: float | None
