"""Tensors where something goes wrong: files that lie, lines that break, callers who leave."""

from __future__ import annotations

import json
import pickle
import signal
import struct
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from published import publish
from xet_ffi import (
    CancelledError,
    ChecksumMismatchError,
    Client,
    ClosedError,
    NetworkError,
    Progress,
    TransferTimeoutError,
)
from xet_ffi.safetensors import InvalidSafetensorsError, TensorFiles, open_tensors
from xet_ffi.safetensors._reading import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub

WEIGHTS = {
    f"{name}.weight": np.random.default_rng(i).integers(0, 255, (3, BATCH), dtype="u1")
    for i, name in enumerate("ab")
}


@pytest.fixture
def tensors(hf_api: HfApi, hub: Hub, alice: Client, repo_id: str) -> Iterator[TensorFiles]:
    """Two files of several batches each."""
    files = {f"{name}.safetensors": save({name: array}) for name, array in WEIGHTS.items()}
    publish(hf_api, repo_id, files)
    with open_tensors(alice, repo_id, read_timeout=1) as opened:
        hub.reset_stats()
        yield opened


def packed(header: object, data: bytes = b"") -> bytes:
    """A file with that header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it has 0 bytes"),
        (b"short", "it has 5 bytes"),
        (struct.pack("<Q", 1 << 40) + b"{}", "at most 100,000,000 are allowed"),
        (struct.pack("<Q", 1 << 20) + b"{}", "a header of 1,048,576 bytes, in a file of 10"),
        (b"PK\3\4 no such thing" * 100, "at most 100,000,000 are allowed"),
        (packed({"x": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}), "end at byte"),
    ],
)
def test_a_file_that_is_none_is_named(
    hf_api: HfApi, alice: Client, repo_id: str, content: bytes, problem: str
) -> None:
    """Beside others that are good; the error survives pickling."""
    publish(hf_api, repo_id, {"a.safetensors": save({"a": np.ones(3)}), "b.safetensors": content})
    with pytest.raises(InvalidSafetensorsError, match=rf"b\.safetensors is not .*{problem}") as e:
        open_tensors(alice, repo_id)
    again = pickle.loads(pickle.dumps(e.value))
    assert (type(again), str(again), again.file) == (type(e.value), str(e.value), "b.safetensors")


@pytest.mark.parametrize(
    "index",
    [
        b"no JSON",
        b"[]",
        b"{}",
        b'{"weight_map": {}}',
        b'{"weight_map": {"a": 1}}',
        b'{"weight_map": ["a"]}',
        b'{"weight_map": {"a": "../a.safetensors"}}',
        b'{"weight_map": {"a": "/etc/passwd"}}',
        b"[" * 100_000,
    ],
)
def test_an_index_that_is_none_is_named(
    hf_api: HfApi, alice: Client, repo_id: str, index: bytes
) -> None:
    """And leads out of no folder."""
    good = {f"{name}.safetensors": save({name: np.ones(3)}) for name in "ab"}
    publish(hf_api, repo_id, good | {"x.safetensors.index.json": index})
    with pytest.raises(InvalidSafetensorsError, match="is no index of safetensors files"):
        open_tensors(alice, repo_id)


def test_a_long_header_takes_a_second_read(hf_api: HfApi, alice: Client, repo_id: str) -> None:
    """Longer than what is asked for ahead; all of it is there."""
    arrays = {f"{'x' * 200}.{i}": np.full(1, i, "i4") for i in range(3000)}
    publish(hf_api, repo_id, {"model.safetensors": save(arrays)})
    with open_tensors(alice, repo_id) as tensors:
        assert len(tensors) == 3000
        found = tensors.load()
    assert all((found[name] == array).all() for name, array in arrays.items())


def test_a_broken_line_is_taken_up_again(tensors: TensorFiles, hub: Hub) -> None:
    """As everywhere."""
    hub.fault("storage", times=3, cut_after_bytes=100_000)
    found = tensors.load()
    assert all((found[name] == array).all() for name, array in WEIGHTS.items())


def test_storage_that_is_gone_is_an_error(tensors: TensorFiles, hub: Hub) -> None:
    """A typed one, and no thread goes on behind it."""
    with (
        Client(hub.endpoint, token=False, max_attempts=1) as client,
        open_tensors(client, tensors.repo_id) as again,
    ):
        hub.fault("storage", status=500)
        before = threading.active_count()
        with pytest.raises(NetworkError):
            again.load()
        assert threading.active_count() == before


def test_a_flipped_bit_gives_no_array(tensors: TensorFiles, hub: Hub, repo_id: str) -> None:
    """Chunks are hashed as they come."""
    hub.corrupt(repo_id, "a.weight.safetensors", offset=BATCH)
    try:
        with pytest.raises(ChecksumMismatchError, match=r"a\.weight\.safetensors"):
            tensors.load()
    finally:
        # Other tests' repos share it.
        hub.corrupt(repo_id, "a.weight.safetensors", offset=BATCH)


def test_a_call_can_be_cancelled_from_elsewhere(tensors: TensorFiles, hub: Hub) -> None:
    """It ends at once, and so do its threads."""
    hub.delay(30, "storage")
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    before = threading.active_count()
    with pytest.raises(CancelledError):
        tensors.load(cancel=stop)
    assert threading.active_count() <= before


def test_a_call_has_a_time(tensors: TensorFiles, hub: Hub) -> None:
    """All of it together."""
    hub.delay(30, "storage")
    with pytest.raises(TransferTimeoutError):
        tensors.load(timeout=0.5)


def test_ctrl_c_ends_it(tensors: TensorFiles, hub: Hub) -> None:
    """And nothing is written into memory that the caller has back."""
    hub.delay(30, "storage")
    out = {name: bytearray(array.nbytes) for name, array in WEIGHTS.items()}
    threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt):
        tensors.load(out=out)
    hub.delay()
    assert not any(any(content[:1000]) for content in out.values())


def test_progress_is_told_on_the_thread_that_asked(tensors: TensorFiles) -> None:
    """It grows, and ends with all of it; what is in the files besides doesn't count."""
    told: list[Progress] = []
    here = threading.get_ident()

    def watch(progress: Progress) -> None:
        assert threading.get_ident() == here
        told.append(progress)

    part = tensors["a.weight"][1:]
    tensors.load([part, "b.weight"], progress=watch)
    done = [progress.bytes_completed for progress in told]
    assert done == sorted(done)
    last = told[-1]
    assert last.bytes_completed == last.bytes_total == 5 * BATCH
    assert (last.files_completed, last.files_total) == (2, 2)
    assert last.bytes_network > 0


def test_what_progress_raises_ends_the_call(tensors: TensorFiles) -> None:
    """And comes out of it."""

    def refuse(_: Progress) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        tensors.load(progress=refuse)
    with pytest.raises(TypeError, match="progress"):
        tensors.load(progress="yes")  # type: ignore[arg-type]


def test_a_closed_set_reads_nothing(tensors: TensorFiles) -> None:
    """It still knows what it had."""
    tensors.close()
    tensors.close()
    assert tensors["a.weight"].shape == (3, BATCH)
    with pytest.raises(ClosedError):
        tensors.load()


@pytest.mark.parametrize("what", [3, [3], {"x": 3}, None])
def test_what_names_no_tensor_is_a_type_error(tensors: TensorFiles, what: Any) -> None:
    """With what is expected."""
    with pytest.raises(TypeError):
        tensors.load(what)
