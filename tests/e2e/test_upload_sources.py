"""Where content comes from: files, memory, streams; and what goes wrong with each."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from published import MIB, noise
from small_disk import small_file_system
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
    """As what the network doesn't give can be; and it's named."""
    with pytest.raises(TransferTimeoutError, match=r"stream to give more of x\.bin"):
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


@pytest.mark.parametrize("size", [0, 70_000, 6 * MIB])
@pytest.mark.parametrize("kind", ["memory", "file", "drops"])
def test_a_file_object_in_two_additions_is_the_content_of_both(
    alice: Client, empty_repo: str, tmp_path: Path, kind: str, size: int
) -> None:
    """It's read once, from where it stands, whether or not it can go back."""
    data = noise(size, f"sources/twice/{kind}")
    path = tmp_path / "file"
    path.write_bytes(b"before" + data)

    class Drops(io.RawIOBase):
        """A stream that can't go back."""

        def __init__(self) -> None:
            self._rest = memoryview(data)

        def read(self, size: int = -1, /) -> bytes:
            some = self._rest[: min(size, 300_001)]
            self._rest = self._rest[len(some) :]
            return bytes(some)

    with path.open("rb") as file:
        sources = {"memory": io.BytesIO(b"before" + data), "file": file, "drops": Drops()}
        source: IO[bytes] = sources[kind]  # type: ignore[assignment]
        if kind != "drops":
            source.seek(len(b"before"))
        names = ["a.bin", "b.bin", "c.bin"]
        other = io.BytesIO(b"another")
        operations = [CommitAdd(name, source) for name in names]
        commit = alice.create_commit(empty_repo, [*operations, CommitAdd("d.bin", other)])
    assert commit.bytes_total == size * len(names) + len(b"another")
    for name in names:
        assert content(alice, empty_repo, name) == data
    assert content(alice, empty_repo, "d.bin") == b"another"


