"""The command that uploads."""

from __future__ import annotations

import stat
from pathlib import Path

from xet_ffi import GatedRepoError, RepoNotFoundError, RevisionNotFoundError
from xet_ffi.cli import output
from xet_ffi.cli.output import Misuse
from xet_ffi.cli.shown import Shown, uploaded
from xet_ffi.cli.target import Target, client
from xet_ffi.cli.words import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from xet_ffi import Client, Commit


def _upload(arguments: argparse.Namespace) -> int:
    repo = Target(arguments)
    place: str | None = arguments.path_in_repo
    if repo.path:
        if place:
            message = f"REPO says {repo.path} already: leave out PATH_IN_REPO"
            raise Misuse(message)
        place = repo.path
    # Without PATH: never the folder that one happens to be in.
    path = Path(arguments.path or repo.repo_id.rpartition("/")[2]).expanduser()
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        output.error(_no_path(path, error, was_named=arguments.path is not None))
        return output.LOCAL_FILE
    if (arguments.include or arguments.exclude or arguments.delete) and not is_folder:
        message = "--include, --exclude and --delete are for folders"
        raise Misuse(message)
    with client(arguments) as hub, Shown(arguments) as shown:
        _make_sure_of(hub, repo, arguments)
        how: dict[str, Any] = {
            **repo.where,
            "commit_message": arguments.commit_message,
            "commit_description": arguments.commit_description,
            "create_pr": arguments.create_pr,
            "timeout": arguments.timeout,
            "progress": shown,
        }
        if is_folder:
            commit = hub.upload_folder(
                path,
                repo.repo_id,
                path_in_repo=place,
                allow_patterns=arguments.include,
                ignore_patterns=arguments.exclude,
                delete_patterns=arguments.delete,
                **how,
            )
        else:
            place = place or path.name
            name = f"{place}{path.name}" if place.endswith("/") else place
            commit = hub.upload_file(path, name, repo.repo_id, **how)
    shown.summary(uploaded(commit))
    if not _tell_left_out(commit, chooses=bool(arguments.include or arguments.exclude)):
        return output.NOT_FOUND
    url = commit.pr_url or commit.commit_url
    output.result(commit if arguments.json else url, as_json=arguments.json)
    return output.DONE


def _no_path(path: Path, error: OSError, *, was_named: bool) -> str:
    if not was_named:
        return f"nothing here is called {path}; name the file or folder to upload"
    try:
        around = [entry.name for entry in path.absolute().parent.iterdir()]
    except OSError:
        around = []
    return f"can't look at {path}: {error.strerror}{did_you_mean(path.name, around)}"


def _make_sure_of(hub: Client, repo: Target, arguments: argparse.Namespace) -> None:
    """Creates the repo if it isn't there, as `hf upload` does.

    It's looked for first, since a token that may write to a repo need not be one that may create
    any. That costs one request, and says so of a revision that isn't there before files are read.
    """
    if "/" not in repo.repo_id and not arguments.no_create_repo:
        # In the namespace of the token, which the answer names.
        repo.repo_id = _create(hub, repo, arguments)
        return
    try:
        hub.resolve(repo.repo_id, timeout=arguments.timeout, **repo.where)
    except RevisionNotFoundError as error:
        # Without one it's there, and empty: the commit makes its branch.
        if repo.revision is not None and not arguments.create_pr:
            message = f"{error}; to begin a branch: hf repos branch create {repo.repo_id} BRANCH"
            raise type(error)(message, code=error.code, details=error.details) from None
    except GatedRepoError:
        # Not for reading; who may write to it is seen at the commit.
        pass
    except RepoNotFoundError:
        if arguments.no_create_repo:
            raise
        _create(hub, repo, arguments)
        # A typo makes a repo, too.
        output.say(f"created {repo.repo_id}, since there was none")


def _create(hub: Client, repo: Target, arguments: argparse.Namespace) -> str:
    made = hub.create_repo(
        repo.repo_id,
        repo_type=repo.repo_type,
        private=arguments.private or None,
        space_sdk="gradio" if repo.repo_type == "space" else None,
        exist_ok=True,
        timeout=arguments.timeout,
    )
    if "/" not in made.repo_id:
        # It exists; the Hub said no more.
        message = f"{made.repo_id} exists: say whose it is, as NAMESPACE/{made.repo_id}"
        raise Misuse(message)
    return made.repo_id


def _tell_left_out(commit: Commit, *, chooses: bool) -> bool:
    """Says what a reader of the URL alone would take for done. False: patterns that fit nothing."""
    if commit.files_left_out:
        kinds = "sockets, pipes, devices, or links that lead nowhere or in a circle"
        note = f"left out: {commit.files_left_out:,} files that are no content ({kinds})"
        output.say(note)
    if not commit.nothing_to_commit:
        return True
    if commit.files:
        output.say("nothing to commit: the Hub has these files already")
    elif chooses:
        output.error("nothing to commit: no file of the folder fits the patterns")
        return False
    else:
        output.say("nothing to commit: the folder has no files")
    return True


COMMANDS = {"upload": _upload}
