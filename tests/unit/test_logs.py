"""The library's logs are records of the logger "xet_ffi"."""

import logging
from collections.abc import Iterator

import pytest

from interpreter import python
from xet_ffi import Client, NetworkError, _logs
from xet_ffi._lib import ffi, lib

LOGGER = logging.getLogger("xet_ffi")
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def restore_level() -> Iterator[None]:
    """Leaves the logger as it was."""
    level = LOGGER.level
    yield
    LOGGER.setLevel(level)
    _logs.follow()


def fail_to_connect() -> None:
    """Makes a call that has something to tell."""
    with Client(UNREACHABLE, token=False, max_attempts=2) as client, pytest.raises(NetworkError):
        client.list_files("a/b")


def send(level: int, target: bytes, message: bytes) -> None:
    """Calls the registered callback, as the library does."""
    _logs.follow()
    bridge = _logs._bridge  # noqa: SLF001 - the library holds nothing else of it
    assert bridge is not None
    text = [ffi.new("char[]", target), ffi.new("char[]", message)]
    _logs._LOG(level, *text, bridge._user_data)  # noqa: SLF001


@pytest.mark.parametrize(
    ("native", "python"),
    [
        (lib.XET_LOG_ERROR, logging.ERROR),
        (lib.XET_LOG_WARN, logging.WARNING),
        (lib.XET_LOG_INFO, logging.INFO),
        (lib.XET_LOG_DEBUG, logging.DEBUG),
        (lib.XET_LOG_TRACE, _logs.TRACE),
    ],
)
def test_a_record_keeps_its_level_module_and_text(
    caplog: pytest.LogCaptureFixture, native: int, python: int
) -> None:
    """The module that it comes from stands where a Python file would."""
    LOGGER.setLevel(_logs.TRACE)
    send(native, b"xet::hub", "größe %s".encode())
    (record,) = [record for record in caplog.records if record.pathname == "xet::hub"]
    assert (record.name, record.levelno) == ("xet_ffi", python)
    assert record.getMessage() == "xet::hub: größe %s"


def test_the_level_of_the_logger_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    """From one call to the next, in both directions."""
    LOGGER.setLevel(logging.DEBUG)
    fail_to_connect()
    assert [record for record in caplog.records if record.levelno <= logging.DEBUG]
    LOGGER.setLevel(logging.CRITICAL)
    caplog.clear()
    fail_to_connect()
    assert caplog.records == []


def test_what_a_log_filter_raises_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs within the call, so it is treated as any other callback."""

    def refuse(_: logging.LogRecord) -> bool:
        raise LookupError

    monkeypatch.setattr(LOGGER, "filters", [refuse])
    LOGGER.setLevel(logging.DEBUG)
    with Client(UNREACHABLE, token=False) as client, pytest.raises(LookupError):
        client.list_files("a/b")


def stderr_of(code: str, rust_log: str = "") -> str:
    """Returns what a process prints whose calls all fail."""
    setup = f"import xet_ffi; client = xet_ffi.Client({UNREACHABLE!r}, max_attempts=2)\n"
    call = "try: client.list_files('a/b')\nexcept xet_ffi.NetworkError: pass\n"
    finished = python(f"{code}\n{setup}{call}", RUST_LOG=rust_log)
    assert (finished.returncode, finished.stdout) == (0, "")
    return finished.stderr


@pytest.mark.parametrize("code", ["", "import logging"])
def test_nothing_is_printed_unless_asked_for(code: str) -> None:
    """Not even warnings, which logging's last resort would print."""
    assert stderr_of(code) == ""


def test_warnings_do_not_go_to_the_last_resort() -> None:
    """Python's logging prints them to stderr for a logger that nobody gave a handler."""
    code = """
import logging
from xet_ffi import _logs
from xet_ffi._lib import ffi, lib
_logs.follow()
_logs._LOG(
    lib.XET_LOG_WARN, ffi.new('char[]', b'xet'), ffi.new('char[]', b'careful'),
    _logs._bridge._user_data,
)
"""
    assert stderr_of(code) == ""


