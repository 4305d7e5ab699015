"""Parts of tensors: what is read, and where it goes, is what numpy's own indexing has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xet_ffi import InvalidConfigError
from xet_ffi.safetensors import Tensor, TensorInfo
from xet_ffi.safetensors import _reading as reading

#: Where the tensor is in its file.
OFFSET = 13


def tensor(array: np.ndarray[Any, Any], dtype: str) -> Tensor:
    """An array as a tensor of a file, of which nothing can be read."""
    info = TensorInfo(
        name="x", dtype=dtype, shape=array.shape, file="f", offset=OFFSET, size=array.nbytes
    )
    return Tensor(None, info)  # type: ignore[arg-type] # nothing here reads


def read(part: Tensor, file: bytes) -> tuple[bytes, list[reading.Batch]]:
    """Reads a part out of a file in memory, as `load` does out of one on the Hub."""
    out = bytearray(part.size)
    done = list(reading.batches([("f", part.combs(), memoryview(out))]))
    for batch in done:
        for range_ in batch.reads:
            source = memoryview(file)[range_.offset : range_.offset + range_.length]
            assert len(source) == range_.length
            if not range_.combs:
                range_.target[:] = source
            for comb in range_.combs:
                begin = comb.source - range_.offset
                reading.copy(comb, source[begin : comb.end - range_.offset], range_.target)
    return bytes(out), done


def a_file(array: np.ndarray[Any, Any]) -> bytes:
    """The file that it is in, with other bytes around it."""
    return b"\xaa" * OFFSET + array.tobytes() + b"\xbb" * 9


@st.composite
def indexed(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    """A shape, and an index for it."""
    shape = tuple(draw(st.lists(st.integers(0, 7), max_size=4)))
    index: list[Any] = []
    for length in shape[: draw(st.integers(0, len(shape)))]:
        bound = st.none() | st.integers(-length - 2, length + 2)
        if length and draw(st.booleans()):
            index.append(draw(st.integers(-length, length - 1)))
        else:
            index.append(slice(draw(bound), draw(bound)))
    if draw(st.booleans()):
        index.insert(draw(st.integers(0, len(index))), Ellipsis)
        # What stands behind the dots is for the last axes.
        dots = index.index(Ellipsis)
        tail = index[dots + 1 :]
        lengths = shape[len(shape) - len(tail) :] if tail else ()
        index[dots + 1 :] = [
            min(item, length - 1) if isinstance(item, int) and length else slice(None)
            for item, length in zip(tail, lengths, strict=True)
        ]
        index[dots + 1 :] = [
            max(item, -length) if isinstance(item, int) else item
            for item, length in zip(index[dots + 1 :], lengths, strict=True)
        ]
    return shape, tuple(index)


@given(indexed(), st.sampled_from(["u1", "<u2", "<f4", "<f8"]), st.sampled_from([0, 3, 1000]))
def test_a_part_is_what_numpy_has_at_that_index(
    what: tuple[tuple[int, ...], Any], dtype: str, small: int
) -> None:
    """Whatever counts as near, and as too large for one range."""
    shape, index = what
    size = math.prod(shape)
    array = np.arange(size, dtype="u8").astype(dtype).reshape(shape)
    name = {"u1": "U8", "<u2": "BF16", "<f4": "F32", "<f8": "F64"}[dtype]
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(reading, "NEAR", small)
            patch.setattr(reading, "SAME", small // 2)
            patch.setattr(reading, "LONG", 4 * small)
            patch.setattr(reading, "DIRECT", 2 * small)
            patch.setattr(reading, "BATCH", 8 * small)
            patch.setattr(reading, "CALL", 16 * small)
        part = tensor(array, name)[index]
        found, batches = read(part, a_file(array))
        assert all(one.length <= reading.BATCH for batch in batches for one in batch.reads)
    assert part.shape == array[index].shape
    assert found == array[index].tobytes()


@given(indexed(), indexed())
def test_a_part_of_a_part_is_a_part(
    first: tuple[tuple[int, ...], Any], second: tuple[tuple[int, ...], Any]
) -> None:
    """As with arrays, and what is wrong for those is wrong here."""
    shape, index = first
    array = np.arange(math.prod(shape), dtype="u1").reshape(shape)
    part = tensor(array, "U8")[index]
    try:
        expected = array[index][second[1]]
    except IndexError:
        with pytest.raises(IndexError):
            part[second[1]]
    else:
        assert read(part[second[1]], a_file(array))[0] == expected.tobytes()


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_ranks_have_all_of_it_together(ranks: int, axis: int) -> None:
    """In order; what doesn't divide is refused, or split as torch.chunk splits it."""
    array = np.arange(12 * 4 * 6, dtype="<i2").reshape(12, 4, 6)
    whole = tensor(array, "I16")
    length = array.shape[axis]
    if length % ranks:
        with pytest.raises(InvalidConfigError, match="uneven=True"):
            whole.shard(axis, 0, ranks)
    parts = [whole.shard(axis, rank, ranks, uneven=True) for rank in range(ranks)]
    arrays = [
        np.frombuffer(read(part, a_file(array))[0], "<i2").reshape(part.shape) for part in parts
    ]
    assert (np.concatenate(arrays, axis) == array).all()
    share = -(-length // ranks)
    assert [part.shape[axis] for part in parts] == [
        max(0, min(share, length - rank * share)) for rank in range(ranks)
    ]


def test_columns_are_one_range_and_rows_are_another() -> None:
    """What is between near runs is read with them, and nothing that isn't between any."""
    array = np.zeros((1000, 512), "<f4")
    rows = list(reading.plan(tensor(array, "F32")[10:20].combs(), memoryview(bytes(20480))))
    assert [(one.offset, one.length, one.combs) for one in rows] == [
        (OFFSET + 10 * 2048, 20480, ())
    ]
    part = tensor(array, "F32")[:, 128:256]
    (columns,) = reading.plan(part.combs(), memoryview(bytes(part.size)))
    assert (columns.offset, columns.length) == (OFFSET + 512, 999 * 2048 + 512)


def test_runs_that_are_far_from_each_other_go_to_their_places() -> None:
    """Each is a range of its own, and nothing between them is read."""
    array = np.zeros((8, 2 * reading.NEAR), "u1")
    part = tensor(array, "U8")[:, : reading.NEAR]
    ranges = list(reading.plan(part.combs(), memoryview(bytes(part.size))))
    assert [one.length for one in ranges] == [reading.NEAR] * 8
    assert not any(one.combs for one in ranges)


@pytest.mark.parametrize("width", [reading.DIRECT - 1, reading.DIRECT, reading.LONG])
def test_runs_are_not_copied_unless_they_are_very_short(width: int) -> None:
    """They go to their places from the network, however near they are."""
    part = tensor(np.zeros((4, width + 100), "u1"), "U8")[:, :width]
    (columns,) = reading.plan(part.combs(), memoryview(bytes(part.size)))
    assert columns.length == 3 * (width + 100) + width
    assert columns.is_copied == (width < reading.DIRECT)
    assert columns.ranges == (1 if columns.is_copied else 4)


def test_a_batch_has_a_limit_whatever_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory doesn't grow with tensors, and files take turns."""
    monkeypatch.setattr(reading, "CALL", reading.BATCH)
    long = TensorInfo(
        name="x", dtype="U8", shape=(5, reading.BATCH), file="f", offset=8, size=5 * reading.BATCH
    )
    out = memoryview(bytearray(long.size))
    parts = [
        (name, Tensor(None, long).combs(), out)  # type: ignore[arg-type] # nothing here reads
        for name in ("f", "g")
    ]
    done = list(reading.batches(parts))
    assert [batch.file for batch in done] == ["f", "g"] * 5
    assert {sum(one.length for one in batch.reads) for batch in done} == {reading.BATCH}
    short = tensor(np.zeros((4 * reading.BATCH // 64, 64), "u1"), "U8")[:, :2]
    copied = list(reading.batches([("f", short.combs(), memoryview(bytearray(short.size)))]))
    assert len(copied) >= 4
    assert all(sum(one.length for one in batch.reads) <= reading.BATCH for batch in copied)


def test_elements_of_less_than_a_byte_are_parted_at_bytes() -> None:
    """Two of F4 are one; half of one is refused when it's asked for."""
    array = np.arange(6, dtype="u1").reshape(2, 3)
    info = TensorInfo(name="x", dtype="F4", shape=(2, 6), file="f", offset=OFFSET, size=6)
    packed = Tensor(None, info)  # type: ignore[arg-type] # nothing here reads
    assert read(packed[:, 2:4], a_file(array))[0] == array[:, 1:2].tobytes()
    assert packed[1].size == 3
    for index in (np.s_[:, 1:3], np.s_[0, 3], np.s_[:, :5]):
        with pytest.raises(InvalidConfigError, match="whole bytes"):
            packed[index]


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (np.s_[::2], InvalidConfigError),
        (np.s_[::-1], InvalidConfigError),
        (np.s_[5], IndexError),
        (np.s_[-5], IndexError),
        (np.s_[0, 0, 0], IndexError),
        (np.s_[..., ...], IndexError),
        (np.s_["x"], TypeError),
        (np.s_[True], TypeError),
        (np.s_[None], TypeError),
        (np.s_[1.0], TypeError),
    ],
)
def test_what_is_no_part_is_refused(index: Any, error: type[Exception]) -> None:
    """Before anything is read."""
    whole = tensor(np.zeros((4, 6), "u1"), "U8")
    with pytest.raises(error):
        whole[index]


@pytest.mark.parametrize(("rank", "ranks"), [(-1, 2), (2, 2), (0, 0), (0, -1)])
def test_there_is_no_such_rank(rank: int, ranks: int) -> None:
    """Nor such an axis."""
    whole = tensor(np.zeros((4, 6), "u1"), "U8")
    with pytest.raises(InvalidConfigError, match="rank"):
        whole.shard(0, rank, ranks)
    for axis in (2, -3):
        with pytest.raises(InvalidConfigError, match="no axis"):
            whole.shard(axis, 0, 2)
