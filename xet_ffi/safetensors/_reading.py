"""Reads parts of tensors into memory: which ranges of which files, how many at a time.

Runs go from the network to their places. Very short ones that are near each other in the file, such
as single columns of a matrix, are read together with what is between them, and copied: one range
costs less than thousands. A batch is what one call of the library reads. The more that knows of at
once, the less it waits: it asks about what comes next while what it has asked about comes, and
bounds the memory for that. What is copied out of is ours to bound. Several run side by side, so
that the end of one isn't waited for by the others.
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
"""Runs with fewer bytes between them than this are read together, if they are copied."""

SAME = 32 << 10
"""What is between runs that are nearer to each other than this is in the same chunks, mostly: the
library fetches them as one."""

LONG = 256 << 10
"""Runs as long as this go to their places by themselves, whatever is near."""

DIRECT = 256
"""So do runs as long as this of which the library makes one range. What is left is copied; shorter
runs by columns, where there are fewer of those."""

BATCH = 4 << 20
"""Bytes that one range has at the most; also what is copied out of in one call."""

CALL = 256 << 20
"""Bytes that one call reads at the most of what goes to its place."""

_MOST_RANGES = 1 << 15
"""Of one call."""

BUDGET = 64 << 20
"""Bytes of memory that all that is on its way may take, besides where it goes."""

_COST = BUDGET // 2
"""What a call takes of that of which nothing is copied, mostly; the library has a bound for all of
them together."""

_WORDS: tuple[tuple[int, Literal["Q", "I", "H", "B"]], ...] = (
    (8, "Q"),
    (4, "I"),
    (2, "H"),
    (1, "B"),
)


class Read(NamedTuple):
    """A range of a file: where it goes, or the runs in it that do."""

    offset: int
    length: int
    target: memoryview
    combs: tuple[Comb, ...] = ()
    is_copied: bool = False

    @property
    def ranges(self) -> int:
        """How many that is for the library."""
        return 1 if self.is_copied or not self.combs else sum(comb.count for comb in self.combs)

    @property
    def wanted(self) -> int:
        """Bytes of it that are wanted."""
        return sum(comb.length * comb.count for comb in self.combs) or self.length


class Batch(NamedTuple):
    """What one call reads, of one file."""

    file: str
    reads: list[Read]

    @property
    def is_copied(self) -> bool:
        """Whether it's read into memory that it's copied out of."""
        return self.reads[0].is_copied

    @property
    def wanted(self) -> int:
        """Bytes of it that are wanted."""
        return sum(read.wanted for read in self.reads)

    @property
    def cost(self) -> int:
        """Bytes of memory that reading it takes: the library's, and what is copied out of."""
        length = sum(read.length for read in self.reads)
        return length * 2 if self.is_copied else min(length, _COST)


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
    begun = {False: _Begun(CALL), True: _Begun(BATCH)}
    for combs, target in parts:
        for read in plan(combs, target):
            batch = begun[read.is_copied]
            if not batch.has_room(read):
                yield Batch(file, batch.take())
            batch.add(read)
    for batch in begun.values():
        if batch.reads:
            yield Batch(file, batch.take())


