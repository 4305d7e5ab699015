"""Reading in place: `Client.open`, and the file that it opens.

A `File` is read in two ways. By offset: every such call goes to the library by itself, and any
number of threads may make them at a time. By position, as `io` has it: see `_position`.
"""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._call import act, run
from xet_ffi._dataclass import dataclass
from xet_ffi._errors import check, invalid
from xet_ffi._handle import Handle
from xet_ffi._lib import ffi, lib
from xet_ffi._position import Positioned, writable
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from typing_extensions import Buffer, Unpack

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._structs import Deadlines
    from xet_ffi.client import Client

_FILE = ("XetFile", lib.xet_file_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What an open file is, and what has been read of it so far. Immutable.

    Attributes:
        path: Of the file in the repo.
        size: In bytes.
        commit: The commit that it's at, whatever becomes of the branch.
        etag: The git blob id or the SHA-256 of the content, as the Hub's ETag has it.
        xet_hash: Merkle hash of the content; None unless `kind` is "xet".
        kind: How the Hub stores it: "git", "lfs" or "xet".
        proof: What vouches for the weakest byte that was given out; before the first, what is
            expected to. "merkle": it is proven to be of the file that the Hub has published;
            "cache": a download that was checked had left it on this machine; "none": the server
            says so.
        reads: Calls that have read.
        bytes_read: Given to them.
        bytes_network: Received as content, as sent, for readers or ahead of them.
        bytes_proof: Received as proofs, decompressed. Files of a client that have the same
            content share theirs.
        bytes_reused: Content from this machine: the cache, files that are known to hold the same
            chunks, and what was read before.
        retries: Requests that were made again.
        stalls: Streams that stalled, or only trickled, and were given up for another.
    """

    path: str
    size: int
    commit: str
    etag: str
    xet_hash: str | None
    kind: str
    proof: str
    reads: int
    bytes_read: int
    bytes_network: int
    bytes_proof: int
    bytes_reused: int
    retries: int
    stalls: int

    @classmethod
    def from_native(cls, report: CData) -> FileReport:
        """Copies a `const XetFileReport *`."""
        return cls(**_layout.file_report(report))


class File(Positioned):
    """A file of a repo, open to be read in place. `Client.open` opens it.

    It is a binary file as Python has them: it can be seeked, iterated, and wrapped into
    `io.TextIOWrapper`. It stays at the commit that its revision stood for when it was opened.
    Any number of threads may read it at a time: `read_at`, `readinto_at`, `read_ranges` and
    `readinto_ranges` neither use nor move the position, and where a thread has sought, there it
    reads next, whatever others do. It can be used after `os.fork()`; it can't be pickled.

    Attributes:
        name: Its path in the repo.
        path: The same.
        size: In bytes.
        commit: The commit that it's at.
        etag: The git blob id or the SHA-256 of the content, as the Hub's ETag has it.
        xet_hash: Merkle hash of the content; None unless `kind` is "xet".
        kind: How the Hub stores it: "git", "lfs" or "xet".
    """

    mode = "rb"

    def __init__(self, handle: Handle, *, readahead: bool) -> None:
        super().__init__(readahead=readahead)
        self._handle = handle
        report = self.report()
        self.name = self.path = report.path
        self.size = report.size
        self.commit = report.commit
        self.etag = report.etag
        self.xet_hash = report.xet_hash
        self.kind = report.kind

    # What it is.

    @property
    def proof(self) -> str:
        """What vouches for what was read of it: see `FileReport`."""
        return self.report().proof

    def report(self) -> FileReport:
        """Says what it is, and what was read of it so far. Asks nobody.

        >>> with client.open("alice/model", "config.json") as file:
        ...     file.read(4), file.report().bytes_read >= 4
        (b'{"la', True)
        """
        out = ffi.new("XetFileReport **")
        check(lib.xet_file_report(self._handle.pointer(), out))
        return FileReport.from_native(ffi.gc(out[0], lib.xet_file_report_free))

    # By offset.

    def read_at(
        self,
        offset: int,
        length: int,
        *,
        timeout: float | None = None,
        progress: ProgressCallback | None = None,
        cancel: Cancel | None = None,
    ) -> bytes:
        """Returns `length` bytes from `offset` on; fewer only where the file ends.

        Args:
            offset: The first byte; behind the file's end there is nothing.
            length: How many.
            timeout: Longest time for the call, in seconds. Default: none.
            progress: A callable that receives a `Progress` at most every 50 ms.
            cancel: As for `Client.download_file`.

        >>> with client.open("alice/model", "config.json") as file:
        ...     file.read_at(2, 6)
        b'layers'
        """
        data = _blank(self._within(offset, length))
        target = ffi.from_buffer(data)
        filled = self._read_into(offset, target, len(data), timeout, progress, cancel)
        return data if filled == len(data) else data[:filled]

    def readinto_at(
        self,
        offset: int,
        buffer: Buffer,
        *,
        timeout: float | None = None,
        progress: ProgressCallback | None = None,
        cancel: Cancel | None = None,
    ) -> int:
        """Fills `buffer` with the bytes from `offset` on, and returns how many there were.

        They are fewer than fit only where the file ends. What is in the buffer after an error is
        not to be used. The arguments that aren't named here are those of `read_at`.

        Args:
            buffer: Anything writable and contiguous: a `bytearray`, a NumPy array.
        """
        with writable(buffer) as target:
            self._within(offset, len(target))
            return self._read_into(offset, target, len(target), timeout, progress, cancel)

    def read_ranges(
        self,
        ranges: Iterable[tuple[int, int]],
        *,
        timeout: float | None = None,
        progress: ProgressCallback | None = None,
        cancel: Cancel | None = None,
    ) -> list[bytes]:
        """Reads many parts at once, in any order, and returns each as `read_at` would.

        Neighbours are fetched together, a chunk once for all that want a part of it, and all side
        by side. The arguments that aren't named here are those of `read_at`.

        Args:
            ranges: An offset and a length for each part. They may overlap.

        >>> with client.open("alice/model", "config.json") as file:
        ...     file.read_ranges([(11, 1), (2, 6)])
        [b'2', b'layers']
        """
        wanted = list(ranges)
        parts = [_blank(self._within(offset, length)) for offset, length in wanted]
        targets = [ffi.from_buffer(part) for part in parts]
        offsets = [offset for offset, _ in wanted]
        filled = self._read_all(offsets, targets, timeout, progress, cancel)
        return [
            part if size == len(part) else part[:size]
            for part, size in zip(parts, filled, strict=True)
        ]

    def readinto_ranges(
        self,
        ranges: Iterable[tuple[int, Buffer]],
        *,
        timeout: float | None = None,
        progress: ProgressCallback | None = None,
        cancel: Cancel | None = None,
    ) -> list[int]:
        """Fills many buffers at once, and returns how many bytes each has got.

        The arguments that aren't named here are those of `read_at`; what is said there and of
        `readinto_at` is true here, too.

        Args:
            ranges: An offset and a buffer for each part. Buffers mustn't overlap.
        """
        wanted = list(ranges)
        targets: list[CData] = []
        try:
            for offset, buffer in wanted:
                targets.append(writable(buffer))
                self._within(offset, len(targets[-1]))
            offsets = [offset for offset, _ in wanted]
            return self._read_all(offsets, targets, timeout, progress, cancel)
        finally:
            for target in targets:
                ffi.release(target)

    def _within(self, offset: int, length: int) -> int:
        """Returns how many of `length` bytes there are from `offset` on."""
        for argument, value in (("offset", offset), ("length", length)):
            if not hasattr(value, "__index__"):
                message = f"{argument}: expected int, not {type(value).__name__}"
                raise TypeError(message)
            if value < 0:
                raise invalid(argument, f"must be at least 0, not {value}")
        return max(min(length, self.size - offset), 0)

    def _read_into(
        self,
        offset: int,
        target: CData,
        length: int,
        timeout: float | None,
        progress: ProgressCallback | None,
        cancel: Cancel | None,
    ) -> int:
        how = _read_options(timeout)
        out = ffi.new("size_t *")
        # Behind the end is nothing, however far: that the offset has 64 bits is C's affair.
        start = min(offset, self.size)
        act(
            lambda file, options, callbacks: lib.xet_file_read_at(
                file, start, target, length, options, callbacks, out
            ),
            self._handle,
            how.pointer,
            progress=progress,
            cancel=cancel,
        )
        return int(out[0])

    def _read_all(
        self,
        offsets: Sequence[int],
        targets: Sequence[CData],
        timeout: float | None,
        progress: ProgressCallback | None,
        cancel: Cancel | None,
    ) -> list[int]:
        ranges = ffi.new("XetReadRange[]", len(targets))
        for native, offset, target in zip(ranges, offsets, targets, strict=True):
            native.offset = min(offset, self.size)
            native.buffer = target
            native.len = len(target)
        self._read_ranges(ranges, timeout, progress, cancel)
        return [native.filled for native in ranges]

    def _read_runs(
        self,
        runs: Iterable[tuple[int, int, int, int, Buffer]],
        *,
        timeout: float | None = None,
        progress: ProgressCallback | None = None,
        cancel: Cancel | None = None,
    ) -> int:
        """Fills buffers with runs at regular distances, and returns how many bytes there were.

        Not for users: `readinto_ranges` takes a buffer for each run, of which there are many.

        Args:
            runs: An offset, the distance to the next run, the length of each and their number; and
                the buffer where they go, side by side.
        """
        wanted = list(runs)
        ranges = ffi.new("XetReadRange[]", sum(count for _, _, _, count, _ in wanted))
        places = iter(ranges)
        targets: list[CData] = []
        try:
            for offset, stride, length, count, buffer in wanted:
                targets.append(writable(buffer))
                if len(targets[-1]) < count * length:
                    raise invalid("runs", "their buffer is too small")
                target = targets[-1] + 0
                for number in range(count):
                    native = next(places)
                    native.offset = offset + number * stride
                    native.buffer = target + number * length
                    native.len = length
            self._read_ranges(ranges, timeout, progress, cancel)
        finally:
            for target in targets:
                ffi.release(target)
        return sum(native.filled for native in ranges)

    def _read_ranges(
        self,
        ranges: CData,
        timeout: float | None,
        progress: ProgressCallback | None,
        cancel: Cancel | None,
    ) -> None:
        how = _read_options(timeout)
        act(
            lambda file, options, callbacks: lib.xet_file_read_ranges(
                file, ranges, len(ranges), options, callbacks
            ),
            self._handle,
            how.pointer,
            progress=progress,
            cancel=cancel,
        )

    def _fill(self, offset: int, target: CData, length: int) -> int:
        return self._read_into(offset, target, length, None, None, None)

    def _check_open(self) -> None:
        self._handle.pointer()

    # The end.

    def close(self) -> None:
        """Closes it. Reads of other threads that are under way end normally.

        Closing twice is fine, and so is not closing: the garbage collector does it, too.
        """
        handle = getattr(self, "_handle", None)  # it hasn't one, if opening has failed
        if handle is not None:
            handle.close()
        super().close()

    def __reduce__(self) -> Any:
        return self._handle.__reduce__()

    def __repr__(self) -> str:
        state = " (closed)" if self.closed else ""
        return f"<xet_ffi.File {self.path!r} of {self.size} bytes at {self.commit}{state}>"


def open(  # noqa: A001 - it's a method of the client
    self: Client,
    repo_id: str,
    filename: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    require_proof: bool = False,
    readahead: bool = True,
    window: int | None = None,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> File:
    """Opens a file to be read in place, without a download: one request, or none.

    What it reads is fetched over Xet by chunks, each of which is proven to be of the file that the
    Hub has published; what is on this machine already is taken from there.

    Args:
        repo_id: "name" or "namespace/name".
        filename: The file's path in the repo.
        repo_type: "model" (the default), "dataset" or "space".
        revision: Branch, tag, commit or "refs/pr/N". Default: main. The file stays at the commit
            that it stands for now.
        local_files_only: Use no network; what the cache doesn't have whole is
            LocalEntryNotFoundError.
        require_proof: Give out no byte that isn't proven to be the file's, as those of git and LFS
            files, and of a CAS that tells no proofs, can't be. Of a Xet file in the cache each
            chunk is hashed again; for others that are there, and without the network, the download
            that has left them there vouches, whoever's that was.
        readahead: Notice whoever reads in order, or in strides, and fetch ahead of them.
        window: The most memory for what was read and is read ahead, in bytes. Default: 40 MiB.
            Open files of a client that have the same content share what they keep: together as
            much as each of them may.
        timeout: Longest time for opening, in seconds. Default: none.
        cancel: As for `download_file`.
        **deadlines: As for `list_files`; of opening, and of all reads.

    >>> with client.open("alice/model", "model.safetensors") as file:
    ...     header = file.read(8)
    ...     file.size, file.tell(), len(file.read_at(100_000, 50)), file.tell()
    (300000, 8, 50, 8)
    """
    options = Struct("XetOpenOptions")
    options.required("repo_id", repo_id)
    options.required("filename", filename)
    options.text("repo_type", repo_type)
    options.text("revision", revision)
    options.count("window_bytes", window, argument="window")
    options.seconds("timeout", timeout)
    options.deadlines(deadlines)
    options.flag(lib.XET_OPEN_LOCAL_FILES_ONLY, on=local_files_only)
    options.flag(lib.XET_OPEN_REQUIRE_PROOF, on=require_proof)
    options.flag(lib.XET_OPEN_NO_READAHEAD, on=not readahead)
    native = run(lib.xet_client_open, self._handle, options.pointer, _FILE, cancel=cancel)
    return File(Handle.adopt(native, "file"), readahead=readahead)


def _read_options(timeout: float | None) -> Struct:
    options = Struct("XetReadOptions")
    options.seconds("timeout", timeout)
    return options


def _blank(size: int) -> bytes:
    """Returns `bytes` that the library fills before anybody else sees them.

    As C extensions do it: a copy of what was read would take as much memory again.
    """
    return bytes(size)
