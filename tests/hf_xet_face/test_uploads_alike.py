"""Commits of uploads: what hf_xet does where its own tests don't look, and ours.

Each test with `hf` runs with both modules.
"""

from __future__ import annotations

import hashlib
import importlib
import mmap
import threading
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hf_xet_face.conftest import MODULES
from published import MIB, noise
from xet_ffi import AuthError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hf_xet_face.conftest import Stored
    from hub import Hub


def sha256(content: bytes) -> str:
    """As uploads have it."""
    return hashlib.sha256(content).hexdigest()


def test_a_closed_commit_refuses_everything(hf: Any, endpoint: str) -> None:
    """What it has done stays."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    handle = commit.start_upload_bytes(b"content")
    commit.wait_to_finish()
    for refused in (
        commit.wait_to_finish,
        lambda: commit.start_upload_bytes(b""),
        lambda: commit.start_upload_file(__file__),
        commit.start_upload_stream,
    ):
        with pytest.raises(RuntimeError, match="Already completed"):
            refused()
    assert commit.status() == handle.status() == hf.XetTaskState.Completed
    assert handle.result().xet_info.file_size == len(b"content")


def test_an_aborted_commit_says_that_it_was_cancelled(hf: Any, endpoint: str) -> None:
    """Whatever is asked of it; twice is fine."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    stream = commit.start_upload_stream()
    commit.abort()
    commit.abort()
    assert commit.status() == hf.XetTaskState.UserCancelled
    for refused in (
        commit.wait_to_finish,
        lambda: commit.start_upload_bytes(b""),
        lambda: stream.write(b""),
        stream.finish,
    ):
        with pytest.raises(RuntimeError, match="cancelled"):
            refused()


def test_a_file_that_is_missing_is_an_os_error_at_once(
    hf: Any, endpoint: str, tmp_path: Path
) -> None:
    """Nothing has begun."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    with pytest.raises(OSError, match="No such file"):
        commit.start_upload_file(str(tmp_path / "missing"))


def test_a_folder_is_an_os_error_at_the_end(hf: Any, endpoint: str, tmp_path: Path) -> None:
    """As what can't be read: it is found out by reading."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    commit.start_upload_file(str(tmp_path))
    with pytest.raises(OSError, match=r"(?i)is a directory|not a regular file"):
        commit.wait_to_finish()


@pytest.mark.parametrize("way", ["unfinished", "aborted"])
def test_a_stream_that_is_not_finished_fails_its_commit(hf: Any, endpoint: str, way: str) -> None:
    """Half of a file would be in storage."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    stream = commit.start_upload_stream(name="stream")
    stream.write(b"a")
    if way == "aborted":
        stream.abort()
    with pytest.raises(RuntimeError, match="stream upload not finished before commit"):
        commit.wait_to_finish()
    with pytest.raises(RuntimeError, match="stream upload not finished"):
        commit.status()


def test_a_finished_stream_takes_no_more(hf: Any, endpoint: str) -> None:
    """Its result stays."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    stream = commit.start_upload_stream(name="stream")
    for data in (b"abc", b"", b"def"):
        stream.write(data)
    with pytest.raises(TypeError, match="'bytes'"):
        stream.write("text")
    done = stream.finish()
    for refused in (lambda: stream.write(b"x"), stream.finish):
        with pytest.raises(RuntimeError, match="Already completed"):
            refused()
    assert (done.xet_info.file_size, done.tracking_name) == (6, "stream")
    assert done.xet_info.sha256 == sha256(b"abcdef")
    assert stream.try_finish().xet_info.hash == done.xet_info.hash
    assert stream.status() == hf.XetTaskState.Completed
    assert stream.task_id() in commit.wait_to_finish().uploads


SHA256: dict[str, tuple[Callable[[Any], Any], str | None]] = {
    "none": (lambda _: None, sha256(b"content")),
    "computed": (lambda hf: hf.COMPUTE_SHA256, sha256(b"content")),
    "skipped": (lambda hf: hf.SKIP_SHA256, None),
    "given": (lambda _: "a" * 64, "a" * 64),
    "given in capitals": (lambda _: "A" * 64, "a" * 64),
    "not one": (lambda _: "zzz", sha256(b"content")),
}


@pytest.mark.parametrize("policy", SHA256)
def test_the_sha256_is_the_one_that_was_asked_for(hf: Any, endpoint: str, policy: str) -> None:
    """Of bytes, as of files and streams."""
    given, expected = SHA256[policy]
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    handle = commit.start_upload_bytes(b"content", sha256=given(hf))
    commit.wait_to_finish()
    assert handle.result().xet_info.sha256 == expected


