"""A process that downloads when told to, for test_concurrent_clients.py.

    python sharing_worker.py (ours|theirs) ENDPOINT REPO THREADS

Reads a cache folder per line and, with all its threads at once, downloads the snapshot into it;
answers "ok", or with what went wrong, on one line.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

tool, endpoint, repo, threads = sys.argv[1:]


def downloader() -> Callable[[str], object]:
    """The function that downloads into a cache folder."""
    if tool == "ours":
        from xet_ffi import Client

        def ours(cache: str) -> object:
            with Client(endpoint, token=False, cache_dir=cache) as client:
                return client.download_snapshot(repo)

        return ours
    from huggingface_hub import snapshot_download

    return lambda cache: snapshot_download(repo, endpoint=endpoint, token=False, cache_dir=cache)


def say(line: str) -> None:
    """Answers."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


download = downloader()
say("ready")
with ThreadPoolExecutor(int(threads)) as pool:
    for line in sys.stdin:
        running = [pool.submit(download, line.strip()) for _ in range(int(threads))]
        failed = [f"{tool}: {run.exception()!r}" for run in running if run.exception()]
        say("; ".join(failed) or "ok")
