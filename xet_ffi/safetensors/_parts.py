"""Where the bytes of a part of a tensor are: a range for each axis, of a row-major tensor.

A part is contiguous from some axis inwards; outwards of that it repeats. So it is a series of runs
of one length, at regular distances: a comb. Rows 0 to 9 of a matrix are a comb of one run, columns
0 to 9 one with a run for each row.
"""

from __future__ import annotations

from itertools import product

from xet_ffi._dataclass import dataclass
from xet_ffi.safetensors._dtypes import BITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from xet_ffi.safetensors._header import TensorInfo

    Box: TypeAlias = tuple[tuple[int, int], ...]
    """From where to where, for each axis."""


@dataclass(frozen=True, slots=True)
class Comb:
    """Runs of bytes, at regular distances in a file and side by side where they go.

    Attributes:
        source: Where the first one begins in the file.
        target: Where it goes, in what the part is read into.
        length: Bytes of each.
        count: How many there are.
        stride: From the beginning of one to that of the next, in the file.
    """

    source: int
    target: int
    length: int
    count: int
    stride: int

    @property
    def end(self) -> int:
        """Where the last one ends in the file."""
        return self.source + (self.count - 1) * self.stride + self.length

    def split(self, most: int) -> Iterator[Comb]:
        """Cuts it between runs into combs that span at most so many bytes, or have one run."""
        at_once = max(1, (most - self.length) // self.stride + 1)
        for first in range(0, self.count, at_once):
            yield Comb(
                self.source + first * self.stride,
                self.target + first * self.length,
                self.length,
                min(at_once, self.count - first),
                self.stride,
            )


def combs(info: TensorInfo, box: Box) -> Iterator[Comb]:
    """Returns where a part is, in the order of the file.

    Raises:
        ValueError: Elements of less than a byte, and the part begins or ends within one.
    """
    offset, length, levels = _layout(info, box)
    if length == 0:
        return
    count, stride = levels[0] if levels else (1, length)
    outer = levels[:0:-1]
    target = 0
    for place in product(*(range(count) for count, _ in outer)):
        shift = sum(at * stride for at, (_, stride) in zip(place, outer, strict=True))
        yield Comb(info.offset + offset + shift, target, length, count, stride)
        target += length * count


def _layout(info: TensorInfo, box: Box) -> tuple[int, int, list[tuple[int, int]]]:
    """Returns where the first run begins in the tensor, its length, and how runs repeat.

    That is the count and the stride of each level, innermost first; all in bytes.
    """
    # In bits, as long as elements may be smaller than a byte.
    stride = length = BITS[info.dtype]
    offset = 0
    levels: list[tuple[int, int]] = []
    for (start, stop), axis in zip(reversed(box), reversed(info.shape), strict=True):
        count = stop - start
        if count == 0:
            return 0, 0, []
        offset += start * stride
        if length == stride:
            length = count * stride
        elif count > 1 and levels and levels[-1][0] * levels[-1][1] == stride:
            # All of the axis within: the same distance goes on.
            levels[-1] = (levels[-1][0] * count, levels[-1][1])
        elif count > 1:
            levels.append((count, stride))
        stride *= axis
    if offset % 8 or length % 8 or any(distance % 8 for _, distance in levels):
        message = (
            f"a part of {info.name} has to begin and end at whole bytes: elements of {info.dtype} "
            "are packed"
        )
        raise ValueError(message)
    return offset // 8, length // 8, [(count, distance // 8) for count, distance in levels]
