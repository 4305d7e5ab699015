"""zarr 3: an array in chunks, written in one commit, of which a part is read."""

from __future__ import annotations

import numpy as np
import zarr
from zarr.storage import FsspecStore

from readers.data import ROOT
from xet_ffi.fs import XetFileSystem

VALUES = np.random.default_rng(3).random((200, 300))

fs = XetFileSystem(asynchronous=True)
with fs.transaction as transaction:
    transaction.commit_message = "Add an array"
    array = zarr.create_array(
        FsspecStore(fs, path=f"{ROOT}/array.zarr"),
        shape=VALUES.shape,
        chunks=(50, 60),
        dtype=VALUES.dtype,
    )
    array[:] = VALUES
    array.attrs["unit"] = "m"

store = FsspecStore.from_url(f"xet://{ROOT}/array.zarr", read_only=True)
again = zarr.open_array(store, mode="r")
assert again.attrs["unit"] == "m"
assert np.array_equal(again[:], VALUES)
assert np.array_equal(again[10:70, ::3], VALUES[10:70, ::3])
assert again[-1, -1] == VALUES[-1, -1]

writable = FsspecStore(XetFileSystem(asynchronous=True), path=f"{ROOT}/array.zarr")
zarr.open_array(writable, mode="r+")[0, 0] = 7.5
assert zarr.open_array(store, mode="r")[0, 0] == 7.5
