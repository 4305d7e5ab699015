"""A local folder tells the truth: what a file is, and of which commit, with and without the Hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import noise
from slow_disk import SlowDisk
from world.stage import TOKEN
from xet_ffi import (
    Client,
    CommitAdd,
    InvalidConfigError,
    NotFoundError,
    Progress,
    Transfer,
    XetError,
)

if TYPE_CHECKING:
    from hub import Hub

SIZE = 700_000
NAMES = ["a.txt", "b.txt", "model.bin"]


def content(name: str, commit: str) -> bytes:
    """Of a file at a commit; always of the same size."""
    return noise(SIZE if name == "model.bin" else 100, f"{name}/{commit}")


class Repo:
    """A repo with two commits, in which all files differ."""

    def __init__(self, hub: Hub) -> None:
        self.id = f"alice/truth-{os.urandom(6).hex()}"
        with Client(hub.endpoint, TOKEN.secret) as client:
            client.create_repo(self.id)
            self.a = self._commit(client, "a")
        self._hub = hub

    def _commit(self, client: Client, which: str) -> str:
        adds = [CommitAdd(name, content(name, which)) for name in NAMES]
        return client.create_commit(self.id, adds).oid

    def move_on(self) -> str:
        """Makes the second commit."""
        with Client(self._hub.endpoint, TOKEN.secret) as client:
            return self._commit(client, "b")


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """A repo of its own."""
    return Repo(hub)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A local folder."""
    return tmp_path / "out"


def online(hub: Hub, tmp_path: Path) -> Client:
    """A client that can."""
    return Client(hub.endpoint, token=False, cache_dir=tmp_path / "cache")


def forget_listing(out: Path) -> None:
    """As if an older client had downloaded it."""
    shutil.rmtree(out / ".cache" / "huggingface" / "trees")


@pytest.mark.parametrize("listed", [True, False], ids=["listing", "no listing"])
@pytest.mark.parametrize("how", ["written", "older", "no metadata", "downloaded"])
def test_half_an_update_is_neither_revision(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path, how: str, listed: bool
) -> None:
    """One file is the new one: the old revision isn't here, and the new one isn't either."""
    with online(hub, tmp_path) as client:
        client.download_snapshot(repo.id, local_dir=out)
        if how == "downloaded":
            b = repo.move_on()
            client.download_file(repo.id, "model.bin", revision=b, local_dir=out)
    changed = out / "model.bin"
    notes = out / ".cache" / "huggingface" / "download" / "model.bin.metadata"
    if how != "downloaded":
        changed.write_bytes(content("model.bin", "b"))
    if how == "older":
        os.utime(changed, (1, 1_000_000_000))
    if how == "no metadata":
        notes.unlink()
    if not listed:
        forget_listing(out)
    with online(hub, tmp_path) as client:
        for revision in ["main", repo.a]:
            with pytest.raises(NotFoundError, match=r"model\.bin"):
                client.download_snapshot(
                    repo.id, revision=revision, local_dir=out, local_files_only=True
                )
        # What is asked for is all there.
        client.download_snapshot(
            repo.id, local_dir=out, allow_patterns="*.txt", local_files_only=True
        )


