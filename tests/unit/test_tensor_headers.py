"""Headers of safetensors files: what the format allows is read as the official reader has it."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.numpy import save

from xet_ffi import XetError
from xet_ffi.safetensors import InvalidSafetensorsError, TensorInfo
from xet_ffi.safetensors import _header as header
from xet_ffi.safetensors._dtypes import BITS

ONE: dict[str, Any] = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


def packed(text: str | bytes, data: bytes = b"") -> bytes:
    """A file with that header."""
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded + data


def read(file: bytes) -> tuple[list[TensorInfo], dict[str, str]]:
    """What we make of a file."""
    length = header.length(file[: header.LENGTH], len(file), "org/repo", "a.safetensors")
    text = file[header.LENGTH : header.LENGTH + length]
    return header.parse(text, len(file), "org/repo", "a.safetensors")


def official(file: bytes) -> dict[str, Any] | None:
    """What the official reader makes of it; None if it refuses."""
    try:
        return dict(safetensors.deserialize(file))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return None


def ours(file: bytes) -> dict[str, TensorInfo] | None:
    """The same of ours."""
    try:
        return {info.name: info for info in read(file)[0]}
    except InvalidSafetensorsError:
        return None


def same(file: bytes) -> None:
    """Both refuse it, or find the same tensors, with the same bytes."""
    theirs, found = official(file), ours(file)
    assert (theirs is None) == (found is None)
    for name, tensor in (theirs or {}).items():
        info = (found or {})[name]
        assert (info.dtype, list(info.shape)) == (tensor["dtype"], tensor["shape"])
        assert file[info.offset : info.offset + info.size] == bytes(tensor["data"])


def test_what_the_official_package_has_written_is_read() -> None:
    """With names and metadata of all sorts, scalars, and what is empty."""
    arrays = {
        "a.weight": np.arange(12, dtype="f4").reshape(3, 4),
        "scalar": np.array(7, dtype="i8"),
        "empty": np.empty((0, 3), dtype="f2"),
        '☃ "quoted" \\': np.ones(5, dtype="?"),
    }
    file = save(arrays, {"format": "np", "☃": ""})
    tensors, metadata = read(file)
    assert metadata == {"format": "np", "☃": ""}
    assert {info.name for info in tensors} == arrays.keys()
    for info in tensors:
        assert file[info.offset : info.offset + info.size] == arrays[info.name].tobytes()
    same(file)


#: What may be wrong with one tensor of four bytes.
CHANGES: dict[str, dict[str, Any]] = {
    "an unknown dtype": {"dtype": "F128"},
    "a dtype that is a list": {"dtype": ["U8"]},
    "a shape that is a number": {"shape": 4},
    "a shape with a fraction": {"shape": [4.0]},
    "a shape with a truth": {"shape": [True, 4]},
    "a shape below zero": {"shape": [-4]},
    "a shape that is too large": {"shape": [2**62, 4]},
    "a shape that is too large for what is empty": {
        "shape": [0, 2**40, 2**40],
        "data_offsets": [0, 0],
    },
    "a shape of many axes": {"shape": [4, *[1] * 100]},
    "a shape that needs more": {"shape": [5]},
    "a dtype that needs more": {"dtype": "F32"},
    "offsets backwards": {"data_offsets": [4, 0], "shape": [0]},
    "one offset": {"data_offsets": [4]},
    "three offsets": {"data_offsets": [0, 4, 4]},
    "offsets below zero": {"data_offsets": [-4, 0]},
    "offsets behind the end": {"data_offsets": [0, 5], "shape": [5]},
    "offsets far behind the end": {"data_offsets": [2**63, 2**63 + 4]},
    "bytes before it": {"data_offsets": [1, 4], "shape": [3]},
    "bytes behind it": {"data_offsets": [0, 3], "shape": [3]},
    "a part of a byte": {"dtype": "F4", "shape": [7]},
}

HOSTILE = {
    "nothing": b"",
    "seven bytes": bytes(7),
    "a header of nothing": packed(""),
    "longer than the file": struct.pack("<Q", 100) + b"{}",
    "longer than any file": struct.pack("<Q", 2**64 - 1) + b"{}",
    "no JSON": packed("{nonsense"),
    "a list": packed("[]"),
    "a space first": packed(" {}"),
    "two values": packed("{} {}"),
    "not UTF-8": packed(b'{"\xff": 1}'),
    "half a character": packed(json.dumps({"\ud800": ONE}), bytes(4)),
    "NaN": packed(json.dumps({"x": ONE | {"more": math.nan}}), bytes(4)),
    "nested too deep": packed('{"x": ' + "[" * 100_000),
    "a number of many digits": packed('{"x": ' + "9" * 10_000 + "}"),
    "a name twice": packed(json.dumps({"x": ONE, "y": ONE}).replace("y", "x"), bytes(4)),
    "a key twice": packed(
        '{"x": {"dtype": "U8", "dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}', bytes(4)
    ),
    "metadata that is a number": packed('{"__metadata__": 1}'),
    "metadata with a number": packed('{"__metadata__": {"x": 1}}'),
    "a tensor that is a number": packed('{"x": 1}'),
    "a tensor that is a text": packed('{"x": "dtype shape data_offsets"}'),
    **{
        f"no {missing}": packed(
            json.dumps({"x": {key: ONE[key] for key in ONE if key != missing}}), bytes(4)
        )
        for missing in ONE
    },
    **{what: packed(json.dumps({"x": ONE | change}), bytes(4)) for what, change in CHANGES.items()},
    "an overlap": packed(json.dumps({"x": ONE, "y": ONE | {"data_offsets": [3, 7]}}), bytes(7)),
    "the same place twice": packed(json.dumps({"x": ONE, "y": ONE}), bytes(4)),
    "a gap": packed(json.dumps({"x": ONE, "y": ONE | {"data_offsets": [5, 9]}}), bytes(9)),
    "bytes of nobody": packed("{}", b"x"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_the_format_does_not_allow_is_refused(what: str) -> None:
    """With a typed error that names the repo, the file and the reason."""
    with pytest.raises(
        InvalidSafetensorsError, match=r"org/repo: a\.safetensors is not a valid"
    ) as e:
        read(HOSTILE[what])
    assert isinstance(e.value, XetError)
    assert isinstance(e.value, ValueError)
    assert (e.value.kind, e.value.repo, e.value.file) == (
        "invalid_safetensors",
        "org/repo",
        "a.safetensors",
    )
    assert len(str(e.value)) < 500


def test_a_header_is_no_longer_than_the_format_allows() -> None:
    """One byte more than that is refused before any of it is read."""
    most = header.LARGEST
    assert header.length(struct.pack("<Q", most), most + 8, "r", "f") == most
    with pytest.raises(InvalidSafetensorsError, match="at most 100,000,000 are allowed"):
        header.length(struct.pack("<Q", most + 1), most + 9, "r", "f")


NAMES = st.sampled_from(["a", "b", "__metadata__", "", "ä", "\0", "\ud800"])
NUMBERS = st.one_of(
    st.integers(-1, 6), st.sampled_from([2**31, 2**62, 2**64, 1.0, True, None, "1", 2**80])
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from([*BITS, "F128", 1]),
        "shape": st.one_of(st.lists(NUMBERS, max_size=3), st.none()),
        "data_offsets": st.one_of(st.lists(NUMBERS, min_size=1, max_size=3)),
        "more": st.none(),
    },
)


@given(
    st.dictionaries(
        NAMES, st.one_of(ENTRIES, ENTRIES, st.sampled_from([None, "x", 1, {"x": "y"}])), max_size=3
    ),
    st.integers(0, 12),
)
def test_headers_of_all_sorts_are_taken_or_refused_as_the_official_reader_does(
    entries: dict[str, Any], size: int
) -> None:
    """Names, numbers and types where they belong, and where they don't."""
    shapes = [e["shape"] for e in entries.values() if isinstance(e, dict) and e.get("shape")]
    # Where nothing is in it, a shape may be of any size there; we refuse what no array can have.
    numbers = [[n for n in shape if type(n) is int and n > 0] for shape in shapes]
    assume(all(math.prod(positive) < 2**50 for positive in numbers))
    same(packed(json.dumps(entries), bytes(size)))


