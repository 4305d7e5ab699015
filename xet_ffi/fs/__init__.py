"""Repos as a file system of fsspec: `xet://`, for pandas, pyarrow, DuckDB, Dask, zarr and the like.

    import pandas as pd

    table = pd.read_parquet("xet://datasets/org/corpus/train.parquet", columns=["text"])

    from xet_ffi.fs import XetFileSystem

    fs = XetFileSystem()
    fs.glob("datasets/org/corpus@refs/pr/3/**.parquet")

Paths are those of huggingface_hub's HfFileSystem:

    [datasets/ or spaces/]NAMESPACE/NAME[@REVISION][/PATH]

Files are read in place, as `Client.open` has it; what is written becomes a commit. It needs fsspec:
`pip install 'xet-ffi[fs]'`.
"""

from __future__ import annotations

try:
    import fsspec as _  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "fsspec":
        raise
    message = "xet_ffi.fs needs fsspec: pip install 'xet-ffi[fs]'"
    raise ImportError(message, name="fsspec") from error

from xet_ffi.fs.writing import XetFileSystem

__all__ = ["XetFileSystem"]