def test_an_application_that_configures_logging_gets_the_records() -> None:
    """As from any other package."""
    shown = stderr_of("import logging; logging.basicConfig(level=logging.DEBUG)")
    assert "DEBUG:xet_ffi:xet" in shown


def test_rust_log_works_where_nobody_uses_logging() -> None:
    """As in any Rust program."""
    assert "DEBUG" in stderr_of("", rust_log="debug")


#: The main thread and another one make their first calls, each before the other's is over: the
#: other is inside addHandler when the main one has decided on its level, and overtakes it there.
CROSSING = """
import gc, io, logging, threading, xet_ffi
from xet_ffi._lib import ffi

def call():
    client = xet_ffi.Client({unreachable!r}, token=False, max_attempts=1)
    try:
        client.list_files("a/b")
    except xet_ffi.NetworkError:
        pass

def call_second():
    call()
    there.set()

there, go = threading.Event(), threading.Event()
second = threading.Thread(target=call_second)

class Logger(logging.Logger):
    def addHandler(self, handler):
        super().addHandler(handler)
        if threading.current_thread() is second:
            there.set()
            go.wait()
        else:
            second.start()
            there.wait()

    def isEnabledFor(self, level):
        if threading.current_thread() is not second and not go.is_set():
            go.set()
            second.join()
        return super().isEnabledFor(level)

log = io.StringIO()
logging.basicConfig(level=logging.DEBUG, stream=log)
logging.setLoggerClass(Logger)
call()
# What was freed is taken by these, which have no business with logs.
gc.collect()
strays = []
taken = [
    ffi.callback("XetReadCallback", lambda *_: strays.append(1) or 0, onerror=print)
    for _ in range(20)
]
log.truncate(0)
call()
print(strays, "xet" in log.getvalue())
"""


def test_first_calls_that_cross_leave_the_library_a_callback_that_lives() -> None:
    """Whichever registers last, the library calls what is there, and the records arrive."""
    finished = python(CROSSING.format(unreachable=UNREACHABLE))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "[] True\n", "")


MANY = """
import gc, io, logging, sys, threading, xet_ffi

def call():
    start.wait()
    for _ in range(5):
        client = xet_ffi.Client({unreachable!r}, token=False, max_attempts=1)
        try:
            client.list_files("a/b")
        except xet_ffi.NetworkError:
            pass
        gc.collect()

log = io.StringIO()
logging.basicConfig(level=logging.DEBUG, stream=log)
sys.setswitchinterval(1e-6)
start = threading.Barrier(16)
threads = [threading.Thread(target=call) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("xet" in log.getvalue())
"""


def test_many_threads_may_make_their_first_call_at_once() -> None:
    """In a fresh interpreter, where the logger and all else is made by whoever comes first."""
    finished = python(MANY.format(unreachable=UNREACHABLE))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "True\n", "")


def test_a_log_handler_may_make_a_call() -> None:
    """Also while another thread waits in the library for that handler to return."""
    code = """
import logging, threading, xet_ffi

def call():
    client = xet_ffi.Client({unreachable!r}, token=False, max_attempts=1)
    try:
        client.list_files("a/b")
    except xet_ffi.NetworkError:
        pass

class Logger(logging.Logger):
    def isEnabledFor(self, level):
        if threading.current_thread() is other:
            registering.set()
        return super().isEnabledFor(level)

class Calls(logging.Handler):
    def emit(self, record):
        if not handled:
            handled.append(record)
            # The other thread registers another level, for which it waits until this has ended.
            logging.getLogger("xet_ffi").setLevel(logging.INFO)
            other.start()
            registering.wait()
            call()

registering = threading.Event()
other = threading.Thread(target=call)
handled = []
logging.setLoggerClass(Logger)
logging.getLogger("xet_ffi").addHandler(Calls())
logging.getLogger("xet_ffi").setLevel(logging.DEBUG)
call()
other.join()
print(len(handled))
"""
    finished = python(code.format(unreachable=UNREACHABLE))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "1\n", "")
