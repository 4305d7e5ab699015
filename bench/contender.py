"""One download by one client, as a process of its own.

``contender.py CLIENT TASK ENDPOINT REPO CACHE``. Reports the seconds that the work itself took,
without interpreter start and imports.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from report import report


def ours(task: str, endpoint: str, repo: str, cache: str) -> Callable[[], object]:
    """The work for xet_ffi."""
    from xet_ffi import Client

    client = Client(endpoint=endpoint, token=False, cache_dir=cache)
    if task == "file":
        return lambda: client.download_file(repo, "model.bin")
    return lambda: client.download_snapshot(repo)


def official(task: str, endpoint: str, repo: str, cache: str) -> Callable[[], object]:
    """The same work for huggingface_hub with hf_xet."""
    from huggingface_hub import hf_hub_download, snapshot_download

    if task == "file":
        return lambda: hf_hub_download(
            repo, "model.bin", endpoint=endpoint, token=False, cache_dir=cache
        )
    return lambda: snapshot_download(repo, endpoint=endpoint, token=False, cache_dir=cache)


def main() -> None:
    """Runs the task that the arguments name."""
    client, task, endpoint, repo, cache = sys.argv[1:]
    work = {"ours": ours, "official": official}[client](task, endpoint, repo, cache)
    started = time.perf_counter()
    work()
    report(time.perf_counter() - started)


if __name__ == "__main__":
    main()
