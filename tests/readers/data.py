"""What the programs here write and read: a table of which every process makes the same."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

#: The repo, as the file system names it.
ROOT = f"datasets/{os.environ['READERS_REPO']}"

ROWS = 40_000
GROUPS = ("a", "b", "c")


def table() -> pd.DataFrame:
    """Some columns to ask for, and twenty that nobody does."""
    chance = np.random.default_rng(5)
    columns = {
        "id": np.arange(ROWS),
        "group": np.array(GROUPS)[np.arange(ROWS) % len(GROUPS)],
        "text": [f"row {number} of {ROWS}" for number in range(ROWS)],
        "value": chance.integers(0, 1_000, ROWS),
    }
    columns |= {f"noise{number}": chance.random(ROWS) for number in range(20)}
    return pd.DataFrame(columns)


TABLE = table()
SUMS = TABLE.groupby("group")["value"].sum().to_dict()
