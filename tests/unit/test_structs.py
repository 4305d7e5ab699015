"""Python arguments become C structs, or errors that name the argument."""

import math
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xet_ffi import InvalidConfigError
from xet_ffi._lib import ffi
from xet_ffi._strings import optional_text, text
from xet_ffi._structs import Struct

C_TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(C_TEXT)
def test_any_text_without_nul_arrives_unchanged(value: str) -> None:
    """Names and paths are Unicode on both sides."""
    options = Struct("XetListOptions")
    options.text("repo_id", value)
    assert text(options.pointer.repo_id) == value


@given(st.lists(C_TEXT, max_size=9))
def test_any_patterns_arrive_in_order(values: list[str]) -> None:
    """The array is as long as its `_len`, and ends with NULL besides."""
    options = Struct("XetDownloadOptions")
    options.texts("allow_patterns", values)
    native = options.pointer
    assert native.allow_patterns_len == len(values)
    assert [text(native.allow_patterns[i]) for i in range(len(values))] == values
    assert native.allow_patterns[len(values)] == ffi.NULL


def test_a_struct_says_how_large_it_is_and_is_zero_besides() -> None:
    """Zero means default everywhere, so a new field of the library is at its default."""
    native = Struct("XetDownloadOptions").pointer
    assert native.struct_size == ffi.sizeof("XetDownloadOptions")
    rest = bytes(ffi.buffer(native))[ffi.sizeof("uint32_t") :]
    assert rest.count(0) == len(rest)


def test_no_patterns_and_an_empty_list_differ() -> None:
    """None takes every file; an empty list takes none."""
    options = Struct("XetDownloadOptions")
    options.texts("allow_patterns", None)
    options.texts("ignore_patterns", [])
    assert options.pointer.allow_patterns == ffi.NULL
    assert options.pointer.ignore_patterns != ffi.NULL
    assert options.pointer.ignore_patterns_len == 0


def test_a_string_is_one_pattern() -> None:
    """As in huggingface_hub, and not a list of its letters."""
    options = Struct("XetDownloadOptions")
    options.texts("allow_patterns", "*.json")
    assert options.pointer.allow_patterns_len == 1
    assert text(options.pointer.allow_patterns[0]) == "*.json"


def test_paths_may_be_path_objects() -> None:
    """`local_dir` and `cache_dir` take what `open` takes."""
    options = Struct("XetDownloadOptions")
    options.text("local_dir", PurePosixPath("a/b"))
    assert text(options.pointer.local_dir) == "a/b"
    assert optional_text(options.pointer.filename) is None


@pytest.mark.parametrize("value", ["a\0b", "\0", "\udcff"])
def test_text_that_c_cannot_hold_is_refused_by_name(value: str) -> None:
    """Cut at a NUL character, a path would mean another file."""
    options = Struct("XetDownloadOptions")
    with pytest.raises(InvalidConfigError, match="filename") as caught:
        options.text("filename", value)
    assert caught.value.field == "filename"
    with pytest.raises(ValueError, match=r"allow_patterns\[1\]"):
        options.texts("allow_patterns", ["ok", value])


@pytest.mark.parametrize("value", [1, b"bytes", object(), True])
def test_what_is_not_text_is_a_type_error(value: Any) -> None:
    """As everywhere in Python."""
    with pytest.raises(TypeError, match="repo_id: expected str, not "):
        Struct("XetListOptions").text("repo_id", value)


def test_what_is_required_cannot_be_none() -> None:
    """Unlike what has a default."""
    with pytest.raises(TypeError, match="repo_id: expected str, not NoneType"):
        Struct("XetListOptions").required("repo_id", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(1, 1000), (0.5, 500), (1e-9, 1), (0.0011, 2), (None, 0)]
)
def test_times_are_seconds_and_never_round_to_no_limit(
    seconds: float | None, milliseconds: int
) -> None:
    """0 ms would mean "forever", the opposite of what a tiny timeout asks for."""
    options = Struct("XetListOptions")
    options.seconds("timeout", seconds)
    assert options.pointer.timeout_ms == milliseconds


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e10])
def test_a_time_that_makes_no_sense_is_refused(value: float) -> None:
    """Zero, negative, NaN, infinite, or more than 49 days."""
    with pytest.raises(InvalidConfigError, match="timeout"):
        Struct("XetListOptions").seconds("timeout", value)


@pytest.mark.parametrize("value", [0, -1, 2**32])
def test_a_count_that_c_cannot_hold_is_refused(value: int) -> None:
    """0 would silently mean the default."""
    with pytest.raises(InvalidConfigError, match="max_attempts"):
        Struct("XetClientOptions").count("max_attempts", value)


def test_a_count_may_be_as_large_as_its_field() -> None:
    """The header's type says how large that is."""
    options = Struct("XetClientOptions")
    options.count("max_attempts", 2**32 - 1)
    options.count("max_bytes_per_second", 2**64 - 1)
    assert options.pointer.max_attempts == 2**32 - 1
    assert options.pointer.max_bytes_per_second == 2**64 - 1
    with pytest.raises(InvalidConfigError, match=f"at most {2**64 - 1}, not {2**64}"):
        options.count("max_bytes_per_second", 2**64)


def test_strings_live_as_long_as_their_struct(tmp_path: Path) -> None:
    """C reads them during the call, long after the arguments that they came from are gone."""
    options = Struct("XetDownloadOptions")
    options.text("local_dir", tmp_path / "x")
    options.texts("allow_patterns", (f"{i}.bin" for i in range(1000)))
    bytes(1 << 20)  # whatever was freed by mistake is overwritten now
    assert text(options.pointer.local_dir) == str(tmp_path / "x")
    assert text(options.pointer.allow_patterns[999]) == "999.bin"
