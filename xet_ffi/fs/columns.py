"""Columns of parquet files, fetched before their reader asks for them.

A parquet file has its rows in groups, and in each group a part for each column. Who reads some
columns reads their parts of one group, then those of the next: too far apart to be reading on, and
of too unequal sizes to be steps. The file's footer says where they are, and whoever reads columns
has read that before. pyarrow reads one part at a time from a Python file, whatever it has been told
to buffer: each part that is fetched before is one round trip less, or two, that all wait for.

The footer is a struct of Thrift's compact protocol; numbers of fields are those of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = b"PAR1"
"""What a parquet file ends with."""

_TAIL = 8
"""The length of the footer, which stands before it, and the magic: so many bytes."""

_LONGEST = 4 << 20
"""A longer footer isn't looked at, in bytes: that takes about a second for each 4 MiB."""

_FIELDS: dict[int, Any] = {4: {1: {1: {}, 3: {7: {}, 9: {}, 11: {}}}}}
"""FileMetaData.row_groups, RowGroup.columns, ColumnChunk.file_path and .meta_data, and of
ColumnMetaData total_compressed_size, data_page_offset and dictionary_page_offset."""


class Part(NamedTuple):
    """A column in one row group."""

    start: int
    end: int
    column: int
    group: int


class Columns:
    """Where a file has its columns. Immutable."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = sorted(parts)
        self._starts = [part.start for part in self._parts]
        self._places = {(part.column, part.group): part for part in parts}

    @classmethod
    def of(cls, size: int, read_at: Callable[[int, int], bytes]) -> Columns | None:
        """Reads a file's footer; None if it has none, or one that makes no sense."""
        tail = read_at(size - _TAIL, _TAIL)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != MAGIC or not 0 < length <= min(_LONGEST, size - _TAIL):
            return None
        footer = read_at(size - _TAIL - length, length)
        try:
            return cls(_parts(_Reader(footer).struct(_FIELDS), size))
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            return None  # who reads the table will say so

    def within(self, offset: int, length: int) -> list[Part]:
        """Returns the parts that have some of these bytes."""
        first = max(bisect_right(self._starts, offset) - 1, 0)
        last = bisect_right(self._starts, offset + length - 1)
        return [part for part in self._parts[first:last] if part.end > offset]

    def part(self, column: int, group: int) -> Part | None:
        """Returns the part of a column in a group, if there is one."""
        return self._places.get((column, group))


class Ahead:
    """What one reader of columns is going to read.

    Of each column it's twice as many parts as he has read of it, if he has begun with the first
    group, as whoever reads all of them does: three groups come in one go. Whoever hasn't may have
    looked up which one he needs, and gets as many as he has read, less one: nothing for a single
    one. So there is a bound to what comes of what he stops at, or skips. Not in their order:
    pyarrow reads on eight threads. All that is on its way, or waits to be read, is at most `most`
    bytes.

    It has no lock, which a fork might inherit. Threads that come at once may be told the same; the
    library fetches it once.
    """

    def __init__(self, columns: Columns, most: int) -> None:
        self._columns = columns
        self._most = most
        self._read: set[Part] = set()
        self._told: dict[Part, int] = {}
        """What hasn't been read of what was told, and how many bytes that is."""
        self._counts: dict[int, int] = {}
        """How many parts of a column were read."""
        self._next: dict[int, int] = {}
        """The group of a column that is told next."""
        self._first: int | None = None
        """The first group of which something was read."""

    def note(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Hears what is read now, and returns what to fetch meanwhile: offsets and lengths."""
        parts = self._columns.within(offset, length)
        if len({part.group for part in parts}) > 1:
            return []  # whoever reads all of it in order is read ahead of in any case
        return [(one.start, one.end - one.start) for part in parts for one in self._after(part)]

    def _after(self, part: Part) -> list[Part]:
        if part in self._read:
            return []
        self._read.add(part)
        self._told.pop(part, None)
        column = part.column
        self._first = part.group if self._first is None else min(self._first, part.group)
        self._counts[column] = count = self._counts.get(column, 0) + 1
        told = list(self._told.items())
        due = count - 1 if self._first else 2 * count
        lacking = due - sum(one.column == column for one, _ in told)
        left = self._most - sum(size for _, size in told)
        found: list[Part] = []
        group = self._next.get(column, self._first)
        while len(found) < lacking and (one := self._columns.part(column, group)) is not None:
            if one not in self._read and one not in self._told:
                size = one.end - one.start
                if size > left:
                    break
                left -= size
                self._told[one] = size
                found.append(one)
            group += 1
        self._next[column] = group
        return found


def _parts(footer: dict[int, Any], size: int) -> list[Part]:
    """Returns the parts that a footer names, those that are in this file."""
    found = []
    for group, row_group in enumerate(footer[4]):
        for column, chunk in enumerate(row_group[1]):
            where = chunk.get(3)
            if where is None or 1 in chunk:
                continue  # encrypted, or in another file
            start = where.get(11) or where[9]
            end = start + where[7]
            if 0 <= start < end <= size:
                found.append(Part(start, end, column, group))
    return found


class _Reader:
    """Reads what is wanted of a struct, and passes over the rest."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self, wanted: dict[int, Any]) -> dict[int, Any]:
        """Returns the fields that are wanted, by their numbers; each says what is wanted of it."""
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            value = self._value(head & 15, wanted.get(number, {}))
            if number in wanted:
                found[number] = value
        return found

    def _value(self, kind: int, wanted: dict[int, Any]) -> Any:
        if kind in {1, 2}:  # a boolean, which is its kind
            return kind == 1
        if kind in {4, 5, 6}:
            return self._integer()
        if kind == 12:  # noqa: PLR2004 - the protocol's number for a struct
            return self.struct(wanted)
        if kind in {9, 10}:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()  # noqa: PLR2004 - the same
            return [self._element(head & 15, wanted) for _ in range(count)]
        if kind == 11:  # noqa: PLR2004 - a map
            kinds = self._byte() if (count := self._varint()) else 0
            for _ in range(count):
                self._element(kinds >> 4, {})
                self._element(kinds & 15, {})
            return None
        self._skip(kind)
        return None

    def _element(self, kind: int, wanted: dict[int, Any]) -> Any:
        """Returns a value in a list or a map, where a boolean has a byte of its own."""
        return self._byte() == 1 if kind in {1, 2} else self._value(kind, wanted)

    def _skip(self, kind: int) -> None:
        """Passes over a byte, a double, or bytes after their length."""
        if kind not in {3, 7, 8}:
            message = f"Thrift has no kind {kind}"
            raise ValueError(message)
        size = {3: 1, 7: 8}.get(kind) or self._varint()
        self._at += size
        if self._at > len(self._data):
            message = "the footer ends early"
            raise ValueError(message)

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004 - the last one has no eighth bit
                return value
        message = "a number has too many bytes"
        raise ValueError(message)

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
