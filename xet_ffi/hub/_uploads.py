"""Uploads."""

from __future__ import annotations

import os

from xet_ffi._errors import invalid
from xet_ffi.hub._arguments import checked_repo, unsupported
from xet_ffi.hub._background import in_background
from xet_ffi.hub._bars import shown
from xet_ffi.hub._clients import client
from xet_ffi.hub._operations import (
    CommitOperationAdd,
    CommitOperationDelete,
    native,
    rewind,
)
from xet_ffi.hub._results import CommitInfo, page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from typing import Any

    from xet_ffi._operations import Operation, Source
    from xet_ffi._uploading import Commit
    from xet_ffi.client import Client
    from xet_ffi.hub._clients import Token
    from xet_ffi.hub._operations import CommitOperation

_NUM_THREADS = 5


@in_background
def upload_file(
    *,
    path_or_fileobj: Source,
    path_in_repo: str,
    repo_id: str,
    token: Token = None,
    repo_type: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    create_pr: bool | None = None,
    parent_commit: str | None = None,
    run_as_future: bool = False,  # noqa: ARG001 - `in_background` takes it
    _hot_reload: bool | None = None,
) -> CommitInfo:
    """Uploads one file, in a commit of its own.

    Args:
        path_or_fileobj: The path of a file; its content, as bytes; or a binary file object, which
            is read from its beginning if it can go there, else from where it stands.
        path_in_repo: Where the file shall be.
        repo_id: "name" or "namespace/name".
        token: A token; True for that of this machine, which must be there; False for none.
            Default: that of this machine, if there is one.
        repo_type: "model" (the default), "dataset" or "space".
        revision: Branch, or "refs/pr/N" of an open pull request. Default: main.
        commit_message: The commit's title. Default: one that says what it does.
        commit_description: The rest of its message.
        create_pr: Open a pull request instead.
        parent_commit: The commit that `revision` must still stand for, else ConflictError.
        run_as_future: Return a `concurrent.futures.Future` of the result at once. Such calls run
            one after the other.

    >>> commit = upload_file(
    ...     path_or_fileobj=b"{}", path_in_repo="new.json", repo_id="alice/model"
    ... )
    >>> commit == commit.commit_url, commit.commit_message
    (True, 'Upload new.json with xet_ffi')
    """
    return create_commit(
        repo_id,
        [CommitOperationAdd(path_in_repo, path_or_fileobj)],
        commit_message=_title(commit_message, f"Upload {path_in_repo} with xet_ffi"),
        commit_description=commit_description,
        token=token,
        repo_type=repo_type,
        revision=revision,
        create_pr=create_pr,
        parent_commit=parent_commit,
        _hot_reload=_hot_reload,
    )


@in_background
def create_commit(
    repo_id: str,
    operations: Iterable[CommitOperation | Operation],
    *,
    commit_message: str,
    commit_description: str | None = None,
    token: Token = None,
    repo_type: str | None = None,
    revision: str | None = None,
    create_pr: bool | None = None,
    num_threads: int = _NUM_THREADS,
    parent_commit: str | None = None,
    run_as_future: bool = False,  # noqa: ARG001 - `in_background` takes it
    _hot_reload: bool | None = None,
) -> CommitInfo:
    """Makes one commit of several changes: all of them, or none.

    The arguments that aren't named here are those of `upload_file`.

    Args:
        operations: `CommitOperationAdd`, `CommitOperationDelete` and `CommitOperationCopy`, of this
            module or of huggingface_hub.
        commit_message: The commit's title.
        num_threads: Can't be honoured: the library decides.

    >>> changes = [CommitOperationDelete("config.json"), CommitOperationAdd("new.json", b"{}")]
    >>> create_commit("alice/model", changes, commit_message="Rename").commit_message
    'Rename'
    """
    checked_repo(repo_id, repo_type)
    unsupported(num_threads=(num_threads, _NUM_THREADS), _hot_reload=(_hot_reload or None, None))
    if not commit_message:
        raise invalid("commit_message", "is empty")
    who = client(token)
    changes = native(operations, repo_id, repo_type)
    if not changes:
        # As for changes that change nothing: the last commit.
        oid = who.resolve(repo_id, repo_type=repo_type, revision=revision)
        endpoint = who.info().endpoint
        url = f"{page(endpoint, repo_id, repo_type)}/commit/{oid}"
        return CommitInfo(url, commit_message, commit_description or "", oid, endpoint)
    try:
        with shown() as progress:
            commit = who.create_commit(
                repo_id,
                changes,
                repo_type=repo_type,
                revision=revision,
                commit_message=commit_message,
                commit_description=commit_description,
                create_pr=bool(create_pr),
                parent_commit=parent_commit,
                progress=progress,
            )
    finally:
        for change in changes:
            rewind(getattr(change, "source", None))
    return _info(who, commit, commit_message, commit_description)


