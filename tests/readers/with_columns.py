"""Columns of a parquet file are where pyarrow says, and fetched before their reader asks."""

from __future__ import annotations

import asyncio

import pyarrow.parquet as pq

from readers.data import ROOT
from xet_ffi.fs import XetFileSystem
from xet_ffi.fs.columns import Columns, Part
from xet_ffi.fs.files import PlacedFile

NAME = f"{ROOT}/one.parquet"

#: The number of a column that no other program here reads: what was read is kept.
COLUMN = 20


def parts_of(file: PlacedFile) -> list[list[Part]]:
    """All parts, by group, as pyarrow finds them."""
    footer = pq.read_metadata(file)
    found = []
    for group in range(footer.num_row_groups):
        row_group = footer.row_group(group)
        columns = [row_group.column(number) for number in range(row_group.num_columns)]
        starts = [one.dictionary_page_offset or one.data_page_offset for one in columns]
        ends = [
            start + one.total_compressed_size for start, one in zip(starts, columns, strict=True)
        ]
        found.append(
            [
                Part(start, end, number, group)
                for number, (start, end) in enumerate(zip(starts, ends, strict=True))
            ]
        )
    return found


def received(fs: XetFileSystem, file: PlacedFile, part: Part) -> int:
    """Reads a part, waits for what that has begun, and returns the bytes that came for all that."""
    before = file.report().bytes_network
    file.seek(part.start)
    assert len(file.read(part.end - part.start)) == part.end - part.start
    asyncio.run(fs.hub.threads.close())
    return file.report().bytes_network - before


still = XetFileSystem(readahead=False)
with still.open(NAME) as file:
    parts = parts_of(file)
    columns = Columns.of(file.size, file.read_at)
    assert columns is not None
    assert columns.within(0, file.size) == [part for group in parts for part in group]
    assert len(parts) == 4
    size = parts[0][COLUMN].end - parts[0][COLUMN].start
    longest = 128 << 10  # of a chunk
    came = received(still, file, parts[0][COLUMN])
    assert size / 2 < came < size + 2 * longest, (size, came)

ahead = XetFileSystem()
with ahead.open(NAME) as file:
    # Whoever opens it next needs no footer: it's known what is where.
    pq.read_metadata(file)
with ahead.open(NAME) as file:
    first, *others = (received(ahead, file, group[COLUMN]) for group in parts)
    # The next two come with the first one, which is here already; the last one then or later, as
    # the library notices steps, too.
    assert first > size * 3 / 2, (size, first)
    assert first + others[0] > size * 5 / 2, (size, first, others)
    assert others[1:] == [0, 0], others
