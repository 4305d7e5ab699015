"""Memory, open files, and what is fetched twice: all have a bound."""

from __future__ import annotations

import hashlib
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults.checks import unfinished
from faults.content import LARGE, NEW, REPO, large, many
from faults.processes import Program
from faults.stage import publish
from xet_ffi import Client

if TYPE_CHECKING:
    from faults.stage import Stage

MAX_MEMORY_MB = 400

#: The most files that may be open, by what the process may open: 256 on macOS, 1024 on Linux.
MAX_FILES = {256: 256, 1024: 700}

#: Downloads a snapshot, and says how many files it had open at most, and how much memory.
MEASURE = """
import resource
limit = int(REST[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
files = 0
def look(progress):
    global files
    files = max(files, len(os.listdir("/proc/self/fd")))
done = client(max_concurrent_downloads=int(REST[0])).download_snapshot(REPO, progress=look)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
say(done.files, files, int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.fixture(scope="module")
def repo_of_many(_session_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repo with the 200 files."""
    return publish(_session_stage.hub, tmp_path_factory.mktemp("many"), "many")[0]


@pytest.mark.parametrize("limit", MAX_FILES)
@pytest.mark.parametrize("concurrent", [8, 200])
def test_memory_and_files_are_bounded(
    stage: Stage, repo_of_many: str, tmp_path: Path, concurrent: int, limit: int
) -> None:
    """200 files of mixed size, as many at once as by default, and as many as the limits allow."""
    arguments = (stage.hub.endpoint, str(tmp_path), repo_of_many, str(concurrent), str(limit))
    with Program(MEASURE, *arguments) as program:
        code, lines, errors = program.end(120)
    assert (code, errors) == (0, "")
    count, files, memory = map(int, lines[-1].split())
    expected = many()
    assert count == len(expected) + 1
    assert files < MAX_FILES[limit]
    assert memory < MAX_MEMORY_MB
    (snapshot,) = tmp_path.glob("models--*/snapshots/*")
    for name, content in expected.items():
        found = hashlib.sha256((snapshot / name).read_bytes()).digest()
        assert found == hashlib.sha256(content).digest(), name
    assert unfinished(tmp_path) == []


def test_64_threads_share_a_client(stage: Stage, tmp_path: Path) -> None:
    """64 threads on one client, twice around: all get the right file, and each is fetched once."""
    names = [*NEW] * 43
    with Client(stage.hub.endpoint, token=False, cache_dir=tmp_path) as client:

        def fetch(name: str) -> bool:
            return Path(client.download_file(REPO, name)).read_bytes() == NEW[name]

        with ThreadPoolExecutor(64) as pool:
            assert all(pool.map(fetch, names))
    size = len(NEW["xet.bin"]) + len(NEW["lfs.bin"])
    assert size <= stage.hub.stats().bytes_sent("storage") < size * 1.05


@pytest.fixture(scope="module")
def large_repos(_session_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Repos with one large file each, by the file's kind of storage."""
    made = publish(_session_stage.hub, tmp_path_factory.mktemp("large"), "large")
    return dict(zip(LARGE, made, strict=True))


KILLED = """
def look(progress):
    say("has", progress.bytes_network)
    if progress.bytes_network > int(REST[0]):
        say("half")
client().download_file(REPO, "large.bin", progress=look)
"""


@pytest.mark.parametrize("kind", LARGE)
def test_a_kill_costs_two_percent(
    stage: Stage, large_repos: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """After SIGKILL at half of a file, no more than 2 % of the file is fetched again."""
    content = large(kind)
    size = len(content)
    stage.hub.fault("storage", drip=12_000_000)
    arguments = (stage.hub.endpoint, str(tmp_path), large_repos[kind], str(size // 2))
    with Program(KILLED, *arguments) as program:
        program.wait_for("half")
        program.send(signal.SIGKILL)
        _, lines, _ = program.end()
        had = max([size // 2, *(int(line.split()[1]) for line in lines if line[:3] == "has")])
    stage.hub.clear_faults()
    with Client(stage.hub.endpoint, token=False, cache_dir=tmp_path) as client:
        done = client.download_file(large_repos[kind], "large.bin")
    assert Path(done).read_bytes() == content
    again = had + done.bytes_network - size
    assert again <= size * 0.02, f"{again} bytes again"
