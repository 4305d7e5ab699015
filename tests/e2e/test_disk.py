"""Disks that are full, and folders that may not be written."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import scan_cache_dir

from picture import contents
from published import MIB, noise, publish
from small_disk import mount, small_file_system
from xet_ffi import Client, NoSpaceError, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub

SIZE = 12 * MIB
BIG = {"xet": noise(SIZE, "disk/xet"), "lfs": noise(SIZE, "disk/lfs")}
SMALL = b"small\n"
NOBODY = 65534


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 8 MiB."""
    with small_file_system(8) as folder:
        yield folder


@pytest.fixture(params=BIG)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of storage."""
    return str(request.param)


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str, kind: str) -> str:
    """A repo with a small file, and one that is larger than the disk."""
    publish(hf_api, repo_id, {"big.bin": BIG[kind]}, lfs=kind == "lfs")
    hf_api.upload_file(path_or_fileobj=SMALL, path_in_repo="small.txt", repo_id=repo_id)
    return repo_id


@pytest.mark.parametrize("place", ["cache", "local"])
def test_what_cannot_fit_is_not_begun(
    hub: Hub, repo: str, small_disk: Path, tmp_path: Path, place: str
) -> None:
    """The error comes before the first byte, and says how much is needed and how much is there."""
    cache = small_disk / "cache" if place == "cache" else tmp_path / "cache"
    local = small_disk / "local" if place == "local" else None
    with Client(hub.endpoint, token=False, cache_dir=cache) as client:
        hub.reset_stats()
        with pytest.raises(NoSpaceError, match="allow_patterns") as caught:
            client.download_snapshot(repo, local_dir=local)
        assert hub.stats().bytes_sent("storage") == 0
        assert caught.value.details["bytes_needed"] >= SIZE
        assert caught.value.details["bytes_free"] <= 8 * MIB
        plan = client.plan_snapshot(repo, local_dir=local)
        assert (plan.disk_need, plan.fits) == (caught.value.details["bytes_needed"], False)
        # Only what will be written counts.
        client.download_snapshot(repo, local_dir=local, ignore_patterns="big.bin")


@pytest.mark.parametrize("place", ["cache", "local"])
def test_a_full_disk_is_said_and_taken_up_again(
    hub: Hub, repo: str, kind: str, small_disk: Path, tmp_path: Path, place: str
) -> None:
    """No space: an error that names the place, nothing half-written, and no byte fetched twice."""
    cache = small_disk / "cache" if place == "cache" else tmp_path / "cache"
    local = small_disk / "local" if place == "local" else None
    assert mount("-o", "remount,size=15m", str(small_disk)) == ""

    def fill_up(progress: Progress) -> None:
        """Once the download has begun, somebody else needs the space, too."""
        if progress.bytes_network > 0:
            # If the download is far already, this takes what is left.
            with contextlib.suppress(OSError):
                (small_disk / "other").write_bytes(bytes(7 * MIB))

    with Client(hub.endpoint, token=False, cache_dir=cache) as client:
        client.download_file(repo, "small.txt", local_dir=local)
        hub.fault("storage", drip=5_000_000)
        with pytest.raises(NoSpaceError) as caught:
            client.download_snapshot(repo, local_dir=local, progress=fill_up)
        hub.clear_faults()
        assert caught.value.errno == errno.ENOSPC
        assert str(small_disk) in str(caught.value)
        assert "big.bin" not in {Path(name).name for name in contents(small_disk)}
        assert scan_cache_dir(cache).warnings == [] if place == "cache" else True

        assert mount("-o", "remount,size=64m", str(small_disk)) == ""
        hub.reset_stats()
        transfer = client.download_snapshot(repo, local_dir=local)
    assert (Path(transfer.path) / "big.bin").read_bytes() == BIG[kind]
    assert (Path(transfer.path) / "small.txt").read_bytes() == SMALL
    assert hub.stats().bytes_sent("storage") < SIZE * 0.6


#: Makes the calls of its argument as a user without rights, and prints how each ended.
CHILD = """
import json, os, sys
from xet_ffi import Client, XetError

options, calls = json.loads(sys.argv[1])
client = Client(token=False, **options)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for name, arguments in calls:
    try:
        done = getattr(client, name)(**arguments)
        print(json.dumps(["ok", done.path]))
    except XetError as error:
        print(json.dumps([type(error).__name__, error.file, str(error)]))
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own is for its user alone."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def powerless(options: dict[str, Any], *calls: tuple[str, dict[str, Any]]) -> list[list[str]]:
    """How calls end for a user who may not write what isn't theirs."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([options, calls])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_only(folder: Path) -> Path:
    """Takes from everybody the right to write into a folder and those in it."""
    folder.mkdir(exist_ok=True)
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o555)
    return folder


def test_a_read_only_cache_is_named(hub: Hub, hf_api: HfApi, repo_id: str, shared: Path) -> None:
    """Where nothing can be written, the error is about permission, and names the folder."""
    publish(hf_api, repo_id, {"small.txt": SMALL})
    cache = read_only(shared / "cache")
    calls = [
        ("download_file", {"repo_id": repo_id, "filename": "small.txt"}),
        ("download_snapshot", {"repo_id": repo_id}),
    ]
    for kind, file, message in powerless(
        {"endpoint": hub.endpoint, "cache_dir": str(cache)}, *calls
    ):
        assert kind == "PermissionDeniedError"
        assert Path(file).is_relative_to(cache)
        assert str(cache) in message
    assert list(cache.iterdir()) == []


def test_a_read_only_local_dir_is_named(
    hub: Hub, hf_api: HfApi, repo_id: str, shared: Path
) -> None:
    """The same for a local_dir."""
    publish(hf_api, repo_id, {"small.txt": SMALL})
    local = read_only(shared / "local")
    cache = shared / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    ((kind, file, _),) = powerless(
        {"endpoint": hub.endpoint, "cache_dir": str(cache)},
        ("download_snapshot", {"repo_id": repo_id, "local_dir": str(local)}),
    )
    assert kind == "PermissionDeniedError"
    assert Path(file).is_relative_to(local)
    assert list(local.iterdir()) == []


def test_a_complete_read_only_cache_is_good_to_read(
    hub: Hub, hf_api: HfApi, repo_id: str, shared: Path
) -> None:
    """A cache that somebody else filled serves users who can't write to it, online and offline."""
    publish(hf_api, repo_id, {"small.txt": SMALL, "weights.bin": noise(MIB, "disk")})
    cache = shared / "cache"
    with Client(hub.endpoint, token=False, cache_dir=cache) as client:
        path = client.download_snapshot(repo_id).path
    read_only(cache)
    hub.reset_stats()
    answers = powerless(
        {"endpoint": hub.endpoint, "cache_dir": str(cache)},
        ("download_snapshot", {"repo_id": repo_id}),
        ("download_snapshot", {"repo_id": repo_id, "local_files_only": True}),
        ("download_file", {"repo_id": repo_id, "filename": "weights.bin"}),
    )
    assert answers == [["ok", path], ["ok", path], ["ok", f"{path}/weights.bin"]]
    assert hub.stats().requests("storage") == 0
