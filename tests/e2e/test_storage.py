"""Xet storage from Python: groups of downloads and uploads, streams, tokens, hashes."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from published import MIB, noise, publish
from storage_access import ABSENT, Access, token_of
from xet_ffi import (
    AuthError,
    CancelledError,
    ClosedError,
    InvalidConfigError,
    IoError,
    NotFoundError,
    TransferTimeoutError,
    _tokens,
    cache,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub, Token
    from xet_ffi import Client, Progress
    from xet_ffi.storage import Storage


def test_a_group_downloads_many_files(reading: Storage, access: Access, tmp_path: Path) -> None:
    """The report has each of them, in the order in which they were added."""
    with reading.downloads() as downloads:
        tasks = [downloads.add(access.hashes[name], tmp_path / name) for name in access.contents]
        downloads.add(access.hashes["a.bin"], tmp_path / "again", size=3 * MIB)
    report = downloads.report()
    for name, content in access.contents.items():
        assert (tmp_path / name).read_bytes() == content
    assert [task.task for task in report.tasks][:2] == tasks
    assert {task.state for task in report.tasks} == {report.state} == {"done"}
    assert [task.bytes_total for task in report.tasks] == [3 * MIB, 2 * MIB, 3 * MIB]
    assert report.bytes_total == report.bytes_completed == 8 * MIB
    assert report.tasks[2].hash == access.hashes["a.bin"]
    assert report.tasks[2].name == str(tmp_path / "again")


def test_files_of_a_megabyte_wait_for_their_answers_side_by_side(
    alice: Client, hub: Hub, hf_api: HfApi, tokens: dict[str, Token], repo_id: str, tmp_path: Path
) -> None:
    """More of them than large ones, since what they wait for is a round trip."""
    contents = {f"{i}.bin": noise(MIB, f"{repo_id}/{i}") for i in range(24)}
    publish(hf_api, repo_id, contents)
    infos = hf_api.get_paths_info(repo_id, [*contents])
    hub.reset_stats()
    hub.delay(0.2, "cas", "storage")
    storage = alice.storage(
        refresh_url=f"{hub.endpoint}/api/models/{repo_id}/xet-read-token/main",
        refresh_headers={"authorization": f"Bearer {tokens['alice'].secret}"},
    )
    try:
        with storage, storage.downloads() as downloads:
            for info in infos:
                downloads.add(str(info.xet_hash), tmp_path / info.path, size=MIB)  # type: ignore[union-attr] # files
    finally:
        hub.delay()
    for name, content in contents.items():
        assert (tmp_path / name).read_bytes() == content
    assert hub.stats().peak("cas") > 8
    assert hub.stats().peak("storage") > 8


def test_one_failing_file_is_raised_and_the_others_are_there(
    reading: Storage, access: Access, tmp_path: Path
) -> None:
    """Or not raised, for who looks at the report."""
    downloads = reading.downloads()
    bad = downloads.add(ABSENT, tmp_path / "bad")
    good = downloads.add(access.hashes["a.bin"], tmp_path / "good")
    assert downloads.wait_task(good).state == "done"
    for wait in (downloads.wait, lambda: downloads.wait_task(bad)):
        with pytest.raises(NotFoundError, match=ABSENT):
            wait()
    report = downloads.wait(check=False)
    assert isinstance(report.tasks[0].error, NotFoundError)
    assert (report.failed, report.state, report.tasks[1].state) == (1, "done", "done")
    assert (tmp_path / "good").read_bytes() == access.contents["a.bin"]


def test_wrong_arguments_are_named(reading: Storage, alice: Client, tmp_path: Path) -> None:
    """By what the Python caller calls them."""
    downloads, uploads = reading.downloads(), reading.uploads()
    wrong: dict[str, list[Callable[[], object]]] = {
        "hash": [lambda: downloads.add("xyz", "a"), lambda: reading.open("xyz")],
        "path": [lambda: downloads.add(ABSENT, "")],
        "source": [lambda: uploads.add("")],
        "task": [lambda: downloads.cancel(0), lambda: uploads.cancel(-1)],
        "sha256": [lambda: uploads.add(b"", sha256="xyz")],
        "timeout": [lambda: reading.downloads(timeout=0)],
        "start": [lambda: reading.open(ABSENT, start=-1)],
        "endpoint": [lambda: alice.storage("nonsense")],
    }
    for field, calls in wrong.items():
        for call in calls:
            with pytest.raises(InvalidConfigError) as caught:
                call()
            assert caught.value.field == field
    with pytest.raises(InvalidConfigError, match="headers"):
        alice.storage(endpoint=f"local://{tmp_path}", headers={"a b": "c"})
    with pytest.raises(TypeError, match="token_callback"):
        alice.storage(token_callback=3)  # type: ignore[arg-type] # that is the point


def test_what_was_closed_says_so(alice: Client, access: Access) -> None:
    """Storage, groups and streams; twice is fine, and what was begun goes on."""
    storage = alice.storage(**access.read)
    downloads, stream = storage.downloads(), storage.open(access.hashes["a.bin"])
    storage.close()
    storage.close()
    with pytest.raises(ClosedError, match="closed storage"):
        storage.uploads()
    assert b"".join(stream) == access.contents["a.bin"]
    for thing in (downloads, stream):
        thing.close()
        assert thing.closed
    with pytest.raises(ClosedError, match="closed group"):
        downloads.wait()
    with pytest.raises(ClosedError, match="closed stream"):
        stream.read()


def test_cancelling_ends_a_task_or_all(
    hub: Hub, reading: Storage, access: Access, tmp_path: Path
) -> None:
    """Nothing of them is there."""
    hub.fault("storage", method="GET", stall_before=60)
    downloads = reading.downloads()
    tasks = [downloads.add(access.hashes[name], tmp_path / name) for name in access.contents]
    downloads.cancel(tasks[0])
    assert downloads.wait_task(tasks[0]).state == "cancelled"
    assert downloads.report().tasks[1].state == "running"
    downloads.cancel()
    with pytest.raises(CancelledError):
        downloads.wait()
    assert {task.state for task in downloads.report().tasks} == {"cancelled"}
    assert not [*tmp_path.glob("*.bin")]


def test_callbacks_run_on_the_waiting_thread(
    reading: Storage, access: Access, tmp_path: Path
) -> None:
    """Progress arrives; what it raises ends the group, and is raised."""
    seen: list[tuple[Progress, threading.Thread]] = []
    downloads = reading.downloads()
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    downloads.wait(progress=lambda told: seen.append((told, threading.current_thread())))
    assert seen[-1][0].bytes_completed == 3 * MIB
    assert {thread for _, thread in seen} == {threading.current_thread()}

    def fail(_: Progress) -> None:
        raise ZeroDivisionError

    downloads = reading.downloads()
    downloads.add(access.hashes["b.bin"], tmp_path / "b")
    with pytest.raises(ZeroDivisionError):
        downloads.wait(progress=fail)


def test_ctrl_c_ends_a_wait(hub: Hub, reading: Storage, access: Access, tmp_path: Path) -> None:
    """At once."""
    hub.fault("storage", method="GET", stall_before=60)
    downloads = reading.downloads()
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    begun = time.monotonic()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        downloads.wait()
    timer.join()
    assert time.monotonic() - begun < 10


def test_a_group_has_a_time_limit(
    hub: Hub, reading: Storage, access: Access, tmp_path: Path
) -> None:
    """From its beginning."""
    hub.fault("storage", method="GET", stall_before=60)
    downloads = reading.downloads(timeout=0.5)
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    with pytest.raises(TransferTimeoutError):
        downloads.wait()


def test_uploads_end_in_hashes(alice: Client, access: Access, tmp_path: Path) -> None:
    """Of files, bytes and what is written; with the SHA-256 that was asked for."""
    (tmp_path / "file").write_bytes(noise(2 * MIB, "file"))
    with alice.storage(**access.write) as storage:
        with storage.uploads() as uploads:
            uploads.add(tmp_path / "file")
            uploads.add(noise(MIB, "bytes"), name="named", sha256="a" * 64)
            written = uploads.add(None, sha256=False)
            for part in range(30):
                uploads.write(written, noise(100_000, part))
            uploads.end(written)
            known = uploads.wait_task(written)
        report = uploads.report()
        file, named, nameless = report.tasks
        assert (file.name, named.name, nameless.name) == (str(tmp_path / "file"), "named", "")
        assert (named.sha256, nameless.sha256, nameless.hash) == ("a" * 64, None, known.hash)
        assert report.dedup is not None
        assert report.dedup.total_bytes == report.bytes_total == 3 * MIB + 3_000_000
        assert file.dedup is not None
        assert file.dedup.new_bytes == 2 * MIB
        hashed = alice.hash_files([tmp_path / "file"])
        assert [(content.hash, content.size) for content in hashed] == [(file.hash, 2 * MIB)]
        back = b"".join(storage.open(str(nameless.hash)))
    assert back == b"".join(noise(100_000, part) for part in range(30))


def test_hashing_tells_how_far_it_is(alice: Client, tmp_path: Path) -> None:
    """In the phase that it is, with the file that it's at."""
    sizes = {"a": 3 * MIB, "nothing": 0, "b": 9 * MIB}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(noise(size, name))
    seen: list[Progress] = []
    alice.hash_files([tmp_path / name for name in sizes], progress=seen.append)
    assert {progress.phase for progress in seen[1:]} == {"hashing"}
    last = seen[-1]
    assert last.bytes_completed == last.bytes_total == sum(sizes.values())
    assert last.files_completed == last.files_total == len(sizes)
    assert last.file in {str(tmp_path / name) for name in sizes}


