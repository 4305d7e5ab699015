"""Dask: workers in processes of their own read parts of a table, and write some."""

from __future__ import annotations

import dask.dataframe as dd
from dask.distributed import Client, LocalCluster

from readers.data import ROOT, ROWS, SUMS


def main() -> None:
    """Must not run where a worker imports it."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        frame = dd.read_parquet(f"xet://{ROOT}/parts", columns=["group", "value"])
        assert len(frame) == ROWS
        sums = frame.groupby("group")["value"].sum().compute()
        assert {str(group): int(total) for group, total in sums.items()} == SUMS
        one = dd.read_parquet(f"xet://{ROOT}/one.parquet", split_row_groups=True, columns=["value"])
        assert one.npartitions == 4
        assert int(one["value"].sum().compute()) == sum(SUMS.values())
        one.to_parquet(f"xet://{ROOT}/dask")
        again = dd.read_parquet(f"xet://{ROOT}/dask")
        assert int(again["value"].sum().compute()) == sum(SUMS.values())


if __name__ == "__main__":
    main()
