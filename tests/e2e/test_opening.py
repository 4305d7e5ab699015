"""What opening a file asks the Hub for: nothing that this client has heard, and a token beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from published import commit, noise, publish
from xet_ffi import Client, EntryNotFoundError, RepoNotFoundError, XetError

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub, Token
    from xet_ffi.fs import XetFileSystem

SIZE = 300_000

LARGE = "folder/large.bin"

FILES = {
    LARGE: noise(SIZE, "opening"),
    "copy.bin": noise(SIZE, "opening 2"),
    "small.json": b'{"layers": 2}\n',
}

#: All that the Hub can be asked about files.
ASKING = ("resolve", "tree", "revision", "paths-info")


@pytest.fixture
def repo(hub: Hub, hf_api: HfApi, repo_id: str) -> str:
    """A repo with Xet files and one of git's; nothing was asked about it yet."""
    publish(hf_api, repo_id, FILES)
    hub.reset_stats()
    return repo_id


def asked(hub: Hub) -> int:
    """How often the Hub was asked about files since this was asked last."""
    count = hub.stats().requests("hub", *ASKING)
    hub.reset_stats()
    return count


def test_what_was_listed_is_known(hub: Hub, alice: Client, repo: str) -> None:
    """At its commit, by whatever name that was listed. What a branch is now is asked for."""
    listing = alice.list_files(repo)
    assert asked(hub) > 0
    for name, content in FILES.items():
        for _ in range(2):
            with alice.open(repo, name, revision=listing.commit) as file:
                assert asked(hub) == 0
                assert (file.commit, file.size) == (listing.commit, len(content))
                assert file.read() == content
            hub.reset_stats()
        with alice.open(repo, name) as file:
            assert file.commit == listing.commit
        assert asked(hub) == 1
    with pytest.raises(EntryNotFoundError):
        alice.open(repo, "absent.bin", revision=listing.commit)
    assert asked(hub) > 0


def test_a_file_system_that_has_listed_opens_without_a_question(
    hub: Hub, fs: XetFileSystem, repo: str
) -> None:
    """Each file of the tree, which stands at one commit."""
    assert len(fs.find(repo)) >= len(FILES)
    asked(hub)
    for name, content in FILES.items():
        with fs.open(f"{repo}/{name}") as file:
            assert asked(hub) == 0
            assert file.read() == content
        hub.reset_stats()


def test_what_was_opened_is_known(hub: Hub, alice: Client, hf_api: HfApi, repo: str) -> None:
    """Under a branch's name, too; but no other file of its commit, and no other commit."""
    with alice.open(repo, LARGE) as file:
        first = file.commit
    assert asked(hub) == 1
    with alice.open(repo, LARGE, revision=first) as file:
        assert file.read(100) == FILES[LARGE][:100]
    assert asked(hub) == 0
    alice.open(repo, "small.json", revision=first).close()
    assert asked(hub) == 1
    other = commit(hf_api, repo, {LARGE: b"another"})
    asked(hub)
    with alice.open(repo, LARGE, revision=other) as file:
        assert file.read() == b"another"
    hub.reset_stats()
    with alice.open(repo, LARGE, revision=first) as file:
        assert file.size == SIZE
    assert asked(hub) == 0


def test_another_name_of_a_repo_is_asked_about(
    hub: Hub, alice: Client, hf_api: HfApi, repo: str
) -> None:
    """Whatever it stood for before: by now it may be another repo's."""
    listing = alice.list_files(repo)
    moved = f"{repo}-moved"
    hf_api.move_repo(repo, moved)
    asked(hub)
    for name in (moved, repo, moved.upper()):
        with alice.open(name, "small.json", revision=listing.commit) as file:
            assert file.read() == FILES["small.json"]
        assert asked(hub) > 0
    hf_api.create_repo(repo)
    with alice.open(repo, "small.json", revision=listing.commit) as file, pytest.raises(XetError):
        file.read()


@pytest.mark.parametrize("name", list(FILES))
def test_content_is_for_those_alone_who_may_have_it(
    hub: Hub, repo: str, tokens: dict[str, Token], tmp_path: Path, name: str
) -> None:
    """Whoever has heard of a file, and has no right to it any more, gets nothing of it."""
    hub.set_settings(repo, private=True)
    hub.set_access(repo, ["carol"])

    def client(user: str) -> Client:
        return Client(hub.endpoint, tokens[user].secret, tmp_path / user)

    with client("carol") as carol, client("bob") as bob:
        at = carol.list_files(repo).commit
        with pytest.raises(RepoNotFoundError):
            bob.open(repo, name, revision=at)
        hub.set_access(repo, [])
        with carol.open(repo, name, revision=at) as file, pytest.raises(RepoNotFoundError):
            file.read()


def test_a_description_by_which_nothing_can_be_read_is_forgotten(
    hub: Hub, repo: str, tmp_path: Path
) -> None:
    """The next one who opens the file asks again."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path, transport="xet") as client:
        at = client.resolve(repo)
        hub.fault("resolve", path_regex="large.bin", headers={"X-Xet-Hash": "c" * 64})
        with client.open(repo, LARGE, revision=at) as file, pytest.raises(XetError):
            file.read()
        hub.clear_faults()
        with client.open(repo, LARGE, revision=at) as file:
            assert file.read() == FILES[LARGE]


def tokens_of(hub: Hub) -> int:
    """How many tokens were asked for."""
    return hub.stats().requests("hub", "xet-token")


def test_a_token_comes_beside(hub: Hub, alice: Client, repo: str) -> None:
    """Before the first read, once for all files of a commit, and for none that is elsewhere."""
    at = alice.list_files(repo).commit
    alice.open(repo, "small.json", revision=at).close()
    assert tokens_of(hub) == 0
    with alice.open(repo, LARGE, revision=at) as file:
        hub.wait_for(lambda stats: stats.requests("hub", "xet-token") == 1, "the token")
        with alice.open(repo, LARGE) as again:
            assert file.read() == again.read() == FILES[LARGE]
    assert tokens_of(hub) == 1


def test_who_closes_at_once_asks_for_nothing_any_more(hub: Hub, alice: Client, repo: str) -> None:
    """The question goes with the file."""
    hub.fault("xet-token", stall_before=120.0)
    file = alice.open(repo, LARGE)
    hub.wait_for(lambda stats: stats.in_flight("hub") > 0, "the question")
    file.close()
    hub.wait_for(lambda stats: stats.in_flight("hub") == 0, "its end")


def test_a_token_that_cant_be_had_is_the_reads_to_tell(
    hub: Hub, repo: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who opens hears nothing of it; one that fails once is asked for again."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path, transport="xet") as client:
        hub.fault("xet-token", times=1, status=503)
        with client.open(repo, LARGE) as file:
            hub.wait_for(lambda stats: stats.requests("hub", "xet-token") == 1, "the question")
            assert (file.read(), file.report().retries) == (FILES[LARGE], 0)
    with Client(hub.endpoint, token=False, cache_dir=tmp_path, transport="xet") as client:
        hub.fault("xet-token", status=403)
        with client.open(repo, "copy.bin") as file:
            hub.wait_for(lambda stats: stats.requests("hub", "xet-token") > 2, "the question")
            assert not caplog.records
            with pytest.raises(XetError):
                file.read()
