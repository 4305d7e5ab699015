"""Branches are created where they were told to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from published import commit, publish
from xet_ffi import Client, ConflictError, PermissionDeniedError, RevisionNotFoundError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub, Token


@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_a_branch_begins_at_main_or_where_it_is_told(
    hub: Hub, hf_api: HfApi, tokens: dict[str, Token], repo_id: str, repo_type: str
) -> None:
    """A name may have slashes. The official client finds them so."""
    old = publish(hf_api, repo_id, {"a.txt": b"1"}, repo_type=repo_type)
    commit(hf_api, repo_id, {"a.txt": b"2"}, repo_type=repo_type)
    with Client(hub.endpoint, tokens["alice"].secret) as client:
        client.create_branch(repo_id, "new/one", repo_type=repo_type)
        client.create_branch(repo_id, "older", repo_type=repo_type, revision=old)
    refs = hf_api.list_repo_refs(repo_id, repo_type=repo_type)
    named = {branch.name: branch.target_commit for branch in refs.branches}
    assert named["new/one"] == named["main"] != old
    assert named["older"] == old


def test_a_branch_that_is_there_stays_as_it_is(
    hub: Hub, hf_api: HfApi, tokens: dict[str, Token], repo_id: str
) -> None:
    """And is an error unless that is fine; so is a beginning that isn't there."""
    old = publish(hf_api, repo_id, {"a.txt": b"1"})
    with Client(hub.endpoint, tokens["alice"].secret) as client:
        client.create_branch(repo_id, "new")
        commit(hf_api, repo_id, {"a.txt": b"2"})
        with pytest.raises(ConflictError, match='has a branch "new" already'):
            client.create_branch(repo_id, "new")
        client.create_branch(repo_id, "new", exist_ok=True)
        assert client.resolve(repo_id, revision="new") == old
        with pytest.raises(RevisionNotFoundError):
            client.create_branch(repo_id, "other", revision="nowhere")
    with Client(hub.endpoint, tokens["bob"].secret) as client, pytest.raises(PermissionDeniedError):
        client.create_branch(repo_id, "other")


def test_an_answer_that_does_not_come_is_asked_for_again_only_where_that_is_safe(
    hub: Hub, hf_api: HfApi, tokens: dict[str, Token], repo_id: str
) -> None:
    """A second attempt would meet the branch that the first may have made."""
    publish(hf_api, repo_id, {"a.txt": b"1"})
    with Client(hub.endpoint, tokens["alice"].secret, first_byte_timeout=1) as client:
        for name, is_safe in (("new", True), ("newer", False)):
            hub.fault("any", path_regex="/branch/", stall_before=60, times=1)
            if is_safe:
                client.create_branch(repo_id, name, exist_ok=True)
            else:
                with pytest.raises(TimeoutError):
                    client.create_branch(repo_id, name)
