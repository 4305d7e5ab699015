"""Buffers of the caller's are given back when a call ends, however it ends.

Python crashes where it collects a `memoryview` together with what has it still: an exception that
somebody keeps has a traceback, whose frames have the arguments of the call, and each other.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interpreter import python

COMMIT = "c" * 40

CALLS = {
    "upload": 'client.upload_file(view, "x.bin", "org/name")',
    "commit": 'client.create_commit("org/name", [CommitAdd("x.bin", view), None])',
    "group": "client.storage(cas).uploads().write(99, view)",
    "readinto": "file.readinto_at(0, view, timeout=-1)",
    "ranges": "file.readinto_ranges([(0, view), (8, view[8:])], timeout=-1)",
    "wrong range": "file.readinto_ranges([(0, view), (-1, view[8:])])",
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that has a file."""
    repo = tmp_path / "models--org--name"
    blob = repo / "blobs" / ("1" * 40)
    file = repo / "snapshots" / COMMIT / "config.json"
    for folder in (blob.parent, file.parent, repo / "refs"):
        folder.mkdir(parents=True)
    blob.write_bytes(b"0123456789")
    file.symlink_to(f"../../blobs/{blob.name}")
    (repo / "refs" / "main").write_text(COMMIT)
    return tmp_path


@pytest.mark.parametrize("name", CALLS)
def test_an_error_that_is_kept_keeps_no_buffer(name: str, cache: Path) -> None:
    """The call fails, its error is collected with all that it has, and Python goes on."""
    finished = python(f"""
import gc
from xet_ffi import Client, CommitAdd
client = Client("http://127.0.0.1:9", token="hf_x", cache_dir={str(cache)!r}, offline=True)
file = client.open("org/name", "config.json", local_files_only=True)
cas = "local://{cache}/cas"
def fail():
    view = memoryview(bytearray(16))
    try:
        {CALLS[name]}
    except Exception as error:
        kept = error
    else:
        raise AssertionError
for _ in range(10):
    fail()
gc.collect()
print("fine")
""")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "fine\n", "")
