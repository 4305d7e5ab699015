"""`hf download` with our hf_xet while storage fails: no wrong file, no hang, nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hf_xet_face.conftest import ALICE
from published import MIB, commit, noise, publish

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

#: Seconds after which a download that hasn't ended hangs.
DEADLINE = 150.0

SIZE = 24 * MIB
FILE = "model.safetensors"


@pytest.fixture
def api(hub: Hub) -> HfApi:
    """The official client, in this process."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.endpoint, token=ALICE.secret)


def start(hub: Hub, home: Path, repo_id: str) -> subprocess.Popen[str]:
    """Begins to download a repo with the command of huggingface_hub."""
    return subprocess.Popen(
        [sys.executable, "-m", "huggingface_hub.cli.hf", "download", repo_id, FILE, "--quiet"],
        env={
            **os.environ,
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": ALICE.secret,
            "HF_HOME": str(home),
            "HF_XET_CLIENT_READ_TIMEOUT": "2s",
            "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2",
            "XET_FFI_HF_XET": "1",
        },
        cwd=sys.prefix,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def download(hub: Hub, home: Path, repo_id: str) -> tuple[int, str]:
    """Its exit status, and the path that it printed, or what it said went wrong."""
    with start(hub, home, repo_id) as process:
        try:
            out, err = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail("the download hangs")
    return process.returncode, out.strip().splitlines()[-1] if out.strip() else err


def finished(home: Path) -> list[Path]:
    """The files that look as if they were complete."""
    blobs = [path for path in home.glob("hub/**/blobs/**/*") if path.is_file()]
    return [path for path in blobs if ".incomplete" not in path.name]


#: What storage, or the CAS, does once.
PASSING: dict[str, tuple[str, dict[str, Any]]] = {
    "a flipped byte": ("storage", {"corrupt_byte": MIB}),
    "other bytes": ("storage", {"invert": True}),
    "silence before the answer": ("storage", {"stall_before": 60}),
    "silence in mid-body": ("storage", {"stall_after_bytes": MIB}),
    "a reset in mid-body": ("storage", {"cut_after_bytes": MIB}),
    "too short a body": ("storage", {"truncate": MIB}),
    "an expired URL": ("storage", {"status": 403}),
    "an expired token": ("reconstruction", {"status": 401}),
    "a server error": ("reconstruction", {"status": 503}),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_survived(
    hub: Hub, api: HfApi, repo_id: str, tmp_path: Path, fault: str
) -> None:
    """The file is complete and right."""
    content = noise(SIZE, repo_id)
    publish(api, repo_id, {FILE: content})
    route, action = PASSING[fault]
    hub.fault(route, method="GET", times=1, **action)
    status, path = download(hub, tmp_path, repo_id)
    assert status == 0, path
    assert Path(path).read_bytes() == content
    assert hub.faults()[0]["fired"] == 1


LASTING: dict[str, tuple[str, dict[str, Any]]] = {
    "other bytes": ("storage", {"invert": True}),
    "silence before the answer": ("storage", {"stall_before": 3600}),
    "silence in mid-body": ("storage", {"stall_after_bytes": 1000}),
    "resets": ("storage", {"cut_after_bytes": 0}),
    "no rights": ("reconstruction", {"status": 403}),
    "a CAS that hangs": ("reconstruction", {"stall_before": 3600}),
}


@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_is_told(
    hub: Hub, api: HfApi, repo_id: str, tmp_path: Path, fault: str
) -> None:
    """In time, and no file is there that looks as if it were one."""
    publish(api, repo_id, {FILE: noise(SIZE, repo_id)})
    route, action = LASTING[fault]
    hub.fault(route, method="GET", **action)
    status, said = download(hub, tmp_path, repo_id)
    assert status != 0
    assert said
    assert finished(tmp_path) == []
    assert hub.faults()[0]["fired"] >= 1


def test_a_server_that_freezes_and_goes_on_is_survived(
    hub: Hub, api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """All of it stands still, in mid-download, for longer than one waits."""
    content = noise(SIZE, repo_id)
    publish(api, repo_id, {FILE: content})
    hub.fault("storage", method="GET", drip=4 * MIB)
    with start(hub, tmp_path, repo_id) as process:
        until_received(hub, SIZE // 4)
        os.kill(hub.pid, signal.SIGSTOP)
        try:
            time.sleep(4)  # that it lasts is the fault
        finally:
            os.kill(hub.pid, signal.SIGCONT)
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    assert Path(out.strip().splitlines()[-1]).read_bytes() == content


def until_received(hub: Hub, size: int) -> None:
    """Waits until storage has sent so many bytes of xorbs."""
    limit = time.monotonic() + DEADLINE
    while hub.stats().fetched_bytes("xorbs") < size:
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_after_a_kill_at_half_the_rest_is_fetched(
    hub: Hub, api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """huggingface_hub begins another file each time; what has come is known by its hash."""
    size = 3 * SIZE
    content = noise(size, repo_id)
    publish(api, repo_id, {FILE: content})
    hub.fault("storage", method="GET", drip=8 * MIB)
    hub.reset_stats()
    with start(hub, tmp_path, repo_id) as process:
        until_received(hub, size // 2)
        process.kill()
        process.communicate()
    hub.clear_faults()
    hub.reset_stats()
    status, path = download(hub, tmp_path, repo_id)
    assert status == 0, path
    assert Path(path).read_bytes() == content
    assert hub.stats().fetched_bytes("xorbs") <= 0.52 * size


def test_a_new_revision_costs_what_has_changed(
    hub: Hub, api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """A tenth of it."""
    old = noise(2 * SIZE, repo_id)
    changed = len(old) // 10
    new = old[: 5 * changed] + noise(changed, f"{repo_id}/new") + old[6 * changed :]
    publish(api, repo_id, {FILE: old})
    assert download(hub, tmp_path, repo_id)[0] == 0
    commit(api, repo_id, {FILE: new})
    hub.reset_stats()
    status, path = download(hub, tmp_path, repo_id)
    assert status == 0, path
    assert Path(path).read_bytes() == new
    assert hub.stats().fetched_bytes("xorbs") <= 1.1 * changed