def test_a_file_object_that_is_closed_is_named_by_python(
    hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """Before anything is sent, also where another addition has it."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        pass
    for operations in (
        [CommitAdd("a.bin", file)],
        [CommitAdd("a.bin", b"x"), CommitAdd("b.bin", file), CommitAdd("c.bin", file)],
    ):
        with pytest.raises(ValueError, match="closed file"):
            alice.create_commit(empty_repo, operations)
    assert len(hf_api.list_repo_commits(empty_repo)) == 1


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_file_that_is_open_as_text_is_refused(
    hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path, is_empty: bool
) -> None:
    """An empty one, too, which gives nothing that could be told from bytes."""
    path = tmp_path / "file"
    path.write_text("" if is_empty else "text")
    with path.open(encoding="utf-8") as file, pytest.raises(TypeError, match="binary mode"):
        alice.upload_file(file, "x.txt", empty_repo)  # type: ignore[arg-type]
    assert len(hf_api.list_repo_commits(empty_repo)) == 1


def test_one_file_may_go_to_two_paths(alice: Client, empty_repo: str, tmp_path: Path) -> None:
    """By its name, or as memory; two files can't go to one."""
    path = tmp_path / "file"
    path.write_bytes(noise(MIB, "sources/one"))
    data = noise(MIB, "sources/other")
    additions = [CommitAdd("a.bin", path), CommitAdd("b.bin", path)]
    additions += [CommitAdd("c.bin", data), CommitAdd("d.bin", data)]
    commit = alice.create_commit(empty_repo, additions)
    assert (commit.bytes_new, commit.bytes_repeated) == (2 * MIB, 2 * MIB)
    for name in "ab":
        assert content(alice, empty_repo, f"{name}.bin") == path.read_bytes()
    with pytest.raises(ValueError, match="twice"):
        alice.create_commit(empty_repo, [CommitAdd("x.bin", path), CommitAdd("x.bin", data)])


STAGE = """
import io, sys
from xet_ffi import Client, NoSpaceError
endpoint, repo, cache, size = sys.argv[1:]
data = bytes(range(251)) * (int(size) // 251 + 1)
with Client(endpoint, "hf_alice_secret", cache) as client:
    try:
        client.upload_file(io.BytesIO(data), "x.bin", repo)
        with open(client.download_file(repo, "x.bin"), "rb") as file:
            print(file.read() == data)
    except NoSpaceError as error:
        print(error)
"""


#: Runs a program on a machine without a folder for temporary files that is on a disk.
DISKLESS = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /var/tmp && exec "$@"', "sh"]


def stage(
    hub: Hub, repo: str, cache: Path, size: int, *, is_diskless: bool = False, **environment: str
) -> tuple[str, str]:
    """Uploads a stream in a process of its own; what it prints, and the log."""
    program = [sys.executable, "-c", STAGE, hub.endpoint, repo, str(cache), str(size)]
    done = subprocess.run(
        [*DISKLESS, *program] if is_diskless else program,
        env={**os.environ, "RUST_LOG": "warn", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("is_in_memory", [False, True], ids=["disk", "memory"])
def test_a_full_xet_cache_is_no_end_of_a_stream(
    hub: Hub, empty_repo: str, cache_dir: Path, is_in_memory: bool
) -> None:
    """What doesn't fit there goes elsewhere, which is a disk; neither keeps anything."""
    with (
        small_file_system(8) as folder,
        small_file_system(100) as memory,
        tempfile.TemporaryDirectory(dir="/var/tmp") as disk,
    ):
        said, log = stage(
            hub,
            empty_repo,
            cache_dir,
            20 * MIB,
            HF_XET_CACHE=str(folder),
            TMPDIR=str(memory) if is_in_memory else disk,
        )
        assert said == "True"
        assert f"the rest of it goes to {'/var/tmp' if is_in_memory else disk}\n" in log
        assert not [path for path in folder.rglob("*") if path.stat().st_size > MIB]
        assert not list(memory.iterdir())
        assert not list(Path(disk).iterdir())


def test_no_space_for_staging(hub: Hub, hf_api: HfApi, empty_repo: str, cache_dir: Path) -> None:
    """Neither below HF_XET_CACHE nor below TMPDIR: both are named, and nothing is committed."""
    head = hf_api.repo_info(empty_repo).sha
    with small_file_system(8) as folder, small_file_system(4) as elsewhere:
        said, _ = stage(
            hub,
            empty_repo,
            cache_dir,
            20 * MIB,
            is_diskless=True,
            HF_XET_CACHE=str(folder),
            TMPDIR=str(elsewhere),
        )
    assert said.count("stage a stream in") == 2
    assert str(folder) in said
    assert str(elsewhere) in said
    assert hf_api.repo_info(empty_repo).sha == head


@pytest.mark.parametrize("is_usable", [True, False])
def test_a_long_stream_is_not_staged_in_memory(
    hub: Hub, hf_api: HfApi, empty_repo: str, cache_dir: Path, tmp_path: Path, is_usable: bool
) -> None:
    """A short one is. Where no other disk than the Xet cache's is, the error says what to set."""
    unusable = tmp_path / "unusable"
    unusable.touch()
    with small_file_system(8) as folder, small_file_system(200) as memory:
        for size in (20 * MIB, 100 * MIB):
            said, _ = stage(
                hub,
                empty_repo,
                cache_dir,
                size,
                is_diskless=True,
                HF_XET_CACHE=str(folder if is_usable else unusable),
                TMPDIR=str(memory),
            )
            if size == 20 * MIB:
                assert said == "True"
                head = hf_api.repo_info(empty_repo).sha
    assert f"a stream in {memory}, which is no disk but memory" in said
    assert "HF_XET_CACHE" in said
    assert "TMPDIR" in said
    assert (str(folder) in said) == is_usable
    assert hf_api.repo_info(empty_repo).sha == head
