"""Polars, through pyarrow, and from a file that is open."""

from __future__ import annotations

import polars as pl
import pyarrow.dataset as ds

from readers.data import ROOT, SUMS, TABLE
from xet_ffi.fs import XetFileSystem

fs = XetFileSystem()
parts = ds.dataset(f"{ROOT}/parts", filesystem=fs, partitioning="hive")
lazy = pl.scan_pyarrow_dataset(parts)
sums = lazy.group_by("group").agg(pl.col("value").sum()).collect()
assert dict(sums.iter_rows()) == SUMS
few = lazy.filter(pl.col("id") < 5).select("id", "text").sort("id").collect()
assert few["text"].to_list() == TABLE["text"].tolist()[:5]
with fs.open(f"{ROOT}/one.parquet") as file:
    values = pl.read_parquet(file, columns=["value"])
assert values["value"].to_list() == TABLE["value"].tolist()
