"""One piece of work by one client, out in the world: a process of its own, which says how it ended.

``traveller.py CLIENT TASK``, with the rest as JSON on standard input: endpoint, repo, token, cache
and `place` (what is uploaded, or the local folder). All settings are the clients' defaults.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from report import report

#: How many files `uploads` commits, one after the other.
UPLOADS = 10


def ours(task: str, job: Mapping[str, Any]) -> Callable[[], object]:
    """The work for xet_ffi."""
    from xet_ffi import Client

    repo, place = job["repo"], job["place"]
    client = Client(endpoint=job["endpoint"], token=job["token"], cache_dir=job["cache"])

    def many() -> None:
        for i in range(UPLOADS):
            client.upload_file(place, f"{i}.bin", repo)

    tasks: dict[str, Callable[[], object]] = {
        "snapshot": lambda: client.download_snapshot(repo),
        "local": lambda: client.download_snapshot(repo, local_dir=place),
        "upload": lambda: client.upload_file(place, "new.bin", repo),
        "text": lambda: client.upload_file(place, "new.txt", repo),
        "folder": lambda: client.upload_folder(place, repo),
        "uploads": many,
    }
    return tasks[task]


def official(task: str, job: Mapping[str, Any]) -> Callable[[], object]:
    """The same work for huggingface_hub with hf_xet."""
    from huggingface_hub import HfApi, snapshot_download

    repo, place = job["repo"], job["place"]
    api = HfApi(endpoint=job["endpoint"], token=job["token"])
    where = {"endpoint": job["endpoint"], "token": job["token"]}

    def upload(name: str) -> object:
        return api.upload_file(path_or_fileobj=place, path_in_repo=name, repo_id=repo)

    tasks: dict[str, Callable[[], object]] = {
        "snapshot": lambda: snapshot_download(repo, cache_dir=job["cache"], **where),
        "local": lambda: snapshot_download(repo, local_dir=place, **where),
        "upload": lambda: upload("new.bin"),
        "text": lambda: upload("new.txt"),
        "folder": lambda: api.upload_folder(folder_path=place, repo_id=repo),
        "uploads": lambda: [upload(f"{i}.bin") for i in range(UPLOADS)],
    }
    return tasks[task]


def main() -> None:
    """Does what the arguments name."""
    import time

    client, task = sys.argv[1:]
    job = json.load(sys.stdin)
    started = time.perf_counter()
    try:
        {"ours": ours, "official": official}[client](task, job)()
    except Exception as error:  # noqa: BLE001 - which one it is, is what is asked
        what = {"error": type(error).__name__, "message": str(error)}
        sys.exit(json.dumps(what))
    report(time.perf_counter() - started)


if __name__ == "__main__":
    main()
