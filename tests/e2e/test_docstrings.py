"""What the docstrings show happens, on a Hub that has the repo they name."""

from __future__ import annotations

import doctest
import inspect
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi

from published import noise, publish
from xet_ffi import Client, CommitAdd, CommitCopy, cache, hub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hub import Hub, Token

CALLS: dict[str, Callable[..., object]] = {
    **{f"Client.{name}": value for name, value in vars(Client).items() if callable(value)},
    **{f"cache.{name}": getattr(cache, name) for name in cache.__all__ if name.islower()},
    **{f"hub.{name}": getattr(hub, name) for name in hub.__all__ if name.islower()},
}
PUBLIC = [name for name in CALLS if "._" not in name and name != "Client.close"]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_in_a_docstring_is_true(
    own_hub: Callable[..., Hub],
    tokens: dict[str, Token],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Every public call has one."""
    alice = tokens["alice"].secret
    server = own_hub()
    files = {"config.json": b'{"layers": 2}', "model.safetensors": noise(300_000)}
    publish(HfApi(endpoint=server.endpoint, token=alice), "alice/model", files)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(noise(200_000))
    (checkpoint / "notes.tmp").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_TOKEN", alice)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    known: dict[str, object] = {
        cls.__name__: cls for cls in (Client, CommitAdd, CommitCopy, timedelta)
    }
    with Client() as client:
        if name.startswith(("cache.", "Client.cache_")):
            client.download_snapshot("alice/model")
        if name.startswith("hub."):
            known |= {name: getattr(hub, name) for name in hub.__all__}
        (test,) = doctest.DocTestFinder(recurse=False).find(
            inspect.unwrap(CALLS[name]),
            name,
            globs={**known, "cache": cache, "client": client, "os": os},
        )
        assert test.examples
        shown: list[str] = []
        failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=shown.append)
    assert not failed, "".join(shown)
