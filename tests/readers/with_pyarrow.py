"""pyarrow: datasets of many files, with filters and projections, and single files."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from readers.data import GROUPS, ROOT, ROWS, SUMS, TABLE
from xet_ffi.fs import XetFileSystem

fs = XetFileSystem()
parts = ds.dataset(f"{ROOT}/parts", filesystem=fs, partitioning="hive")
assert len(parts.files) == len(GROUPS)
assert parts.count_rows() == ROWS
assert set(parts.schema.names) == set(TABLE.columns)
for group in GROUPS:
    found = parts.to_table(columns=["value"], filter=pc.field("group") == group)
    assert pc.sum(found["value"]).as_py() == SUMS[group]
one = pq.read_table(f"{ROOT}/one.parquet", filesystem=fs, columns=["id", "noise3"])
assert one.to_pandas().equals(TABLE[["id", "noise3"]])
with fs.open(f"{ROOT}/one.parquet") as file:
    groups = pq.ParquetFile(file, pre_buffer=True)
    assert groups.num_row_groups == 4
    third = groups.read_row_group(2, columns=["text"])
    assert third["text"].to_pylist() == TABLE["text"].tolist()[20_000:30_000]
    assert file.report().bytes_read < file.size / 4
