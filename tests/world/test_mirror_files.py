"""Answers about one file that refuse, or lie: file and snapshot take the same ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import Gateway
from world.stage import TOKEN, Model
from world.test_mirrors import REST, check, commit_of
from xet_ffi import AuthError, Client, NotFoundError, XetError

if TYPE_CHECKING:
    from hub import Hub

REFUSED = [400, 401, 403, 404, 405, 406, 410, 422, 500, 501, 503]

#: What stands for the commit in the answer about a file, and isn't it.
COMMITS = {
    "a branch": "main",
    "a short one": "1234567",
    "in capitals": "A" * 40,
    "another one": "f" * 40,
    "nothing": "",
}


@pytest.mark.parametrize("by_commit", [False, True], ids=["main", "commit"])
@pytest.mark.parametrize("status", REFUSED)
def test_a_head_that_is_refused(
    hub: Hub, model: Model, tmp_path: Path, status: int, by_commit: bool
) -> None:
    """The listing has what it would say."""
    revision = commit_of(hub, model) if by_commit else None
    hub.fault("resolve", method="HEAD", status=status)
    check(hub.endpoint, model, tmp_path, revision)
    assert hub.faults()[0]["fired"]


@pytest.mark.parametrize("status", [401, 403, 405])
def test_a_head_that_is_refused_where_there_is_no_listing(
    hub: Hub, model: Model, tmp_path: Path, status: int
) -> None:
    """The head of the answer to a GET says the same, for a file and for each of a snapshot."""
    hub.fault("resolve", method="HEAD", status=status)
    hub.fault("tree", status=404)
    check(hub.endpoint, model, tmp_path)
    hub.fault("revision", status=404)
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "alone") as client:
        for path, content in model.files.items():
            assert Path(client.download_file(model.repo_id, path)).read_bytes() == content


@pytest.mark.parametrize("by_commit", [False, True], ids=["main", "commit"])
@pytest.mark.parametrize("commit", COMMITS)
def test_a_commit_that_is_none(
    hub: Hub, model: Model, tmp_path: Path, commit: str, by_commit: bool
) -> None:
    """The revision says which one it is."""
    revision = commit_of(hub, model) if by_commit else None
    habit = f"""location ~ /resolve {{ proxy_pass {{hub}}; proxy_hide_header X-Repo-Commit;
        add_header X-Repo-Commit '{COMMITS[commit]}' always; }}"""
    with Gateway.start(hub, tmp_path / "nginx", habit + REST) as gateway:
        check(gateway.endpoint, model, tmp_path, revision)


@pytest.mark.parametrize("status", [404, 405, 400, 501])
def test_a_mirror_that_does_not_resolve_revisions(
    hub: Hub, model: Model, tmp_path: Path, status: int
) -> None:
    """A file of the revision names its commit; a commit is its own answer."""
    hub.fault("revision", status=status)
    check(hub.endpoint, model, tmp_path)
    commit = str(Client(hub.endpoint, TOKEN.secret).resolve(model.repo_id))
    hub.clear_faults()
    assert commit == commit_of(hub, model)
    hub.fault("revision", status=status)
    check(hub.endpoint, model, tmp_path / "commit", commit)


def test_a_wrong_token_is_still_one(hub: Hub, model: Model, tmp_path: Path) -> None:
    """And a file that isn't there still isn't."""
    hub.set_settings(model.repo_id, private=True)
    commit = commit_of_private(hub, model)
    with Client(hub.endpoint, "hf_wrong", tmp_path / "wrong") as client:
        for revision in (None, commit):
            with pytest.raises(AuthError, match=r"options\.token") as caught:
                client.download_file(model.repo_id, "config.json", revision=revision)
            assert caught.value.http_status == 401
            with pytest.raises(AuthError, match=r"options\.token"):
                client.download_snapshot(model.repo_id, revision=revision)
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "anonymous") as client:
        for revision in (None, commit):
            with pytest.raises(NotFoundError) as missing:
                client.download_file(model.repo_id, "config.json", revision=revision)
            assert missing.value.kind == "repo_not_found"
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "right") as client:
        for revision in (None, commit):
            with pytest.raises(NotFoundError) as missing:
                client.download_file(model.repo_id, "none.json", revision=revision)
            assert missing.value.kind == "entry_not_found"


def commit_of_private(hub: Hub, model: Model) -> str:
    """What main stands for, for those who may know."""
    with Client(hub.endpoint, TOKEN.secret) as client:
        return str(client.resolve(model.repo_id))


def test_a_gated_file_is_one(hub: Hub, model: Model, tmp_path: Path) -> None:
    """Whatever the listing says."""
    hub.fault("resolve", status=403, headers={"X-Error-Code": "GatedRepo"})
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client, pytest.raises(XetError) as caught:
        client.download_file(model.repo_id, "config.json")
    assert caught.value.kind == "gated_repo"
    assert hub.stats().requests("hub", "tree") == 0
