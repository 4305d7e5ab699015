"""Fixtures of the fault tests: each pytest worker has a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.stage import Stage, open_stage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_reuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything has to come through the network, whatever other tests have fetched."""
    monkeypatch.setenv("XET_FFI_REUSE_INDEX_BYTES", "0")


@pytest.fixture(scope="session")
def _session_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("faults")) as stage:
        yield stage


@pytest.fixture
def stage(_session_stage: Stage) -> Iterator[Stage]:
    """The worker's stage, with everything in order."""
    _session_stage.heal()
    yield _session_stage
    _session_stage.heal()