def test_wrong_types_are_type_errors(hf: Any, endpoint: str, tmp_path: Path) -> None:
    """Before anything begins."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    stream = commit.start_upload_stream()
    wrong: Callable[[], object]
    for wrong in (
        lambda: commit.start_upload_bytes(b"", sha256=3),
        lambda: commit.start_upload_bytes(b"", name=3),
        lambda: commit.start_upload_file(tmp_path / "a"),
        lambda: commit.start_upload_file(b"a"),
        lambda: commit.start_upload_stream(name=3),
        lambda: stream.write(bytearray(b"a")),
        lambda: stream.write(5),
    ):
        with pytest.raises(TypeError):
            wrong()
    stream.finish()
    assert len(commit.wait_to_finish().uploads) == 1


class Numbered:
    """Has numbered items, and nothing else."""

    def __getitem__(self, index: int) -> int:
        return b"abc"[index]


LIKE_BYTES: list[Any] = [
    *(b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a-b-c")[::2]),
    *([97, 98, 99], (97, 98, 99), range(97, 100), Numbered(), type("Bytes", (bytes,), {})(b"abc")),
    *(array("B", b"abc"), array("i", [97, 98, 99]), memoryview(array("i", [97, 98, 99]))),
]


def test_what_is_like_bytes_is_content(hf: Any, endpoint: str) -> None:
    """A buffer of bytes, or a sequence of numbers; of larger numbers, their values."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    handles = [commit.start_upload_bytes(like) for like in LIKE_BYTES]
    commit.wait_to_finish()
    assert {handle.result().xet_info.sha256 for handle in handles} == {sha256(b"abc")}


def test_ours_takes_buffers_of_bytes_of_any_form(ours: Any, endpoint: str) -> None:
    """hf_xet takes a buffer for a sequence, and these aren't."""
    commit = ours.XetSession().new_upload_commit(endpoint=endpoint)
    with mmap.mmap(-1, 3) as mapped:
        mapped[:] = b"abc"
        likes = (mapped, memoryview(b"abc").cast("c"), memoryview(b"abc").cast("B", (3, 1)))
        handles = [commit.start_upload_bytes(like) for like in likes]
    commit.wait_to_finish()
    assert {handle.result().xet_info.sha256 for handle in handles} == {sha256(b"abc")}


class Convertible:
    """Could be made bytes, or a number."""

    def __bytes__(self) -> bytes:
        return b"abc"

    def __index__(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        *((wrong, TypeError) for wrong in (5, True, 1.5, None, "text", Convertible(), {1: 2}, {1})),
        *((wrong, TypeError) for wrong in (iter([1]), ["a"], [1.0], [b"a"], array("d", [1]))),
        *((wrong, OverflowError) for wrong in ([300], [-1], array("i", [300]), array("b", [-1]))),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else "",
)
def test_what_is_not_like_bytes_is_refused(
    hf: Any, endpoint: str, content: Any, kind: type[Exception]
) -> None:
    """A number isn't so many zeros, and a dictionary isn't its keys."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    with pytest.raises(kind):
        commit.start_upload_bytes(content)
    assert not commit.wait_to_finish().uploads


def everything(hf: Any, arguments: dict[str, Any], folder: Path) -> tuple[Any, dict[str, Any]]:
    """The report of a commit of all kinds of uploads, and each one's result."""
    (folder / "file").write_bytes(noise(2 * MIB, "file"))
    commit = hf.XetSession().new_upload_commit(**arguments)
    handles = {
        "file": commit.start_upload_file(str(folder / "file")),
        "bytes": commit.start_upload_bytes(noise(300_000, "bytes"), name="named"),
        "nameless": commit.start_upload_bytes(b"x", sha256=hf.SKIP_SHA256),
        "empty": commit.start_upload_bytes(b""),
    }
    stream = commit.start_upload_stream(name="stream")
    for part in range(40):
        stream.write(noise(100_000, part))
    results = {"stream": stream.finish()}
    report = commit.wait_to_finish()
    return report, results | {name: handle.result() for name, handle in handles.items()}


