"""Repositories for the end-to-end tests, published by the official client."""

from __future__ import annotations

import io
import random
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from huggingface_hub import HfApi

MIB = 1 << 20


def noise(size: int, seed: object = 0) -> bytes:
    """Bytes that no compression makes smaller; the same ones for the same arguments."""
    return random.Random(f"{size}/{seed}").randbytes(size)


def xorshift(size: int) -> bytes:
    """The content for which both rules' chunks are published: the low bytes of xorshift32."""
    state, content = 0x9E3779B9, bytearray()
    for _ in range(size):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        content.append(state & 0xFF)
    return bytes(content)


#: One of everything that a repo can hold, by path. Binary files travel through Xet.
VARIETY: dict[str, bytes] = {
    "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n",
    "config.json": b'{"layers": 2}\n',
    "empty.txt": b"",
    "model.safetensors": noise(3 * MIB),
    "zeros.bin": bytes(MIB),
    "nested/deep/er/part.bin": noise(MIB, 1),
    "nested/copy of model.safetensors": noise(3 * MIB),
    "nested/vocab.txt": b"a\nb\nc\n",
    "same/vocab.txt": b"a\nb\nc\n",
    "same/empty.json": b"",
    "ünï cödé/文件 ☃.txt": "☃\n".encode(),
    "ünï cödé/gewichte ä.bin": noise(300_000, 2),
    "o'dd & %20+#;=@~.txt": b"odd\n",
    "...dots": b"dots\n",
}

#: What goes over LFS instead, in a commit of its own.
VARIETY_LFS: dict[str, bytes] = {"legacy/old.bin": noise(700_000, 3)}


def commit(
    api: HfApi,
    repo_id: str,
    files: Mapping[str, bytes],
    *,
    repo_type: str = "model",
    revision: str | None = None,
    lfs: bool = False,
) -> str:
    """Uploads `files` in one commit and returns its id. `lfs`: not through Xet."""
    from huggingface_hub import CommitOperationAdd

    # The official client sends open file objects over LFS, and all else that is large over Xet.
    operations = [
        CommitOperationAdd(path, io.BytesIO(content) if lfs else content)
        for path, content in files.items()
    ]
    with warnings.catch_warnings():
        # Its LFS upload calls its HTTP library in a way that is going out of use.
        warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
        done = api.create_commit(
            repo_id,
            operations,
            commit_message="Add files",
            repo_type=repo_type,
            revision=revision,
        )
    return str(done.oid)


def publish(
    api: HfApi,
    repo_id: str,
    files: Mapping[str, bytes] | None = None,
    *,
    repo_type: str = "model",
    lfs: bool = False,
) -> str:
    """Makes a repo with `files`, and returns the commit's id. Default: `VARIETY`."""
    sdk = "static" if repo_type == "space" else None
    api.create_repo(repo_id, repo_type=repo_type, space_sdk=sdk)
    if files is not None:
        return commit(api, repo_id, files, repo_type=repo_type, lfs=lfs)
    commit(api, repo_id, VARIETY_LFS, repo_type=repo_type, lfs=True)
    return commit(api, repo_id, VARIETY, repo_type=repo_type)
