"""Groups of downloads: what hf_xet does where its own tests don't look, and ours.

Each test with `hf` runs with both modules.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

from gateway import Gateway
from published import noise
from xet_ffi import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hf_xet_face.conftest import Stored
    from hub import Hub

ABSENT = "ab" * 32


def info(hf: Any, stored: Stored) -> Any:
    """What is there, as the module calls it."""
    return hf.XetFileInfo(stored.hash, stored.size)


def test_a_closed_group_refuses_everything(hf: Any, stored: Stored, tmp_path: Path) -> None:
    """With the words that programs look for."""
    group = hf.XetSession().new_file_download_group(**stored.read)
    handle = group.start_download_file(info(hf, stored), str(tmp_path / "a"))
    report = group.wait_to_finish()
    assert group.status() == handle.status() == hf.XetTaskState.Completed
    for refused in (
        group.wait_to_finish,
        lambda: group.start_download_file(info(hf, stored), str(tmp_path / "b")),
    ):
        with pytest.raises(RuntimeError, match="Already completed"):
            refused()
    (done,) = report.downloads.values()
    assert handle.result().path == done.path == tmp_path / "a"
    assert done.file_info.file_size == report.progress.total_bytes_completed == stored.size
    assert (tmp_path / "a").read_bytes() == stored.content


def test_an_aborted_group_says_that_it_was_cancelled(
    hf: Any, stored: Stored, tmp_path: Path
) -> None:
    """Whatever is asked of it; twice is fine."""
    group = hf.XetSession().new_file_download_group(**stored.read)
    group.abort()
    group.abort()
    assert group.status() == hf.XetTaskState.UserCancelled
    for refused in (
        group.wait_to_finish,
        lambda: group.start_download_file(info(hf, stored), str(tmp_path / "b")),
    ):
        with pytest.raises(RuntimeError, match="cancelled"):
            refused()


def test_one_cancelled_download_cancels_the_wait(hf: Any, stored: Stored, tmp_path: Path) -> None:
    """It can't have succeeded."""
    group = hf.XetSession().new_file_download_group(**stored.read)
    handle = group.start_download_file(hf.XetFileInfo(stored.hash), str(tmp_path / "a"))
    handle.cancel()
    assert handle.try_result() is None
    with pytest.raises(RuntimeError, match="cancelled"):
        group.wait_to_finish()
    assert group.status() == hf.XetTaskState.UserCancelled


