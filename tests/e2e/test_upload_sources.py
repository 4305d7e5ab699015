"""Where content comes from: files, memory, streams; and what goes wrong with each."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interpreter import python
from published import MIB, noise
from xet_ffi import (
    CancelledError,
    Client,
    CommitAdd,
    IoError,
    Progress,
    TransferTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub


def content(client: Client, repo: str, path: str) -> bytes:
    """A file of a repo, downloaded and verified."""
    return Path(client.download_file(repo, path)).read_bytes()


@pytest.mark.parametrize("size", [0, 1, 511, 70_000, 5 * MIB])
@pytest.mark.parametrize("kind", ["path", "bytes", "bytearray", "memoryview", "stream", "drops"])
def test_every_source_gives_the_same_content(
    alice: Client, empty_repo: str, tmp_path: Path, kind: str, size: int
) -> None:
    """Whatever it is: empty, small, larger than what is kept in memory."""
    data = noise(size, f"sources/{kind}")
    path = tmp_path / "file"
    path.write_bytes(data)

    class Drops(io.RawIOBase):
        """A stream that gives less than it is asked for."""

        def __init__(self) -> None:
            self._rest = memoryview(data)

        def read(self, size: int = -1, /) -> bytes:
            some = self._rest[: max(1, min(size, 300_001))]
            self._rest = self._rest[len(some) :]
            return bytes(some)

    source = {
        "path": path,
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "stream": io.BytesIO(data),
        "drops": Drops(),
    }[kind]
    commit = alice.upload_file(source, "x.bin", empty_repo)  # type: ignore[arg-type]
    assert commit.bytes_total == size
    assert content(alice, empty_repo, "x.bin") == data


def test_streams_are_read_beside_the_calling_thread(alice: Client, empty_repo: str) -> None:
    """Which is to stay free, whatever a class makes of `read`."""
    threads = set()

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            threads.add(threading.get_ident())
            return super().read(size)

    parts = {f"{i}.bin": noise(2 * MIB, f"sources/thread{i}") for i in range(3)}
    operations = [CommitAdd(path, Watched(data)) for path, data in parts.items()]
    alice.create_commit(empty_repo, operations)
    assert threads
    assert threading.get_ident() not in threads
    for path, data in parts.items():
        assert content(alice, empty_repo, path) == data


@pytest.mark.parametrize("after", [0, 6 * MIB])
def test_what_a_stream_raises_comes_out(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, after: int
) -> None:
    """Unchanged, and nothing is committed or left behind."""
    head = hf_api.repo_info(empty_repo).sha

    class Broken(io.RawIOBase):
        given = 0

        def read(self, size: int = -1, /) -> bytes:
            if self.given >= after:
                msg = "the tape is torn"
                raise OSError(msg)
            self.given += size
            return bytes(size)

    with pytest.raises(OSError, match="the tape is torn") as caught:
        alice.upload_file(Broken(), "x.bin", empty_repo)  # type: ignore[arg-type]
    assert type(caught.value) is OSError
    assert hf_api.repo_info(empty_repo).sha == head
    assert hub.stats().xorbs_received == 0
    staging = Path(os.environ["HF_HOME"]) / "xet" / "xet-ffi" / "staging"
    assert not staging.exists() or not list(staging.iterdir())


class Stuck(io.RawIOBase):
    """A stream that gives nothing, until the test is over."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.left = threading.Event()
        self.over = threading.Event()

    def read(self, _: int = -1, /) -> bytes:
        """Blocks."""
        self.entered.set()
        self.over.wait(20)
        self.left.set()
        return b""


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    """Such a stream."""
    stream = Stuck()
    yield stream
    stream.over.set()


def test_a_stream_that_blocks_can_be_cancelled(
    alice: Client, empty_repo: str, stuck: Stuck
) -> None:
    """The call returns while the stream is still being read."""
    with pytest.raises(CancelledError):
        alice.upload_file(stuck, "x.bin", empty_repo, cancel=stuck.entered)  # type: ignore[arg-type]
    assert not stuck.left.is_set()