class _Begun:
    """What one call is going to read, of up to `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.take()

    def take(self) -> list[Read]:
        """Returns it, and begins anew."""
        reads = getattr(self, "reads", [])
        self.reads: list[Read] = []
        self._size = self._ranges = 0
        return reads

    def has_room(self, read: Read) -> bool:
        """Whether that may be added."""
        fits = self._size + read.length <= self._most
        return not self.reads or (fits and self._ranges + read.ranges <= _MOST_RANGES)

    def add(self, read: Read) -> None:
        """Adds it."""
        self.reads.append(read)
        self._size += read.length
        self._ranges += read.ranges


def plan(combs: Iterable[Comb], target: memoryview) -> Iterator[Read]:
    """Returns the ranges for one part of a tensor, in the order of the file."""
    near: list[Comb] = []
    for comb in combs:
        between = comb.stride - comb.length if comb.count > 1 else 0
        if (comb.length >= DIRECT and between < SAME) or comb.length >= LONG or between >= NEAR:
            yield from _together(near, target)
            near = []
            for part in [comb] if between < SAME else comb.split(comb.length):
                yield from _straight(part, target)
            continue
        for piece in comb.split(BATCH):
            if near and (piece.source - near[-1].end >= NEAR or piece.end - near[0].source > BATCH):
                yield from _together(near, target)
                near = []
            near.append(piece)
    yield from _together(near, target)


def _straight(comb: Comb, target: memoryview) -> Iterator[Read]:
    for piece in comb.split(BATCH):
        if piece.count > 1:
            yield Read(piece.source, piece.end - piece.source, target, (piece,))
            continue
        for at in range(0, piece.length, BATCH):
            length = min(BATCH, piece.length - at)
            begin = piece.target + at
            yield Read(piece.source + at, length, target[begin : begin + length])


def _together(near: list[Comb], target: memoryview) -> Iterator[Read]:
    if len(near) == 1 and near[0].count == 1:
        yield from _straight(near[0], target)
    elif near:
        offset = near[0].source
        yield Read(offset, near[-1].end - offset, target, tuple(near), is_copied=True)


def copy(comb: Comb, source: memoryview, target: memoryview) -> None:
    """Copies the runs of a comb, of which `source` is all from the first to the last.

    By runs or by columns, whichever are fewer, a word at a time.
    """
    place = target[comb.target : comb.target + comb.count * comb.length]
    if comb.length >= DIRECT:
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
    bar = Bar() if progress is True else None
    told = _Told(bar or progress or None, sizes, files)

    def job(batch: Batch) -> Job[Batch]:
        tell = told.watch(batch)
        return batch.cost, partial(_perform, batch, files[batch.file], scratch, limits, tell)

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


def _perform(
    batch: Batch,
    file: File,
    scratch: Scratch,
    limits: Limits,
    tell: ProgressCallback | None,
    stop: Event,
) -> Batch:
    """Reads one batch, on a thread of its own."""
    memory = scratch.take() if batch.is_copied else memoryview(b"")
    runs: list[tuple[int, int, int, int, memoryview]] = []
    used = 0
    for read in batch.reads:
        if read.is_copied:
            place = memory[used : used + read.length]
            runs.append((read.offset, read.length, read.length, 1, place))
            used += read.length
        elif read.combs:
            for comb in read.combs:
                begin = comb.target
                place = read.target[begin : begin + comb.count * comb.length]
                runs.append((comb.source, comb.stride, comb.length, comb.count, place))
        else:
            runs.append((read.offset, read.length, read.length, 1, read.target))
    wanted = used or batch.wanted
    found = file._read_runs(  # noqa: SLF001 - what users have takes a buffer for each run
        runs, timeout=limits.remaining(), progress=tell, cancel=stop
    )
    if found != wanted:
        # Its size was known when it was opened, and its header is within that.
        message = f"{batch.file}: {found:,} bytes of {wanted:,}"
        raise make(lib.XET_CODE_UNKNOWN, message, {"kind": "internal", "file": batch.file})
    if batch.is_copied:
        for read, (_, _, _, _, buffer) in zip(batch.reads, runs, strict=True):
            for comb in read.combs:
                begin = comb.source - read.offset
                copy(comb, buffer[begin : begin + comb.end - comb.source], read.target)
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
        self._begun: dict[int, tuple[str, int]] = {}
        self._files = [files[name] for name in sizes] if progress is not None else []
        self._before = self._network()
        self._file: str | None = None

    def _network(self) -> int:
        return sum(file.report().bytes_network for file in self._files)

    def watch(self, batch: Batch) -> ProgressCallback | None:
        """Returns what is told how far the library is with a batch, if somebody listens."""
        if self._progress is None:
            return None
        length = sum(read.length for read in batch.reads)
        share = batch.wanted / length

        def tell(progress: Progress) -> None:
            # On another thread, which has nothing but this to say.
            done = int(min(progress.bytes_completed, length) * share)
            self._begun[id(batch)] = (batch.file, done)

        return tell

    def add(self, batch: Batch) -> None:
        """Counts what was read."""
        self._file = batch.file
        self._begun.pop(id(batch), None)
        self._done[batch.file] += batch.wanted

    def _of_files(self) -> dict[str, int]:
        """Bytes of each file that are there."""
        done = dict(self._done)
        for file, begun in list(self._begun.values()):
            done[file] += begun
        return done

    def tell(self) -> None:
        """Tells it, if somebody listens."""
        if self._progress is None:
            return
        of_files, network = self._of_files(), self._network() - self._before
        done = sum(of_files.values())
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
                file_bytes_completed=of_files.get(self._file or "", 0),
                file_bytes_total=self._sizes.get(self._file or "", 0),
            )
        )
