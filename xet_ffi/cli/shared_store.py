r"""What repos of a cache share: the store of huggingface_hub, and who links into it.

blobs/.huggingface-shared-blobs   "1\n": the layout; with anything else it isn't touched
blobs/<xx>/<hash>                 content
blobs/<xx>/<hash>.refs            blobs that may link to it, from the root, a line each
blobs/<xx>/<hash>.lock            held to add content or a link, and to delete
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def release(cache_dir: str, contents: set[str]) -> int:
    """Removes those contents of the store that no repo links to, and returns what that frees.

    What somebody is adding a link to stays, and so does what has no list of its links.
    """
    store = Path(cache_dir, "blobs")
    try:
        is_known = (store / ".huggingface-shared-blobs").read_text() == "1\n"
    except OSError:
        return 0
    inside = [Path(content) for content in contents if Path(content).parent.parent == store]
    return sum(_release(cache_dir, content) for content in inside) if is_known else 0


def _release(cache_dir: str, content: Path) -> int:
    lock = os.open(f"{content}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        links = Path(f"{content}.refs").read_text().splitlines()
        if any(os.path.realpath(Path(cache_dir, link)) == str(content) for link in links if link):
            return 0
        freed = content.stat().st_blocks * 512
        content.unlink()
        Path(f"{content}.refs").unlink()
    except (BlockingIOError, FileNotFoundError):
        return 0
    finally:
        os.close(lock)
    return freed
