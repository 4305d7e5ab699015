"""Reads parts of tensors into memory: which ranges of which files, how many at a time.

What is long goes from the network to its place. Short runs that are near each other in the file,
such as columns of a matrix, are read together with what is between them, and copied: chunks are
what is sent, of some 64 KiB, so that what is nearer than that comes anyway, and one range costs
less than thousands. A batch is what one call of the library reads. Its size bounds the memory for
that, and several run side by side, so that there are always some on their way.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from mmap import mmap
from typing import NamedTuple

from xet_ffi._errors import make
from xet_ffi._lib import lib
from xet_ffi._progress import Bar, Progress
from xet_ffi.safetensors._workers import side_by_side

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from threading import Event
    from typing import Literal

    from typing_extensions import TypedDict

    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._reading import File
    from xet_ffi.safetensors._parts import Comb
    from xet_ffi.safetensors._workers import Job, Limits

    class How(TypedDict, total=False):
        """Keyword arguments of what reads: how long, who is told, and what may end it."""

        timeout: float | None
        progress: ProgressCallback | bool | None
        cancel: Cancel | None


NEAR = 64 << 10
"""Runs with fewer bytes between them than this are read together."""

DIRECT = 256 << 10
"""Runs as long as this go to their places by themselves, whatever is near."""

BATCH = 4 << 20
"""Bytes that one call reads at the most; also of one range."""

_MOST_RANGES = 4096
"""Of one call."""

BUDGET = 64 << 20
"""Bytes of memory that all that is on its way may take, besides where it goes."""

_SHORT_RUN = 256
"""Bytes below which runs are copied by columns: there are fewer of those."""

_WORDS: tuple[tuple[int, Literal["Q", "I", "H", "B"]], ...] = (
    (8, "Q"),
    (4, "I"),
    (2, "H"),
    (1, "B"),
)


class Read(NamedTuple):
    """A range of a file: where it goes, or the runs in it that are copied."""

    offset: int
    length: int
    target: memoryview
    combs: tuple[Comb, ...] = ()


class Batch(NamedTuple):
    """What one call reads, of one file."""

    file: str
    reads: list[Read]

    @property
    def is_copied(self) -> bool:
        """Whether some of it is read into memory that it's copied out of."""
        return any(read.combs for read in self.reads)

    @property
    def cost(self) -> int:
        """Bytes of memory that reading it takes: the library's, and what is copied out of."""
        return sum(read.length * (2 if read.combs else 1) for read in self.reads)


def batches(parts: Iterable[tuple[str, Iterable[Comb], memoryview]]) -> Iterator[Batch]:
    """Returns what is to be read, the files in turn.

    Args:
        parts: For each part of a tensor its file, where it is there, and where it goes.
    """
    of_file: dict[str, list[tuple[Iterable[Comb], memoryview]]] = {}
    for file, combs, target in parts:
        of_file.setdefault(file, []).append((combs, target))
    turns = deque(_of_one(file, own) for file, own in of_file.items())
    while turns:
        for batch in turns[0]:
            yield batch
            turns.rotate(-1)
            break
        else:
            turns.popleft()


def _of_one(file: str, parts: list[tuple[Iterable[Comb], memoryview]]) -> Iterator[Batch]:
    reads: list[Read] = []
    size = 0
    for combs, target in parts:
        for read in plan(combs, target):
            if reads and (size + read.length > BATCH or len(reads) == _MOST_RANGES):
                yield Batch(file, reads)
                reads, size = [], 0
            reads.append(read)
            size += read.length
    if reads:
        yield Batch(file, reads)


def plan(combs: Iterable[Comb], target: memoryview) -> Iterator[Read]:
    """Returns the ranges for one part of a tensor, in the order of the file."""
    near: list[Comb] = []
    for comb in combs:
        if comb.length >= DIRECT or (comb.count > 1 and comb.stride - comb.length >= NEAR):
            yield from _together(near, target)
            near = []
            for run in comb.split(comb.length):
                yield from _straight(run, target)
            continue
        for piece in comb.split(BATCH):
            if near and (piece.source - near[-1].end >= NEAR or piece.end - near[0].source > BATCH):
                yield from _together(near, target)
                near = []
            near.append(piece)
    yield from _together(near, target)


def _straight(run: Comb, target: memoryview) -> Iterator[Read]:
    for at in range(0, run.length, BATCH):
        length = min(BATCH, run.length - at)
        begin = run.target + at
        yield Read(run.source + at, length, target[begin : begin + length])


def _together(near: list[Comb], target: memoryview) -> Iterator[Read]:
    if len(near) == 1 and near[0].count == 1:
        yield from _straight(near[0], target)
    elif near:
        offset = near[0].source
        yield Read(offset, near[-1].end - offset, target, tuple(near))