def test_equal_contents_of_a_group_are_sent_once(
    hub: Hub, alice: Client, access: Access, tmp_path: Path
) -> None:
    """However small they are, and wherever they are from; each of them is there."""
    same = noise(MIB // 4, time.time_ns())
    (tmp_path / "file").write_bytes(same)
    with alice.storage(**access.write) as storage, storage.uploads() as uploads:
        for source in (same, tmp_path / "file", bytearray(same), same):
            uploads.add(source)
        report = uploads.wait()
        back = [b"".join(storage.open(str(task.hash))) for task in report.tasks]
    assert back == [same] * 4
    assert report.dedup is not None
    assert report.dedup.new_bytes == len(same)
    assert report.dedup.deduped_bytes == 3 * len(same)
    assert len(same) <= report.dedup.xorb_bytes_uploaded < 2 * len(same)
    assert hub.stats().raw["xorb_bytes_received"] < 2 * len(same)
    told = [task.dedup.new_bytes for task in report.tasks if task.dedup is not None]
    assert sorted(told) == [0, 0, 0, len(same)]


def test_what_is_kept_of_a_content_is_looked_after_with_the_cache(
    hub: Hub, reading: Storage, access: Access, tmp_path: Path, cache_dir: Path, xet_cache: Path
) -> None:
    """It counts, and goes when it's asked for, and not while somebody is at work on it."""
    kept = xet_cache / "xet-ffi" / "incomplete"
    content = access.contents["a.bin"]
    hub.fault("storage", method="GET", stall_after_bytes=2 * MIB)
    downloads = reading.downloads()
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    while downloads.report().bytes_completed < MIB:
        time.sleep(0.01)
    (partial,) = kept.glob("*.partial")
    done = cache.prune(unreferenced=True, cache_dir=cache_dir)
    assert (done.files, partial.exists()) == (0, True)
    assert {item.reason for item in done.items} == {"kept: it's locked"}
    downloads.cancel()
    with pytest.raises(CancelledError):
        downloads.wait()
    hub.clear_faults()
    before = cache.usage(cache_dir=cache_dir).bytes_partial
    assert MIB <= before <= len(content) + MIB
    for spared in ({"older_than": 3600.0}, {"size": before}):
        assert cache.prune(cache_dir=cache_dir, **spared).files == 0
    said = cache.prune(size=0, dry_run=True, cache_dir=cache_dir)
    assert partial.exists()
    done = cache.prune(size=0, cache_dir=cache_dir)
    assert (said.items, said.bytes) == (done.items, done.bytes)
    assert str(partial) in {item.path for item in done.items}
    assert cache.usage(cache_dir=cache_dir).bytes_partial == 0
    assert [*kept.iterdir()] == []


def test_bytes_that_are_uploaded_live_as_long_as_they_are_needed(
    alice: Client, access: Access
) -> None:
    """However early their owner lets go of them."""
    with alice.storage(**access.write) as storage:
        uploads = storage.uploads()
        for seed in range(8):
            uploads.add(noise(MIB, f"lives/{seed}"))
            gc.collect()
        report = uploads.wait()
        expected = [storage.open(str(task.hash)) for task in report.tasks]
        assert [b"".join(stream) for stream in expected] == [
            noise(MIB, f"lives/{seed}") for seed in range(8)
        ]
    uploads = alice.storage(**access.write).uploads()
    uploads.add(noise(4 * MIB, "given up"))
    del uploads
    gc.collect()


def test_a_file_that_can_not_be_read_fails_alone(
    alice: Client, access: Access, tmp_path: Path
) -> None:
    """The others are in storage."""
    with alice.storage(**access.write) as storage:
        uploads = storage.uploads()
        uploads.add(tmp_path)
        uploads.add(b"content")
        report = uploads.wait(check=False)
        assert isinstance(report.tasks[0].error, IoError)
        assert b"".join(storage.open(str(report.tasks[1].hash))) == b"content"


@pytest.mark.parametrize("bounds", [(0, None), (5, 100_000), (MIB, None), (0, 7)])
@pytest.mark.parametrize("size", [None, 3 * MIB])
def test_content_is_read_piece_by_piece(
    reading: Storage, access: Access, bounds: tuple[int, int | None], size: int | None
) -> None:
    """In its order, or as it comes; all of it, or a range."""
    start, end = bounds
    wanted = access.contents["a.bin"][start:end]
    what = access.hashes["a.bin"]
    assert b"".join(reading.open(what, size=size, start=start, end=end)) == wanted
    found = bytearray(len(wanted))
    with reading.open(what, size=size, start=start, end=end, unordered=True) as pieces:
        for offset, data in pieces:
            found[offset - start : offset - start + len(data)] = data
    assert found == wanted


def test_a_cancelled_stream_is_at_its_end(reading: Storage, access: Access) -> None:
    """Whoever reads on is told so."""
    stream = reading.open(access.hashes["a.bin"])
    assert stream.read() is not None
    stream.cancel()
    assert len(b"".join(stream)) < 3 * MIB
    assert stream.read() is None


@pytest.mark.parametrize("way", ["group", "task", "stream"])
def test_a_function_gets_tokens(
    hub: Hub, alice: Client, access: Access, tmp_path: Path, way: str
) -> None:
    """On a thread of its own, while one waits for anything of the storage."""
    threads: set[str] = set()

    def get_token() -> tuple[str, int]:
        threads.add(threading.current_thread().name)
        time.sleep(0.2)  # as long as a server may take
        return token_of(access)

    storage = alice.storage(hub.cas, token_callback=get_token)
    if way == "stream":
        assert b"".join(storage.open(access.hashes["a.bin"])) == access.contents["a.bin"]
    else:
        downloads = storage.downloads()
        task = downloads.add(access.hashes["a.bin"], tmp_path / "a")
        waited = downloads.wait_task(task) if way == "task" else downloads.wait()
        assert waited.state == "done"
        assert (tmp_path / "a").read_bytes() == access.contents["a.bin"]
    assert threads == {"xet_ffi token"}


WRONG: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "raises": (lambda: 1 // 0, ZeroDivisionError),
    "returns nothing": (lambda: None, TypeError),
    "returns a token alone": (lambda: "secret", TypeError),
    "returns a time that isn't one": (lambda: ("secret", -1), TypeError),
    "returns a time with a fraction": (lambda: ("secret", 1.5), TypeError),
    "returns nothing as a token": (lambda: ("", 0), ValueError),
    "returns a NUL": (lambda: ("secret\0x", 0), ValueError),
    "returns a line": (lambda: ("secret\n", 0), ValueError),
    "returns letters that no header has": (lambda: ("secrèt-secret", 0), ValueError),
    "returns what is no Unicode": (lambda: ("secret\ud800", 0), ValueError),
}


@pytest.mark.parametrize("way", WRONG)
@pytest.mark.parametrize("reader", ["group", "stream", "uploads", "one upload"])
def test_a_function_that_gets_no_token_is_the_cause(
    hub: Hub, alice: Client, access: Access, tmp_path: Path, way: str, reader: str
) -> None:
    """Of an AuthError, in which the token isn't."""
    function, kind = WRONG[way]
    storage = alice.storage(hub.cas, token_callback=function)
    read: Callable[[], object]
    if reader == "stream":
        read = storage.open(access.hashes["a.bin"]).read
    elif "upload" in reader:
        uploads = storage.uploads()
        task = uploads.add(b"content")
        read = uploads.wait if reader == "uploads" else lambda: uploads.wait_task(task)
    else:
        downloads = storage.downloads()
        downloads.add(access.hashes["a.bin"], tmp_path / "a")
        read = downloads.wait
    with pytest.raises(AuthError) as caught:
        read()
    assert caught.value.kind == "token_callback"
    assert "the token callback gave no token" in str(caught.value)
    assert isinstance(caught.value.__cause__, kind)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in f"{error!r}{vars(error)}{getattr(error, 'object', '')}"
        error = error.__cause__ or error.__context__


def test_an_answer_that_nobody_waited_for_is_not_one_to_a_later_question(
    hub: Hub, alice: Client, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is over by then, or a token has expired: the function is asked again."""
    monkeypatch.setattr(_tokens, "_UNCLAIMED", 0.05)
    goes_on, answered = threading.Event(), threading.Event()
    asked: list[threading.Thread] = []

    def get_token() -> tuple[str, int]:
        asked.append(threading.current_thread())
        if len(asked) == 1:
            answered.set()
            goes_on.wait(30)
            raise OSError("an outage of the past")
        return token_of(access)

    downloads = alice.storage(hub.cas, token_callback=get_token).downloads()
    task = downloads.add(access.hashes["a.bin"], tmp_path / "a")
    with pytest.raises(CancelledError):
        downloads.wait_task(task, cancel=answered.is_set)
    goes_on.set()
    asked[0].join(30)
    time.sleep(0.2)  # the time that makes an answer one of the past
    assert downloads.wait().state == "done"
    assert len(asked) == 2


def test_an_answer_is_waited_for_however_seldom_one_looks(
    hub: Hub, alice: Client, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback of progress may take longer than an answer is kept for nobody."""
    monkeypatch.setattr(_tokens, "_UNCLAIMED", 0.05)
    asked: list[int] = []

    def get_token() -> tuple[str, int]:
        asked.append(1)
        time.sleep(0.1)
        return token_of(access)

    downloads = alice.storage(hub.cas, token_callback=get_token).downloads()
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    assert downloads.wait(progress=lambda _: time.sleep(0.3)).state == "done"
    assert asked == [1]


@pytest.mark.parametrize("ended", ["done", "cancelled"])
def test_a_group_that_has_ended_answers_for_no_other_one(
    hub: Hub, alice: Client, access: Access, tmp_path: Path, ended: str
) -> None:
    """Who waits for it again isn't asked for the other's token, or doesn't refuse it."""
    storage = alice.storage(hub.cas, token_callback=lambda: token_of(access))
    downloads, other = storage.downloads(), storage.downloads()
    if ended == "cancelled":
        downloads.cancel()

    def wait() -> None:
        with suppress(CancelledError):
            downloads.wait()

    wait()
    other.add(access.hashes["a.bin"], tmp_path / "a")
    end = time.monotonic() + 0.5  # by then the other group has asked
    while time.monotonic() < end:
        wait()
    report = other.wait()
    assert [task.state for task in report.tasks] == ["done"]
    assert (tmp_path / "a").read_bytes() == access.contents["a.bin"]


def test_a_function_that_hangs_is_given_up(
    hub: Hub, alice: Client, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the group's time is over, or when one cancels; and by itself, after a while."""
    hangs = threading.Event()

    def hang() -> tuple[str, int]:
        hangs.wait(60)
        return "", 0

    storage = alice.storage(hub.cas, token_callback=hang)
    downloads = storage.downloads(timeout=0.5)
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    with pytest.raises(TransferTimeoutError):
        downloads.wait()
    downloads = storage.downloads()
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    begun = time.monotonic()
    with pytest.raises(CancelledError):
        downloads.wait(cancel=lambda: time.monotonic() > begun + 0.3)
    monkeypatch.setattr(_tokens, "LONGEST", 0.2)
    downloads = alice.storage(hub.cas, token_callback=hang).downloads()
    downloads.add(access.hashes["a.bin"], tmp_path / "a")
    with pytest.raises(AuthError, match="has not returned") as caught:
        downloads.wait()
    assert isinstance(caught.value.__cause__, TimeoutError)
    hangs.set()


def test_a_forked_child_begins_groups_of_its_own(
    reading: Storage, access: Access, tmp_path: Path
) -> None:
    """With the storage that it inherited; the parent's group it is refused."""
    downloads = reading.downloads()
    downloads.add(access.hashes["a.bin"], tmp_path / "parent")
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        status = 1
        try:
            with pytest.raises(InvalidConfigError, match="fork"):
                downloads.wait()
            with reading.downloads() as own:
                own.add(access.hashes["a.bin"], tmp_path / "child")
            status = 0
        except BaseException:  # noqa: BLE001 - it ends here, whatever it was
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    downloads.wait()
    for name in ("parent", "child"):
        assert (tmp_path / name).read_bytes() == access.contents["a.bin"]
