"""Downloads of one group that want the same content: it's fetched once, whoever comes first."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from published import MIB, commit, noise
from xet_ffi import IoError

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub
    from storage_access import Access
    from xet_ffi.storage import Storage

#: A short one isn't in the reuse index; a longer one is.
SIZES = {"short": 300_000, "long": 2 * MIB}


@pytest.fixture
def hashes(hf_api: HfApi, access: Access, repo_id: str) -> dict[str, str]:
    """Contents of both sizes, by what they are called."""
    assert access.hashes
    contents = {name: noise(size, f"{repo_id}/{name}") for name, size in SIZES.items()}
    commit(hf_api, repo_id, contents)
    infos = hf_api.get_paths_info(repo_id, [*contents])
    return {info.path: str(info.xet_hash) for info in infos}  # type: ignore[union-attr] # files


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("is_known", [True, False], ids=["sized", "unsized"])
def test_equal_files_of_a_group_are_fetched_once(
    hub: Hub,
    reading: Storage,
    hashes: dict[str, str],
    repo_id: str,
    tmp_path: Path,
    kind: str,
    is_known: bool,
) -> None:
    """Each is a file of its own, that goes where a download goes."""
    content = noise(SIZES[kind], f"{repo_id}/{kind}")
    kept = tmp_path / "kept"
    kept.write_bytes(b"before")
    kept.chmod(0o640)
    (tmp_path / "linked").symlink_to(tmp_path / "target")
    hub.reset_stats()
    downloads = reading.downloads()
    paths = [tmp_path / f"{number}" for number in range(30)]
    paths += [kept, tmp_path / "linked", tmp_path / "0"]
    for path in paths:
        downloads.add(hashes[kind], path, size=len(content) if is_known else None)
    report = downloads.wait()
    assert {task.state for task in report.tasks} == {"done"}
    assert all(path.read_bytes() == content for path in paths)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert (tmp_path / "linked").is_symlink()
    assert hub.stats().fetched_bytes("xorbs") < 1.1 * len(content)
    assert report.bytes_completed == report.bytes_total == len(content) * len(paths)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_those_that_want_the_same_do_not_go_with_the_first(
    hub: Hub, reading: Storage, hashes: dict[str, str], repo_id: str, tmp_path: Path
) -> None:
    """It may fail for a reason of its own, or be cancelled."""
    hub.fault("storage", method="GET", stall_before=1, times=1)
    (tmp_path / "folder").mkdir()
    downloads = reading.downloads()
    size = SIZES["short"]
    failing = downloads.add(hashes["short"], tmp_path / "folder", size=size)
    slow = downloads.add(hashes["short"], tmp_path / "slow", size=size)
    waiting = downloads.add(hashes["short"], tmp_path / "waiting", size=size)
    mistaken = downloads.add(hashes["short"], tmp_path / "mistaken", size=size + 1)
    last = downloads.add(hashes["short"], tmp_path / "last", size=size)
    with pytest.raises(IoError, match="folder"):
        downloads.wait_task(failing)
    downloads.cancel(waiting)
    downloads.cancel(slow)
    tasks = downloads.wait(check=False).tasks
    states = {task.task: task.state for task in tasks}
    assert states == {
        failing: "failed",
        slow: "cancelled",
        waiting: "cancelled",
        mistaken: "failed",
        last: "done",
    }
    assert "300001" in str(tasks[mistaken - 1].error)
    assert (tmp_path / "last").read_bytes() == noise(size, f"{repo_id}/short")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["last"]


def test_what_has_become_of_the_first_file_is_looked_at(
    reading: Storage, access: Access, hashes: dict[str, str], repo_id: str, tmp_path: Path
) -> None:
    """The same file may be wanted with other content."""
    downloads = reading.downloads()
    for _ in range(20):
        downloads.add(hashes["short"], tmp_path / "contended", size=SIZES["short"])
        downloads.add(access.hashes["b.bin"], tmp_path / "contended")
    downloads.add(hashes["short"], tmp_path / "last", size=SIZES["short"])
    downloads.wait()
    assert (tmp_path / "last").read_bytes() == noise(SIZES["short"], f"{repo_id}/short")
    contended = (tmp_path / "contended").read_bytes()
    assert contended in (noise(SIZES["short"], f"{repo_id}/short"), access.contents["b.bin"])