def test_results_are_the_same(official: Any, ours: Any, tmp_path: Path) -> None:
    """Hashes, sizes, names, and what had to be sent."""
    seen = []
    for hf in (official, ours):
        folder = tmp_path / hf.__name__
        folder.mkdir()
        report, results = everything(hf, {"endpoint": f"local://{folder}/cas"}, folder)
        found = {
            name: (
                *(result.xet_info.hash, result.xet_info.file_size, result.xet_info.sha256),
                result.tracking_name and Path(result.tracking_name).name,
                *(result.dedup_metrics.total_bytes, result.dedup_metrics.total_chunks),
            )
            for name, result in results.items()
        }
        metrics = report.dedup_metrics
        total = (metrics.total_bytes, metrics.new_bytes, metrics.total_chunks, metrics.new_chunks)
        sent = metrics.xorb_bytes_uploaded + metrics.shard_bytes_uploaded
        assert metrics.total_bytes_uploaded == sent > metrics.new_bytes
        assert len(report.uploads) == len(results)
        assert report.progress.total_bytes_completed == report.progress.total_bytes
        seen.append((found, total))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("place", ["a folder", "a hub"])
@pytest.mark.parametrize("writer", MODULES)
def test_each_module_reads_what_the_other_has_written(
    hub: Hub, stored: Stored, tmp_path: Path, place: str, writer: str
) -> None:
    """Through a folder as storage, and through a hub's."""
    (reader,) = MODULES.keys() - {writer}
    write, read = (importlib.import_module(MODULES[name]) for name in (writer, reader))
    local = {"endpoint": f"local://{tmp_path}/cas"}
    # With the right to write one reads what was uploaded, and isn't in a commit yet.
    arguments = local if place == "a folder" else stored.write
    _, results = everything(write, arguments, tmp_path)
    expected = {
        "file": noise(2 * MIB, "file"),
        "bytes": noise(300_000, "bytes"),
        "nameless": b"x",
        "empty": b"",
        "stream": b"".join(noise(100_000, part) for part in range(40)),
    }
    session = read.XetSession()
    with session.new_file_download_group(**arguments) as group:
        for name, result in results.items():
            info = read.XetFileInfo(result.xet_info.hash, result.xet_info.file_size)
            group.start_download_file(info, str(tmp_path / "read" / name))
    found = {name: (tmp_path / "read" / name).read_bytes() for name in results}
    assert found == expected
    assert hub.stats().leaked_authorization == 0


def test_what_may_not_be_written_keeps_the_class_of_its_error(
    hf: Any, ours: Any, stored: Stored
) -> None:
    """A ConnectionError for every status; ours is also caught as what it is."""
    commit = hf.XetSession().new_upload_commit(**stored.read)
    commit.start_upload_bytes(noise(100_000, time.time_ns()))
    with pytest.raises(ConnectionError) as caught:
        commit.wait_to_finish()
    if hf is ours:
        assert isinstance(caught.value, hf.XetAuthenticationError)
        assert isinstance(caught.value.__cause__, PermissionDeniedError)


def failed_commit(hf: Any, hub: Hub) -> Any:
    """A commit that can't go on, as its token is refused: an upload has shown that."""
    commit = hf.XetSession().new_upload_commit(
        endpoint=hub.cas, token="refused", token_expiry_unix_secs=int(time.time()) + 3600
    )
    # More than a xorb of it, so that some is sent before anybody waits.
    handle = commit.start_upload_bytes(noise(150 * MIB, "refused"))
    with pytest.raises(ConnectionError, match=r"(?i)401|refused"):
        handle.result()
    return commit


def test_a_commit_that_has_failed_says_why_at_its_end(hf: Any, hub: Hub, tmp_path: Path) -> None:
    """Whatever is added to it before that."""
    (tmp_path / "file").write_bytes(b"content")
    commit = failed_commit(hf, hub)

    def add_more() -> None:
        with commit:
            commit.start_upload_bytes(b"more", name="named")
            commit.start_upload_file(str(tmp_path / "file"))

    with pytest.raises(ConnectionError, match=r"(?i)401|refused"):
        add_more()
    for refused in (commit.wait_to_finish, lambda: commit.start_upload_bytes(b"more")):
        with pytest.raises(RuntimeError, match=r"Previous task error: .*(401|refused)"):
            refused()
    with pytest.raises(RuntimeError, match=r"Task error: .*(401|refused)"):
        commit.status()


def test_what_ours_adds_to_a_commit_that_has_failed_has_failed(ours: Any, hub: Hub) -> None:
    """As each handle says; the commit itself tells of its own failure."""
    commit = failed_commit(ours, hub)
    hub.wait_for(lambda _: commit.report().state == "failed", "the end of the commit")
    added = commit.start_upload_bytes(b"more", name="named")
    assert added.try_result() is None
    assert (added.progress().item_name, added.progress().total_bytes) == ("named", 0)
    with pytest.raises(RuntimeError, match="Task error: "):
        added.status()
    stream = commit.start_upload_stream()
    for refused in (added.result, lambda: stream.write(b"x"), stream.finish):
        with pytest.raises((OSError, ValueError, RuntimeError)):
            refused()
    stream.abort()
    assert added.task_id() != stream.task_id()
    with pytest.raises(ours.XetAuthenticationError) as caught:
        commit.wait_to_finish()
    assert isinstance(caught.value.__cause__, AuthError)


