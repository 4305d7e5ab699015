"""One upload by one client, as a process of its own.

``uploader.py CLIENT TASK ENDPOINT REPO PATH``, with the token in ``HF_TOKEN``. Reports the seconds
that the work itself took, without interpreter start and imports.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from report import report


def ours(task: str, endpoint: str, repo: str, path: str) -> Callable[[], object]:
    """The work for xet_ffi."""
    from xet_ffi import Client

    client = Client(endpoint=endpoint)
    if task == "file":
        return lambda: client.upload_file(path, "model.bin", repo)
    return lambda: client.upload_folder(path, repo)


def official(task: str, endpoint: str, repo: str, path: str) -> Callable[[], object]:
    """The same work for huggingface_hub with hf_xet."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    if task == "file":
        return lambda: api.upload_file(path_or_fileobj=path, path_in_repo="model.bin", repo_id=repo)
    return lambda: api.upload_folder(folder_path=path, repo_id=repo)


def main() -> None:
    """Runs the task that the arguments name."""
    client, task, endpoint, repo, path = sys.argv[1:]
    work = {"ours": ours, "official": official}[client](task, endpoint, repo, path)
    started = time.perf_counter()
    work()
    report(time.perf_counter() - started)


if __name__ == "__main__":
    main()
