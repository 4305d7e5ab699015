"""Publishes the table: as pandas and pyarrow write it, in one file and in many, a commit each."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds

from readers.data import ROOT, TABLE
from xet_ffi.fs import XetFileSystem

TABLE.to_parquet(f"xet://{ROOT}/one.parquet", row_group_size=10_000)
TABLE[["id", "text"]].to_csv(f"xet://{ROOT}/one.csv.gz", index=False)

fs = XetFileSystem()
with fs.transaction as transaction:
    transaction.commit_message = "Add a file for each group"
    ds.write_dataset(
        pa.Table.from_pandas(TABLE, preserve_index=False),
        f"{ROOT}/parts",
        filesystem=fs,
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("group", pa.string())]), flavor="hive"),
    )