def test_half_an_update_is_not_used_when_the_hub_is_down(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    """The failure of the network is the answer, and with the Hub back, the files are brought in."""
    with online(hub, tmp_path) as client:
        client.download_snapshot(repo.id, local_dir=out)
        (out / "model.bin").write_bytes(content("model.bin", "b"))
        for route in ("revision", "tree"):
            hub.fault(route, status=503)
        with pytest.raises(XetError):
            client.download_snapshot(repo.id, local_dir=out)
        hub.clear_faults()
        client.download_snapshot(repo.id, local_dir=out)
        assert (out / "model.bin").read_bytes() == content("model.bin", "a")


def test_what_is_whole_is_used_without_the_hub(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    """Whatever the metadata are: gone, or older than the files."""
    with online(hub, tmp_path) as client:
        client.download_snapshot(repo.id, local_dir=out)
    notes = out / ".cache" / "huggingface" / "download"
    (notes / "a.txt.metadata").unlink()
    os.utime(out / "model.bin", (1, time.time() + 60))
    with online(hub, tmp_path) as client:
        done = client.download_snapshot(repo.id, local_dir=out, local_files_only=True)
        assert done.commit == repo.a
        for name in NAMES:
            client.download_file(repo.id, name, local_dir=out, local_files_only=True)


def test_a_file_is_of_the_commit_that_is_reported(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    """Of a branch, too, only the file of the commit that it stood for is one."""
    with online(hub, tmp_path) as client:
        client.download_snapshot(repo.id, local_dir=out)
        b = repo.move_on()
        client.download_file(repo.id, "a.txt", revision=b, local_dir=out)
    (out / "b.txt").write_bytes(content("b.txt", "b"))

    def commit_of(name: str, revision: str | None = None) -> str:
        with online(hub, tmp_path) as client:
            return client.download_file(
                repo.id, name, revision=revision, local_dir=out, local_files_only=True
            ).commit

    assert commit_of("a.txt", b) == b
    for revision in (None, repo.a):
        with pytest.raises(NotFoundError, match=f"of commit {b}"):
            commit_of("a.txt", revision)
    with pytest.raises(NotFoundError, match="has changed since"):
        commit_of("b.txt")
    assert commit_of("model.bin") == repo.a


@pytest.mark.parametrize("older", [False, True])
def test_a_file_that_changed_at_once_is_noticed(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path, older: bool
) -> None:
    """Metadata name the very time of the file, not one about as late."""
    with online(hub, tmp_path) as client:
        client.download_snapshot(repo.id, local_dir=out)
        (out / "a.txt").write_bytes(content("a.txt", "x"))
        if older:
            os.utime(out / "a.txt", (1, 1_000_000_000))
        client.download_snapshot(repo.id, local_dir=out)
        assert (out / "a.txt").read_bytes() == content("a.txt", "a")


def test_the_official_client_reads_what_is_noted(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    """And we what it notes."""
    from huggingface_hub import hf_hub_download, snapshot_download

    with online(hub, tmp_path) as client:
        client.download_snapshot(repo.id, local_dir=out)
        hub.reset_stats()
        hf_hub_download(repo.id, "model.bin", local_dir=out, endpoint=hub.endpoint)
        assert hub.stats().bytes_sent("storage") == 0
        theirs = snapshot_download(repo.id, local_dir=tmp_path / "new", endpoint=hub.endpoint)
        hub.reset_stats()
        client.download_snapshot(repo.id, local_dir=theirs)
        assert hub.stats().bytes_sent("storage") == 0


@pytest.mark.parametrize(
    "planted",
    [
        ".cache/huggingface/download/model.bin.metadata",
        ".Cache/HuggingFace/download/model.bin.metadata",
        ".cache/huggingface/trees/x.json",
        ".cache/huggingface/.gitignore",
        "good/.cache/huggingface/download/model.bin.metadata",
        "good/.cache/huggingface/download/model.bin.verified",
        "a/b/.Cache/huggingface/trees/x.json",
        "good/.cache\u200b/huggingface/x",
        "good/CACHE~1/HUGGIN~1/x",
        "good/.cache",
    ],
)
def test_a_repo_has_no_say_in_what_is_noted(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path, planted: str
) -> None:
    """Its file is refused by name; a download of another repo gets the other one's bytes."""
    bad = Repo(hub)
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.upload_file(b"of its own", "own.txt", bad.id)
    note = f"{repo.a}\n{'0' * 64}\n9999999999\n"
    hub.plant(bad.id, [{"path": planted, "content": note}])
    with online(hub, tmp_path) as client:
        with pytest.raises(InvalidConfigError) as caught:
            client.download_snapshot(bad.id, local_dir=out)
        assert caught.value.kind == "unsafe_path"
        assert planted in str(caught.value)
        # What has that name is ours.
        assert not (out / planted).exists() or (out / planted).read_text() != note
        hub.reset_stats()
        with pytest.raises(InvalidConfigError, match="won't write into"):
            client.download_file(bad.id, planted, local_dir=out, force_download=True)
        assert hub.stats().requests("hub", "resolve") <= 1, "only asked about"
        client.download_snapshot(bad.id, local_dir=out, ignore_patterns=planted)
        client.download_snapshot(repo.id, local_dir=out)
        assert {name: (out / name).read_bytes() for name in NAMES} == {
            name: content(name, "a") for name in NAMES
        }
        # In the cache such a path is one like any other.
        client.download_snapshot(bad.id)


def test_a_repo_has_no_say_in_a_folder_below(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    """One that is downloaded to `models`, and the next to `models/good`: each has its own bytes."""
    bad = Repo(hub)
    with online(hub, tmp_path) as client:
        etags = {file.path: file.sha256 or file.hash for file in client.list_files(repo.id)}
    notes = "good/.cache/huggingface/download"
    planted = {f"good/{name}": "EVIL" * 25 for name in NAMES if name != "model.bin"}
    planted |= {
        f"{notes}/{name}.metadata": f"{repo.a}\n{etags[name]}\n9999999999\n" for name in NAMES
    }
    hub.plant(bad.id, [{"path": path, "content": text} for path, text in planted.items()])
    with online(hub, tmp_path) as client:
        with pytest.raises(InvalidConfigError, match="huggingface"):
            client.download_snapshot(bad.id, local_dir=out)
        assert not (out / notes).exists()
        client.download_snapshot(repo.id, local_dir=out / "good")
    for name in NAMES:
        assert (out / "good" / name).read_bytes() == content(name, "a")


def test_a_repo_has_no_say_in_the_cache(hub: Hub, repo: Repo, out: Path) -> None:
    """One that is in the folder: what is there is taken for the other repo's by its name."""
    bad = Repo(hub)
    folder = f"models--{repo.id.replace('/', '--')}/snapshots/{repo.a}"
    planted = [f"hub/x/{folder}/b.txt", f"Hub/x/{folder}/a.txt", f"hub/{folder}/fine.txt"]
    hub.plant(bad.id, [{"path": path, "content": "E" * 100} for path in planted])
    with Client(hub.endpoint, token=False, cache_dir=out / "hub" / "x") as client:
        with pytest.raises(InvalidConfigError, match="won't write into the cache"):
            client.download_snapshot(bad.id, local_dir=out)
        assert (out / planted[2]).read_text() == "E" * 100
        path = Path(client.download_snapshot(repo.id))
        assert all((path / name).read_bytes() == content(name, "a") for name in NAMES)


def test_a_repo_has_no_say_in_the_folder_that_is_the_cache(hub: Hub, repo: Repo, out: Path) -> None:
    """Nor may a local folder be a part of one; among the repos it's a folder like others."""
    bad = Repo(hub)
    folder = f"models--{repo.id.replace('/', '--')}"
    snapshot = f"{folder}/snapshots/{repo.a}"
    planted = [f"{snapshot}/b.txt", f".locks/{folder}/x", "Blobs/x", "fine/blobs/x"]
    hub.plant(bad.id, [{"path": path, "content": "E" * 100} for path in planted])
    with Client(hub.endpoint, token=False, cache_dir=out) as client:
        with pytest.raises(InvalidConfigError, match="won't write into the cache"):
            client.download_snapshot(bad.id, local_dir=out)
        assert (out / planted[3]).read_text() == "E" * 100
        path = Path(client.download_snapshot(repo.id))
        assert all((path / name).read_bytes() == content(name, "a") for name in NAMES)
        for below in (folder, snapshot, f"{folder}/x", ".locks", "blobs/x"):
            with pytest.raises(InvalidConfigError, match="a part of the cache") as caught:
                client.download_file(bad.id, "a.txt", local_dir=out / below)
            assert caught.value.field == "local_dir"
        beside = Path(client.download_file(bad.id, "a.txt", local_dir=out / "llama").path)
        assert beside.read_bytes() == content("a.txt", "a")


def test_what_another_revision_replaces_meanwhile_comes_again(
    hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    """A call's success is about the files as they are when it returns."""
    b = repo.move_on()
    path_regex = rf"/{repo.id}/resolve/{repo.a}/model.bin"
    hub.fault("resolve", path_regex=path_regex, method="GET", times=1, stall_before=5.0)
    reports: list[Transfer] = []
    small_are_here = threading.Event()

    def look(progress: Progress) -> None:
        # All but the large one: the repo has a .gitattributes, too.
        if progress.files_completed == len(NAMES):
            small_are_here.set()

    def fill() -> None:
        with Client(
            hub.endpoint, token=False, cache_dir=tmp_path / "cache", transport="http"
        ) as client:
            report = client.download_snapshot(
                repo.id, revision=repo.a, local_dir=out, progress=look
            )
            reports.append(report)

    thread = threading.Thread(target=fill)
    thread.start()
    assert small_are_here.wait(30)
    with online(hub, tmp_path) as client:
        client.download_file(repo.id, "a.txt", revision=b, local_dir=out)
    assert (out / "a.txt").read_bytes() == content("a.txt", "b")
    assert not reports, "it should have been waiting for the large file"
    thread.join()
    assert reports[0].commit == repo.a
    for name in NAMES:
        assert (out / name).read_bytes() == content(name, "a"), name


#: Downloads a revision to a folder on the odd disk.
DOWNLOAD = """
import sys
from xet_ffi import Client
endpoint, repo, revision, folder = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=f"{folder}/{revision}") as client:
    client.download_file(repo, "model.bin", revision=revision, local_dir=folder + "/out")
"""


def begin(disk: SlowDisk, hub: Hub, repo: Repo, revision: str) -> subprocess.Popen[str]:
    """Starts that."""
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, hub.endpoint, repo.id, revision, str(disk.folder)],
        env={**os.environ, **disk.environment()},
        cwd=sys.prefix,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(program: subprocess.Popen[str]) -> None:
    """Waits for one that must succeed."""
    messages = program.communicate(timeout=120)[1]
    assert program.returncode == 0, messages


def test_a_write_during_the_hash_is_not_vouched_for(
    hub: Hub,
    repo: Repo,
    disk: SlowDisk,
    tmp_path: Path,
    running: list[subprocess.Popen[str]],
) -> None:
    """A file that was right when it was read, and isn't when it has been: it comes again."""
    from huggingface_hub import hf_hub_download

    out, gate = disk.folder / "out", tmp_path / "gate"
    path = out / "model.bin"
    out.mkdir()
    path.write_bytes(content("model.bin", "a"))
    # It's closed when it has been read.
    disk.rule("close", delay_ms=600_000, match="out/model.bin", times=1, until_exists=gate)
    running.append(begin(disk, hub, repo, repo.a))
    disk.wait_for(
        lambda calls: any(call.name == "close" and call.path == str(path) for call in calls),
        "the file to be read",
    )
    with path.open("r+b") as file:
        file.write(b"CHANGED!")
    gate.touch()
    end(running[0])
    assert path.read_bytes() == content("model.bin", "a")
    # Nobody takes a later change for what is noted.
    with path.open("r+b") as file:
        file.write(b"CHANGED!")
    with online(hub, tmp_path) as client, pytest.raises(NotFoundError):
        client.download_file(repo.id, "model.bin", local_dir=out, local_files_only=True)
    hf_hub_download(repo.id, "model.bin", revision=repo.a, local_dir=out, endpoint=hub.endpoint)
    assert path.read_bytes() == content("model.bin", "a")


def test_what_is_noted_is_of_the_file_that_was_placed(
    hub: Hub,
    repo: Repo,
    disk: SlowDisk,
    tmp_path: Path,
    running: list[subprocess.Popen[str]],
) -> None:
    """Where a lock keeps nobody out, another revision may have the name before it's noted."""
    b = repo.move_on()
    gate = tmp_path / "gate"
    disk.rule("flock", "lock", pretend=True)
    fast = SlowDisk(tmp_path / "tools", disk.folder)
    fast.rule("flock", "lock", pretend=True)
    match = "model.bin.metadata"
    disk.rule("rename", delay_ms=600_000, match=match, times=1, until_exists=gate)
    running.append(begin(disk, hub, repo, repo.a))
    disk.wait_for(
        lambda calls: any(call.name == "rename" and match in call.path for call in calls),
        "the slow one to have placed its file",
    )
    running.append(begin(fast, hub, repo, b))
    end(running[1])
    out = disk.folder / "out"
    assert (out / "model.bin").read_bytes() == content("model.bin", "b")
    gate.touch()
    end(running[0])
    # Its last look saw the other one's file, and it brought its own again.
    assert (out / "model.bin").read_bytes() == content("model.bin", "a")
    with online(hub, tmp_path) as client:
        for revision, is_here in [(repo.a, True), (b, False)]:
            with nullcontext() if is_here else pytest.raises(NotFoundError):
                client.download_file(
                    repo.id, "model.bin", revision=revision, local_dir=out, local_files_only=True
                )
        client.download_file(repo.id, "model.bin", revision=b, local_dir=out)
    assert (out / "model.bin").read_bytes() == content("model.bin", "b")
