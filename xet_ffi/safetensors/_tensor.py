"""A tensor that nothing was read of, or a part of one."""

from __future__ import annotations

import math
from operator import index as as_index

from xet_ffi._errors import invalid
from xet_ffi.safetensors._dtypes import BITS
from xet_ffi.safetensors._parts import combs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from typing_extensions import Unpack

    from xet_ffi.safetensors._files import TensorFiles
    from xet_ffi.safetensors._header import TensorInfo
    from xet_ffi.safetensors._parts import Box, Comb
    from xet_ffi.safetensors._reading import How


class Tensor:
    """A tensor of `TensorFiles`, or a part of one. Nothing is read before `load`.

    It is narrowed as an array of numpy is: `tensor[7]`, `tensor[:, 100:200]`, `tensor[..., -1]`;
    steps other than 1 aren't supported.

    Attributes:
        info: All of the tensor, as the header describes it.
        shape: Of this part.

    >>> part = tensors["layers.0.weight"][2:4]
    >>> part
    <xet_ffi.safetensors.Tensor 'layers.0.weight' F32 (2, 6) 48 bytes>
    >>> part.load()
    array([[12., 13., 14., 15., 16., 17.],
           [18., 19., 20., 21., 22., 23.]], dtype=float32)
    """

    __slots__ = ("_box", "_files", "_kept", "info", "shape")

    def __init__(
        self,
        files: TensorFiles,
        info: TensorInfo,
        box: Box | None = None,
        kept: tuple[int, ...] | None = None,
    ) -> None:
        self._files = files
        self._box: Box = tuple((0, axis) for axis in info.shape) if box is None else box
        # The axes that it still has: a number as an index takes one away.
        self._kept = tuple(range(len(info.shape))) if kept is None else kept
        self.info = info
        self.shape = tuple(self._box[axis][1] - self._box[axis][0] for axis in self._kept)

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.info.name

    @property
    def dtype(self) -> str:
        """The type of its elements, as safetensors calls it."""
        return self.info.dtype

    @property
    def size(self) -> int:
        """Bytes that this part has."""
        return math.prod(self.shape) * BITS[self.info.dtype] // 8

    def __getitem__(self, index: Any) -> Tensor:
        items = self._for_each_axis(index if isinstance(index, tuple) else (index,))
        box, kept = list(self._box), []
        for axis, item, length in zip(self._kept, items, self.shape, strict=True):
            start = self._box[axis][0]
            if isinstance(item, slice):
                first, last, step = item.indices(length)
                if step != 1:
                    raise invalid("index", f"a step of {step}; only whole ranges can be read")
                box[axis] = (start + first, start + max(first, last))
                kept.append(axis)
            else:
                at = self._position(item, length)
                box[axis] = (start + at, start + at + 1)
        part = Tensor(self._files, self.info, tuple(box), tuple(kept))
        next(part.combs(), None)  # refuses a part of a byte
        return part

    def _for_each_axis(self, index: tuple[Any, ...]) -> list[Any]:
        """Returns one item for each axis."""
        items = list(index)
        dots = [at for at, item in enumerate(items) if item is Ellipsis]
        lacking = len(self.shape) - (len(items) - len(dots))
        if len(dots) > 1 or lacking < 0:
            message = f"{self.name}: the index {index!r} is for more than {len(self.shape)} axes"
            raise IndexError(message)
        at = dots[0] if dots else len(items)
        return [*items[:at], *[slice(None)] * lacking, *items[at + 1 :]]

    def _position(self, item: Any, length: int) -> int:
        if isinstance(item, bool) or not hasattr(item, "__index__"):
            message = f"index: expected numbers, slices and ..., not {type(item).__name__}"
            raise TypeError(message)
        at = as_index(item)
        if not -length <= at < length:
            message = f"{self.name}: {at} is out of range for an axis of {length}"
            raise IndexError(message)
        return at % length

    def shard(self, axis: int, rank: int, ranks: int, *, uneven: bool = False) -> Tensor:
        """Returns one rank's part of it, as tensor parallelism splits tensors.

        Args:
            axis: The axis that is split; from the end, if it's negative.
            rank: Whose part, from 0 on.
            ranks: How many there are.
            uneven: Splits what `ranks` doesn't divide as `torch.chunk` does: all parts have the
                same length, rounded up, but for the last one, which has what is left; what is
                behind that is empty. Without it, that is InvalidConfigError.

        >>> [tensors["layers.0.weight"].shard(0, rank, 2).shape for rank in range(2)]
        [(2, 6), (2, 6)]
        """
        if ranks < 1 or not 0 <= rank < ranks:
            raise invalid("rank", f"must be one of {ranks} from 0 on, not {rank}")
        at = self._axis(axis)
        length = self.shape[at]
        if length % ranks and not uneven:
            raise invalid(
                "ranks",
                f"axis {axis} of {self.name} has a length of {length}, which {ranks} doesn't "
                "divide; uneven=True splits it all the same",
            )
        share = -(-length // ranks)
        start = min(rank * share, length)
        index = (*[slice(None)] * at, slice(start, min(start + share, length)))
        return self[index]

    def _axis(self, axis: int) -> int:
        axes = len(self.shape)
        if not -axes <= axis < axes:
            raise invalid("axis", f"{self.name} has {axes} axes, and no axis {axis}")
        return axis % axes

    def load(self, out: Any = None, **how: Unpack[How]) -> Any:
        r"""Reads it, and returns what it was read into.

        Args:
            out: What that is: writable contiguous memory of its size, which has the buffer protocol
                or is a tensor of torch on the CPU. It may be made for elements of its type, or for
                unsigned numbers. Default: a new array of numpy.
            **how: `timeout`, `progress` and `cancel`, as for `TensorFiles.load`.

        >>> bytes(tensors["layers.0.bias"].load(out=bytearray(8)))
        b'\x00\x00\x80?\x00\x00\x00@'
        """
        loaded: Any = self._files.load(
            {None: self}, out=None if out is None else {None: out}, **how
        )
        return loaded[None]

    def is_of(self, files: TensorFiles) -> bool:
        """Whether it is one of these files'."""
        return self._files is files

    def combs(self) -> Iterator[Comb]:
        """Returns where its bytes are in the file."""
        try:
            yield from combs(self.info, self._box)
        except ValueError as error:
            raise invalid("index", str(error)) from None

    def __repr__(self) -> str:
        return (
            f"<xet_ffi.safetensors.Tensor {self.name!r} {self.dtype} {self.shape} "
            f"{self.size:,} bytes>"
        )
