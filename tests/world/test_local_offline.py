"""A folder that repos share, or that is half updated: only what is sure is given offline."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, publish
from xet_ffi import Client, LocalEntryNotFoundError, NetworkError, XetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hub import Hub

    Ask = Callable[..., str]

#: Ways to be without the Hub.
WAYS = ["offline", "local_files_only", "hub down"]


def files(which: str) -> dict[str, bytes]:
    """Of a repo or a commit: always the same names and sizes."""
    return {name: f"{name} of {which}".encode() for name in ("a.txt", "b.txt", "c/d.txt")}


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    """A client that has the Hub."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        yield client


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A local folder."""
    return tmp_path / "out"


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest, hub: Hub, tmp_path: Path, out: Path) -> Iterator[Ask]:
    """Asks for a file or a snapshot without the Hub, and returns the commit of the answer."""
    way = request.param
    endpoint = "http://127.0.0.1:9" if way == "hub down" else hub.endpoint
    cache = tmp_path / "cache"
    with Client(
        endpoint, token=False, cache_dir=cache, offline=way == "offline", max_attempts=1
    ) as client:

        def asked(repo: str, name: str | None = None, revision: str | None = None) -> str:
            hub.reset_stats()
            only = way == "local_files_only"
            if name is None:
                done = client.download_snapshot(
                    repo, revision=revision, local_dir=out, local_files_only=only
                )
            else:
                done = client.download_file(
                    repo, name, revision=revision, local_dir=out, local_files_only=only
                )
            assert hub.stats().raw["requests"] == {}
            return done.commit

        yield asked


def refused(ask: Ask, *arguments: str | None, why: str = "") -> None:
    """It isn't here, which the answer gives reasons for, or the Hub can't be reached."""
    with pytest.raises((LocalEntryNotFoundError, NetworkError)) as caught:
        ask(*arguments)
    if isinstance(caught.value, LocalEntryNotFoundError):
        assert why in str(caught.value)


def test_a_folder_of_two_repos_gives_each_its_own(
    hub: Hub, client: Client, out: Path, ask: Ask
) -> None:
    """Not what has the name that was asked for, and is the other one's."""
    one, one_at = publish(hub, files("one"))
    other, other_at = publish(hub, files("other"))
    client.download_snapshot(one, local_dir=out)
    client.download_file(other, "a.txt", local_dir=out)
    assert ask(other, "a.txt") == ask(other, "a.txt", other_at) == other_at
    assert ask(one, "b.txt") == ask(one, "b.txt", one_at) == one_at
    for revision in (None, other_at):
        refused(ask, other, "b.txt", revision, why=f"of commit {one_at}")
        refused(ask, other, None, revision)
    for revision in (None, one_at):
        refused(ask, one, "a.txt", revision, why=f"of commit {other_at}")
        refused(ask, one, None, revision, why="a.txt")
    refused(ask, "alice/never-seen", "b.txt", why="never downloaded")
    refused(ask, "alice/never-seen", why="never downloaded")


@pytest.mark.parametrize("listed", [True, False], ids=["listing", "no listing"])
def test_half_an_update_gives_no_old_file_for_a_new_one(
    hub: Hub, client: Client, out: Path, ask: Ask, listed: bool
) -> None:
    """Nor for the branch, which is known to have moved on."""
    repo, old = publish(hub, files("old"))
    client.download_snapshot(repo, local_dir=out)
    _, new = publish(hub, files("new"), repo)
    client.download_file(repo, "a.txt", local_dir=out)
    if not listed:
        shutil.rmtree(out / ".cache" / "huggingface" / "trees")
    assert ask(repo, "a.txt") == ask(repo, "a.txt", new) == new
    assert ask(repo, "b.txt", old) == old
    for revision in (None, new):
        refused(ask, repo, "b.txt", revision, why=f"of commit {old}")
        refused(ask, repo, None, revision)
    refused(ask, repo, "a.txt", old, why=f"of commit {new}")
    refused(ask, repo, None, old)


def test_what_a_listing_says_is_found_by_its_hash(
    hub: Hub, client: Client, out: Path, ask: Ask
) -> None:
    """A file that is the same in the new commit is its own; the cache's listing says so."""
    repo, _ = publish(hub, files("old"))
    client.download_snapshot(repo, local_dir=out)
    _, new = publish(hub, {"a.txt": b"a.txt of new"}, repo)
    client.download_file(repo, "a.txt", local_dir=out)
    refused(ask, repo, "b.txt", new, why="of commit")
    # To the cache: a file of another name, and the listing.
    client.download_snapshot(repo, allow_patterns=".gitattributes")
    assert ask(repo, "b.txt") == ask(repo, "b.txt", new) == new
    assert ask(repo, None, new) == new
    (out / "b.txt").write_bytes(b"b.txt of own")
    refused(ask, repo, "b.txt", why="has changed since")
    refused(ask, repo, "no.txt", why="isn't in")
    (out / "no.txt").write_bytes(b"of the user's")
    refused(ask, repo, "no.txt", why="has no such file")


def test_what_nobody_knows_is_no_answer(hub: Hub, client: Client, out: Path, ask: Ask) -> None:
    """A file of which nothing is noted, in a commit without a listing; patterns leave it out."""
    repo, commit = publish(hub, files("one"))
    for name in files("one"):
        client.download_file(repo, name, local_dir=out)
    assert not (out / ".cache" / "huggingface" / "trees").exists()
    (out / "b.txt").write_bytes(b"b.txt of own")
    (out / ".cache" / "huggingface" / "download" / "b.txt.metadata").unlink()
    refused(ask, repo, "b.txt", why="nothing is noted of it")
    refused(ask, repo, "b.txt", commit, why="nothing is noted of it")
    refused(ask, repo, None, commit, why="b.txt")
    assert ask(repo, "a.txt", commit) == commit


def test_patterns_leave_out_what_nobody_knows(hub: Hub, client: Client, out: Path) -> None:
    """So what a program has added to the folder is in nobody's way."""
    repo, commit = publish(hub, files("one"))
    for name in files("one"):
        client.download_file(repo, name, local_dir=out)
    (out / "run.log").write_text("of the user's")
    with pytest.raises(LocalEntryNotFoundError, match=r"run\.log"):
        client.download_snapshot(repo, local_dir=out, local_files_only=True)
    done = client.download_snapshot(
        repo, local_dir=out, local_files_only=True, ignore_patterns="*.log"
    )
    assert (done.commit, done.files) == (commit, 3)
    # With a listing, it's known whose it isn't.
    client.download_snapshot(repo, local_dir=out)
    assert client.download_snapshot(repo, local_dir=out, local_files_only=True).commit == commit


def test_the_answer_says_what_kept_it_back(hub: Hub, client: Client, out: Path) -> None:
    """By type, for programs that go on without."""
    one, _ = publish(hub, files("one"))
    other, _ = publish(hub, files("other"))
    client.download_snapshot(one, local_dir=out)
    client.download_file(other, "a.txt", local_dir=out)
    with pytest.raises(XetError) as caught:
        client.download_file(other, "b.txt", local_dir=out, local_files_only=True)
    assert isinstance(caught.value, LocalEntryNotFoundError | FileNotFoundError)
    assert (caught.value.repo, caught.value.file) == (other, "b.txt")
