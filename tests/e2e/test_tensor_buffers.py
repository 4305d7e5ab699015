"""Where tensors go: memory of the caller's, arrays for types that numpy doesn't have, no numpy."""

from __future__ import annotations

import array
import json
import mmap
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from interpreter import python
from published import publish
from xet_ffi import Client, InvalidConfigError
from xet_ffi.safetensors import Tensor, TensorFiles, open_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub

WEIGHT = np.arange(4000, dtype="f4").reshape(40, 100)
BITS = np.arange(600, dtype="<u2").reshape(20, 30)

#: Types that numpy has none for: the bits, the shape, and what arrays of them are.
RAW: dict[str, tuple[bytes, list[int], str, tuple[int, ...]]] = {
    "BF16": (BITS.tobytes(), [20, 30], "uint16", (20, 30)),
    "F8_E4M3": (BITS.tobytes(), [20, 60], "uint8", (20, 60)),
    "F8_E5M2": (BITS.tobytes(), [1200], "uint8", (1200,)),
    "F8_E8M0": (b"\x7f", [], "uint8", ()),
    "F4": (BITS.tobytes(), [20, 120], "uint8", (20, 60)),
    "F6_E2M3": (bytes(9), [4, 3], "uint8", (9,)),
}


def packed(tensors: dict[str, tuple[bytes, list[int], str, tuple[int, ...]]]) -> bytes:
    """A file of them; the package's numpy face writes no such types."""
    header, data = {}, b""
    for dtype, (content, shape, _, _) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[dtype.lower()] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def tensors(hf_api: HfApi, alice: Client, repo_id: str) -> Iterator[TensorFiles]:
    """One tensor that numpy has a type for, and some that it has none for."""
    files = {
        "model.safetensors": save({"weight": WEIGHT, "none": np.empty((0, 4), "f4")}),
        "raw.safetensors": packed(RAW),
    }
    publish(hf_api, repo_id, files)
    with open_tensors(alice, repo_id) as opened:
        yield opened


@pytest.mark.parametrize("dtype", RAW)
def test_bits_of_other_types_come_as_numbers_that_know_their_type(
    tensors: TensorFiles, dtype: str
) -> None:
    """Also views and parts of such arrays; nothing needs ml_dtypes."""
    content, _, name, shape = RAW[dtype]
    found = tensors[dtype.lower()].load()
    assert (found.dtype.name, found.shape, found.tobytes()) == (name, shape, content)
    assert found.dtype.metadata == {"safetensors": dtype}
    assert found.reshape(-1)[:1].dtype.metadata == {"safetensors": dtype}
    assert tensors[dtype.lower()].dtype == dtype


def test_types_that_numpy_has_are_its_own(tensors: TensorFiles) -> None:
    """Without anything said of them."""
    assert tensors["weight"].load().dtype == np.dtype("f4")
    assert tensors["weight"].load().dtype.metadata is None


class Torch:
    """What a tensor of torch says of itself, for memory that isn't torch's.

    torch is 1.2 GB on disk. This has of it what is asked: no buffer protocol, but an address.
    """

    def __init__(
        self, values: np.ndarray[Any, Any], dtype: str, device: str = "cpu", *, gaps: bool = False
    ) -> None:
        self.values = values
        self.dtype = f"torch.{dtype}"
        self.shape = values.shape
        self.device = type("device", (), {"type": device, "__str__": lambda _: f"{device}:0"})()
        self._gaps = gaps

    def data_ptr(self) -> int:
        """Where it is."""
        return self.values.ctypes.data

    def is_contiguous(self) -> bool:
        """Whether it has no gaps."""
        return not self._gaps

    def numel(self) -> int:
        """How many elements it has."""
        return self.values.size

    def element_size(self) -> int:
        """Bytes of one."""
        return self.values.itemsize


MEMORY: dict[str, Any] = {
    "bytearray": lambda: bytearray(16000),
    "memoryview": lambda: memoryview(bytearray(16000)),
    "array": lambda: array.array("B", bytes(16000)),
    "mmap": lambda: mmap.mmap(-1, 16000),
    "array of the shape": lambda: np.empty((40, 100), "f4"),
    "flat array": lambda: np.empty(4000, "f4"),
    "bits": lambda: np.empty((40, 100), "u4"),
    "a part of an array": lambda: np.empty((9, 40, 100), "f4")[3],
    "torch": lambda: Torch(np.empty((40, 100), "f4"), "float32"),
    "bits of torch": lambda: Torch(np.empty(16000, "u1"), "uint8"),
}


