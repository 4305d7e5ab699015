"""Servers that keep a client busy for ever end in an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.content import REPO
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from pathlib import Path

    from faults.stage import Stage


@pytest.mark.parametrize("file", ["lfs.bin", "git.txt"])
def test_going_back_and_forth_is_no_progress(stage: Stage, tmp_path: Path, file: str) -> None:
    """A server without ranges that breaks now here and now there never gets further."""
    route = "storage" if file == "lfs.bin" else "resolve-cache"
    for _ in range(20):
        for cut in (20_000, 30_000):
            stage.hub.fault(route, times=1, method="GET", ignore_range=True, cut_after_bytes=cut)
    stage.hub.fault(route, method="GET", ignore_range=True, cut_after_bytes=10_000)
    with (
        Client(stage.hub.endpoint, token=False, cache_dir=tmp_path, max_attempts=3) as client,
        pytest.raises(XetError) as caught,
    ):
        client.download_file(REPO, file, timeout=30)
    assert caught.value.kind == "connection"
    fired = sum(rule["fired"] for rule in stage.hub.faults())
    assert fired <= 6
