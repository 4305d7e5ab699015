"""Content that is read from Xet storage piece by piece."""

from __future__ import annotations

from xet_ffi._call import run
from xet_ffi._errors import AuthError, check
from xet_ffi._handle import Handle, Owner
from xet_ffi._lib import ffi, lib
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._tokens import TokenSource

_PIECE = ("XetPiece", lib.xet_piece_free)


class ContentStream(Owner):
    """The bytes of some content: `Storage.open` opens it.

    Iterating yields `bytes` in their order; of an unordered one, `(offset, bytes)`, where the
    offset is that in the whole content. Each chunk has been hashed; whether they are those of the
    content is known at its end, and a stream of all of it ends with ChecksumMismatchError if they
    aren't. One thread reads at a time.
    """

    __slots__ = ("__weakref__", "_tokens", "_unordered")

    def __init__(
        self,
        storage: Handle,
        tokens: TokenSource | None,
        hash: str,  # noqa: A002 - as in Storage.open
        size: int | None,
        start: int,
        end: int | None,
        timeout: float | None,
        *,
        unordered: bool,
    ) -> None:
        options = Struct("XetStreamOptions")
        options.required("hash", hash)
        options.count("size", size, least=0)
        options.count("start", start, least=0)
        options.count("end", end)
        options.seconds("timeout", timeout)
        options.flag(lib.XET_STREAM_UNORDERED, on=unordered)
        out = ffi.new("XetStream **")
        check(lib.xet_storage_open_stream(storage.pointer(), options.pointer, out))
        self._handle = Handle(out[0], lib.xet_stream_free, "stream")
        self._tokens = tokens
        self._unordered = unordered

    def read(
        self, *, progress: ProgressCallback | None = None, cancel: Cancel | None = None
    ) -> tuple[int, bytes] | None:
        """Returns the offset of the next piece and its bytes; None at the end.

        Args:
            progress: As for `Client.download_file`; the numbers are those of the whole stream.
            cancel: As for `Client.download_file`; true cancels the stream.
        """
        try:
            piece = run(_next, self._handle, ffi.NULL, _PIECE, progress, cancel)
        except AuthError as error:
            if self._tokens is not None and error.kind == "token_callback":
                raise error from self._tokens.error
            raise
        if not piece:
            return None
        data = bytes(ffi.buffer(piece.data, piece.data_len))
        offset = int(piece.offset)
        ffi.release(piece)
        return offset, data

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        piece = self.read()
        if piece is None:
            raise StopIteration
        return piece if self._unordered else piece[1]

    def cancel(self) -> None:
        """Ends the stream: whoever reads, and whoever reads later, is at its end."""
        check(lib.xet_stream_cancel(self._handle.pointer()))


def _next(stream: CData, _: CData, callbacks: CData, out: CData) -> CData:
    return lib.xet_stream_next(stream, callbacks, out)
