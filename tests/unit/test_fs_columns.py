"""Where a parquet file has its columns, and what its reader wants next of them.

That the same is read of what pyarrow writes, tests/readers/with_pyarrow.py says.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xet_ffi.fs.columns import MAGIC, Ahead, Columns, Part

SIZE = 1_000_000


def varint(value: int) -> bytes:
    """A number as Thrift's compact protocol has it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def integer(value: int) -> bytes:
    """The same with a sign."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def struct(*fields: tuple[int, int, bytes]) -> bytes:
    """A struct of fields: each a number, a kind, and its bytes."""
    out, before = b"", 0
    for number, kind, value in fields:
        step = number - before
        out += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + integer(number)
        out, before = out + value, number
    return out + b"\0"


def listed(kind: int, values: list[bytes]) -> bytes:
    """A list of values of a kind."""
    head = bytes([len(values) << 4 | kind]) if len(values) < 15 else bytes([0xF0 | kind])
    return head + (varint(len(values)) if len(values) >= 15 else b"") + b"".join(values)


def column(start: int, length: int, *, dictionary: int | None = None) -> bytes:
    """A ColumnChunk, with fields of all kinds around those that count."""
    meta = [
        (1, 5, integer(4)),
        (2, 9, listed(5, [integer(0), integer(3)])),
        (3, 9, listed(8, [varint(3) + b"c07"])),
        (5, 6, integer(300)),
        (7, 6, integer(length)),
        (8, 11, varint(1) + bytes([0x81]) + varint(2) + b"ab\1"),
        (9, 6, integer(start)),
        *([] if dictionary is None else [(11, 6, integer(dictionary))]),
        (12, 12, struct((1, 8, varint(200) + bytes(200)), (7, 1, b""), (8, 7, bytes(8)))),
        (40, 11, varint(0)),
        (41, 9, listed(1, [b"\1", b"\2"])),
        (42, 3, b"\7"),
    ]
    return struct((2, 6, integer(-1)), (3, 12, struct(*meta)))


def file_of(groups: list[list[bytes]]) -> bytes:
    """The end of a file with these columns; what is before it is nothing."""
    rows = [struct((1, 9, listed(12, columns)), (3, 6, integer(9))) for columns in groups]
    footer = struct((1, 5, integer(2)), (3, 6, integer(99)), (4, 9, listed(12, rows)))
    tail = footer + len(footer).to_bytes(4, "little") + MAGIC
    return bytes(SIZE - len(tail)) + tail


def columns_of(data: bytes) -> Columns | None:
    """What is found in it."""
    return Columns.of(len(data), lambda offset, length: data[offset : offset + length])


def test_a_footer_says_where_columns_are() -> None:
    """Each column of each group, from its dictionary on, if it has one."""
    groups = [
        [column(4, 100), column(150, 1000, dictionary=104)],
        [column(2000 + 10 * number, 10) for number in range(20)],
    ]
    found = columns_of(file_of(groups))
    assert found is not None
    assert found.part(0, 0) == (4, 104, 0, 0)
    assert found.part(1, 0) == (104, 1104, 1, 0)
    assert found.part(19, 1) == (2190, 2200, 19, 1)
    assert found.part(20, 1) is None
    assert found.part(0, 2) is None
    assert [(part.column, part.group) for part in found.within(100, 10)] == [(0, 0), (1, 0)]
    assert found.within(1104, 896) == []
    assert len(found.within(0, SIZE)) == 22


def test_parts_that_are_elsewhere_are_none() -> None:
    """In another file, or nowhere in this one."""
    elsewhere = struct((1, 8, varint(1) + b"x"), (3, 12, struct((7, 6, integer(9)))))
    found = columns_of(file_of([[column(SIZE - 5, 10), column(-7, 5), elsewhere, column(4, 0)]]))
    assert found is not None
    assert found.within(0, SIZE) == []


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b"PAR1",
        b"\0\0\0\0PAR1",
        b"\xff\xff\xff\xffPAR1",
        b"\x7f\x00\x00\x00PARE",
        struct((4, 9, b"\xfc" + varint(1 << 60))) + b"\x0c\0\0\0PAR1",
        struct((4, 9, b"\xf3" + varint(1 << 60))) + b"\x0c\0\0\0PAR1",
        b"\x8c" * 50_000 + (50_000).to_bytes(4, "little") + b"PAR1",
        b"\x15" + b"\xff" * 50_000 + (50_001).to_bytes(4, "little") + b"PAR1",
    ],
)
def test_what_is_no_footer_says_nothing(end: bytes) -> None:
    """Whoever has published it: no error, no endless loop, no deep recursion."""
    assert columns_of(bytes(8) + end) is None


@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_fuzz(chance: random.Random, flips: int) -> None:
    """What has been damaged says nothing, or something that is in the file."""
    data = bytearray(file_of([[column(4, 100), column(200, 50)]] * 3))
    length = int.from_bytes(data[-8:-4], "little")
    for _ in range(flips):
        data[-8 - chance.randrange(length)] ^= 1 << chance.randrange(8)
    found = columns_of(bytes(data))
    for part in found.within(0, SIZE) if found is not None else []:
        assert 0 <= part.start < part.end <= SIZE


def table(groups: int, width: int = 3, size: int = 100) -> Columns:
    """A table whose parts are one behind the other."""
    return Columns(
        [Part(at * size, (at + 1) * size, at % width, at // width) for at in range(groups * width)]
    )


def told(ahead: Ahead, group: int, column: int = 1) -> list[int]:
    """Which groups of a column are fetched when one is read."""
    found = ahead.note((group * 3 + column) * 100, 100)
    assert all(length == 100 and start // 100 % 3 == column for start, length in found)
    return [start // 300 for start, _ in found]


def test_of_a_column_comes_twice_as_much_as_was_read() -> None:
    """Two after one, so that three groups come in one go; each once, none behind the last."""
    ahead = Ahead(table(3), 10_000)
    assert [told(ahead, group) for group in range(3)] == [[1, 2], [], []]
    ahead = Ahead(table(12), 10_000)
    assert [told(ahead, group) for group in range(3)] == [[1, 2], [3, 4, 5], [6, 7, 8]]
    assert told(ahead, 2) == []
    assert [told(ahead, group) for group in range(3, 6)] == [[9, 10, 11], [], []]
    assert told(ahead, 0, column=2) == [1, 2]


def test_threads_read_in_any_order() -> None:
    """What was skipped is wanted next."""
    ahead = Ahead(table(9), 10_000)
    assert told(ahead, 0) == [1, 2]
    assert told(ahead, 5) == [3, 4]
    assert told(ahead, 3) == [6, 7, 8]
    assert told(ahead, 1) == []


def test_who_picks_a_group_gets_no_other() -> None:
    """Until he reads on."""
    ahead = Ahead(table(9), 10_000)
    assert told(ahead, 4) == []
    assert told(ahead, 4, column=2) == []
    assert told(ahead, 5) == [6]


def test_who_stops_or_skips_has_at_most_thrice_what_he_read() -> None:
    """Of each column, whichever groups are read; twice, if the first one isn't among them."""
    chance = random.Random(3)
    for first in [0, 1] * 25:
        ahead = Ahead(table(40), 1 << 20)
        came: set[int] = set()
        read = [first, *sorted(chance.sample(range(2, 40), 12))]
        for number, group in enumerate(read, 1):
            came.update(told(ahead, group))
            bound = number - 1 if first else 2 * number
            assert len(came.difference(read[:number])) <= bound


def test_no_more_waits_than_may() -> None:
    """All columns together; what is read makes room."""
    ahead = Ahead(table(9), 350)
    assert told(ahead, 0, column=0) == [1, 2]
    assert told(ahead, 0, column=1) == [1]
    assert told(ahead, 0, column=2) == []
    assert told(ahead, 1, column=0) == [3]
    assert told(ahead, 1, column=1) == [2]


def test_who_reads_all_gets_nothing_besides() -> None:
    """He is read ahead of as in any file."""
    ahead = Ahead(table(9), 10_000)
    assert ahead.note(0, 1000) == []
