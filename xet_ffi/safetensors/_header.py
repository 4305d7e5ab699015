"""The header of a safetensors file: which tensors it has, and where.

    8 bytes        N, the length of the header, little endian
    N bytes        JSON, {NAME: {"dtype": ..., "shape": [...], "data_offsets": [FROM, TO]}, ...},
                   which may end with spaces, and may have {"__metadata__": {TEXT: TEXT}} in it
    the rest       the tensors, row-major, each byte of exactly one of them

Files come from whoever publishes them. What the format doesn't allow is refused, so that no offset
of a header that passes leads out of its file, or into another tensor.
"""

from __future__ import annotations

import json
import math

from xet_ffi._dataclass import dataclass
from xet_ffi.safetensors._dtypes import BITS
from xet_ffi.safetensors._errors import malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LENGTH = 8
"""Bytes of the header's length."""

LARGEST = 100_000_000
"""The longest header that the format allows."""

METADATA = "__metadata__"

_MOST_AXES = 64
"""As numpy has."""

_MOST_BYTES = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """A tensor as the header of its file describes it. Immutable.

    Attributes:
        name: Its name.
        dtype: The type of its elements, as safetensors calls it: "F32", "BF16", "F8_E4M3", ...
        shape: Its lengths, outermost first; () is a scalar.
        file: Path of its file in the repo.
        offset: Where it begins in that file, in bytes.
        size: Bytes that it has there.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    offset: int
    size: int


class _Problem(Exception):  # noqa: N818 - it becomes an error, with the file's name
    """What is wrong with a header."""


def length(head: bytes, size: int, repo: str, file: str) -> int:
    """Returns the length of the header, of the first bytes of a file of `size` bytes.

    Raises:
        InvalidSafetensorsError: There is no header of that length.
    """
    if size < LENGTH:
        raise malformed(repo, file, f"it has {size} bytes, and a header begins with {LENGTH}")
    found = int.from_bytes(head[:LENGTH], "little")
    if found > LARGEST:
        raise malformed(repo, file, f"a header of {found:,} bytes; at most {LARGEST:,} are allowed")
    if found > size - LENGTH:
        raise malformed(repo, file, f"a header of {found:,} bytes, in a file of {size:,}")
    return found


def parse(
    header: bytes, size: int, repo: str, file: str
) -> tuple[list[TensorInfo], dict[str, str]]:
    """Returns the tensors of a file in their order there, and its metadata.

    Args:
        header: All of the JSON.
        size: Of the whole file, in bytes.
        repo: As errors name it.
        file: Path of the file in the repo.

    Raises:
        InvalidSafetensorsError: The format doesn't allow that.
    """
    try:
        entries = _loads(header)
        metadata = _metadata(entries.pop(METADATA, None))
        begin = LENGTH + len(header)
        found = [_tensor(name, entry, begin, file) for name, entry in entries.items()]
        found.sort(key=lambda tensor: (tensor.offset, tensor.size))
        _check_order(found, begin, size)
    except _Problem as problem:
        raise malformed(repo, file, str(problem)) from None
    return found, metadata


def _loads(header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        message = "its header doesn't begin with {"
        raise _Problem(message)
    try:
        entries: dict[str, Any] = json.loads(
            header.decode(), object_pairs_hook=_unique, parse_constant=_refuse
        )
    # Too deep, or a number with too many digits, or no JSON at all.
    except (ValueError, RecursionError) as error:
        message = f"its header is no JSON: {error}"
        raise _Problem(message) from None
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for twice, _ in pairs:
            if twice in seen:
                break
            seen.add(twice)
        message = f"{twice!r} stands twice in its header"
        raise _Problem(message)
    return made


def _refuse(constant: str) -> None:
    message = f"its header is no JSON: {constant}"
    raise _Problem(message)


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        message = f"its {METADATA} is not a text for each name"
        raise _Problem(message)
    return value


def _tensor(name: str, entry: Any, begin: int, file: str) -> TensorInfo:
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            message = f"the name {name!r} is not Unicode"
            raise _Problem(message) from None
    try:
        dtype, shape, offsets = (entry[key] for key in ("dtype", "shape", "data_offsets"))
    except (KeyError, TypeError, IndexError):
        message = f"tensor {name!r} has no dtype, shape and data_offsets"
        raise _Problem(message) from None
    bits = BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        message = f"tensor {name!r} has the dtype {dtype!r}, which the format doesn't know"
        raise _Problem(message)
    if not _is_numbers(shape) or len(shape) > _MOST_AXES:
        message = f"tensor {name!r} has a shape that isn't one"
        raise _Problem(message)
    if not _is_numbers(offsets) or len(offsets) != 2:  # noqa: PLR2004 - from, to
        message = f"tensor {name!r} has data_offsets that aren't two numbers"
        raise _Problem(message)
    # Also of what holds nothing, since no array can have such a shape.
    if math.prod(axis or 1 for axis in shape) * bits >= 8 * _MOST_BYTES:
        message = f"tensor {name!r} has a shape that is too large"
        raise _Problem(message)
    size = offsets[1] - offsets[0]
    if size < 0 or math.prod(shape) * bits != 8 * size:
        message = (
            f"tensor {name!r} of dtype {dtype} and shape {shape} can't have the {size:,} bytes "
            "that its data_offsets give it"
        )
        raise _Problem(message)
    offset = begin + offsets[0]
    return TensorInfo(
        name=name, dtype=dtype, shape=tuple(shape), file=file, offset=offset, size=size
    )


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(number) is int and 0 <= number < 2 * _MOST_BYTES for number in value
    )


def _check_order(tensors: list[TensorInfo], begin: int, size: int) -> None:
    """Refuses what leaves bytes out, shares them, or lies behind the end."""
    last, end = "the header", begin
    for tensor in tensors:
        if tensor.offset != end:
            how = "overlaps" if tensor.offset < end else "leaves a gap behind"
            message = f"tensor {tensor.name!r} {how} {last}"
            raise _Problem(message)
        last, end = f"tensor {tensor.name!r}", end + tensor.size
    if end != size:
        message = f"its tensors end at byte {end:,}, and the file at {size:,}"
        raise _Problem(message)
