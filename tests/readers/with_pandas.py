"""pandas: columns of a parquet file, a compressed CSV, lines of JSON; and what it writes."""

from __future__ import annotations

import pandas as pd

from readers.data import ROOT, TABLE

columns = ["value", "text"]
some = pd.read_parquet(f"xet://{ROOT}/one.parquet", columns=columns)
pd.testing.assert_frame_equal(some, TABLE[columns])

rows = pd.read_parquet(f"xet://{ROOT}/one.parquet", filters=[("id", ">=", 39_990)])
assert rows["text"].tolist() == TABLE["text"].tolist()[-10:]

texts = pd.read_csv(f"xet://{ROOT}/one.csv.gz")
pd.testing.assert_frame_equal(texts, TABLE[["id", "text"]], check_dtype=False)

TABLE[:100][columns].to_json(f"xet://{ROOT}/some.jsonl", orient="records", lines=True)
lines = pd.read_json(f"xet://{ROOT}/some.jsonl", lines=True)
pd.testing.assert_frame_equal(lines, TABLE[:100][columns], check_dtype=False)
