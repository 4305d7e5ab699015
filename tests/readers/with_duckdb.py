"""DuckDB: SQL on one file and on many, and what it writes."""

from __future__ import annotations

import duckdb

from readers.data import ROOT, ROWS, SUMS, TABLE
from xet_ffi.fs import XetFileSystem

db = duckdb.connect()
db.register_filesystem(XetFileSystem())
sums = db.sql(f"SELECT \"group\", sum(value) FROM 'xet://{ROOT}/one.parquet' GROUP BY 1").fetchall()
assert {group: int(total) for group, total in sums} == SUMS
query = f"SELECT count(*), max(id) FROM read_parquet('xet://{ROOT}/parts/*/*.parquet')"
assert db.sql(query).fetchall() == [(ROWS, ROWS - 1)]
query = (
    f"SELECT sum(value) FROM read_parquet('xet://{ROOT}/parts/**/*.parquet',"
    " hive_partitioning=true) WHERE \"group\" = 'b'"
)
assert db.sql(query).fetchall() == [(SUMS["b"],)]
text = db.sql(f"SELECT text FROM 'xet://{ROOT}/one.parquet' WHERE id = 12345").fetchall()
assert text == [(TABLE["text"][12345],)]
db.execute(f"COPY (SELECT 7 AS answer) TO 'xet://{ROOT}/answer.parquet'")
assert db.sql(f"FROM 'xet://{ROOT}/answer.parquet'").fetchall() == [(7,)]
