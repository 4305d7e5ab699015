"""Fixtures of the tests of hf_xet's surface: a hub, and both modules that have that surface."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent.parent))

# huggingface_hub and hf_xet read their environment when they are imported.
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "XET_FFI_"))]:
    if _name != "XET_FFI_LIBRARY":
        del os.environ[_name]
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-home-")

from hub import Hub, Token  # noqa: E402

ALICE = Token("alice", "hf_alice_secret")

#: The module with the surface: whose it is, and what it's called.
MODULES = {"official": "hf_xet", "ours": "xet_ffi.hf_xet"}


@pytest.fixture(params=MODULES)
def hf(request: pytest.FixtureRequest) -> Any:
    """Each of the modules: what is asserted of it holds for both."""
    return importlib.import_module(MODULES[request.param])


@pytest.fixture
def ours() -> Any:
    """Our module."""
    return importlib.import_module(MODULES["ours"])


@pytest.fixture
def official() -> Any:
    """The official module."""
    return importlib.import_module(MODULES["official"])


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    """A folder as storage."""
    return f"local://{tmp_path / 'cas'}"


@pytest.fixture(scope="session")
def _session_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub.start(tmp_path_factory.mktemp("hub") / "data", [ALICE]) as hub:
        yield hub


@pytest.fixture
def hub(_session_hub: Hub) -> Iterator[Hub]:
    """The worker's hub, with counters at zero and no fault rules."""
    with _session_hub.for_a_test():
        yield _session_hub


@dataclass(frozen=True)
class Stored:
    """A file in the storage of a hub, and how a group gets at it."""

    content: bytes
    hash: str
    #: Arguments of groups that read, and of commits.
    read: dict[str, Any]
    write: dict[str, Any]

    @property
    def size(self) -> int:
        """Of the content."""
        return len(self.content)


def access(hub: Hub, repo_id: str, right: str) -> dict[str, Any]:
    """Arguments of a group that asks the hub for tokens of a repo."""
    return {
        "token_refresh_url": f"{hub.endpoint}/api/models/{repo_id}/xet-{right}-token/main",
        "token_refresh_headers": {"authorization": f"Bearer {ALICE.secret}"},
    }


@pytest.fixture(scope="session")
def _session_stored(_session_hub: Hub) -> Stored:
    from huggingface_hub import HfApi

    from published import noise, publish

    repo_id, content = "alice/stored", noise(3_000_000, "stored")
    api = HfApi(endpoint=_session_hub.endpoint, token=ALICE.secret)
    publish(api, repo_id, {"model.safetensors": content})
    (info,) = api.get_paths_info(repo_id, "model.safetensors")
    rights = [access(_session_hub, repo_id, right) for right in ("read", "write")]
    return Stored(content, str(info.xet_hash), *rights)  # type: ignore[union-attr] # it is a file


@pytest.fixture
def stored(_session_stored: Stored, hub: Hub) -> Stored:
    """A file that is there."""
    assert hub.pid
    return _session_stored


@pytest.fixture
def repo_id() -> str:
    """A name that no other test uses."""
    return f"alice/r-{uuid.uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def xet_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's clients keep their Xet state: no test reuses what another one fetched."""
    folder = tmp_path / "xet"
    monkeypatch.setenv("HF_XET_CACHE", str(folder))
    return folder
