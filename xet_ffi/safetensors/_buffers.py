"""Where tensors go: arrays of numpy, or memory of the caller's."""

from __future__ import annotations

import math

from xet_ffi._errors import invalid
from xet_ffi._lib import ffi
from xet_ffi.safetensors._dtypes import BITS, NUMPY, RAW, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from xet_ffi._errors import XetError
    from xet_ffi.safetensors._tensor import Tensor


def empty(tensor: Tensor) -> Any:
    """Returns an array of numpy for a tensor, with nothing in it yet.

    Packed elements become bytes: along the last axis, if that has whole ones, else along one axis.

    Raises:
        ImportError: There is no numpy.
    """
    try:
        import numpy as np
    except ImportError as error:
        message = "numpy is not installed: install it, or say where tensors go with `out`"
        raise ImportError(message, name="numpy") from error
    shape: tuple[int, ...] = tensor.shape
    if tensor.dtype in NUMPY:
        return np.empty(shape, NUMPY[tensor.dtype])
    bits = BITS[tensor.dtype]
    if bits not in RAW:
        packed = bool(shape) and shape[-1] * bits % 8 == 0
        shape = (*shape[:-1], shape[-1] * bits // 8) if packed else (tensor.size,)
    kept: Any = np.dtype(RAW.get(bits, "u1"), metadata={"safetensors": tensor.dtype})
    return np.empty(shape, kept)


def writable(out: Any, tensor: Tensor) -> memoryview:
    """Returns the bytes of `out`, if a tensor may be written there.

    Raises:
        InvalidConfigError: It isn't as large, is for another type or shape, isn't contiguous, can't
            be written to, or isn't in this machine's memory.
        TypeError: It is no memory at all.
    """
    _check_kind(out, tensor)
    try:
        view = _of_torch(out, tensor) if hasattr(out, "data_ptr") else _of_buffer(out)
    except (BufferError, ValueError) as error:
        raise _unfit(tensor, f"is no memory to write to at once: {error}") from None
    if view.nbytes != tensor.size:
        raise _unfit(tensor, f"has {view.nbytes:,} bytes, not {tensor.size:,}")
    return view


def _check_kind(out: Any, tensor: Tensor) -> None:
    """Refuses what is meant for other numbers. Plain bytes may be anything."""
    kind = getattr(out, "dtype", None)
    name = str(getattr(kind, "name", kind)).rpartition(".")[2]
    if kind is not None and not fits(tensor.dtype, name):
        raise _unfit(tensor, f"is of {name}, and the tensor of {tensor.dtype}")
    shape = tuple(getattr(out, "shape", None) or ())
    is_alike = kind is not None and math.prod(shape) == math.prod(tensor.shape)
    if is_alike and len(shape) > 1 and shape != tensor.shape:
        raise _unfit(tensor, f"is of shape {shape}, not {tensor.shape}")


def _of_buffer(out: Any) -> memoryview:
    """Returns what has the buffer protocol as bytes, whatever numbers it is for."""
    if hasattr(out, "__array_interface__") and out.flags.c_contiguous:
        # An array may be of numbers that a memoryview knows nothing of.
        out = out.reshape(-1).view("u1")
    view = memoryview(out)
    if view.readonly:
        message = "it is read-only"
        raise BufferError(message)
    if not view.c_contiguous:
        message = "it is not contiguous, row by row"
        raise BufferError(message)
    # What is empty can't be cast.
    return view.cast("B") if view.nbytes else memoryview(bytearray())


def _of_torch(out: Any, tensor: Tensor) -> memoryview:
    """Returns a tensor of torch as bytes: it has no buffer protocol, but says where it is."""
    if out.device.type != "cpu":
        problem = f"is on {out.device}: give a (pinned) tensor of the CPU, and copy it there"
        raise _unfit(tensor, problem)
    if not out.is_contiguous():
        raise _unfit(tensor, "is not contiguous")
    size = out.numel() * out.element_size()
    return memoryview(ffi.buffer(ffi.cast("char *", out.data_ptr()), size))


def _unfit(tensor: Tensor, problem: str) -> XetError:
    return invalid("out", f"what {tensor.name} is to go to {problem}")
