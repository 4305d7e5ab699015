"""What the fault tests publish: two versions of a repo with a file of each kind of storage.

`python -m faults.content ENDPOINT` publishes them and prints the two commits.
"""

from __future__ import annotations

import json
import sys

from hub import Token
from published import commit, noise

REPO = "alice/faults"
ALICE = Token("alice", "hf_alice_secret")

_KIB = 1 << 10
_BASE = noise(1500 * _KIB, "faults/base")


def _text(lines: int, word: str) -> bytes:
    """Text that is nowhere the same."""
    return "".join(f"{word} {number}\n" for number in range(lines)).encode()


#: The earlier version. base.bin is only there so that xet.bin shares a xorb with it later.
OLD = {
    "xet.bin": noise(700 * _KIB, "faults/old"),
    "lfs.bin": noise(300 * _KIB, "faults/old lfs"),
    "git.txt": _text(5_000, "earlier"),
}

#: The later one. xet.bin has three terms in two xorbs: every lie can be told about it.
NEW = {
    "xet.bin": noise(500 * _KIB, 1) + _BASE[200 * _KIB : 1300 * _KIB] + noise(500 * _KIB, 2),
    "lfs.bin": noise(600 * _KIB, "faults/lfs"),
    "git.txt": _text(20_000, "line"),
}


def publish(endpoint: str) -> tuple[str, str]:
    """Makes the repos, and returns the commits of OLD and NEW in REPO."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=ALICE.secret)
    for repo in (REPO, "alice/base"):
        api.create_repo(repo)
    commits = []
    commit(api, "alice/base", {"base.bin": _BASE})
    for files in (OLD, NEW):
        commit(api, REPO, {"lfs.bin": files["lfs.bin"]}, lfs=True)
        others = {path: data for path, data in files.items() if path != "lfs.bin"}
        commits.append(commit(api, REPO, others))
    return commits[0], commits[1]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(publish(sys.argv[1])) + "\n")
