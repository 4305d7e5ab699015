"""What is on the hub of the world's tests, and who may change it."""

from __future__ import annotations

from dataclasses import dataclass

from hub import Token

TOKEN = Token("alice", "hf_alice_secret")


@dataclass(frozen=True)
class Model:
    """A repo with a file of Git's, one of LFS's, and one of Xet's."""

    repo_id: str
    files: dict[str, bytes]
