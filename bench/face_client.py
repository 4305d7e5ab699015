"""One piece of work by huggingface_hub or hf_xet, as a process of its own.

``face_client.py CLIENT TASK [ARGUMENT ...]``, with ``XET_FFI_HF_XET`` in the environment as the
client has it, and the token in ``HF_TOKEN``. Reports the seconds that the work itself took, without
interpreter start, and without imports where those aren't the work.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from report import report

Work = Callable[[], object]


def file(endpoint: str, repo: str) -> Work:
    """One file out of a repo."""
    from huggingface_hub import hf_hub_download

    return lambda: hf_hub_download(repo, "model.bin", endpoint=endpoint)


def snapshot(endpoint: str, repo: str) -> Work:
    """A whole repo."""
    from huggingface_hub import snapshot_download

    return lambda: snapshot_download(repo, endpoint=endpoint)


def group(refresh_url: str, wanted: str, folder: str) -> Work:
    """Files by their hashes, in one group. `wanted` is a JSON file of their names."""
    from hf_xet import XetFileInfo, XetSession

    # What names them: (name, Xet hash, size).
    files = json.loads(Path(wanted).read_text())

    def work() -> None:
        with XetSession().new_file_download_group(token_refresh_url=refresh_url) as downloads:
            for name, content, size in files:
                downloads.start_download_file(XetFileInfo(content, size), f"{folder}/{name}")

    return work


def upload_file(endpoint: str, repo: str, path: str) -> Work:
    """One file into a repo."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    return lambda: api.upload_file(path_or_fileobj=path, path_in_repo="model.bin", repo_id=repo)


def upload_folder(endpoint: str, repo: str, path: str) -> Work:
    """A folder into a repo."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    return lambda: api.upload_folder(folder_path=path, repo_id=repo)


def load() -> Work:
    """The import alone."""

    def work() -> None:
        import hf_xet  # noqa: F401

    return work


TASKS: dict[str, Callable[..., Work]] = {
    "file": file,
    "snapshot": snapshot,
    "group": group,
    "upload_file": upload_file,
    "upload_folder": upload_folder,
    "load": load,
}


def main() -> None:
    """Runs the task that the arguments name, and makes sure by whom."""
    client, task, *arguments = sys.argv[1:]
    work = TASKS[task](*arguments)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    # Has moved it all, if anything has.
    used = sys.modules["hf_xet"].__name__
    if used != {"ours": "xet_ffi.hf_xet", "official": "hf_xet"}[client]:
        sys.exit(f"{client} was measured with {used}")
    report(seconds)


if __name__ == "__main__":
    main()