def test_a_stream_that_blocks_can_be_timed_out(
    alice: Client, empty_repo: str, stuck: Stuck
) -> None:
    """As what the network doesn't give can be."""
    with pytest.raises(TransferTimeoutError):
        alice.upload_file(stuck, "x.bin", empty_repo, timeout=2)  # type: ignore[arg-type]
    assert stuck.entered.is_set()
    assert not stuck.left.is_set()


def test_ctrl_c_ends_a_call_whose_stream_blocks(
    alice: Client, empty_repo: str, stuck: Stuck
) -> None:
    """At once, as it ends any other call."""
    interrupted: list[Progress] = []

    def interrupt(progress: Progress) -> None:
        if stuck.entered.is_set() and not interrupted:
            interrupted.append(progress)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        alice.upload_file(stuck, "x.bin", empty_repo, progress=interrupt)  # type: ignore[arg-type]
    assert not stuck.left.is_set()


def test_a_slow_stream_is_waited_for(alice: Client, empty_repo: str) -> None:
    """It gives its bytes when the call has reported again, and all of them arrive."""
    parts = [b"first ", b"second ", b"third"]
    reported = threading.Event()

    class Slow(io.RawIOBase):
        def read(self, _: int = -1, /) -> bytes:
            reported.clear()
            assert reported.wait(30)
            return parts.pop(0) if parts else b""

    alice.upload_file(Slow(), "x.txt", empty_repo, progress=lambda _: reported.set())  # type: ignore[arg-type]
    assert content(alice, empty_repo, "x.txt") == b"first second third"


