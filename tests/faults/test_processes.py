"""Processes that are forked, killed, stopped or on their way out: no hang, no wrong file."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import environment
from cross import golang
from faults.checks import unfinished, wrong_files
from faults.content import ALICE, NEW, REPO
from faults.processes import DEADLINE, PRELUDE, Program
from published import MIB, noise
from xet_ffi import Client, CommitAdd, TransferTimeoutError

if TYPE_CHECKING:
    from faults.stage import Stage

SIZE = len(NEW["xet.bin"])

#: Bytes per second of a download that tests interrupt: long enough to be met in the middle.
SLOWLY = 1_000_000

#: Seconds in which a process that has been told to end must have ended.
PROMPTLY = 5.0

DOWNLOAD = """
client().download_file(REPO, "xet.bin", progress=announce)
say("done")
"""


def arguments(stage: Stage, cache: Path) -> tuple[str, str, str]:
    """What every program is told."""
    return stage.hub.endpoint, str(cache), REPO


def check(stage: Stage, cache: Path, *names: str) -> None:
    """The cache holds these files, and nothing that is wrong or half-done."""
    folder = cache / "models--alice--faults" / "snapshots" / stage.new
    for name in names:
        assert (folder / name).read_bytes() == NEW[name]
    assert wrong_files(cache, stage.published) == []
    assert unfinished(cache) == []


# One file, many processes.


def test_many_processes_fetch_a_file_once(stage: Stage, tmp_path: Path) -> None:
    """Eight processes want one file: one fetches it, the others wait for that."""
    stage.hub.fault("storage", drip=2 * SLOWLY)
    with ExitStack() as stack:
        programs = [
            stack.enter_context(Program(DOWNLOAD, *arguments(stage, tmp_path))) for _ in range(8)
        ]
        for program in programs:
            program.wait_for("done")
            assert program.end()[::2] == (0, "")
    assert SIZE <= stage.hub.stats().bytes_sent("storage") < SIZE * 1.05
    check(stage, tmp_path, "xet.bin")


def test_three_tools_fetch_a_file_once(
    stage: Stage, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Python, Go and huggingface_hub in one cache wait for each other, and share the file."""
    source = Path(__file__).parent / "driver.go"
    driver = golang.build(source, tmp_path_factory.mktemp("go") / "driver")
    request = {
        "Endpoint": stage.hub.endpoint,
        "Cache": str(tmp_path),
        "Repo": REPO,
        "File": "xet.bin",
        "Folders": [""],
        "Limit": DEADLINE,
    }
    theirs = """
from huggingface_hub import hf_hub_download
hf_hub_download(REPO, "xet.bin", endpoint=ENDPOINT, token=False, cache_dir=CACHE)
say("done")
"""
    stage.hub.fault("storage", drip=SLOWLY)
    with Program(DOWNLOAD, *arguments(stage, tmp_path)) as ours:
        ours.wait_for("flowing")
        with Program(theirs, *arguments(stage, tmp_path)) as other:
            done = subprocess.run(
                [driver],
                input=json.dumps(request) + "\n",
                env=environment(),
                capture_output=True,
                text=True,
                check=True,
                timeout=DEADLINE,
            )
            assert json.loads(done.stdout)[0]["kind"] == "ok"
            other.wait_for("done")
            assert other.end()[0] == 0
        ours.wait_for("done")
    assert SIZE <= stage.hub.stats().bytes_sent("storage") < SIZE * 1.05
    check(stage, tmp_path, "xet.bin")


def test_a_killed_process_leaves_its_work_to_the_next(stage: Stage, tmp_path: Path) -> None:
    """SIGKILL frees the lock, and a process that waits for it finishes the file."""
    stage.hub.fault("storage", drip=SLOWLY)
    with (
        Program(DOWNLOAD, *arguments(stage, tmp_path)) as first,
        Program(DOWNLOAD, *arguments(stage, tmp_path)) as second,
    ):
        stage.hub.wait_for(
            lambda stats: stats.bytes_sent("storage") > SIZE // 2, "half of the file"
        )
        holder, waiter = (first, second) if first.has_said("flowing") else (second, first)
        holder.send(signal.SIGKILL)
        waiter.wait_for("done")
        assert waiter.end()[::2] == (0, "")
    check(stage, tmp_path, "xet.bin")