@in_background
def upload_folder(
    *,
    repo_id: str,
    folder_path: str | PathLike[str],
    path_in_repo: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    token: Token = None,
    repo_type: str | None = None,
    revision: str | None = None,
    create_pr: bool | None = None,
    parent_commit: str | None = None,
    allow_patterns: list[str] | str | None = None,
    ignore_patterns: list[str] | str | None = None,
    delete_patterns: list[str] | str | None = None,
    run_as_future: bool = False,  # noqa: ARG001 - `in_background` takes it
) -> CommitInfo:
    """Uploads a folder, in several commits if it is large; what it returns is the last one.

    The arguments that aren't named here are those of `upload_file`.

    Args:
        folder_path: The folder on this machine.
        path_in_repo: Where the folder goes. Default: the root of the repo.
        allow_patterns: Take only files whose path in the folder matches one of these.
        ignore_patterns: Leave out files that match one of these.
        delete_patterns: Delete the files of the repo, by their paths below `path_in_repo`, that
            match one of these and that the folder doesn't bring again.

    >>> upload_folder(repo_id="alice/model", folder_path="checkpoint").commit_message
    'Upload folder using xet_ffi'
    """
    checked_repo(repo_id, repo_type)
    folder = os.path.abspath(os.path.expanduser(folder_path))
    if not os.path.isdir(folder):
        raise invalid("folder_path", f"there is no folder {folder}")
    if create_pr and revision not in {None, "main"}:
        problem = f"can't be {revision!r} with create_pr: that opens a pull request against main"
        raise invalid("revision", problem)
    message = commit_message or "Upload folder using xet_ffi"
    place = (path_in_repo or "").removeprefix("./").strip("/")
    who = client(token)
    with shown() as progress:
        commit = who.upload_folder(
            folder,
            repo_id,
            path_in_repo=None if place in {"", "."} else place,
            repo_type=repo_type,
            revision=revision,
            allow_patterns=allow_patterns,
            ignore_patterns=ignore_patterns,
            delete_patterns=delete_patterns,
            commit_message=message,
            commit_description=commit_description,
            create_pr=bool(create_pr),
            parent_commit=parent_commit,
            progress=progress,
        )
    return _info(who, commit, message, commit_description)


def delete_file(
    path_in_repo: str,
    repo_id: str,
    *,
    token: Token = None,
    repo_type: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    create_pr: bool | None = None,
    parent_commit: str | None = None,
) -> CommitInfo:
    """Deletes one file, in a commit of its own.

    The arguments are those of `upload_file`.

    >>> delete_file("config.json", "alice/model").commit_message
    'Delete config.json with xet_ffi'
    """
    return _delete(
        CommitOperationDelete(path_in_repo, is_folder=False),
        repo_id,
        commit_message=_title(commit_message, f"Delete {path_in_repo} with xet_ffi"),
        token=token,
        repo_type=repo_type,
        revision=revision,
        commit_description=commit_description,
        create_pr=create_pr,
        parent_commit=parent_commit,
    )


def delete_folder(
    path_in_repo: str,
    repo_id: str,
    *,
    token: Token = None,
    repo_type: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    create_pr: bool | None = None,
    parent_commit: str | None = None,
) -> CommitInfo:
    """Deletes a folder with all that is in it, in a commit of its own.

    The arguments are those of `upload_file`.

    >>> commit = upload_file(path_or_fileobj=b"", path_in_repo="old/x", repo_id="alice/model")
    >>> delete_folder("old", "alice/model").commit_message
    'Delete folder old with xet_ffi'
    """
    return _delete(
        CommitOperationDelete(path_in_repo, is_folder=True),
        repo_id,
        commit_message=_title(commit_message, f"Delete folder {path_in_repo} with xet_ffi"),
        token=token,
        repo_type=repo_type,
        revision=revision,
        commit_description=commit_description,
        create_pr=create_pr,
        parent_commit=parent_commit,
    )


def _delete(operation: CommitOperationDelete, repo_id: str, **arguments: Any) -> CommitInfo:
    return create_commit(repo_id, [operation], **arguments)


def _title(given: str | None, default: str) -> str:
    """Returns the title of a commit; an empty one is for `create_commit` to refuse."""
    return default if given is None else given


def _info(who: Client, commit: Commit, message: str, description: str | None) -> CommitInfo:
    return CommitInfo(
        commit.commit_url,
        message,
        description or "",
        commit.oid,
        who.info().endpoint,
        commit.pr_url,
    )
