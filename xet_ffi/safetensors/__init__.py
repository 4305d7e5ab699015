"""Tensors out of safetensors files on the Hub, in place: only what is asked for is fetched.

    from xet_ffi.safetensors import open_tensors

    with open_tensors(None, "org/model") as tensors:
        tensors["model.embed_tokens.weight"].shape           # from the headers: no weights are read
        weight = tensors["model.norm.weight"].load()         # one tensor
        rows = tensors["lm_head.weight"][:1000].load()       # a part of one
        layer = tensors.load("model.layers.7.*")             # many at once, by name

Arrays are numpy's, if `out` doesn't say where the bytes go: into anything that has the buffer
protocol, or a tensor of torch in this machine's memory, pinned or not. No file is written, and
neither numpy nor torch is needed by what doesn't use it. Bytes are as they are in the file, little
endian. Of types that numpy has none for (BF16, F8_E4M3, ...) arrays hold the bits, as uint16 or
uint8; their `dtype.metadata["safetensors"]` keeps the type's name.
"""

from __future__ import annotations

from xet_ffi.safetensors._errors import InvalidSafetensorsError, TensorNotFoundError
from xet_ffi.safetensors._files import TensorFiles, open_tensors
from xet_ffi.safetensors._header import TensorInfo
from xet_ffi.safetensors._tensor import Tensor

__all__ = [
    "InvalidSafetensorsError",
    "Tensor",
    "TensorFiles",
    "TensorInfo",
    "TensorNotFoundError",
    "open_tensors",
]

# As in `xet_ffi`: help() and pickles show the public name.
for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