def test_another_program_s_output_is_a_stream(alice: Client, empty_repo: str) -> None:
    """Through a pipe, to its end."""
    command = [sys.executable, "-c", "import sys; sys.stdout.write('line\\n' * 1_000_000)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        commit = alice.upload_file(program.stdout, "x.txt", empty_repo)
    assert commit.bytes_total == 5_000_000
    assert content(alice, empty_repo, "x.txt") == b"line\n" * 1_000_000


def test_text_streams_are_refused(alice: Client, empty_repo: str) -> None:
    """With the advice to open them in binary mode."""
    with pytest.raises(TypeError, match="binary mode"):
        alice.upload_file(io.StringIO("text"), "x.txt", empty_repo)  # type: ignore[arg-type]


def test_a_file_that_changes_is_not_committed(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """It is written to while its first half is on its way."""
    head = hf_api.repo_info(empty_repo).sha
    path = tmp_path / "log.bin"
    path.write_bytes(noise(90 * MIB, "sources/changes"))
    hub.fault("storage", method="PUT", times=1, stall_before=0.5)
    touched: list[Progress] = []

    def touch(progress: Progress) -> None:
        if progress.file_bytes_completed > MIB and not touched:
            with path.open("ab") as file:
                file.write(b"more")
            touched.append(progress)

    with pytest.raises(IoError, match="changed while it was being uploaded") as caught:
        alice.upload_file(path, "log.bin", empty_repo, progress=touch)
    assert caught.value.kind == "source_changed"
    assert touched
    assert hf_api.repo_info(empty_repo).sha == head


@pytest.mark.parametrize("what", ["missing", "folder", "pipe"])
def test_files_that_can_not_be_read(
    hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path, what: str
) -> None:
    """An OSError that names the file, before anything is sent."""
    path = tmp_path / "source"
    if what == "folder":
        path.mkdir()
    if what == "pipe":
        os.mkfifo(path)
    with pytest.raises(OSError, match=str(path)):
        alice.upload_file(path, "x.bin", empty_repo)
    assert len(hf_api.list_repo_commits(empty_repo)) == 1


def test_content_that_changes_after_it_was_hashed_is_not_committed(
    hub: Hub, hf_api: HfApi, empty_repo: str
) -> None:
    """Two files that may be equal are hashed first; what is sent has to have that hash."""
    head = hf_api.repo_info(empty_repo).sha
    data = bytearray(noise(5 * MIB, "sources/changes"))
    other = bytes(data[: 3 * MIB]) + bytes(10) + bytes(data[3 * MIB + 10 :])
    # What a client that knows nothing asks first.
    hub.fault("unknown", times=1, stall_before=3)
    files = [CommitAdd("a.bin", data), CommitAdd("b.bin", other)]
    with (
        Client(hub.endpoint, "hf_alice_secret") as client,
        ThreadPoolExecutor(1) as pool,
    ):
        call = pool.submit(client.create_commit, empty_repo, files)
        hub.wait_for(lambda stats: stats.in_flight("cas") > 0, "a request for the CAS")
        data[4 * MIB : 4 * MIB + 5] = b"other"
        with pytest.raises(OSError, match="changed while it was being uploaded") as caught:
            call.result()
    assert getattr(caught.value, "kind", None) == "source_changed"
    assert hf_api.repo_info(empty_repo).sha == head


def test_a_call_that_is_cancelled_leaves_nothing(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """It returns at once, although storage takes nothing; memory can be freed afterwards."""
    head = hf_api.repo_info(empty_repo).sha
    hub.fault("storage", method="PUT", stall_before=30)
    data = bytearray(noise(2 * MIB, "sources/cancel"))
    cancel = threading.Event()

    def stop(progress: Progress) -> None:
        if progress.bytes_completed == len(data):
            cancel.set()

    with pytest.raises(CancelledError):
        alice.upload_file(data, "x.bin", empty_repo, progress=stop, cancel=cancel)
    data.clear()  # a BufferError if the call still held it
    hub.clear_faults()
    assert hf_api.repo_info(empty_repo).sha == head
    alice.upload_file(b"next\n", "next.txt", empty_repo)


def test_progress_of_an_upload(alice: Client, empty_repo: str, tmp_path: Path) -> None:
    """Phases come in their order, numbers never shrink, and the end is complete."""
    path = tmp_path / "x.bin"
    path.write_bytes(noise(70 * MIB, "sources/progress"))
    seen: list[Progress] = []
    alice.create_commit(
        empty_repo, [CommitAdd("x.bin", path), CommitAdd("y.txt", b"y\n")], progress=seen.append
    )
    order = ["scanning", "hashing", "uploading", "committing"]
    phases = [order.index(progress.phase) for progress in seen]
    assert phases == sorted(phases)
    assert "uploading" in {progress.phase for progress in seen}
    for name in ("bytes_completed", "bytes_network", "files_completed"):
        values = [getattr(progress, name) for progress in seen]
        assert values == sorted(values), name
    last = seen[-1]
    assert last.bytes_completed == last.bytes_total == 70 * MIB + 2
    assert (last.files_completed, last.files_total) == (2, 2)
    assert last.bytes_network >= 70 * MIB
    seen.clear()
    alice.upload_file(path, "x.bin", empty_repo, progress=seen.append)
    assert seen[-1].phase in {"hashing", "uploading", "committing"}
    assert seen[-1].bytes_reused == seen[-1].bytes_completed == 70 * MIB


def test_no_space_for_staging(hub: Hub, hf_api: HfApi, empty_repo: str) -> None:
    """A stream that doesn't fit below HF_XET_CACHE: NoSpaceError, and nothing is committed."""
    if os.getuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small file system")
    head = hf_api.repo_info(empty_repo).sha
    folder = tempfile.mkdtemp(prefix="small-disk-")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        Path(folder).rmdir()
        pytest.skip("can't mount here")
    code = f"""
import io
from xet_ffi import Client, NoSpaceError
with Client({hub.endpoint!r}, "hf_alice_secret") as client:
    try:
        client.upload_file(io.BytesIO(bytes(20 << 20)), "x.bin", {empty_repo!r})
    except NoSpaceError as error:
        print(error)
"""
    try:
        done = python(code, HF_XET_CACHE=folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        Path(folder).rmdir()
    assert done.returncode == 0, done.stderr
    assert "stage a stream" in done.stdout
    assert folder in done.stdout
    assert hf_api.repo_info(empty_repo).sha == head
