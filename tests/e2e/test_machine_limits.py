"""A limit of the machine is an error that names it and the way out; never a hang, never a bug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import compile_c
from published import MIB, commit, noise, publish

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

#: Downloads a snapshot under the limits that it is given, and says what came of it.
DOWNLOAD = """
import json, os, resource, sys
import xet_ffi
endpoint, repo, cache, limits = sys.argv[1:]
for name, value in json.loads(limits).items():
    number = getattr(resource, "RLIMIT_" + name)
    resource.setrlimit(number, (value, resource.getrlimit(number)[1]))
try:
    with xet_ffi.Client(endpoint, token=False, cache_dir=cache) as client:
        print(json.dumps({"files": client.download_snapshot(repo, timeout=20).files}))
except xet_ffi.XetError as error:
    is_io = isinstance(error, xet_ffi.IoError)
    print(json.dumps({"kind": error.kind, "message": str(error), "is_io": is_io}))
sys.stdout.flush()
os._exit(0)
"""

FILES = {f"{i}.bin": noise(MIB, f"limits/{i}") for i in range(4)}


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repo with large files of both kinds, and small ones."""
    publish(hf_api, repo_id, {**FILES, "a.txt": b"a", "b.txt": b"b"})
    commit(hf_api, repo_id, {"lfs.bin": noise(MIB, "limits/lfs")}, lfs=True)
    return repo_id


def download(
    hub: Hub, repo: str, cache: Path, limits: dict[str, int], **environment: str
) -> dict[str, object]:
    """What comes of a download in a process with limits. It ends by itself."""
    arguments = [hub.endpoint, repo, str(cache), json.dumps(limits)]
    done = subprocess.run(
        [sys.executable, "-c", DOWNLOAD, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def assert_right(outcome: dict[str, object], way_out: str) -> None:
    """A download has been made, or its error says which limit is in the way."""
    if "files" not in outcome:
        assert outcome["kind"] == "resource_limit", outcome
        assert way_out in str(outcome["message"])
        assert outcome["is_io"]


@pytest.fixture(scope="module")
def few_threads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that refuses threads."""
    if sys.platform != "linux":
        pytest.skip("needs LD_PRELOAD")
    library = tmp_path_factory.mktemp("preload") / "few_threads.so"
    source = Path(__file__).resolve().parents[1] / "preload" / "few_threads.c"
    made = compile_c([source], library, ["-std=gnu11", "-Wall", "-fPIC", "-shared"], ["-ldl"])
    assert made.worked, made.messages
    return library


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 4, 5, 6, 8])
def test_without_threads_a_call_gets_on_or_says_so(
    hub: Hub, repo: str, cache_dir: Path, few_threads: Path, threads: int
) -> None:
    """However few threads may be made, there is an answer before the call's timeout."""
    preload = {"LD_PRELOAD": str(few_threads), "FEW_THREADS": str(threads)}
    outcome = download(hub, repo, cache_dir, {}, **preload)
    assert_right(outcome, "ulimit -u")
    if threads == 0:
        assert "kind" in outcome
    if threads == 8:
        assert "files" in outcome, "few threads are slow, not wrong"


@pytest.mark.parametrize("more", [0, 4, 8, 12, 16, 24])
def test_without_descriptors_a_call_says_so(
    hub: Hub, repo: str, cache_dir: Path, more: int
) -> None:
    """Files and connections fail alike: with the limit's name."""
    outcome = download(hub, repo, cache_dir, {"NOFILE": 6 + more})
    assert_right(outcome, "ulimit -n")


def test_few_descriptors_are_enough(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> None:
    """Under a small limit fewer files are in flight, so that many of them come all the same."""
    small = {f"{i}.txt": f"{i}".encode() for i in range(120)}
    publish(hf_api, repo_id, small | {"a.bin": FILES["0.bin"], "b.bin": FILES["1.bin"]})
    hub.delay(0.05)
    # With the .gitattributes that every repo has.
    assert download(hub, repo_id, cache_dir, {"NOFILE": 64}) == {"files": len(small) + 3}