def test_a_stopped_process_is_waited_for_as_long_as_the_caller_likes(
    stage: Stage, tmp_path: Path
) -> None:
    """A process that holds the lock and does nothing costs others their timeout, not for ever."""
    stage.hub.fault("storage", drip=SLOWLY)
    with Program(DOWNLOAD, *arguments(stage, tmp_path)) as program:
        program.wait_for("flowing")
        program.send(signal.SIGSTOP)
        with Client(stage.hub.endpoint, token=False, cache_dir=tmp_path) as client:
            with pytest.raises(TransferTimeoutError):
                client.download_file(REPO, "xet.bin", timeout=0.5)
            program.send(signal.SIGCONT)
            assert client.download_file(REPO, "xet.bin", timeout=DEADLINE).bytes_network == 0
        program.wait_for("done")
    check(stage, tmp_path, "xet.bin")


# Forks.


def test_a_client_made_before_a_fork_works_in_parent_and_children(
    stage: Stage, tmp_path: Path
) -> None:
    """Four children and their parent use one client, which was in use when they were forked."""
    code = """
shared = client()
shared.download_file(REPO, "git.txt")          # its threads and connections exist
busy = threading.Thread(target=shared.download_file, args=(REPO, "xet.bin"))
busy.start()                                   # and one of them is at work
children = []
for number in range(4):
    if (child := os.fork()) == 0:
        for name in ("lfs.bin", "xet.bin"):
            shared.download_file(REPO, name)
        shared.close()
        os._exit(0)
    children.append(child)
shared.download_file(REPO, "lfs.bin")
busy.join()
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
shared.download_snapshot(REPO)
say(*codes)
"""
    stage.hub.fault("storage", drip=2 * SLOWLY)
    with Program(code, *arguments(stage, tmp_path)) as program:
        assert program.end() == (0, ["0 0 0 0"], "")
    check(stage, tmp_path, *NEW)


def test_a_child_can_be_forked_at_any_moment(stage: Stage, tmp_path: Path) -> None:
    """Among 200 children of a process whose threads are in calls, none hangs, and each can call."""
    code = """
os.environ.pop("XET_FFI_REUSE_INDEX_BYTES", None)
os.environ["HF_XET_CACHE"] = CACHE + "/xet"
shared = client()
shared.download_file(REPO, "xet.bin")          # what threads and children copy from here on
stop = threading.Event()

def work(number):
    for n in range(1_000_000):
        if stop.is_set():
            return
        folder = f"{CACHE}/thread-{number}-{n}"
        shared.download_file(REPO, "xet.bin", local_dir=folder)
        os.unlink(folder + "/xet.bin")

threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
failed = 0
for wave in range(25):
    children = []
    for number in range(8):
        if (child := os.fork()) == 0:
            signal.alarm(30)                   # one that hangs is killed
            folder = f"{CACHE}/child-{wave}-{number}"
            transfer = shared.download_file(REPO, "xet.bin", local_dir=folder)
            os._exit(0 if transfer.bytes_network == 0 else 1)
        children.append(child)
    failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
stop.set()
for thread in threads:
    thread.join()
say(failed)
"""
    with Program(code, *arguments(stage, tmp_path)) as program:
        assert program.end() == (0, ["0"], "")


