"""Reads columns of a parquet file in place by one client, as a process of its own.

``table_client.py CLIENT READER ENDPOINT REPO DIGEST``. Reports the seconds from the question for
the file to the table; then writes to the file DIGEST what it holds, as its hash.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from report import report

NAME = "table.parquet"

#: Which columns are read: no neighbours, or few requests would be enough for all.
WANTED = ("c07", "c42", "c93")

#: Each client's protocol.
PROTOCOLS = {"ours": "xet", "official": "hf"}


def pyarrow(protocol: str, endpoint: str, path: str) -> Callable[[], Any]:
    """The work for pyarrow, whose table is to be compared as pandas has it."""
    import fsspec
    import pyarrow.dataset  # noqa: F401 - it would be imported when the clock runs
    import pyarrow.parquet as pq

    system = fsspec.filesystem(protocol, endpoint=endpoint, token=False)
    return lambda: pq.read_table(path, columns=list(WANTED), filesystem=system)


def pandas(protocol: str, endpoint: str, path: str) -> Callable[[], Any]:
    """The work for pandas."""
    import fsspec
    import pandas as pd
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401 - they would be imported when the clock runs

    fsspec.get_filesystem_class(protocol)  # the same of the client
    options = {"endpoint": endpoint, "token": False}
    url = f"{protocol}://{path}"
    return lambda: pd.read_parquet(url, columns=list(WANTED), storage_options=options)


def main() -> None:
    """Does the work, and reports it."""
    client, reader, endpoint, repo, place = sys.argv[1:]
    make = {"pyarrow": pyarrow, "pandas": pandas}[reader]
    work = make(PROTOCOLS[client], endpoint, f"{repo}/{NAME}")
    started = time.perf_counter()
    table = work()
    report(time.perf_counter() - started)
    found = hashlib.sha256()
    for name in WANTED:
        found.update(table[name].to_numpy().tobytes())
    Path(place).write_text(f"{table.shape} {found.hexdigest()}")
    # pyarrow's threads may still let go of the file, which aborts a Python that is at its end.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
