"""Fixtures of the file system's tests: a hub, ours and HfFileSystem on it, and folders in repos."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from e2e import conftest as _shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from huggingface_hub import HfApi, HfFileSystem

    from hub import Hub, Token
    from xet_ffi.fs import XetFileSystem

_session_hub = _shared._session_hub  # noqa: SLF001 - a fixture, and they go by name
cache_dir = _shared.cache_dir
hf_api = _shared.hf_api
hub = _shared.hub
repo_id = _shared.repo_id
tokens = _shared.tokens
xet_cache = _shared.xet_cache


@pytest.fixture
def new_fs(hub: Hub, tokens: dict[str, Token], cache_dir: object) -> Callable[..., XetFileSystem]:
    """Makes file systems that know nothing yet."""
    from xet_ffi.fs import XetFileSystem

    def make(**options: object) -> XetFileSystem:
        known = {"endpoint": hub.endpoint, "token": tokens["alice"].secret, "cache_dir": cache_dir}
        return XetFileSystem(**{**known, "skip_instance_cache": True, **options})

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


@pytest.fixture
def folder(hf_api: HfApi, repo_id: str) -> str:
    """A folder in a repo, that isn't there until something is in it."""
    hf_api.create_repo(repo_id)
    return f"{repo_id}/{uuid.uuid4().hex[:8]}"
