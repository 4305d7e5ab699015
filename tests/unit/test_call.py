"""Callbacks cross C in both directions, and exceptions with them.

A callback is called here through its C function pointer, as the library calls it; `function` stands
where the library's function does.
"""

import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from xet_ffi import Progress, _call
from xet_ffi._call import run
from xet_ffi._errors import make
from xet_ffi._handle import Handle
from xet_ffi._lib import ffi, lib
from xet_ffi._progress import as_callable

PROGRESS: dict[str, Any] = {
    "phase": 1,
    "bytes_total": 10,
    "bytes_completed": 4,
    "bytes_network": 3,
    "bytes_reused": 1,
    "files_total": 2,
    "files_completed": 1,
    "file_bytes_completed": 4,
    "file_bytes_total": 8,
}


class Wait:
    """Asks the callbacks as a waiting library does, until one says stop or `times` is over."""

    def __init__(self, times: int, pause: float = 0.0) -> None:
        self.times = times
        self.pause = pause
        self.asked = 0

    def __call__(self, pointer: Any, _options: Any, callbacks: Any, out: Any) -> Any:
        """Has the shape of the library's functions."""
        name = ffi.new("char[]", "größe.bin".encode())
        progress = ffi.new("XetProgress *", {**PROGRESS, "file": name})
        for _ in range(self.times):
            self.asked += 1
            if callbacks.progress:
                callbacks.progress(progress, callbacks.user_data)
            if callbacks.cancel(callbacks.user_data):
                break
            time.sleep(self.pause)
        out[0] = ffi.cast("XetTransfer *", pointer)
        return ffi.NULL


@pytest.fixture
def freed() -> list[Any]:
    """The results that were released."""
    return []


@pytest.fixture
def call(freed: list[Any]) -> Callable[..., Any]:
    """`run` with a handle and a destructor that need no library."""
    handle = Handle(ffi.new("int *"), lambda _: None, "thing")

    def call(function: Wait, **callbacks: Any) -> Any:
        return run(function, handle, ffi.NULL, ("XetTransfer", freed.append), **callbacks)

    return call


def test_progress_arrives_as_an_immutable_value(call: Callable[..., Any]) -> None:
    """All numbers, the phase by name, the file name as text."""
    seen: list[Progress] = []
    call(Wait(2), progress=seen.append)
    assert seen == [Progress(**{**PROGRESS, "phase": "downloading", "file": "größe.bin"})] * 2


@pytest.mark.parametrize("kind", ["event", "callable"])
def test_cancel_takes_an_event_or_a_callable(call: Callable[..., Any], kind: str) -> None:
    """Both are asked until they say yes."""
    event = threading.Event()
    wait = Wait(9)

    def step(_: Progress) -> None:
        if wait.asked == 3:
            event.set()

    call(wait, progress=step, cancel=event if kind == "event" else event.is_set)
    assert wait.asked == 3


def test_cancel_takes_nothing_else() -> None:
    """A forgotten pair of parentheses is noticed at the call."""
    with pytest.raises(TypeError, match="cancel: expected an Event or a callable, not bool"):
        as_callable(True)  # type: ignore[arg-type] # noqa: FBT003


@pytest.mark.parametrize("where", ["progress", "cancel"])
@pytest.mark.parametrize("cls", [LookupError, KeyboardInterrupt, SystemExit])
def test_what_a_callback_raises_ends_the_call_and_is_raised_unchanged(
    call: Callable[..., Any], freed: list[Any], where: str, cls: type[BaseException]
) -> None:
    """The same object, with the frame that raised it, and nothing chained to it."""
    error = cls("from the callback")

    def fail_in_callback(*_: Progress) -> bool:
        raise error

    wait = Wait(9)
    with pytest.raises(cls) as caught:
        call(wait, **{where: fail_in_callback})
    assert caught.value is error
    assert error.__context__ is error.__cause__ is None
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames[-1] == "fail_in_callback"
    assert wait.asked == 1
    assert len(freed) == 1


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ({"kind": "cancelled", "commits": [{"oid": "a" * 40, "url": "u"}]}, True),
        ({"kind": "commit_unknown"}, True),
        ({"kind": "cancelled"}, False),
    ],
)
def test_what_a_callback_raises_tells_what_an_upload_has_committed(
    call: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    details: dict[str, Any],
    told: bool,
) -> None:
    """As its context: it is raised by the call instead of the error that says so."""
    failure = make(lib.XET_CODE_CANCELLED, "the call was cancelled", details)
    monkeypatch.setattr(_call, "take", lambda _: failure)

    class Fail(Wait):
        def __call__(self, pointer: Any, options: Any, callbacks: Any, out: Any) -> Any:
            super().__call__(pointer, options, callbacks, out)
            return ffi.new("XetError *")

    def interrupt() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        call(Fail(1), cancel=interrupt)
    assert caught.value.__context__ is (failure if told else None)


def test_no_callback_runs_after_one_has_raised(call: Callable[..., Any]) -> None:
    """A library that asks once more gets its answer without Python's help."""
    runs: list[str] = []

    def progress(_: Progress) -> None:
        runs.append("progress")
        raise LookupError

    def cancel() -> bool:
        runs.append("cancel")
        return False

    with pytest.raises(LookupError):
        call(Wait(1), progress=progress, cancel=cancel)
    assert runs == ["progress"]


def test_a_signal_handler_runs_during_a_call_and_may_raise(call: Callable[..., Any]) -> None:
    """Ctrl-C is such a handler: even a call without callbacks ends at once."""
    wait = Wait(1000, pause=0.01)
    timer = threading.Timer(0.05, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call(wait)
    timer.join()
    assert wait.asked < wait.times


def test_a_call_within_a_callback_keeps_its_own_exceptions(call: Callable[..., Any]) -> None:
    """The inner call fails; the outer one goes on."""

    def inner_fails(_: Progress) -> None:
        raise LookupError

    def progress(_: Progress) -> None:
        with pytest.raises(LookupError):
            call(Wait(1), progress=inner_fails)

    outer = Wait(3)
    call(outer, progress=progress)
    assert outer.asked == 3


def test_all_calls_give_the_library_the_same_functions(call: Callable[..., Any]) -> None:
    """They are never freed, so none is called too late; user_data tells the calls apart."""
    pointers: list[tuple[Any, Any]] = []
    told: list[str] = []

    class Look(Wait):
        def __call__(self, pointer: Any, options: Any, callbacks: Any, out: Any) -> Any:
            pointers.append((callbacks.progress, callbacks.cancel))
            return super().__call__(pointer, options, callbacks, out)

    def outer(_: Progress) -> None:
        told.append("outer")
        call(Look(1), progress=lambda _: told.append("inner"))

    call(Look(2), progress=outer)
    assert len(pointers) == 3
    assert len(set(pointers)) == 1
    assert told == ["outer", "inner"] * 2


def test_a_result_is_released_when_it_is_no_longer_used(
    call: Callable[..., Any], freed: list[Any]
) -> None:
    """Once, and not before."""
    result = call(Wait(1))
    assert freed == []
    del result
    assert len(freed) == 1


def test_an_error_releases_nothing_but_itself(freed: list[Any]) -> None:
    """Outputs are written on success only, so there is nothing to release."""
    handle = Handle(ffi.new("int *"), lambda _: None, "thing")

    def refuse(*_: Any) -> Any:
        native = ffi.new("XetClientOptions *")
        return lib.xet_client_create(native, ffi.new("XetClient **"))

    with pytest.raises(ValueError, match="struct_size"):
        run(refuse, handle, ffi.NULL, ("XetTransfer", freed.append))
    assert freed == []
