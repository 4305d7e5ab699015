"""Open files of the file system: read in place, or staged until they become a commit."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from fsspec.compression import compr
from fsspec.utils import infer_compression

from xet_ffi import File
from xet_ffi._handle import Handle
from xet_ffi._lib import ffi
from xet_ffi.fs.columns import MAGIC, Ahead
from xet_ffi.fs.paths import PROTOCOLS, Place, Repo

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import TracebackType

    from typing_extensions import Buffer

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi.fs.columns import Columns
    from xet_ffi.fs.hub import Shared
    from xet_ffi.fs.reading import ReadingFileSystem

_PIECE = 4 << 20
"""What is copied at a time, in bytes."""


class PlacedFile(File):
    """A `File` that knows its file system. Its `name` and `path` are those it has there.

    Pickled, it is opened again where it is read, at the same commit and position.
    """

    def __init__(self, file: File, fs: ReadingFileSystem, place: Place) -> None:
        super().__init__(_another(file), readahead=file._readahead)  # noqa: SLF001 - one of ours
        self.fs = fs
        self.name = self.path = place.name
        self._place = place
        self._columns_ahead: Ahead | None = None
        # What is in the cache, whole, is as near as what would be fetched.
        self._fetches_ahead = self._readahead and self.proof != "cache"

    @property
    def full_name(self) -> str:
        """With the protocol."""
        return f"{PROTOCOLS[0]}://{self.path}"

    @property
    def details(self) -> dict[str, Any]:
        """What fsspec's files say of theirs."""
        return {"name": self.path, "size": self.size, "type": "file"}

    def _read_into(
        self,
        offset: int,
        target: CData,
        length: int,
        timeout: float | None,
        progress: ProgressCallback | None,
        cancel: Cancel | None,
    ) -> int:
        hub = self.fs.hub
        columns = hub.columns(self._place, self.commit) if self._fetches_ahead else None
        if columns is not None:
            # What is called holds on to what it is called for, even after that.
            columns.add_done_callback(partial(_look_ahead, ref(self), offset, length))
        filled = super()._read_into(offset, target, length, timeout, progress, cancel)
        is_tail = self._fetches_ahead and columns is None and offset + filled == self.size
        if is_tail and ffi.buffer(target, filled)[-len(MAGIC) :] == MAGIC:
            hub.learn_columns(self._place, File(_another(self), readahead=False))
        return filled

    def _read_ahead(self, columns: Columns, offset: int, length: int) -> None:
        """Has fetched what is going to be read after this: it comes into the file's window."""
        hub = self.fs.hub
        if self._columns_ahead is None:
            self._columns_ahead = Ahead(columns, hub.ahead)
        if wanted := self._columns_ahead.note(offset, length):
            hub.threads.begin(self.read_ranges, wanted, cancel=lambda: self.closed)

    def __reduce__(self) -> Any:
        return _open_again, (self.fs, self._place, self.commit, self.tell())


def _another(file: File) -> Handle:
    """Returns a handle of its own for an open file, which is closed by itself."""
    return Handle.adopt(file._handle.pointer(), "file")  # noqa: SLF001 - one of ours


def _look_ahead(
    of: ref[PlacedFile], offset: int, length: int, known: Future[Columns | None]
) -> None:
    """Tells a file that is open still where its columns are, and what was read of it."""
    file = of()
    columns = None if known.cancelled() or known.exception() else known.result()
    if file is not None and columns is not None and not file.closed:
        file._read_ahead(columns, offset, length)  # noqa: SLF001 - one of ours


def _open_again(fs: ReadingFileSystem, place: Place, commit: str, position: int) -> PlacedFile:
    pinned = Place(Repo(place.repo.type, place.repo.id, commit), place.root, place.path)
    file = PlacedFile(fs.hub.open(pinned), fs, place)
    file.seek(position)
    return file


class LateFile(io.RawIOBase):
    """A file of another repo that is opened when its bytes are wanted: the source of a copy."""

    def __init__(self, hub: Shared, place: Place) -> None:
        self._hub = hub
        self._place = place
        self._file: File | None = None

    def again(self) -> LateFile:
        """Returns the same file, from its beginning."""
        return LateFile(self._hub, self._place)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fills the buffer with what is next; closes the file behind its last byte."""
        if self._file is None:
            self._file = self._hub.open(self._place)
        size = self._file.readinto(buffer)
        if not size:
            self._file.close()
        return size


class StagedFile(io.BufferedIOBase):
    """A file that is being written: a file of this machine until it's closed, and then a commit.

    One that is left by an exception, or that nobody closes, becomes none.

    Attributes:
        name: The whole path in the file system; `path` is the same.
    """

    def __init__(
        self,
        place: Place,
        mode: str,
        deliver: Callable[[str], None],
        before: File | None,
        *,
        is_kept: bool,
    ) -> None:
        self.name = self.path = place.name
        self.mode = mode
        self._deliver = deliver
        self._is_kept = is_kept
        self._is_dropped = False
        descriptor, self._staged = tempfile.mkstemp(prefix="xet-ffi-")
        self._file = os.fdopen(descriptor, "wb")
        if before is not None:
            try:
                while piece := before.read(_PIECE):
                    self._file.write(piece)
            except BaseException:
                self.discard()
                raise

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Writes all of it."""
        if self.closed:
            message = "write to a closed file"
            raise ValueError(message)
        return self._file.write(data)

    def tell(self) -> int:
        """Returns how much the file has."""
        return self._file.tell()

    def flush(self) -> None:
        """Does nothing: a file of a repo is there as a whole."""

    def close(self) -> None:
        """Makes the commit; in a transaction, that does it when it ends."""
        if self.closed:
            return
        super().close()
        if self._is_dropped:
            self.discard()
            return
        is_needed = False
        try:
            self._file.close()
            self._deliver(self._staged)
            is_needed = self._is_kept
        finally:
            if not is_needed:
                self.discard()

    def drop(self) -> None:
        """Makes `close` forget what was written."""
        self._is_dropped = True

    def discard(self) -> None:
        """Forgets what was written, now."""
        super().close()
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._staged)

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if cls is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if hasattr(self, "_file") and not self.closed:
            message = f"{self.name} was written and never closed: no commit was made of it"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)
            self.discard()


def compressed(staged: StagedFile, path: str, compression: str | None) -> Any:
    """Returns what compresses into a file as it's written, and closes it; the file, for None."""
    if compression == "infer":
        compression = infer_compression(path)
    if compression is None:
        return staged
    return _Around(compr[compression](staged, mode="wb"), staged)


def text(file: Any, staged: StagedFile, options: dict[str, Any]) -> io.TextIOWrapper:
    """Returns what encodes text into a file as it's written."""
    return _Text(file, staged, options)


class _Around(io.BufferedIOBase):
    """What is written goes through `outer` into `staged`."""

    def __init__(self, outer: Any, staged: StagedFile) -> None:
        self._outer = outer
        self._staged = staged

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        size: int = self._outer.write(data)
        return size

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._outer.close()
            self._staged.close()

    def __exit__(self, cls: type[BaseException] | None, *_: object) -> None:
        if cls is not None:
            self._staged.drop()
        self.close()


class _Text(io.TextIOWrapper):
    """Text that is no commit if an exception leaves it."""

    def __init__(self, file: Any, staged: StagedFile, options: dict[str, Any]) -> None:
        super().__init__(file, **options)
        self._staged = staged

    def __exit__(self, cls: type[BaseException] | None, *_: object) -> None:
        if cls is not None:
            self._staged.drop()
        self.close()
