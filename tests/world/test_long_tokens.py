"""Tokens of the Hub and the CAS may have 64,000 bytes: hub-protocol.md 10, "Corrections"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from hub import Hub, Token
from xet_ffi import Client

LENGTH = 64_000


@pytest.mark.parametrize("transport", ["xet", "http"])
def test_long_tokens_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: Literal["xet", "http"]
) -> None:
    """For reading and for writing; as an argument, no text may have more than 32 KiB."""
    token = Token("alice", "hf_" + "x" * (LENGTH - 3))
    monkeypatch.setenv("HF_TOKEN", token.secret)
    content = os.urandom(300_000)
    with (
        Hub.start(tmp_path / "hub", [token], config={"xet_token_length": LENGTH}) as hub,
        Client(
            hub.endpoint, cache_dir=tmp_path / "cache", transport=transport, max_attempts=1
        ) as client,
    ):
        client.create_repo("alice/long", private=True)
        client.upload_file(content, "x.safetensors", "alice/long")
        done = client.download_file("alice/long", "x.safetensors")
        assert Path(done).read_bytes() == content
        assert done.file_transfers[0].way == transport
        assert done.retries == 0
