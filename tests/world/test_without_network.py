"""What needs no network does without its settings: a cache can be used where they are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, Model
from xet_ffi import Client, XetError, cache

if TYPE_CHECKING:
    from hub import Hub

#: Variables that only requests need, with a value of no use; a folder is no file of a token.
UNUSABLE = {
    "HTTP_PROXY": "::::",
    "https_proxy": r"p\s",
    "ALL_PROXY": "ftp://proxy",
    "HF_TOKEN": "two words",
    "HF_TOKEN_PATH": "{folder}",
    "HF_ENDPOINT": "no url",
    "HF_HUB_ETAG_TIMEOUT": "soon",
    "HF_HUB_DOWNLOAD_TIMEOUT": "999999",
    "HF_HUB_USER_AGENT_ORIGIN": "a\nb",
    "SSL_CERT_FILE": "/nonexistent",
}


@pytest.fixture
def filled(hub: Hub, model: Model, tmp_path: Path) -> Path:
    """A cache with all of the model."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        client.download_snapshot(model.repo_id)
    return tmp_path / "cache"


def spoil(monkeypatch: pytest.MonkeyPatch, variable: str, folder: Path) -> None:
    """Gives a variable its value."""
    monkeypatch.setenv(variable, UNUSABLE[variable].replace("{folder}", str(folder)))


@pytest.mark.parametrize("variable", UNUSABLE)
def test_the_cache_is_looked_after(
    filled: Path, tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the library, and by the command."""
    spoil(monkeypatch, variable, tmp_path)
    assert cache.usage(cache_dir=filled).repos == 1
    assert not cache.verify(cache_dir=filled).items
    cache.index(cache_dir=filled)
    command = [sys.executable, "-m", "xet_ffi", "cache", "verify", "--cache-dir", str(filled)]
    subprocess.run(command, check=True, env=os.environ)
    cache.prune(unreferenced=True, cache_dir=filled)


@pytest.mark.parametrize("variable", UNUSABLE)
def test_what_is_here_is_given(
    filled: Path, model: Model, tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To whom asks for local files only, and where the network is switched off."""
    spoil(monkeypatch, variable, tmp_path)
    with Client(cache_dir=filled) as client:
        for path, content in model.files.items():
            transfer = client.download_file(model.repo_id, path, local_files_only=True)
            assert Path(transfer).read_bytes() == content
        client.download_snapshot(model.repo_id, local_files_only=True)
    with Client(cache_dir=filled, offline=True) as client:
        client.download_snapshot(model.repo_id)
        with pytest.raises(XetError) as caught:
            client.list_files(model.repo_id)
        assert caught.value.kind == "offline"


@pytest.mark.parametrize("variable", [name for name in UNUSABLE if name != "SSL_CERT_FILE"])
def test_a_request_is_not_made(
    hub: Hub, model: Model, tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as somebody else, nor another way: it fails by what is wrong."""
    spoil(monkeypatch, variable, tmp_path)
    endpoint = None if variable == "HF_ENDPOINT" else hub.endpoint
    with Client(endpoint, cache_dir=tmp_path / "cache") as client:
        for call in (client.list_files, client.download_snapshot, client.plan_snapshot):
            with pytest.raises(XetError, match=variable.replace("HF_TOKEN_PATH", "token file")):
                call(model.repo_id)
    assert hub.stats().requests("hub") == 0