def copy(comb: Comb, source: memoryview, target: memoryview) -> None:
    """Copies the runs of a comb, of which `source` is all from the first to the last.

    By runs or by columns, whichever are fewer, a word at a time.
    """
    place = target[comb.target : comb.target + comb.count * comb.length]
    if comb.length >= _SHORT_RUN:
        for at in range(comb.count):
            begin = at * comb.stride
            place[at * comb.length : (at + 1) * comb.length] = source[begin : begin + comb.length]
        return
    word, name = next(
        (word, name) for word, name in _WORDS if comb.length % word == comb.stride % word == 0
    )
    length, stride = comb.length // word, comb.stride // word
    words, places = source.cast(name), place.cast(name)
    for column in range(length):
        places[column::length] = words[column::stride]


def read(
    work: Iterable[Batch],
    sizes: dict[str, int],
    files: dict[str, File],
    limits: Limits,
    progress: ProgressCallback | bool | None = None,
) -> None:
    """Reads batches side by side.

    Args:
        work: What is to be read.
        sizes: Bytes that are wanted of each file.
        files: The open files, by their paths.
        limits: How long, and what may end it.
        progress: Who is told; True for a bar.
    """
    scratch = Scratch()

    def job(batch: Batch) -> Job[Batch]:
        return batch.cost, partial(_perform, batch, files[batch.file], scratch, limits)

    bar = Bar() if progress is True else None
    told = _Told(bar or progress or None, sizes, files)
    try:
        for done in side_by_side(map(job, work), BUDGET, limits, told.tell):
            told.add(done)
        told.tell()
    finally:
        if bar is not None:
            bar.close()


class Scratch:
    """Memory that runs are copied out of, for one call: it's used again and again."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        """Returns memory for one batch, until `give`."""
        try:
            return self._free.pop()
        except IndexError:
            # Not `bytearray`: the process would keep what it frees of that size.
            return memoryview(mmap(-1, BATCH))

    def give(self, memory: memoryview) -> None:
        """Takes it back."""
        self._free.append(memory)


def _perform(batch: Batch, file: File, scratch: Scratch, limits: Limits, stop: Event) -> Batch:
    """Reads one batch, on a thread of its own."""
    memory = scratch.take() if batch.is_copied else memoryview(b"")
    places, used = [], 0
    for read in batch.reads:
        places.append(memory[used : used + read.length] if read.combs else read.target)
        used += read.length if read.combs else 0
    ranges = [(read.offset, place) for read, place in zip(batch.reads, places, strict=True)]
    found = file.readinto_ranges(ranges, timeout=limits.remaining(), cancel=stop)
    for wanted, buffer, length in zip(batch.reads, places, found, strict=True):
        if length != wanted.length:
            # Its size was known when it was opened, and its header is within that.
            message = f"{batch.file}: {length:,} bytes at {wanted.offset:,}, not {wanted.length:,}"
            raise make(lib.XET_CODE_UNKNOWN, message, {"kind": "internal", "file": batch.file})
        for comb in wanted.combs:
            begin = comb.source - wanted.offset
            copy(comb, buffer[begin : comb.end - wanted.offset], wanted.target)
    if batch.is_copied:
        scratch.give(memory)
    return batch


class _Told:
    """How far a call is, for who wants to know."""

    def __init__(
        self,
        progress: Callable[[Progress], object] | bool | None,
        sizes: dict[str, int],
        files: dict[str, File],
    ) -> None:
        if progress is not None and not callable(progress):
            message = f"progress: expected a callable or a bool, not {type(progress).__name__}"
            raise TypeError(message)
        self._progress = progress
        self._sizes = sizes
        self._done = dict.fromkeys(sizes, 0)
        self._files = [files[name] for name in sizes] if progress is not None else []
        self._before = self._network()
        self._file: str | None = None

    def _network(self) -> int:
        return sum(file.report().bytes_network for file in self._files)

    def add(self, batch: Batch) -> None:
        """Counts what was read."""
        self._file = batch.file
        for read in batch.reads:
            wanted = sum(comb.length * comb.count for comb in read.combs) or read.length
            self._done[batch.file] += wanted

    def tell(self) -> None:
        """Tells it, if somebody listens."""
        if self._progress is None:
            return
        done, network = sum(self._done.values()), self._network() - self._before
        self._progress(
            Progress(
                phase="downloading",
                bytes_total=sum(self._sizes.values()),
                bytes_completed=done,
                bytes_network=network,
                bytes_reused=max(0, done - network),
                files_total=len(self._sizes),
                files_completed=sum(self._done[name] == size for name, size in self._sizes.items()),
                file=self._file,
                file_bytes_completed=self._done.get(self._file or "", 0),
                file_bytes_total=self._sizes.get(self._file or "", 0),
            )
        )