def content(out: Any) -> bytes:
    """What has been written there."""
    return out.values.tobytes() if isinstance(out, Torch) else memoryview(out).tobytes()


@pytest.mark.parametrize("kind", MEMORY)
def test_memory_of_all_kinds_is_filled(tensors: TensorFiles, kind: str) -> None:
    """Alone, in a mapping, and by a callable; and it is what is returned."""
    alone = MEMORY[kind]()
    assert tensors["weight"].load(alone) is alone
    mapped = MEMORY[kind]()
    assert tensors.load("weight", out={"weight": mapped, "more": None})["weight"] is mapped
    asked: list[Tensor] = []

    def make(tensor: Tensor) -> Any:
        asked.append(tensor)
        return MEMORY[kind]()

    made = tensors.load(["weight"], out=make)["weight"]
    assert [tensor.name for tensor in asked] == ["weight"]
    for out in (alone, mapped, made):
        assert content(out) == WEIGHT.tobytes()


UNFIT: dict[str, tuple[Any, str]] = {
    "too small": (lambda: bytearray(15999), "has 15,999 bytes, not 16,000"),
    "too large": (lambda: bytearray(16001), "has 16,001 bytes, not 16,000"),
    "read-only": (lambda: bytes(16000), "no memory to write to"),
    "a read-only array": (lambda: np.broadcast_to(np.float32(0), (40, 100)), "no memory to write"),
    "columns": (lambda: np.empty((40, 200), "f4")[:, ::2], "no memory to write to at once"),
    "in Fortran's order": (lambda: np.empty((40, 100), "f4", order="F"), "no memory to write to"),
    "other numbers": (lambda: np.empty((40, 100), "i4"), "is of int32, and the tensor of F32"),
    "other numbers of torch": (lambda: Torch(np.empty(8000, "u2"), "bfloat16"), "of bfloat16"),
    "another shape": (lambda: np.empty((100, 40), "f4"), r"of shape \(100, 40\), not \(40, 100\)"),
    "on a GPU": (lambda: Torch(WEIGHT, "float32", "cuda"), "is on cuda:0: give a"),
    "with gaps": (lambda: Torch(WEIGHT, "float32", gaps=True), "is not contiguous"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_memory_that_does_not_fit_is_refused(tensors: TensorFiles, hub: Hub, kind: str) -> None:
    """Before anything is read, with what is wrong with it."""
    make, problem = UNFIT[kind]
    hub.reset_stats()
    with pytest.raises(InvalidConfigError, match=f"out: what weight is to go to .*{problem}") as e:
        tensors["weight"].load(make())
    assert e.value.field == "out"
    assert hub.stats().requests("hub") == hub.stats().requests("storage") == 0


def test_what_is_no_memory_is_a_type_error(tensors: TensorFiles) -> None:
    """As with `readinto`."""
    with pytest.raises(TypeError):
        tensors["weight"].load("text")
    with pytest.raises(InvalidConfigError, match="out: has nothing for 'weight'"):
        tensors.load("weight", out={})


def test_what_is_empty_goes_anywhere(tensors: TensorFiles) -> None:
    """No byte has to have an address."""
    for out in (bytearray(), np.empty((0, 4), "f4")):
        assert tensors["none"].load(out) is out
    assert tensors["none"].load().shape == (0, 4)


def test_nothing_needs_numpy_but_its_arrays(hub: Hub, tensors: TensorFiles) -> None:
    """Nor does looking at tensors import it; without it, the error says what to do."""
    program = f"""
import sys
sys.modules["numpy"] = None
from xet_ffi import Client
from xet_ffi.safetensors import open_tensors
with open_tensors(Client({hub.endpoint!r}, token=False), {tensors.repo_id!r}) as tensors:
    part = tensors["weight"][:, 10:12]
    print(bytes(part.load(out=bytearray(part.size))).hex())
    try:
        part.load()
    except ImportError as error:
        print(error.name, error)
"""
    done = python(program)
    assert done.stderr == ""
    filled, refused = done.stdout.splitlines()
    assert bytes.fromhex(filled) == WEIGHT[:, 10:12].tobytes()
    assert refused == "numpy numpy is not installed: install it, or say where tensors go with `out`"