def test_parent_and_child_remember_what_they_fetched(stage: Stage, tmp_path: Path) -> None:
    """The reuse index has the files of both, also of a child whose parent has closed it first."""
    files = {f"{number}.bin": noise(MIB, f"processes/{number}") for number in range(6)}
    repo = "alice/remembered"
    with Client(stage.hub.endpoint, ALICE.secret, tmp_path / "alice") as alice:
        alice.create_repo(repo)
        alice.create_commit(repo, [CommitAdd(name, data) for name, data in files.items()])
    index = """
os.environ.pop("XET_FFI_REUSE_INDEX_BYTES", None)
os.environ["HF_XET_CACHE"] = CACHE + "/xet"
shared = client()

def fetch(number, place):
    return shared.download_file(REPO, f"{number}.bin", local_dir=f"{CACHE}/{place}").bytes_network
"""
    learn = """
fetch(0, "parent")
closed, close = os.pipe()
child = os.fork()
if child == 0:
    os.close(close)
    signal.alarm(30)
    fetch(1, "child")
    os.read(closed, 1)                         # until the parent has closed its own
    for number in (2, 3, 4):
        fetch(number, "child")
    os._exit(0)
fetch(5, "parent")
shared.close()
os.close(close)
say(os.waitpid(child, 0)[1])
"""
    for round_ in range(5):
        cache = tmp_path / str(round_)
        with Program(index + learn, stage.hub.endpoint, str(cache), repo) as program:
            assert program.end() == (0, ["0"], "")
        again = 'say(*[fetch(number, "again") for number in range(6)])'
        with Program(index + again, stage.hub.endpoint, str(cache), repo) as program:
            assert program.end() == (0, ["0 0 0 0 0 0"], "")


MULTIPROCESSING = """
import multiprocessing

#: As in a training script: the client is a global of the module.
SHARED = client()

def size_of(name):
    return SHARED.download_file(REPO, name).bytes_total

def main(how):
    SHARED.list_files(REPO)
    context = multiprocessing.get_context(how)
    with context.Pool(4) as pool:
        sizes = pool.map(size_of, ["xet.bin", "lfs.bin", "git.txt"] * 8, chunksize=1)
    say(*sorted(set(sizes)))
    SHARED.download_snapshot(REPO)
"""


def test_forked_workers_use_the_client_of_their_parent(stage: Stage, tmp_path: Path) -> None:
    """`multiprocessing` with fork."""
    with Program(MULTIPROCESSING + "main('fork')", *arguments(stage, tmp_path)) as program:
        sizes = " ".join(map(str, sorted(map(len, NEW.values()))))
        assert program.end() == (0, [sizes], "")
    check(stage, tmp_path, *NEW)


def test_spawned_workers_make_their_own(stage: Stage, tmp_path: Path) -> None:
    """`multiprocessing` with spawn imports the module again, and with it makes the client."""
    module = tmp_path / "training.py"
    call = "\nif __name__ == '__main__':\n    main('spawn')\n"
    module.write_text(PRELUDE + MULTIPROCESSING + call)
    cache = tmp_path / "cache"
    with Program(module, *arguments(stage, cache)) as program:
        sizes = " ".join(map(str, sorted(map(len, NEW.values()))))
        assert program.end() == (0, [sizes], "")
    check(stage, cache, *NEW)


def test_a_data_loader_works(stage: Stage, tmp_path: Path) -> None:
    """Workers that live long, take indices from a queue and hand samples back: torch's pattern."""
    code = """
import multiprocessing

class Dataset:
    NAMES = ["xet.bin", "lfs.bin", "git.txt"]

    def __init__(self):
        self.client = client()
        self.length = len(self.client.list_files(REPO)) - 1   # without .gitattributes

    def __getitem__(self, index):
        path = self.client.download_file(REPO, self.NAMES[index % self.length])
        with open(path, "rb") as file:
            return len(file.read())

def work(dataset, indices, samples):
    while (index := indices.get()) is not None:
        samples.put((index, dataset[index]))

context = multiprocessing.get_context("fork")
dataset = Dataset()
samples = context.Queue()
for epoch in range(2):
    queues = [context.Queue() for _ in range(3)]
    workers = [context.Process(target=work, args=(dataset, queue, samples), daemon=True)
               for queue in queues]
    for worker in workers:
        worker.start()
    for index in range(12):
        queues[index % 3].put(index)
    found = dict(samples.get(timeout=30) for _ in range(12))
    assert dataset[0] == found[0]                             # the main process reads, too
    for queue in queues:
        queue.put(None)
    for worker in workers:
        worker.join(30)
    say(epoch, [worker.exitcode for worker in workers], sum(found.values()))
"""
    with Program(code, *arguments(stage, tmp_path)) as program:
        total = 4 * sum(map(len, NEW.values()))
        expected = [f"{epoch} [0, 0, 0] {total}" for epoch in range(2)]
        assert program.end() == (0, expected, "")
    assert stage.hub.stats().bytes_sent("storage") < (SIZE + len(NEW["lfs.bin"])) * 1.05
    check(stage, tmp_path, *NEW)


