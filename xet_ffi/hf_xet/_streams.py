"""Content out of storage, piece by piece: a group of streams."""

from __future__ import annotations

from xet_ffi._errors import XetError
from xet_ffi.hf_xet._arguments import expect, unsigned
from xet_ffi.hf_xet._errors import raise_translated
from xet_ffi.hf_xet._group import Standing
from xet_ffi.hf_xet._ids import Sealed, XetTaskState, new_id
from xet_ffi.hf_xet._records import ItemProgressReport, XetFileInfo
from xet_ffi.hf_xet._weak import Noted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import TypeVar

    from typing_extensions import Self

    from xet_ffi._contents import ContentStream
    from xet_ffi._progress import Progress
    from xet_ffi.hf_xet._ids import UniqueId
    from xet_ffi.storage import Storage

    S = TypeVar("S", bound="_Stream")


class XetDownloadStreamGroup(Sealed):
    """Streams of one storage; `XetSession.new_download_stream_group` begins one.

    As a context manager it is finished at its end; an exception in the block aborts it.
    """

    __slots__ = ("__weakref__", "_standing", "_storage", "_streams")
    _storage: Storage
    _standing: Standing
    _streams: Noted

    @classmethod
    def begin(cls, storage: Storage) -> XetDownloadStreamGroup:
        """Makes one. Not of hf_xet."""
        self: XetDownloadStreamGroup = object.__new__(cls)
        self._storage = storage
        self._standing = Standing("group of streams")
        self._streams = Noted()
        return self

    def download_stream(
        self, file_info: XetFileInfo, start: int | None = None, end: int | None = None
    ) -> XetDownloadStream:
        """Opens content, to be read in its order.

        Args:
            file_info: The content. Its size is asked for, if it isn't known.
            start: The first byte. Default: 0.
            end: The one behind the last. Default: that of the content.
        """
        return self._opened(XetDownloadStream, file_info, start, end)

    def download_unordered_stream(
        self, file_info: XetFileInfo, start: int | None = None, end: int | None = None
    ) -> XetUnorderedDownloadStream:
        """Opens content, to be read in the order in which it comes; as `download_stream`."""
        return self._opened(XetUnorderedDownloadStream, file_info, start, end)

    def _opened(self, cls: type[S], info: XetFileInfo, start: int | None, end: int | None) -> S:
        expect(info, XetFileInfo)
        begin = 0 if start is None else unsigned("start", start)
        behind = None if end is None else unsigned("end", end)
        if self._standing.is_completed:
            message = (
                "Configuration error: Invalid operation: this group of streams is already "
                "finalized; begin another"
            )
            raise ValueError(message)
        self._standing.check_open()
        problem = None
        if behind is not None and behind < begin:
            problem = f"Invalid range: start ({begin}) > end ({behind})"
        elif begin != behind and info.file_size and begin >= info.file_size:
            problem = f"range start ({begin}) is at or beyond the file size ({info.file_size})"
        if problem is not None:
            message = f"Configuration error: Parameter error: {problem}"
            raise ValueError(message)
        made = object.__new__(cls)
        made._id, made._start, made._stream = new_id(), begin, None
        made._length = made._read = 0
        is_empty = behind == begin
        try:
            stream = self._storage.open(
                info.hash,
                size=info.file_size,
                start=0 if is_empty else begin,
                end=None if is_empty else behind,
                unordered=cls is XetUnorderedDownloadStream,
            )
        except XetError as error:
            raise_translated(error)
        if is_empty:
            stream.close()  # it was opened to have its hash looked at
        else:
            made._stream = stream
            known = [each for each in (behind, info.file_size) if each is not None]
            made._length = min(known) - begin if known else 0
        self._streams.add(made)
        return made

    def finish(self) -> None:
        """Closes the group: no stream is opened after it. Open ones stay usable."""
        if self._standing.is_cancelled:
            self._standing.check_open()
        self._standing.ends(XetTaskState.Completed)

    def abort(self) -> None:
        """Closes the group, and ends its streams. Twice is fine."""
        self._standing.cancelled()
        for stream in self._streams.all():
            stream.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        _exc_val: BaseException | None,
        _exc_tb: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.finish()
        else:
            self.abort()

    def __repr__(self) -> str:
        return "XetDownloadStreamGroup()"


class _Stream(Sealed):
    """A stream; without content if its range is empty."""

    __slots__ = ("__weakref__", "_id", "_length", "_read", "_start", "_stream")
    _id: UniqueId
    _start: int
    _length: int
    _read: int
    _stream: ContentStream | None

    def __iter__(self) -> Self:
        return self

    def cancel(self) -> None:
        """Ends it: iterating stops at once."""
        if self._stream is not None:
            try:
                self._stream.cancel()
            except XetError as error:
                raise_translated(error)

    def progress(self) -> ItemProgressReport | None:
        """How far it is."""
        return ItemProgressReport(
            item_name="stream", total_bytes=self._length, bytes_completed=self._read
        )

    def _next(self) -> tuple[int, bytes]:
        try:
            # As long as it isn't known how long it is, that is what there is to see.
            watch = None if self._length else self._see
            piece = None if self._stream is None else self._stream.read(progress=watch)
        except XetError as error:
            raise_translated(error)
        if piece is None:
            raise StopIteration
        self._read += len(piece[1])
        return piece

    def _see(self, progress: Progress) -> None:
        self._length = progress.bytes_total

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task_id={self._id._number})"


class XetDownloadStream(_Stream):
    """Content in its order: iterating yields `bytes`."""

    __slots__ = ()

    def __next__(self) -> bytes:
        return self._next()[1]


class XetUnorderedDownloadStream(_Stream):
    """Content as it comes: iterating yields `(offset, bytes)`, counted from the range's start."""

    __slots__ = ()

    def __next__(self) -> tuple[int, bytes]:
        offset, data = self._next()
        return offset - self._start, data
