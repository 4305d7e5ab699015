"""Half of something isn't taken for the whole, and goes when the whole comes another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.checks import unfinished
from faults.content import NEW, REPO
from faults.processes import Program
from xet_ffi import Client, NetworkError

if TYPE_CHECKING:
    from pathlib import Path

    from faults.stage import Stage


def test_a_hiccup_does_not_make_a_snapshot_of_one_file(stage: Stage, tmp_path: Path) -> None:
    """With one file of a commit in the cache and one refusal by the Hub, all files come."""
    for route in ("revision", "tree"):
        cache = tmp_path / route
        with Client(stage.hub.endpoint, token=False, cache_dir=cache) as client:
            client.download_file(REPO, "git.txt")
            stage.hub.fault(route, times=1, status=503)
            snapshot = client.download_snapshot(REPO)
        for name, content in NEW.items():
            assert (cache / snapshot.path / name).read_bytes() == content


def test_what_comes_another_way_leaves_no_partial_file(stage: Stage, tmp_path: Path) -> None:
    """A file that was begun for a folder and then taken from the cache is no longer begun."""
    cache, folder = tmp_path / "cache", tmp_path / "folder"
    code = "client().download_file(REPO, 'lfs.bin', local_dir=REST[0], progress=announce)"
    stage.hub.fault("storage", drip=100_000)
    with Program(code, stage.hub.endpoint, str(cache), REPO, str(folder)) as program:
        program.wait_for("flowing")
    assert unfinished(folder) != []
    stage.hub.clear_faults()
    with Client(stage.hub.endpoint, token=False, cache_dir=cache) as client:
        client.download_file(REPO, "lfs.bin")
        client.download_file(REPO, "lfs.bin", local_dir=folder)
    assert (folder / "lfs.bin").read_bytes() == NEW["lfs.bin"]
    assert unfinished(tmp_path) == []


def test_a_failed_first_download_leaves_a_sound_cache(stage: Stage, tmp_path: Path) -> None:
    """A repo of which nothing has come yet is not a corrupted one to huggingface_hub."""
    from huggingface_hub import scan_cache_dir

    stage.hub.fault("storage", status=503)
    with (
        Client(stage.hub.endpoint, token=False, cache_dir=tmp_path, max_attempts=1) as client,
        pytest.raises(NetworkError),
    ):
        client.download_file(REPO, "lfs.bin")
    assert scan_cache_dir(tmp_path).warnings == []
