"""Both tools, many at a time, into one cache."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import scan_cache_dir

from picture import contents
from published import VARIETY, VARIETY_LFS, publish

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from typing_extensions import Self

    from hub import Hub

WORKER = Path(__file__).parent / "sharing_worker.py"

#: Seconds after which a worker that doesn't answer counts as stuck.
DEADLINE = 90.0


class Worker:
    """A process of `sharing_worker.py`; it ends with the `with` statement."""

    def __init__(self, tool: str, hub: Hub, repo_id: str, threads: int) -> None:
        command = [sys.executable, str(WORKER), tool, hub.endpoint, repo_id, str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._watchdog = threading.Timer(DEADLINE, self._process.kill)

    def __enter__(self) -> Self:
        self._watchdog.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()

    def tell(self, line: str) -> None:
        """Sends a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """The next line of the worker; nothing if it was killed as stuck."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def test_both_at_once_make_one_sound_cache(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """Processes and threads of both tools fill one cache together, and all of them get it right."""
    publish(hf_api, repo_id)
    # Slow enough that they meet.
    hub.fault("storage", drip=8_000_000)
    expected = {**VARIETY, **VARIETY_LFS}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(tool, hub, repo_id, threads=2))
            for tool in ("ours", "theirs", "ours", "theirs")
        ]
        assert [worker.answer() for worker in workers] == ["ready"] * 4
        for attempt in range(4):
            cache = tmp_path / f"cache{attempt}"
            for worker in workers:
                worker.tell(str(cache))
            assert [worker.answer() for worker in workers] == ["ok"] * 4
            report = scan_cache_dir(cache)
            assert report.warnings == []
            (repo,) = report.repos
            (revision,) = repo.revisions
            found = contents(revision.snapshot_path)
            found.pop(".gitattributes")
            assert found == expected
            left = [path.name for path in cache.rglob("*") if is_litter(path)]
            assert left == []


def is_litter(path: Path) -> bool:
    """Whether a file has a name that only an unfinished download may have."""
    return path.suffix in {".incomplete", ".partial", ".chunks", ".tmp", ".copy", ".link"}


def test_one_file_is_fetched_once_by_all_our_clients(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """Clients of several processes that want the same file wait for the one that fetches it."""
    publish(hf_api, repo_id, {"model.safetensors": VARIETY["model.safetensors"]})
    hub.fault("storage", drip=8_000_000)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker("ours", hub, repo_id, threads=3)) for _ in range(3)]
        assert [worker.answer() for worker in workers] == ["ready"] * 3
        hub.reset_stats()
        for worker in workers:
            worker.tell(str(tmp_path / "cache"))
        assert [worker.answer() for worker in workers] == ["ok"] * 3
    size = len(VARIETY["model.safetensors"])
    assert size < hub.stats().bytes_sent("storage") < size * 1.1
