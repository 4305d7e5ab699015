"""A plan says what a download would do, and the download then does it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from picture import picture
from published import MIB, VARIETY, commit, noise, publish
from xet_ffi import CancelledError, Client, InvalidConfigError, OfflineError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 8 * MIB
OLD = noise(SIZE, "plan")
NEW = OLD[: SIZE // 2] + noise(MIB, "planned change") + OLD[SIZE // 2 + MIB :]


def test_an_empty_cache_has_nothing(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> None:
    """Everything is remote, files with the same content are fetched once, and nothing is done."""
    publish(hf_api, repo_id)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        hub.reset_stats()
        plan = client.plan_snapshot(repo_id)
        assert hub.stats().bytes_sent("storage") == 0
        files = {file.path: file for file in plan.files}
        assert files.keys() > VARIETY.keys()
        copy = files["nested/copy of model.safetensors"]
        assert files["model.safetensors"].bytes_remote + copy.bytes_remote == 3 * MIB
        assert files["README.md"].bytes_remote == len(VARIETY["README.md"])
        assert plan.bytes_present == 0
        assert plan.bytes_total == plan.bytes_remote + plan.bytes_reusable
        assert plan.disk_need == plan.bytes_remote
        assert plan.disk_free is not None
        assert plan.fits
        assert not list(cache_dir.rglob("blobs/*"))
        transfer = client.download_snapshot(repo_id)
        assert transfer.bytes_total == plan.bytes_total
        after = client.plan_snapshot(repo_id)
        assert (after.bytes_present, after.disk_need) == (plan.bytes_total, 0)


def test_a_plan_keeps_its_word(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, tmp_path: Path
) -> None:
    """What it says is reusable is reused, byte for byte, in the cache and in a local_dir."""
    publish(hf_api, repo_id, {"model.bin": OLD})
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        client.download_snapshot(repo_id)
        commit(hf_api, repo_id, {"model.bin": NEW})
        for local_dir in (tmp_path / "folder", None):
            before = picture(cache_dir)
            plan = client.plan_snapshot(repo_id, local_dir=local_dir, allow_patterns="model.bin")
            assert {path for path in picture(cache_dir) if "/trees/" not in path} <= set(before)
            assert MIB <= plan.bytes_remote <= MIB + 4 * 128 * 1024
            assert plan.bytes_reusable == SIZE - plan.bytes_remote
            transfer = client.download_snapshot(
                repo_id, local_dir=local_dir, allow_patterns="model.bin"
            )
            assert transfer.bytes_reused == plan.bytes_present + plan.bytes_reusable
            if local_dir is None:
                break
            # The folder's file serves the cache now.
            assert client.plan_snapshot(repo_id, allow_patterns="*.bin").bytes_remote == 0
            (local_dir / "model.bin").unlink()


def test_an_interrupted_download_is_present(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """What an earlier attempt has left counts as present, and isn't needed on the disk again."""
    publish(hf_api, repo_id, {"model.bin": OLD})
    hub.fault("storage", drip=8_000_000)
    done = 0

    def look(progress: object) -> None:
        nonlocal done
        done = progress.bytes_completed  # type: ignore[attr-defined]

    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        with pytest.raises(CancelledError):
            client.download_snapshot(repo_id, progress=look, cancel=lambda: done >= SIZE // 2)
        plan = client.plan_snapshot(repo_id, allow_patterns="model.bin")
    assert SIZE // 4 <= plan.bytes_present < SIZE
    assert plan.bytes_remote == SIZE - plan.bytes_present == plan.disk_need


def test_bad_plans_are_refused(hub: Hub, repo_id: str, cache_dir: Path) -> None:
    """A plan needs the Hub."""
    with (
        Client(hub.endpoint, token=False, cache_dir=cache_dir, offline=True) as client,
        pytest.raises(OfflineError),
    ):
        client.plan_snapshot(repo_id)
    with (
        Client(hub.endpoint, token=False, cache_dir=cache_dir) as client,
        pytest.raises(InvalidConfigError),
    ):
        client.plan_snapshot("a/b/c")


def test_a_dry_run_prints_the_plan(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> None:
    """For people, and as JSON."""
    publish(hf_api, repo_id, {"model.bin": OLD})
    command = [sys.executable, "-m", "xet_ffi", "download", repo_id, "--dry-run"]
    command += ["--cache-dir", str(cache_dir)]

    def run(*more: str) -> str:
        import os

        return subprocess.run(
            [*command, *more],
            env=os.environ | {"HF_ENDPOINT": hub.endpoint},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert f"{SIZE:,}  model.bin" in run()
    assert json.loads(run("--json"))["files"][-1]["bytes_remote"] == SIZE
    assert not (cache_dir / "blobs").exists()
