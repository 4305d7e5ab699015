"""Two revisions come to one local_dir at once; what is a folder in one is a file in the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, publish

if TYPE_CHECKING:
    from hub import Hub

#: Files below `x` and the file `y`; and the other way round.
FILES = [
    {"y": b"a file", **{f"x/{i % 4}/{i}.txt": b"%d" % i for i in range(40)}},
    {"x": b"a file", **{f"y/{i % 4}/{i}.txt": b"%d" % i for i in range(40)}},
]

#: Downloads revisions to a folder, again and again, each on a thread, and says how calls ended.
DOWNLOAD = """
import sys, threading
from xet_ffi import Client, XetError
endpoint, token, cache, local, repo, rounds, *revisions = sys.argv[1:]
said = []
def download(revision):
    with Client(endpoint, token, cache) as client:
        for _ in range(int(rounds)):
            try:
                client.download_snapshot(repo, revision=revision, local_dir=local)
                said.append("done")
            except XetError as error:
                said.append(f"{error.kind} {error.file} {error}".replace(chr(10), " "))
threads = [threading.Thread(target=download, args=[revision]) for revision in revisions]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("\\n".join(said))
"""


@pytest.fixture
def revisions(hub: Hub) -> list[str]:
    """A repo, and the commits with those files."""
    from xet_ffi import Client, CommitAdd, CommitCopy, CommitDelete

    repo, first = publish(hub, FILES[0])
    with Client(hub.endpoint, TOKEN.secret) as client:
        changes: list[CommitAdd | CommitDelete | CommitCopy] = [
            *[CommitDelete(path) for path in FILES[0]],
            *[CommitAdd(path, content) for path, content in FILES[1].items()],
        ]
        return [repo, first, client.create_commit(repo, changes).oid]


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_the_two_get_along_or_say_what_is_in_the_way(
    hub: Hub,
    revisions: list[str],
    tmp_path: Path,
    processes: bool,
    running: list[subprocess.Popen[str]],
) -> None:
    """Each call ends well, or with an error that names the path; a call alone puts all right."""
    from xet_ffi import Client

    repo, *both = revisions
    local = tmp_path / "local"
    each = [[revision] for revision in both] if processes else [both]
    for wanted in each:
        arguments = [hub.endpoint, TOKEN.secret, str(tmp_path / "cache"), str(local), repo, "5"]
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", DOWNLOAD, *arguments, *wanted],
                env=dict(os.environ),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    ends = []
    for program in running:
        out, messages = program.communicate(timeout=300)
        assert program.returncode == 0, messages
        ends += out.splitlines()
    assert len(ends) == 10
    for end in ends:
        if end != "done":
            kind, file, *said = end.split(" ")
            assert kind == "files_removed", end
            assert file.startswith(("x", "y")), end
            assert "Directory not empty" not in " ".join(said)
    assert "done" in ends
    for revision, files in zip(both, FILES, strict=True):
        with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
            client.download_snapshot(repo, revision=revision, local_dir=local)
        found = {
            str(path.relative_to(local)): path.read_bytes()
            for path in local.rglob("*")
            if path.is_file() and path.name != ".gitattributes" and ".cache" not in path.parts
        }
        assert found == files
    assert not [path for path in local.rglob("*.partial") if path.is_file()]
