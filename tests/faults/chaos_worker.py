"""A process of `chaos.py`: makes the calls that it reads, a JSON object per line, and answers each.

An answer is "ok", "wrong" (the call said that it succeeded, and a file is missing or another one),
or the kind of the error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.content import NEW, OLD, REPO
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from collections.abc import Mapping


def perform(client: Client, call: Mapping[str, Any]) -> bool:
    """Makes one call, and says whether what it returned is what was published."""
    revision, file, limit = call["revision"], call["file"], call["limit"]
    folder = call["folder"]
    if call["what"] == "list":
        files = client.list_files(REPO, revision=revision, timeout=limit)
        return OLD.keys() <= {entry.path for entry in files}
    # Another process may put the other version into the same folder meanwhile.
    versions = [OLD, NEW] if folder else [OLD if call["old"] else NEW]
    if call["what"] == "file":
        done = client.download_file(REPO, file, revision=revision, local_dir=folder, timeout=limit)
        return Path(done).read_bytes() in [version[file] for version in versions]
    root = Path(client.download_snapshot(REPO, revision=revision, local_dir=folder, timeout=limit))
    return all(
        (root / name).read_bytes() in [version[name] for version in versions] for name in OLD
    )


def main(endpoint: str, cache: str, options: str) -> None:
    """Answers lines until there are no more."""
    client = Client(endpoint, token=False, cache_dir=cache, **json.loads(options))
    for line in sys.stdin:
        try:
            answer = "ok" if perform(client, json.loads(line)) else "wrong"
        except XetError as error:
            answer = error.kind or type(error).__name__
        except FileNotFoundError:
            answer = "wrong"
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
