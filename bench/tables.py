"""A few columns of a wide parquet file, read in place: ``make bench-tables``.

Three of a hundred columns, by pyarrow and by pandas, over ``xet://`` against HfFileSystem with its
own settings. On one xet-hub, in turn, each run a process of its own with an empty cache, on
loopback and behind 50 ms of delay each way. What was read is compared by its hash when the clock
has stopped. Bytes are counted by the hub, and compared with the chunks that the columns are in.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from held import Held  # noqa: E402
from measure import median  # noqa: E402
from reading import COLUMNS, compare, row  # noqa: E402
from run import ALICE, MIB, begin, parser, stage  # noqa: E402
from table_client import NAME, WANTED  # noqa: E402
from tensors import line  # noqa: E402

if TYPE_CHECKING:
    from hub import Hub
    from xet_ffi import Client

WIDTH = 100

#: Rows in a row group: what pyarrow writes unless told otherwise, and what DuckDB does.
GROUPS = {"alice/pyarrow": 1 << 20, "alice/duckdb": 122_880}


def publish(client: Client, scratch: Path, repo: str, size: int) -> list[tuple[int, int]]:
    """Puts a table on the hub, and returns where in its file the columns are that are read.

    It is written with pyarrow's own settings, but for the row groups. Its floats are noise, NaN
    among them, which neither snappy nor Xet makes smaller.
    """
    path, rng = scratch / NAME, np.random.default_rng(GROUPS[repo])  # nothing in common
    rows = size * MIB // (4 * WIDTH)
    noise = {
        f"c{number:02}": rng.integers(0, 1 << 32, rows, dtype="u4").view("f4")
        for number in range(WIDTH)
    }
    pq.write_table(pa.table(noise), path, row_group_size=GROUPS[repo])
    client.create_repo(repo)
    client.upload_file(str(path), NAME, repo)
    footer = pq.read_metadata(path)
    path.unlink()
    names = footer.schema.names
    found = []
    for group in range(footer.num_row_groups):
        for name in WANTED:
            column = footer.row_group(group).column(names.index(name))
            start = column.dictionary_page_offset or column.data_page_offset
            found.append((start, start + column.total_compressed_size))
    return found


def chunks(hub: Hub, repo: str, columns: list[tuple[int, int]]) -> int:
    """Bytes of the chunks that the columns are in, each counted once."""
    held = Held(hub.describe(repo, NAME)["chunk_lengths"])
    held.add(*zip(*columns, strict=True))
    return held.size()


def main() -> None:
    """Runs all cases and prints the table."""
    from xet_ffi import Client

    options = parser(__doc__, 1024, "the table")
    options.add_argument("--delay", type=int, nargs="*", default=[0, 50], help="ms each way")
    told = options.parse_args()
    with stage(told) as bench:
        hub, scratch = bench.hub, bench.scratch
        with Client(hub.endpoint, token=ALICE.secret, cache_dir=scratch / "cache") as client:
            columns = {repo: publish(client, scratch, repo, told.size) for repo in GROUPS}
        least = {repo: chunks(hub, repo, columns[repo]) / MIB for repo in GROUPS}
        begin(bench, *COLUMNS, "ours / the columns' chunks")
        for repo, size in GROUPS.items():
            for reader in ("pyarrow", "pandas"):
                for delay in told.delay:
                    with line(hub, delay) as endpoint:
                        samples = compare(bench, "table_client.py", reader, endpoint, repo)
                    share = median(samples["ours"].megabytes) / least[repo]
                    title = f"{reader}, groups of {size:,} rows | {delay} ms"
                    print(f"{row(title, samples)} {share:.3f} |", flush=True)
    for repo, size in GROUPS.items():
        count = len(columns[repo])
        in_all = sum(end - start for start, end in columns[repo]) / MIB
        print(
            f"\nGroups of {size:,} rows: {count // len(WANTED)}; the columns have {in_all:.1f} MiB "
            f"in {count} parts, in chunks of {least[repo]:.1f} MiB."
        )


if __name__ == "__main__":
    main()