def test_what_is_wrong_with_an_upload_is_told_at_once(ours: Any, endpoint: str) -> None:
    """As its commit hasn't failed, and takes others."""
    commit = ours.XetSession().new_upload_commit(endpoint=endpoint)
    with pytest.raises(ValueError, match="NUL"):
        commit.start_upload_bytes(b"", name="a\0b")
    commit.start_upload_bytes(b"content")
    assert len(commit.wait_to_finish().uploads) == 1


def test_callbacks_are_told_of_every_file(hf: Any, endpoint: str, tmp_path: Path) -> None:
    """At the end all of it, on this thread; files by their path, bytes by their name."""
    (tmp_path / "file").write_bytes(noise(MIB))
    seen: list[tuple[threading.Thread, Any, dict[Any, Any]]] = []
    with hf.XetSession().new_upload_commit(
        endpoint=endpoint,
        progress_callback=lambda *told: seen.append((threading.current_thread(), *told)),
        progress_interval_ms=5,
    ) as commit:
        handles = [
            commit.start_upload_file(str(tmp_path / "file")),
            commit.start_upload_bytes(noise(300_000, "b"), name="named"),
        ]
    thread, total, items = seen[-1]
    assert thread is threading.current_thread()
    assert total.total_bytes_completed == total.total_bytes == MIB + 300_000
    assert total.total_transfer_bytes_completed == total.total_transfer_bytes
    assert {items[handle.task_id()].item_name for handle in handles} == {
        str(tmp_path / "file"),
        "named",
    }
    assert all(item.bytes_completed == item.total_bytes for item in items.values())


@pytest.mark.parametrize("place", ["a folder", "a hub"])
def test_callbacks_are_told_of_what_describes_the_uploads(
    hf: Any, hub: Hub, stored: Stored, endpoint: str, tmp_path: Path, place: str
) -> None:
    """How far storage is with it; of downloads nothing."""
    assert hub.pid
    seen: list[Any] = []
    report = lambda told, _: seen.append(told.shard)  # noqa: E731 - it is an argument
    arguments = {"endpoint": endpoint} if place == "a folder" else stored.write
    with hf.XetSession().new_upload_commit(**arguments, progress_callback=report) as commit:
        handle = commit.start_upload_bytes(noise(2 * MIB, time.time_ns()))
    shard = seen[-1]
    assert shard.total_shard_bytes_upload_completed == shard.total_shard_bytes > 0
    assert shard.total_shards == shard.total_shards_completed == 1
    assert shard.total_shards_uploaded_to_store == shard.total_shards_synced == 1
    entries = shard.total_shard_validation_entries
    assert shard.total_shard_validation_entries_completed == entries
    assert (entries > 0) == (place == "a hub")
    seen.clear()
    with hf.XetSession().new_file_download_group(**arguments, progress_callback=report) as group:
        group.start_download_file(handle.result().xet_info, str(tmp_path / "back"))
    assert set(seen) == {None}


def test_what_was_told_stays_when_a_commit_is_aborted(hf: Any, endpoint: str) -> None:
    """Each who asks gets the same answer."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    handle = commit.start_upload_bytes(b"content")
    known = handle.result().xet_info.hash
    commit.abort()
    assert handle.result().xet_info.hash == known


@pytest.mark.parametrize("interval", [0, 2**53, 2**64 - 1])
def test_any_interval_will_do(
    hf: Any, endpoint: str, interval: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where it is longer than a clock counts, the end is told."""
    told: list[Any] = []
    with hf.XetSession().new_upload_commit(
        endpoint=endpoint,
        progress_callback=lambda *seen: told.append(seen),
        progress_interval_ms=interval,
    ) as commit:
        commit.start_upload_bytes(b"content")
    assert told[-1][0].total_bytes_completed == len(b"content")
    assert "Error" not in capfd.readouterr().err


def test_an_exception_in_the_block_aborts_the_commit(hf: Any, endpoint: str) -> None:
    """And is what leaves the block."""
    commit = hf.XetSession().new_upload_commit(endpoint=endpoint)
    with pytest.raises(ZeroDivisionError), commit as entered:
        raise ZeroDivisionError(entered.start_upload_bytes(b"content"))
    assert commit.status() == hf.XetTaskState.UserCancelled