@st.composite
def tilings(draw: st.DrawFn) -> bytes:
    """Headers that may well be right: tensors side by side, one of them a little off."""
    entries: dict[str, Any] = {}
    at = 0
    for number in range(draw(st.integers(0, 4))):
        dtype = draw(st.sampled_from(sorted(BITS)))
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        size = math.prod(shape) * BITS[dtype] // 8
        off = draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1]))
        offsets = [at + off, at + off + size]
        entries[str(number)] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        at += size
    ordered = draw(st.permutations(list(entries)))
    text = json.dumps({name: entries[name] for name in ordered})
    padding = " " * draw(st.integers(0, 8))
    return packed(text + padding, bytes(max(0, at + draw(st.sampled_from([0, 0, 0, 1, -1])))))


@given(tilings())
def test_tensors_that_fit_together_are_read_as_the_official_reader_has_them(file: bytes) -> None:
    """In whatever order they stand, empty ones and packed ones among them."""
    same(file)


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(min_size=1, max_size=3))
def test_no_bytes_are_anything_but_read_or_refused(junk: bytes, at: int, flip: bytes) -> None:
    """Noise, and a good file with some bytes changed."""
    good = save({"a": np.arange(3, dtype="u1"), "b": np.arange(2, dtype="f4")})
    for file in (junk, packed(junk), good[:at] + flip + good[at + len(flip) :]):
        found = ours(file)
        if found is not None:
            assert official(file) is not None
