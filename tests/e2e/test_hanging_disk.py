"""A disk that hangs ends the call, not the process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from frozen_disk import FreezableDisk, freezable_disk
from published import MIB, noise, publish
from slow_disk import SlowDisk
from xet_ffi import Client, Progress, TransferTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 12 * MIB

#: Three times the longest of them, and 5 s, is what a call that stands still is given.
SHORT: dict[str, Any] = {"connect_timeout": 0.5, "first_byte_timeout": 0.5, "read_timeout": 0.5}
LIMIT = 6.5


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FreezableDisk]:
    """A small disk that can hang."""
    with freezable_disk(tmp_path, 64) as disk:
        yield disk


@pytest.mark.parametrize("kind", ["xet", "lfs"])
def test_a_call_whose_disk_hangs_ends_and_says_so(
    hub: Hub,
    hf_api: HfApi,
    repo_id: str,
    disk: FreezableDisk,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """Error and log name what was waited for, and the process is as usable as before."""
    content = noise(SIZE, f"hanging/{kind}")
    publish(hf_api, repo_id, {"weights.bin": content}, lfs=kind == "lfs")
    hub.fault("storage", drip=8_000_000)
    frozen_at = 0.0

    def freeze(progress: Progress) -> None:
        nonlocal frozen_at
        if progress.bytes_completed > SIZE // 3 and not frozen_at:
            disk.freeze()
            frozen_at = time.monotonic()

    with Client(hub.endpoint, token=False, cache_dir=disk.folder / "cache", **SHORT) as client:
        with pytest.raises(TransferTimeoutError, match="nothing has moved for") as caught:
            client.download_file(repo_id, "weights.bin", progress=freeze, timeout=60)
        assert frozen_at
        # The bytes that were under way move it a little longer.
        assert LIMIT - 1 < time.monotonic() - frozen_at < LIMIT + 10
        waited = f"the disk to take more of {disk.folder}"
        assert waited in str(caught.value)
        (record,) = [r for r in caplog.records if "ending the call" in r.getMessage()]
        assert record.levelname == "ERROR"
        assert waited in record.getMessage()
        assert len(client.list_files(repo_id)) == 2
        with Client(hub.endpoint, token=False, cache_dir=tmp_path / "other") as elsewhere:
            assert Path(elsewhere.download_file(repo_id, "weights.bin")).read_bytes() == content
        disk.thaw()
        hub.clear_faults()
        hub.reset_stats()
        transfer = client.download_file(repo_id, "weights.bin")
        assert Path(transfer).read_bytes() == content
    assert transfer.bytes_reused > SIZE // 4
    assert hub.stats().bytes_sent("storage") < SIZE


#: Downloads a snapshot, and ends the call once those files are open that one call may have in
#: flight. Says how long that took.
LEAVE = """
import os, sys, time
from pathlib import Path
import xet_ffi
endpoint, repo, cache, how = sys.argv[1:]
left = []
def leave():
    if not left and os.path.exists(cache) and len(list(Path(cache).rglob("*.partial"))) == 7:
        left.append(time.monotonic())
    return bool(left)
begun = time.monotonic()
client = xet_ffi.Client(endpoint, token=False, cache_dir=cache)
try:
    if how == "cancel":
        client.download_snapshot(repo, cancel=leave)
    else:
        left.append(begun + 1)
        client.download_snapshot(repo, timeout=1)
except xet_ffi.XetError as error:
    print(error.kind, time.monotonic() - left[0], flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("storage", ["xet", "lfs"])
@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_close_that_hangs_keeps_nobody(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, storage: str, how: str
) -> None:
    """Closing a file waits for the network on some disks. The call returns without that."""
    content = {f"{i}.bin": noise(MIB, f"close/{storage}/{i}") for i in range(8)}
    publish(hf_api, repo_id, content, lfs=storage == "lfs")
    hub.fault("storage", drip=50_000)
    disk = SlowDisk(tmp_path / "tools", tmp_path / "cache")
    disk.rule("close", delay_ms=12_000, match=".partial")
    arguments = [hub.endpoint, repo_id, str(disk.folder), how]
    done = subprocess.run(
        [sys.executable, "-c", LEAVE, *arguments],
        env={**os.environ, **disk.environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kind, seconds = done.stdout.split()
    assert kind == {"cancel": "cancelled", "timeout": "timeout"}[how]
    assert float(seconds) < 2


CARE = """
import sys
from xet_ffi import XetError, cache
root, what = sys.argv[1:]
short = {"connect_timeout": 0.5, "first_byte_timeout": 0.5, "read_timeout": 0.5}
if what == "prune":
    short["unreferenced"] = True
try:
    print(getattr(cache, what)(cache_dir=root, **short))
except XetError as error:
    print(error.kind, error)
"""


@pytest.mark.parametrize("what", ["usage", "verify", "prune", "index"])
def test_looking_after_a_cache_on_a_disk_that_hangs_ends(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, what: str
) -> None:
    """Within what its deadlines allow, and names the disk."""
    publish(hf_api, repo_id, {"a.txt": b"a", "b.bin": noise(MIB, repo_id)})
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    with Client(hub.endpoint, token=False, cache_dir=disk.folder) as client:
        client.download_snapshot(repo_id)
    # Longer than the test would wait for it.
    disk.rule("metadata", delay_ms=300_000, match="blobs", until_exists=tmp_path / "gate")
    with subprocess.Popen(
        [sys.executable, "-c", CARE, disk.folder, what],
        env={**os.environ, **disk.environment(), "HF_ENDPOINT": hub.endpoint},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout
        said = program.stdout.readline()
        (tmp_path / "gate").touch()
    assert said.startswith("timeout nothing has moved for"), said
    assert "disk" in said or "look" in said


#: Has a file and a client open on a disk that hangs from then on, and lets go of both. Says how
#: long that took.
LET_GO = """
import gc, os, sys, time
from pathlib import Path
from xet_ffi import Client
endpoint, repo, cache, frozen, how = sys.argv[1:]
client = Client(endpoint, token=False, cache_dir=cache)
client.download_file(repo, "weights.bin")
file = client.open(repo, "weights.bin")
assert len(file.read_at(0, 10)) == 10
Path(frozen).touch()
begun = time.monotonic()
if how == "close":
    file.close()
    client.close()
else:
    del file, client
    gc.collect()
print(time.monotonic() - begun, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["close", "collect"])
@pytest.mark.parametrize("what", ["reuse.sqlite", "blobs"])
def test_who_lets_go_on_a_disk_that_hangs_waits_for_nothing(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, how: str, what: str
) -> None:
    """Not for the database of what is here, which is folded together, nor for a file."""
    publish(hf_api, repo_id, {"weights.bin": noise(MIB, repo_id)})
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    frozen = tmp_path / "frozen"
    disk.rule("close", "metadata", "sync", delay_ms=60_000, match=what, while_exists=frozen)
    cache = disk.folder / "cache"
    (seconds,), _ = disk.run(LET_GO, hub.endpoint, repo_id, str(cache), str(frozen), how)
    assert float(seconds) < 20
    assert any(what in call.path for call in disk.calls() if call.thread == "xet-ending")
