"""Calls on a server that accepts connections and says nothing can always be ended."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from xet_ffi import (
    CancelledError,
    Client,
    NotFoundError,
    Progress,
    TransferTimeoutError,
)

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nX-Error-Code: RepoNotFound\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A listening socket that nobody answers at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@pytest.fixture
def endpoint(server: socket.socket) -> str:
    """The address of the silent server."""
    return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def client(endpoint: str) -> Iterator[Client]:
    """A client that is patient, so that nothing but the test ends its calls."""
    with Client(endpoint, token=False, read_timeout=60) as client:
        yield client


@contextlib.contextmanager
def interpreter(code: str, endpoint: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `code` with a `client` of the silent server."""
    setup = f"import threading, xet_ffi; client = xet_ffi.Client({endpoint!r}, read_timeout=60)\n"
    with subprocess.Popen(
        [sys.executable, "-c", setup + code],
        cwd=sys.prefix,  # not among the sources
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_an_event_set_by_another_thread_cancels(server: socket.socket, client: Client) -> None:
    """While the call waits for its first byte."""
    event = threading.Event()

    def accept_and_cancel() -> None:
        connections.append(server.accept()[0])
        event.set()

    connections: list[socket.socket] = []
    thread = threading.Thread(target=accept_and_cancel)
    thread.start()
    with pytest.raises(CancelledError) as caught:
        client.list_files("a/b", cancel=event)
    thread.join()
    connections[0].close()
    assert caught.value.kind == "cancelled"


def test_a_callable_is_asked_often_and_may_raise(client: Client) -> None:
    """Its exception is the call's."""
    asked: list[float] = []

    def cancel() -> bool:
        asked.append(time.monotonic())
        if len(asked) == 5:
            raise LookupError
        return False

    with pytest.raises(LookupError):
        client.download_snapshot("a/b", cancel=cancel)
    # 50 ms apart by contract; a busy machine may be late, but not for seconds.
    assert asked[-1] - asked[0] < 3


def test_progress_is_reported_before_anything_has_arrived(client: Client) -> None:
    """The first report says that the listing is awaited; all run on the calling thread."""
    seen: list[tuple[Progress, int]] = []

    def progress(now: Progress) -> None:
        seen.append((now, threading.get_ident()))

    with pytest.raises(CancelledError):
        client.download_snapshot("a/b", progress=progress, cancel=lambda: len(seen) > 0)
    first, thread = seen[0]
    assert (first.phase, first.bytes_total, first.file) == ("scanning", 0, None)
    assert thread == threading.get_ident()


@pytest.mark.parametrize("call", ["list_files", "download_snapshot"])
def test_a_timeout_ends_the_whole_call(client: Client, call: str) -> None:
    """As a TimeoutError, long before the read timeout."""
    with pytest.raises(TransferTimeoutError) as caught:
        getattr(client, call)("a/b", timeout=0.2)
    assert isinstance(caught.value, TimeoutError)


def test_a_silent_server_is_noticed_by_itself(endpoint: str) -> None:
    """The read timeout is a deadline that every call has."""
    with (
        Client(endpoint, token=False, read_timeout=0.1, max_attempts=1) as client,
        pytest.raises(TransferTimeoutError, match=r"127\.0\.0\.1"),
    ):
        client.list_files("a/b")


@pytest.mark.parametrize("call", ["list_files", "download_snapshot", "plan_snapshot"])
def test_a_call_may_have_less_patience_than_its_client(endpoint: str, call: str) -> None:
    """Its own deadlines are those that count."""
    with (
        Client(endpoint, token=False, read_timeout=60, max_attempts=1) as client,
        pytest.raises(TransferTimeoutError, match=r"127\.0\.0\.1"),
    ):
        getattr(client, call)("a/b", first_byte_timeout=0.1)


def test_a_call_outlives_the_closing_of_its_client(server: socket.socket, client: Client) -> None:
    """Another thread closes the client; the running call gets its answer all the same."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            client.list_files("a/b")
        except NotFoundError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    connection, _ = server.accept()
    with connection:
        connection.recv(1)
        client.close()
        connection.recv(65536)
        connection.sendall(NOT_FOUND)
        thread.join(30)
    assert not thread.is_alive()
    assert [type(error).__name__ for error in errors] == ["RepoNotFoundError"]


def test_one_client_serves_many_threads(server: socket.socket, client: Client) -> None:
    """Each waits for its own answer and is cancelled by its own event."""
    events = [threading.Event() for _ in range(4)]
    cancelled: list[int] = []

    def call(index: int) -> None:
        with contextlib.suppress(CancelledError):
            client.list_files(f"a/b{index}", cancel=events[index])
        cancelled.append(index)

    threads = [threading.Thread(target=call, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    connections = [server.accept()[0] for _ in threads]
    for index in (2, 0, 3, 1):
        events[index].set()
        threads[index].join(30)
    assert cancelled == [2, 0, 3, 1]
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("call", ["client.list_files('a/b')", "client.download_file('a/b', 'c')"])
def test_ctrl_c_ends_the_process_at_once(server: socket.socket, endpoint: str, call: str) -> None:
    """With a KeyboardInterrupt, and no thread that holds the interpreter up."""
    with interpreter(call, endpoint) as process:
        connection, _ = server.accept()
        with connection:
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
        # 200 ms are promised; the rest is for the interpreter's own end on a busy machine.
        assert time.monotonic() - start < 2
    assert stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT


def test_ctrl_c_leaves_a_client_that_works(server: socket.socket, endpoint: str) -> None:
    """An interactive user goes on after it."""
    code = """
try:
    client.list_files('a/b')
except KeyboardInterrupt:
    print('interrupted', flush=True)
try:
    client.list_files('a/b')
except xet_ffi.NotFoundError:
    print(threading.active_count(), 'thread')
"""
    with interpreter(code, endpoint) as process:
        first, _ = server.accept()
        with first:
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            assert process.stdout.readline() == "interrupted\n"
            second, _ = server.accept()
            with second:
                second.recv(65536)
                second.sendall(NOT_FOUND)
                stdout, stderr = process.communicate(timeout=30)
    assert (stdout, stderr) == ("1 thread\n", "")


def test_a_daemon_thread_in_a_call_does_not_disturb_the_exit(
    server: socket.socket, endpoint: str
) -> None:
    """A callback in a dying interpreter would be unwound through the library, which aborts.

    So that one is due in that time, the last object takes longer to die than a callback interval.
    """
    code = """
class Last:
    def __del__(self, wait=threading.Event().wait):
        wait(0.2)
threading.Thread(target=client.list_files, args=['a/b'], daemon=True).start()
input()
last = Last()
"""
    with interpreter(code, endpoint) as process:
        connection, _ = server.accept()
        with connection:
            stdout, stderr = process.communicate("\n", timeout=30)
    assert (process.returncode, stdout, stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_uses_its_parents_client(server: socket.socket, endpoint: str) -> None:
    """Even one that had been in use, and in use by another thread at that moment."""
    code = """
import os
from xet_ffi import _call
waiting = threading.Thread(target=client.list_files, args=['a/b'], daemon=True)
waiting.start()
input()
child = os.fork()
if child == 0:
    assert not _call._running, 'calls of the parent'
try:
    client.list_files('c/d')
except xet_ffi.NotFoundError:
    os.write(1, b'parent answered\\n' if child else b'child answered\\n')
if child:
    os.waitpid(child, 0)
"""
    with interpreter(code, endpoint) as process, server.accept()[0]:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        for _ in range(2):
            with server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(NOT_FOUND)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (0, "")
    assert sorted(stdout.splitlines()) == ["child answered", "parent answered"]
