"""Fixtures of the world's tests: a hub with a model on it, authorities, and a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent.parent))

from hub import Hub
from slow_disk import SlowDisk
from world.stage import TOKEN, Model

#: Variables that say how to reach the network, and whom to trust there.
VARIABLES = [
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
]


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "XET_FFI_T"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def _session_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub.start(tmp_path_factory.mktemp("world") / "data", [TOKEN]) as hub:
        yield hub


@pytest.fixture
def hub(_session_hub: Hub) -> Iterator[Hub]:
    """The worker's hub, with counters at zero and no fault rules."""
    with _session_hub.for_a_test():
        yield _session_hub


@pytest.fixture
def model(hub: Hub) -> Model:
    """A repo that is new, seen from the hub itself."""
    from xet_ffi import Client, CommitAdd

    repo_id = f"alice/m-{uuid.uuid4().hex[:12]}"
    files = {
        "config.json": b"{}",
        "large.bin": os.urandom(300_000),
        "model.safetensors": os.urandom(900_000),
    }
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.create_repo(repo_id)
        client.create_commit(repo_id, [CommitAdd(path, content) for path, content in files.items()])
    hub.reset_stats()
    return Model(repo_id, files)


@pytest.fixture
def disk(tmp_path: Path) -> SlowDisk:
    """An empty folder whose file system is odd, for programs that are started so."""
    return SlowDisk(tmp_path / "tools", tmp_path / "disk")


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that are ended with the test."""
    programs: list[subprocess.Popen[str]] = []
    yield programs
    for program in programs:
        program.kill()
        program.communicate()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A private certificate authority."""
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """The path of a file with the authority's certificate."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
