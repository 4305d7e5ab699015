"""Listings, reports and progress are plain immutable values."""

import os
import pickle
from pathlib import Path

import pytest

from xet_ffi import FileInfo, FileTransfer, Progress, Transfer
from xet_ffi._record import Record

FILE = FileInfo(path="a/b.bin", size=5, hash="0" * 40, kind="xet", sha256="1" * 64, xet_hash=None)
TRANSFER = Transfer(
    path="model.bin",
    files=1,
    bytes_total=2,
    bytes_network=3,
    bytes_reused=4,
    retries=5,
    fallbacks=6,
    stalls=7,
    refreshes=8,
    refetches=9,
    seconds=7.5,
    commit="c" * 40,
    file_transfers=(
        FileTransfer(
            path="model.bin",
            way="xet",
            bytes_total=2,
            bytes_network=3,
            bytes_reused=4,
            retries=5,
            fallbacks=6,
        ),
    ),
    sources_dropped=7,
)


def test_records_compare_hash_and_print_by_value() -> None:
    """Like tuples with names."""
    assert pickle.loads(pickle.dumps(TRANSFER)) == TRANSFER
    same = pickle.loads(pickle.dumps(FILE))
    assert same == FILE
    assert hash(same) == hash(FILE)
    assert len({FILE, same}) == 1
    assert FILE != TRANSFER
    assert repr(FILE).startswith("FileInfo(path='a/b.bin', size=5, hash='000")


@pytest.mark.parametrize("name", ["size", "other"])
def test_records_cannot_be_changed(name: str) -> None:
    """A Progress that a callback keeps is still what it was."""
    with pytest.raises(AttributeError):
        setattr(FILE, name, 6)
    with pytest.raises(AttributeError):
        delattr(FILE, name)
    assert FILE.size == 5


@pytest.mark.parametrize("cls", [FileInfo, FileTransfer, Progress, Transfer])
def test_the_fields_of_a_record_are_its_annotations(cls: type[Record]) -> None:
    """Type checkers read the annotations, the constructor reads the slots."""
    assert tuple(cls.__annotations__) == cls.__slots__
    with pytest.raises(TypeError, match="takes the fields"):
        cls(nonsense=1)


def test_a_transfer_is_a_path(tmp_path: Path) -> None:
    """It goes wherever a path goes."""
    file = tmp_path / "model.bin"
    file.write_bytes(b"x")
    values = {name: getattr(TRANSFER, name) for name in TRANSFER.__slots__}
    transfer = Transfer(**{**values, "path": str(file)})
    assert os.fspath(transfer) == str(file)
    assert Path(transfer).read_bytes() == b"x"
    with open(transfer, "rb") as opened:  # noqa: PTH123 - what the README promises
        assert opened.read() == b"x"