# Ends.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_ends_a_download(stage: Stage, tmp_path: Path, number: signal.Signals) -> None:
    """At once, without a word but Python's own for Ctrl-C; and the next run goes on."""
    stage.hub.fault("storage", drip=SLOWLY)
    with Program(DOWNLOAD, *arguments(stage, tmp_path)) as program:
        program.wait_for("flowing")
        program.send(number)
        code, _, errors = program.end(PROMPTLY)
    assert code == -number
    if number == signal.SIGINT:
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        assert errors.count("Traceback") == 1
    else:
        assert errors == ""
    assert wrong_files(tmp_path, stage.published) == []
    stage.hub.clear_faults()
    with Client(stage.hub.endpoint, token=False, cache_dir=tmp_path) as client:
        client.download_file(REPO, "xet.bin")
    check(stage, tmp_path, "xet.bin")


def test_a_handler_of_sigterm_can_end_the_program(stage: Stage, tmp_path: Path) -> None:
    """What a service's handler raises comes out of the call, and `finally` still runs."""
    code = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
try:
    client().download_file(REPO, "xet.bin", progress=announce)
finally:
    say("cleaned up")
"""
    stage.hub.fault("storage", drip=SLOWLY)
    with Program(code, *arguments(stage, tmp_path)) as program:
        program.wait_for("flowing")
        program.send(signal.SIGTERM)
        code_, lines, errors = program.end(PROMPTLY)
    assert (code_, lines[-1], errors) == (7, "cleaned up", "")


THREAD = """
shared = client()
flowing = threading.Event()
def look(progress):
    if progress.bytes_network:
        flowing.set()
def work():
    shared.download_file(REPO, "xet.bin", progress=look)
    say("too late")
thread = threading.Thread(target=work, daemon=True)
thread.start()
flowing.wait()
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("os._exit(4)", 4),
        ("shared.close()", 0),
        ("del shared, work, thread", 0),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_a_program_ends_while_a_daemon_thread_downloads(
    stage: Stage, tmp_path: Path, end: str, code: int
) -> None:
    """The interpreter leaves in mid-download: no hang, no crash, no traceback."""
    stage.hub.fault("storage", drip=SLOWLY // 10)
    with Program(THREAD + end, *arguments(stage, tmp_path)) as program:
        assert program.end(PROMPTLY + 5) == (code, [], "")
    assert wrong_files(tmp_path, stage.published) == []


def test_a_failing_main_thread_is_the_only_noise(stage: Stage, tmp_path: Path) -> None:
    """An exception that ends the program while a thread downloads is printed, and nothing else."""
    stage.hub.fault("storage", drip=SLOWLY // 10)
    with Program(THREAD + "raise ValueError('mine')", *arguments(stage, tmp_path)) as program:
        code, lines, errors = program.end(PROMPTLY + 5)
    assert (code, lines) == (1, [])
    assert errors.count("Traceback") == 1
    assert errors.splitlines()[-1] == "ValueError: mine"


def test_a_download_at_exit_works(stage: Stage, tmp_path: Path) -> None:
    """`atexit` functions run when most of the interpreter is still there, and may download."""
    code = """
import atexit
shared = client()
shared.download_file(REPO, "git.txt")
atexit.register(lambda: say(shared.download_file(REPO, "xet.bin").bytes_total))
"""
    with Program(code, *arguments(stage, tmp_path)) as program:
        assert program.end() == (0, [str(SIZE)], "")
    check(stage, tmp_path, "git.txt", "xet.bin")


def test_a_clean_program_ends_clean_in_development_mode(stage: Stage, tmp_path: Path) -> None:
    """With -X dev, which shows what else is silent, an unclosed client is no news either."""
    with Program(DOWNLOAD, *arguments(stage, tmp_path), flags=("-X", "dev")) as program:
        program.wait_for("done")
        assert program.end()[::2] == (0, "")
