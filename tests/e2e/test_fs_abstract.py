"""fsspec's own tests of file systems, as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xet_ffi.fs import XetFileSystem


class _Fixtures(AbstractFixtures):
    """What they ask for."""

    @pytest.fixture
    def fs(self, new_fs: Callable[..., XetFileSystem]) -> XetFileSystem:
        """Ours."""
        return new_fs()

    @pytest.fixture
    def fs_path(self, empty_repo: str) -> str:
        """Where they may write: a folder that isn't there until something is in it."""
        return f"{empty_repo}/here"

    @pytest.fixture
    def local_fs(self) -> LocalFileSystem:
        """The other side."""
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def local_path(self, tmp_path: Path) -> str:
        """Its place."""
        path: str = make_path_posix(str(tmp_path / "local"))
        return path

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        """Git has none."""
        return False


class TestCopy(AbstractCopyTests, _Fixtures):
    """`cp`."""


class TestGet(AbstractGetTests, _Fixtures):
    """`get`."""


class TestPut(AbstractPutTests, _Fixtures):
    """`put`."""


class TestPipe(AbstractPipeTests, _Fixtures):
    """`pipe`."""


class TestOpen(AbstractOpenTests, _Fixtures):
    """`open`."""
