"""Fixtures of the end-to-end tests: one xet-hub per pytest worker, and clients that stay clean."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from huggingface_hub import HfApi, HfFileSystem

    from xet_ffi import Client
    from xet_ffi.fs import XetFileSystem
    from xet_ffi.storage import Storage

sys.path.insert(0, str(Path(__file__).parent.parent))

# huggingface_hub and hf_xet read their environment when they are imported, so nothing of the user's
# may be in it by then: no cache, no token, no endpoint, no proxy.
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "XET_FFI_"))]:
    del os.environ[_name]
for _name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(_name, None)
    os.environ.pop(_name.lower(), None)
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-home-")

from hub import Hub, Token  # noqa: E402
from published import noise  # noqa: E402
from storage_access import Access, publish_two  # noqa: E402

#: alice writes, bob only reads, carol writes but is on nobody's access list.
TOKENS = {
    "alice": Token("alice", "hf_alice_secret"),
    "bob": Token("bob", "hf_bob_secret", "read"),
    "carol": Token("carol", "hf_carol_secret"),
}


def pytest_sessionfinish() -> None:
    """Removes the Hugging Face home of this process; at exit would be too late for xdist."""
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def tokens() -> dict[str, Token]:
    """The tokens that `hub` knows, by user."""
    return TOKENS


@pytest.fixture(scope="session")
def _session_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub.start(tmp_path_factory.mktemp("hub") / "data", TOKENS.values()) as hub:
        yield hub


@pytest.fixture
def hub(_session_hub: Hub) -> Iterator[Hub]:
    """The worker's hub, with counters at zero, no fault rules and no latency."""
    with _session_hub.for_a_test():
        yield _session_hub
    _session_hub.delay()


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Starts hubs for one test alone: `own_hub(args=["--page-size", "2"])`."""
    started: list[Hub] = []

    def start(**options: object) -> Hub:
        options.setdefault("tokens", TOKENS.values())
        data = tmp_path / f"hub{len(started)}" / "data"
        started.append(Hub.start(data, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for hub in started:
        hub.stop()


@pytest.fixture(autouse=True)
def xet_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's clients keep their Xet state: no test reuses what another one fetched."""
    folder = tmp_path / "xet"
    monkeypatch.setenv("HF_XET_CACHE", str(folder))
    return folder


@pytest.fixture
def repo_id() -> str:
    """A name that no other test uses, in alice's namespace."""
    return f"alice/r-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def weights(repo_id: str, request: pytest.FixtureRequest) -> bytes:
    """Noise that no other test uses, of so many bytes as the module's `SIZE` says.

    Storage holds each content once, damaged or not.
    """
    return noise(request.module.SIZE, repo_id)


@pytest.fixture
def hf_api(hub: Hub) -> HfApi:
    """The official client, signed in as alice."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.endpoint, token=TOKENS["alice"].secret)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """An empty Hub cache."""
    return tmp_path / "cache"


@pytest.fixture
def empty_repo(hf_api: HfApi, repo_id: str) -> str:
    """A model without files of ours."""
    hf_api.create_repo(repo_id)
    return repo_id


@pytest.fixture
def alice(hub: Hub, cache_dir: Path) -> Iterator[Client]:
    """A client that may write to `empty_repo`."""
    from xet_ffi import Client

    with Client(hub.endpoint, TOKENS["alice"].secret, cache_dir) as client:
        yield client


@pytest.fixture
def access(hub: Hub, hf_api: HfApi, tokens: dict[str, Token], repo_id: str) -> Access:
    """Two files in storage, and the right to them."""
    return publish_two(hub, hf_api, tokens["alice"], repo_id)


@pytest.fixture
def reading(alice: Client, access: Access) -> Iterator[Storage]:
    """Storage that may be read."""
    with alice.storage(**access.read) as storage:
        yield storage


@pytest.fixture
def new_fs(hub: Hub, tokens: dict[str, Token], cache_dir: Path) -> Callable[..., XetFileSystem]:
    """Makes file systems that know nothing yet."""
    from xet_ffi.fs import XetFileSystem

    def make(**options: object) -> XetFileSystem:
        known = {"endpoint": hub.endpoint, "token": tokens["alice"].secret, "cache_dir": cache_dir}
        return XetFileSystem(**{**known, "skip_instance_cache": True, **options})  # type: ignore[arg-type]

    return make


@pytest.fixture
def fs(new_fs: Callable[..., XetFileSystem]) -> XetFileSystem:
    """Ours."""
    return new_fs()


@pytest.fixture
def hf_fs(hub: Hub, tokens: dict[str, Token]) -> HfFileSystem:
    """The official one."""
    from huggingface_hub import HfFileSystem

    return HfFileSystem(
        endpoint=hub.endpoint, token=tokens["alice"].secret, skip_instance_cache=True
    )
