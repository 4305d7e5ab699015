"""A C object is freed exactly once, whoever lets go of it last."""

import gc
import pickle
import sys
import threading
from typing import Any

import pytest

from xet_ffi import ClosedError
from xet_ffi._handle import Handle
from xet_ffi._lib import ffi


@pytest.fixture
def freed() -> list[Any]:
    """What the destructor was called with."""
    return []


@pytest.fixture
def handle(freed: list[Any]) -> Handle:
    """A handle on some object."""
    return Handle(ffi.new("int *", 7), freed.append, "thing")


def test_closing_frees_once(handle: Handle, freed: list[Any]) -> None:
    """However often it is closed."""
    assert not handle.closed
    handle.close()
    handle.close()
    assert handle.closed
    assert len(freed) == 1


def test_a_closed_handle_says_so(handle: Handle) -> None:
    """The error is a ValueError, as for a closed file."""
    handle.close()
    with pytest.raises(ClosedError, match="operation on a closed thing") as caught:
        handle.pointer()
    assert isinstance(caught.value, ValueError)
    assert caught.value.field == "thing"


def test_the_garbage_collector_closes(freed: list[Any]) -> None:
    """Forgetting `close` leaks nothing, even within a reference cycle."""
    cycle: list[object] = [Handle(ffi.new("int *"), freed.append, "thing")]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert len(freed) == 1


def test_closing_during_a_call_frees_after_the_call(handle: Handle, freed: list[Any]) -> None:
    """The argument list of the running call keeps the object alive."""
    inside, leave = threading.Event(), threading.Event()
    values: list[int] = []

    def call(pointer: Any) -> None:
        inside.set()
        assert leave.wait(10)
        values.append(pointer[0])

    thread = threading.Thread(target=lambda: call(handle.pointer()))
    thread.start()
    assert inside.wait(10)
    handle.close()
    assert freed == []
    leave.set()
    thread.join()
    assert values == [7]
    assert len(freed) == 1


def test_many_threads_closing_and_calling_free_once(freed: list[Any]) -> None:
    """Whatever the order, a call gets a live pointer or a ClosedError."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            handle = Handle(ffi.new("int *", 7), freed.append, "thing")
            start = threading.Barrier(3)

            def work(start: threading.Barrier = start, handle: Handle = handle) -> None:
                start.wait()
                try:
                    assert handle.pointer()[0] == 7
                except ClosedError:
                    pass
                finally:
                    handle.close()

            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(freed) == 200


def test_a_handle_cannot_be_pickled(handle: Handle) -> None:
    """An address means nothing in another process."""
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(handle)