WRONG: dict[str, Callable[[Any, Stored, Path], tuple[Any, Path]]] = {
    "no hash": lambda hf, _, folder: (hf.XetFileInfo("xyz", 3), folder / "a"),
    "an unknown hash": lambda hf, _, folder: (hf.XetFileInfo(ABSENT, 3), folder / "a"),
    "too large a size": lambda hf, stored, folder: (
        hf.XetFileInfo(stored.hash, stored.size + 1),
        folder / "a",
    ),
    "a folder": lambda hf, stored, folder: (info(hf, stored), folder),
    "below a file": lambda hf, stored, folder: (info(hf, stored), folder / "file" / "a"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_download_is_told_at_the_end(
    hf: Any, stored: Stored, tmp_path: Path, wrong: str
) -> None:
    """As a RuntimeError, always, and again by each who asks."""
    (tmp_path / "file").write_bytes(b"here before")
    group = hf.XetSession().new_file_download_group(**stored.read)
    content, path = WRONG[wrong](hf, stored, tmp_path)
    handle = group.start_download_file(content, str(path))
    with pytest.raises(RuntimeError, match="Task error: "):
        group.wait_to_finish()
    for failed in (handle.result, handle.status, group.status):
        with pytest.raises(RuntimeError, match="ask error: "):
            failed()
    assert (tmp_path / "file").read_bytes() == b"here before"


def test_ours_leaves_no_file_that_is_wrong(ours: Any, stored: Stored, tmp_path: Path) -> None:
    """hf_xet writes the beginning if the size that it's given is too small, and calls that done."""
    for size in (stored.size - 1, stored.size + 1, 1):
        group = ours.XetSession().new_file_download_group(**stored.read)
        group.start_download_file(ours.XetFileInfo(stored.hash, size), str(tmp_path / "a"))
        with pytest.raises(RuntimeError, match="Task error: "):
            group.wait_to_finish()
    assert not (tmp_path / "a").exists()


def test_ours_says_what_failed_and_why(ours: Any, stored: Stored, tmp_path: Path) -> None:
    """The cause is the typed error that xet_ffi has for it."""
    group = ours.XetSession().new_file_download_group(**stored.read)
    group.start_download_file(ours.XetFileInfo(ABSENT, 3), str(tmp_path / "a"))
    with pytest.raises(RuntimeError, match=ABSENT) as caught:
        group.wait_to_finish()
    assert isinstance(caught.value.__cause__, NotFoundError)


def test_missing_folders_are_made(hf: Any, stored: Stored, tmp_path: Path) -> None:
    """All of them; and a path may be relative, to where one was at the time."""
    path = tmp_path / "some" / "folder" / "model"
    with hf.XetSession().new_file_download_group(**stored.read) as group:
        handle = group.start_download_file(info(hf, stored), os.path.relpath(path))
    assert path.read_bytes() == stored.content
    assert os.path.normpath(handle.result().path) == str(path)


def test_an_empty_path_is_an_os_error_at_once(hf: Any, stored: Stored) -> None:
    """It isn't the folder that one is in."""
    group = hf.XetSession().new_file_download_group(**stored.read)
    with pytest.raises(OSError, match="empty path"):
        group.start_download_file(info(hf, stored), "")


def test_wrong_types_are_type_errors(hf: Any, stored: Stored, tmp_path: Path) -> None:
    """Before anything begins."""
    session = hf.XetSession()
    group = session.new_file_download_group(**stored.read)
    for wrong in (("hash", str(tmp_path / "a")), (info(hf, stored), tmp_path / "a")):
        with pytest.raises(TypeError, match="not an instance of"):
            group.start_download_file(*wrong)
    for arguments in ({"token": 3}, {"endpoint": 3}, {"token_refresh_url": 3}, {"nonsense": 1}):
        with pytest.raises(TypeError):
            session.new_file_download_group(**arguments)
    # Those for the refresh, too, where there is no URL for it.
    for name in ("custom_headers", "token_refresh_headers"):
        for headers in (3, "ab", [("a", "b")], {"a": 3}, {3: "a"}):
            for begin in (
                session.new_file_download_group,
                session.new_upload_commit,
                session.new_download_stream_group,
            ):
                with pytest.raises(TypeError):
                    begin(endpoint="local:///tmp", **{name: headers})
    with pytest.raises(OverflowError):
        session.new_file_download_group(token="t", token_expiry_unix_secs=-1)
    for unsendable in ({"a b": "c"}, {"a": "c\n"}):
        with pytest.raises(ValueError, match="Invalid header"):
            session.new_file_download_group(**{**stored.read, "custom_headers": unsendable})
    with pytest.raises(TypeError):
        hf.XetSession(3)
    group.wait_to_finish()


@pytest.mark.parametrize(
    ("change", "typed"),
    [
        ({"token_refresh_url": "/nowhere"}, "XetObjectNotFoundError"),
        ({"token_refresh_headers": {"authorization": "Bearer hf_wrong"}}, "XetAuthenticationError"),
    ],
)
def test_a_group_that_can_not_be_built_keeps_the_class_of_its_error(
    hf: Any, ours: Any, hub: Hub, stored: Stored, change: dict[str, Any], typed: str
) -> None:
    """A ConnectionError for every status; ours is also caught as what it is."""
    if change.get("token_refresh_url") == "/nowhere":
        change = {"token_refresh_url": f"{hub.endpoint}/nowhere"}
    with pytest.raises(ConnectionError) as caught:
        hf.XetSession().new_file_download_group(**{**stored.read, **change})
    if hf is ours:
        assert isinstance(caught.value, getattr(hf, typed))


def download(hf: Any, stored: Stored, folder: Path, headers: dict[str, str]) -> None:
    """Downloads what is there."""
    arguments = {**stored.read, "custom_headers": headers}
    with hf.XetSession().new_file_download_group(**arguments) as group:
        group.start_download_file(info(hf, stored), str(folder / "a"))
    assert (folder / "a").read_bytes() == stored.content


def stream(hf: Any, stored: Stored, _: Path, headers: dict[str, str]) -> None:
    """Reads it."""
    group = hf.XetSession().new_download_stream_group(**stored.read, custom_headers=headers)
    assert b"".join(group.download_stream(info(hf, stored))) == stored.content


def upload(hf: Any, stored: Stored, _: Path, headers: dict[str, str]) -> None:
    """Uploads something new."""
    with hf.XetSession().new_upload_commit(**stored.write, custom_headers=headers) as commit:
        commit.start_upload_bytes(noise(100_000, time.time_ns()))


@pytest.mark.parametrize("move", [download, stream, upload], ids=lambda move: move.__name__)
def test_headers_go_where_they_are_meant_to(
    hf: Any,
    ours: Any,
    hub: Hub,
    stored: Stored,
    tmp_path: Path,
    move: Callable[[Any, Stored, Path, dict[str, str]], None],
) -> None:
    """The CAS gets them with each request; of ours, storage, which signs its URLs, gets none."""
    places = {
        "cas": "location / { proxy_pass {cas}; }",
        "storage": "location / { proxy_pass {storage}; }",
    }
    with ExitStack() as stack:
        gateways = {
            name: stack.enter_context(Gateway.start(hub, tmp_path / name, locations))
            for name, locations in places.items()
        }
        stack.callback(hub.announce)
        hub.announce(**{name: gateway.endpoint for name, gateway in gateways.items()})
        move(hf, stored, tmp_path, {"X-Custom": "1", "User-Agent": "program/1"})
        assert gateways["cas"].custom_headers() == {"1"}
        assert gateways["storage"].custom_headers() == ({"-"} if hf is ours else {"1"})
    assert hub.stats().leaked_authorization == 0


def test_an_expired_token_is_replaced(hf: Any, hub: Hub, stored: Stored, tmp_path: Path) -> None:
    """Where there is a URL for that; huggingface_hub gives both."""
    first = {"endpoint": hub.cas, "token": "old", "token_expiry_unix_secs": int(time.time()) - 9}
    with hf.XetSession().new_file_download_group(**stored.read, **first) as group:
        group.start_download_file(info(hf, stored), str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == stored.content


def test_callbacks_come_from_another_thread_and_at_the_end_from_this_one(
    hf: Any, stored: Stored, tmp_path: Path
) -> None:
    """The last one has all of it."""
    seen: list[tuple[threading.Thread, int, list[Any]]] = []
    fired = threading.Event()

    def note(group: Any, items: dict[Any, Any]) -> None:
        seen.append((threading.current_thread(), group.total_bytes_completed, [*items.values()]))
        fired.set()

    with hf.XetSession().new_file_download_group(
        **stored.read, progress_callback=note, progress_interval_ms=5
    ) as group:
        assert fired.wait(30)
        handle = group.start_download_file(info(hf, stored), str(tmp_path / "a"))
    assert seen[0][0] is not threading.current_thread()
    last_thread, last_bytes, (item,) = seen[-1]
    assert last_thread is threading.current_thread()
    assert last_bytes == item.bytes_completed == item.total_bytes == stored.size
    assert item.item_name == str(tmp_path / "a")
    assert handle.task_id()


def test_a_callback_that_raises_ends_the_polling_alone(
    hf: Any, stored: Stored, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its error is printed, and it is told the end all the same."""
    calls: list[bool] = []
    fired = threading.Event()

    def fail(*_: Any) -> None:
        calls.append(threading.current_thread() is threading.main_thread())
        fired.set()
        raise ValueError("a bad callback")

    with hf.XetSession().new_file_download_group(
        **stored.read, progress_callback=fail, progress_interval_ms=5
    ) as group:
        assert fired.wait(30)
        group.start_download_file(info(hf, stored), str(tmp_path / "a"))
    assert calls == [False, True]
    assert (tmp_path / "a").read_bytes() == stored.content
    assert capfd.readouterr().err.count("ValueError: a bad callback\n") == 2


def test_after_a_failure_the_callback_is_not_called(
    hf: Any, stored: Stored, tmp_path: Path
) -> None:
    """Only success is told at the end."""
    calls: list[object] = []
    group = hf.XetSession().new_file_download_group(
        **stored.read, progress_callback=lambda *_: calls.append(1), progress_interval_ms=10**7
    )
    group.start_download_file(hf.XetFileInfo(ABSENT, 3), str(tmp_path / "a"))
    with pytest.raises(RuntimeError):
        group.wait_to_finish()
    assert calls == []


def threads() -> set[threading.Thread]:
    """Python's threads but this one."""
    return set(threading.enumerate()) - {threading.current_thread()}


def test_ours_has_one_thread_for_a_thousand_files(
    ours: Any, stored: Stored, tmp_path: Path
) -> None:
    """And none, where there is no callback."""
    before = threads()
    session = ours.XetSession()
    watched = session.new_file_download_group(**stored.read, progress_callback=lambda *_: None)
    plain = session.new_file_download_group(**stored.read)
    for i in range(1000):
        for group in (watched, plain):
            group.start_download_file(ours.XetFileInfo(stored.hash), str(tmp_path / str(i)))
    (thread,) = threads() - before
    watched.abort()
    plain.abort()
    # Nobody waits for a callback in an abort.
    thread.join(30)
    assert not threads() - before


def test_the_thread_of_a_group_that_nobody_has_any_more_ends(ours: Any, stored: Stored) -> None:
    """And the group's work with it."""
    before = threads()
    group = ours.XetSession().new_file_download_group(
        **stored.read, progress_callback=lambda *_: None, progress_interval_ms=5
    )
    (thread,) = threads() - before
    del group
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


def test_ctrl_c_is_raised_where_one_waits(
    hf: Any, hub: Hub, stored: Stored, tmp_path: Path
) -> None:
    """And a session that was aborted after it refuses more, as huggingface_hub expects."""
    hub.fault("reconstruction", stall_before=60)
    session = hf.XetSession()
    group = session.new_file_download_group(**stored.read)
    group.start_download_file(info(hf, stored), str(tmp_path / "a"))
    begun = time.monotonic()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        group.wait_to_finish()
    session.sigint_abort()
    assert time.monotonic() - begun < 10
    with pytest.raises(KeyboardInterrupt):
        session.new_file_download_group(**stored.read)
    timer.join()


def test_a_session_is_aborted_while_others_begin_groups(ours: Any, endpoint: str) -> None:
    """All that have been begun are ended, and no more are."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    groups: list[Any] = []

    def begin_many(session: Any) -> None:
        with suppress(KeyboardInterrupt):
            while True:
                groups.append(session.new_file_download_group(endpoint=endpoint))

    try:
        for _ in range(20):
            groups.clear()
            session = ours.XetSession()
            begun = threading.Thread(target=begin_many, args=(session,))
            begun.start()
            while len(groups) < 20:  # there is something to look through
                time.sleep(0)
            session.sigint_abort()
            begun.join(30)
            assert {group.status() for group in groups} == {ours.XetTaskState.UserCancelled}
    finally:
        sys.setswitchinterval(interval)


def test_ours_waits_as_long_as_it_can_if_it_is_to_wait_longer(
    ours: Any, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hf_xet knows no limit."""
    for name in ("CONNECT", "READ"):
        monkeypatch.setenv(f"HF_XET_CLIENT_{name}_TIMEOUT", "1000 days")
    download(ours, stored, tmp_path, {})


def in_child(work: Callable[[], object]) -> int:
    """The exit status of a fork that does some work, and must end within 20 seconds."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - it ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_makes_another_session(hf: Any, stored: Stored, tmp_path: Path) -> None:
    """As huggingface_hub does, after its parent has used one."""

    def download(name: str) -> None:
        with hf.XetSession().new_file_download_group(**stored.read) as group:
            group.start_download_file(info(hf, stored), str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == stored.content

    download("before")
    assert in_child(lambda: download("child")) == 0
    download("after")


def test_ours_also_goes_on_with_the_parents_session(
    ours: Any, stored: Stored, tmp_path: Path
) -> None:
    """hf_xet refuses that."""
    session = ours.XetSession()

    def download(name: str) -> None:
        with session.new_file_download_group(**stored.read) as group:
            group.start_download_file(info(ours, stored), str(tmp_path / name))

    download("before")
    assert in_child(lambda: download("child")) == 0
    assert (tmp_path / "child").read_bytes() == stored.content


@pytest.mark.parametrize("way", ["waits", "ends"])
def test_a_fork_within_a_group_does_not_harm_it(
    ours: Any, stored: Stored, tmp_path: Path, way: str
) -> None:
    """The child is told that the group isn't its own; leaving the block by exiting is fine."""
    with ours.XetSession().new_file_download_group(
        **stored.read, progress_callback=lambda *_: None
    ) as group:
        group.start_download_file(info(ours, stored), str(tmp_path / "a"))

        def work() -> None:
            if way == "waits":
                with pytest.raises(RuntimeError, match="Wrong process"):
                    group.wait_to_finish()
            else:
                with pytest.raises(SystemExit), group:
                    sys.exit(0)
            assert repr(group)

        assert in_child(work) == 0
    assert (tmp_path / "a").read_bytes() == stored.content


def test_an_exception_in_the_block_aborts_the_group(
    hf: Any, stored: Stored, tmp_path: Path
) -> None:
    """And is what leaves the block."""
    group = hf.XetSession().new_file_download_group(**stored.read)
    with pytest.raises(ZeroDivisionError), group as entered:
        raise ZeroDivisionError(entered.start_download_file(info(hf, stored), str(tmp_path / "a")))
    assert group.status() == hf.XetTaskState.UserCancelled
