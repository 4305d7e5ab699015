"""What the fault tests publish.

`python -m faults.content ENDPOINT (versions|many|large)` does it, with the official client.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from hub import Token
from published import MIB, commit, noise

if TYPE_CHECKING:
    from huggingface_hub import HfApi

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


#: Of the one file in each repo of `large`, by its kind of storage.
LARGE = ("xet", "lfs")


def many() -> dict[str, bytes]:
    """200 files: text, LFS and Xet, from nothing to 32 MiB."""
    return {
        **{f"text/{i}.txt": _text(i * 20, str(i)) for i in range(110)},
        **{f"lfs/{i}.bin": noise(50_000 + i * 10_000, f"many/{i}") for i in range(20)},
        **{f"xet/{i}.bin": noise(100_000 + i * 30_000, f"many/{i}") for i in range(60)},
        **{f"large/{i}.bin": noise(8 * MIB, f"many/{i}") for i in range(8)},
        **{f"huge/{i}.bin": noise(32 * MIB, f"many/{i}") for i in range(2)},
    }


def large(kind: str) -> bytes:
    """64 MiB."""
    return noise(64 * MIB, f"large/{kind}")


def _publish_versions(api: HfApi) -> list[str]:
    """Makes REPO, and returns the commits of OLD and NEW."""
    for repo in (REPO, "alice/base"):
        api.create_repo(repo)
    commit(api, "alice/base", {"base.bin": _BASE})
    return [_commit_by_kind(api, REPO, files) for files in (OLD, NEW)]


def _publish_many(api: HfApi) -> list[str]:
    """Makes a repo with `many`, and returns its id."""
    api.create_repo("alice/many")
    _commit_by_kind(api, "alice/many", many())
    return ["alice/many"]


def _publish_large(api: HfApi) -> list[str]:
    """Makes a repo for each kind of LARGE, and returns their ids."""
    repos = [f"alice/large-{kind}" for kind in LARGE]
    for kind, repo in zip(LARGE, repos, strict=True):
        api.create_repo(repo)
        commit(api, repo, {"large.bin": large(kind)}, lfs=kind == "lfs")
    return repos


def _commit_by_kind(api: HfApi, repo: str, files: dict[str, bytes]) -> str:
    """Commits what has "lfs" in its name over LFS, then the rest; returns the last commit."""
    lfs = {path: data for path, data in files.items() if path.startswith("lfs")}
    commit(api, repo, lfs, lfs=True)
    return commit(api, repo, {path: data for path, data in files.items() if path not in lfs})


def main(endpoint: str, what: str) -> None:
    """Publishes, and prints what the tests need to know as JSON."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=ALICE.secret)
    publish = {"versions": _publish_versions, "many": _publish_many, "large": _publish_large}
    sys.stdout.write(json.dumps(publish[what](api)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
