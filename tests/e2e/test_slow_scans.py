"""Looking at many files on a slow disk ends no call, and takes few round trips."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from published import publish
from slow_disk import SlowDisk

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub, Token

#: So many files that a look at each, one after the other, takes longer than a call may stand still.
FILES = {f"part{i % 3}/{i:04}.txt": b"%d\n" % i for i in range(420)}
LOOK_MS = 20

#: Deadlines under which a call may stand still for 6.5 s.
SETUP = """
import os, sys
from xet_ffi import Client, cache
endpoint, repo, root = sys.argv[1:]
client = Client(
    endpoint, token=False, cache_dir=root + "/cache", max_attempts=5,
    connect_timeout=0.5, first_byte_timeout=0.5, read_timeout=0.5)
def count(folder):
    return sum(len(names) for at, _, names in os.walk(folder) if "huggingface" not in at)
"""

FIRST = "print(count(client.download_snapshot(repo).path))"
PLAN = "print(client.plan_snapshot(repo).bytes_remote > 0 and {files})"
OFFLINE = "print(count(client.download_snapshot(repo, local_files_only=True).path))"
FOLDER = "print(count(client.download_snapshot(repo, local_dir=root + '/out').path))"


@pytest.fixture
def disk(tmp_path: Path) -> SlowDisk:
    """An empty folder that is going to be slow."""
    return SlowDisk(tmp_path / "tools", tmp_path / "slow")


def run(disk: SlowDisk, program: str, hub: Hub, repo_id: str, *, slow: bool = True) -> str:
    """Runs a program, for which the disk is slow, and returns what it prints."""
    environment = os.environ | (disk.environment() if slow else {})
    done = subprocess.run(
        [sys.executable, "-c", SETUP + program, hub.endpoint, repo_id, str(disk.folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("before", "program", "where"),
    [
        (None, FIRST, "/snapshots/"),
        (FIRST, FIRST, "/snapshots/"),
        (FIRST, OFFLINE, "/snapshots/"),
        (None, PLAN.format(files=len(FILES)), "/snapshots/"),
        (None, FOLDER, "/out/part"),
        (FOLDER, FOLDER, "/out/part"),
    ],
    ids=["first download", "nothing to do", "offline", "plan", "local_dir", "local_dir again"],
)
def test_a_look_at_many_files_does_not_end_a_call(
    hub: Hub,
    hf_api: HfApi,
    repo_id: str,
    disk: SlowDisk,
    before: str | None,
    program: str,
    where: str,
) -> None:
    """Each look takes a round trip of the disk, all together longer than the deadlines."""
    publish(hf_api, repo_id, FILES)
    if before is not None:
        run(disk, before, hub, repo_id, slow=False)
    disk.rule("stat", delay_ms=LOOK_MS, match=where)
    assert int(run(disk, program, hub, repo_id)) >= len(FILES)


def test_what_is_not_there_is_not_asked_for_again_and_again(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk
) -> None:
    """The plan of a first download lists a few folders, whatever the number of files."""
    publish(hf_api, repo_id, FILES)
    run(disk, PLAN.format(files=len(FILES)), hub, repo_id)
    asked = disk.calls("stat", "opendir", "open", "access")
    assert len([call for call in asked if "/cache/models--" in call.path]) < 40


def test_the_cache_is_looked_through_in_one_call_a_file(
    hub: Hub, hf_api: HfApi, repo_id: str, disk: SlowDisk
) -> None:
    """Usage reads each pointer's target and looks at each blob, once."""
    publish(hf_api, repo_id, FILES)
    run(disk, FIRST, hub, repo_id, slow=False)
    usage = "print(cache.usage(cache_dir=root + '/cache').files)"
    assert int(run(disk, usage, hub, repo_id)) >= len(FILES)
    asked = [call for call in disk.calls("stat", "readlink", "open") if "/models--" in call.path]
    pointers = [call for call in asked if "/snapshots/" in call.path]
    assert len(pointers) < 1.1 * len(FILES) + 20
    assert len(asked) - len(pointers) < 1.1 * len(FILES) + 20


def test_a_folder_is_looked_at_side_by_side_before_its_upload(
    hub: Hub, tokens: dict[str, Token], empty_repo: str, disk: SlowDisk
) -> None:
    """On a slow disk many threads look at its files, and read what the Hub wants to see of each."""
    for path, content in FILES.items():
        (disk.folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        (disk.folder / "source" / path).write_bytes(content)
    disk.rule("stat", "open", delay_ms=LOOK_MS, match="/source/")
    program = f"""
os.environ["HF_TOKEN"] = {tokens["alice"].secret!r}
report = Client(endpoint).upload_folder(root + "/source", repo)
print(report.files)
"""
    assert int(run(disk, program, hub, empty_repo)) == len(FILES)
    for kind in ("stat", "open"):
        asked = [call for call in disk.calls(kind) if call.path.endswith(".txt")]
        # The rest reads what goes into the commit, in order.
        assert sum(call.thread == "xet-walk" for call in asked) > len(FILES) / 2, kind
