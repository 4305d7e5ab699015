"""Fixtures of the ABI tests: C programs, and a repo on an xet-hub for them to download."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import environment
from hub import Hub, Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER = Token("alice", "hf_alice_secret")


@dataclass(frozen=True)
class Published:
    """A public model on a hub, uploaded by the official client."""

    hub: Hub
    repo_id: str
    commit: str
    files: dict[str, bytes]

    @property
    def token(self) -> str:
        """A token that may read it."""
        return OWNER.secret

    def git_blob_id(self, path: str) -> str:
        """The git blob id of a file."""
        content = self.files[path]
        return hashlib.sha1(
            b"blob %d\0" % len(content) + content, usedforsecurity=False
        ).hexdigest()


#: Runs in an interpreter of its own, because huggingface_hub reads its environment once.
_UPLOAD = """
import json, sys
from huggingface_hub import HfApi
endpoint, token, repo_id, folder = sys.argv[1:]
api = HfApi(endpoint=endpoint, token=token)
api.create_repo(repo_id)
print(json.dumps(api.upload_folder(repo_id=repo_id, folder_path=folder).oid))
"""


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """A model with a plain file, an empty one, a nested one with a unicode name, and a Xet file."""
    base = tmp_path_factory.mktemp("abi")
    files = {
        "README.md": b"# A model\n",
        "empty.txt": b"",
        "nested/caf\u00e9 \u96ea.json": b'{"a": 1}\n',
        "model.bin": random.Random(7).randbytes(3_000_000),
    }
    for path, content in files.items():
        target = base / "source" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    repo_id = "alice/abi"
    with Hub.start(base / "hub", [OWNER]) as hub:
        upload = subprocess.run(
            [sys.executable, "-c", _UPLOAD, hub.endpoint, OWNER.secret, repo_id, base / "source"],
            env=environment(HF_HOME=str(base / "hf"), HF_HUB_DISABLE_PROGRESS_BARS="1"),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert upload.returncode == 0, upload.stderr
        commit = json.loads(upload.stdout.splitlines()[-1])
        attributes = added_by_the_hub(hub, repo_id)
        yield Published(hub, repo_id, commit, {**files, **attributes})


def added_by_the_hub(hub: Hub, repo_id: str) -> dict[str, bytes]:
    """The .gitattributes that the Hub itself adds to a new repo."""
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{hub.endpoint}/{repo_id}/resolve/main/.gitattributes", timeout=30) as answer:
        return {".gitattributes": answer.read()}


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """An empty Hub cache."""
    path = tmp_path / "cache"
    path.mkdir()
    return path
