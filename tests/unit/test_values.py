"""Listings, reports and progress are plain immutable values."""

import copy
import dataclasses
import inspect
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

import xet_ffi
from xet_ffi import CommitAdd, CommitCopy, CommitDelete, FileInfo, FileTransfer, Transfer, cache

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
            local_path="/cache/model.bin",
            hash="2" * 64,
            hash_kind="xet",
            verified=True,
        ),
    ),
    sources_dropped=7,
)


def test_values_compare_hash_and_print_by_value() -> None:
    """Like tuples with names."""
    assert pickle.loads(pickle.dumps(TRANSFER)) == TRANSFER
    same = pickle.loads(pickle.dumps(FILE))
    assert same == FILE
    assert hash(same) == hash(FILE)
    assert len({FILE, same}) == 1
    assert dataclasses.replace(FILE, size=6) != FILE
    assert repr(FILE).startswith("FileInfo(path='a/b.bin', size=5, hash='000")


def test_values_cannot_be_changed() -> None:
    """A Progress that a callback keeps is still what it was."""
    with pytest.raises(AttributeError):
        FILE.size = 6  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del FILE.size
    # Before Python 3.12, what isn't a field is refused with a TypeError.
    with pytest.raises((AttributeError, TypeError)):
        FILE.other = 6  # type: ignore[attr-defined]
    assert FILE.size == 5
    assert not hasattr(FILE, "__dict__")


PUBLIC = [*map(vars(xet_ffi).get, xet_ffi.__all__), *map(vars(cache).get, cache.__all__)]


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for cls in PUBLIC
        if isinstance(cls, type)
        and not issubclass(cls, Exception)
        and cls not in {xet_ffi.Client, xet_ffi.Listing}
    ],
)
def test_every_value_is_a_frozen_dataclass_with_slots(cls: type[Any]) -> None:
    """So that whatever takes dataclasses takes them; a report takes its fields by name."""
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__dict__" not in dir(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    assert list(vars(cls)["__slots__"]) == names
    described = re.findall(r"^    (\w+): ", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    assert described == names


def test_the_tools_of_dataclasses_work() -> None:
    """`asdict` reaches into reports, `replace` makes another, `match` knows the fields."""
    (file,) = TRANSFER.file_transfers
    assert dataclasses.asdict(TRANSFER)["file_transfers"] == (dataclasses.asdict(file),)
    assert dataclasses.replace(TRANSFER, seconds=0.0).files == TRANSFER.files
    assert copy.deepcopy(TRANSFER) == TRANSFER
    match TRANSFER:
        case Transfer(path=path, file_transfers=(FileTransfer(way="xet", retries=retries),)):
            assert (path, retries) == ("model.bin", 5)
        case _:
            pytest.fail("no match")


def test_operations_are_matched_by_position() -> None:
    """They are made so, too."""
    seen: list[tuple[object, ...]] = []
    for operation in (CommitAdd("a", b"1"), CommitDelete("b/"), CommitCopy("c", "d")):
        match operation:
            case CommitAdd(path, source):
                seen.append((path, source))
            case CommitDelete(path):
                seen.append((path,))
            case CommitCopy(src, path, None):
                seen.append((src, path))
    assert seen == [("a", b"1"), ("b/",), ("c", "d")]


def test_a_transfer_is_a_path(tmp_path: Path) -> None:
    """It goes wherever a path goes."""
    file = tmp_path / "model.bin"
    file.write_bytes(b"x")
    transfer = dataclasses.replace(TRANSFER, path=str(file))
    assert os.fspath(transfer) == str(file)
    assert Path(transfer).read_bytes() == b"x"
    with open(transfer, "rb") as opened:  # noqa: PTH123 - what the README promises
        assert opened.read() == b"x"
