"""The command that uploads."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from xet_ffi import GatedRepoError, OfflineError, RepoNotFoundError, RevisionNotFoundError
from xet_ffi.cli import output
from xet_ffi.cli.output import Misuse
from xet_ffi.cli.shown import Shown, uploaded
from xet_ffi.cli.target import Target, client, named
from xet_ffi.cli.words import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from xet_ffi import Client, Commit

    Send = Callable[..., Commit]
    """The upload that is asked for, by a client, with more arguments."""


#: Revisions that nobody can begin.
_NO_BRANCH = re.compile(r"refs/.*|[0-9a-f]{40}", re.DOTALL)
_SOME_COMMIT = "0" * 40
#: Places that stand for the repo's own folder.
_ROOTS = {".", "./", "/"}


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
        mode = path.stat().st_mode
    except OSError as error:
        output.error(_no_path(path, error, arguments))
        return output.LOCAL_FILE
    is_folder = stat.S_ISDIR(mode)
    if not is_folder and not stat.S_ISREG(mode):
        output.error(f"{path} is neither a file nor a folder")
        return output.LOCAL_FILE
    if (arguments.include or arguments.exclude or arguments.delete) and not is_folder:
        message = "--include, --exclude and --delete are for folders"
        raise Misuse(message)
    if is_folder and not arguments.include and _holds_home(path):
        message = (
            f"{path} is or holds your home folder, with keys and tokens in it: name a folder "
            "within, or say with --include which files of it"
        )
        raise Misuse(message)
    with client(arguments) as hub, Shown(arguments) as shown:
        send = _sender(path, place, repo, arguments, shown)
        if not _make_sure_of(hub, repo, arguments, send):
            return output.NOT_FOUND
        deletes = {"delete_patterns": arguments.delete} if is_folder else {}
        commit = send(
            hub,
            revision=repo.revision,
            commit_message=arguments.commit_message,
            commit_description=arguments.commit_description,
            create_pr=arguments.create_pr,
            **deletes,
        )
    shown.summary(uploaded(commit))
    if not _tell_left_out(commit, arguments):
        return output.NOT_FOUND
    url = commit.pr_url or commit.commit_url
    output.result(commit if arguments.json else url, as_json=arguments.json)
    return output.DONE


def _sender(
    path: Path, place: str | None, repo: Target, arguments: argparse.Namespace, shown: Shown
) -> Send:
    """Returns the upload of a file or a folder, without what is about its commit."""
    where = {"repo_type": repo.repo_type, "timeout": arguments.timeout, "progress": shown}
    if path.is_dir():
        chosen = {"allow_patterns": arguments.include, "ignore_patterns": arguments.exclude}
        return lambda who, **how: who.upload_folder(
            path, repo.repo_id, path_in_repo=place, **chosen, **where, **how
        )
    name = _name_of(path, place)
    return lambda who, **how: who.upload_file(path, name, repo.repo_id, **where, **how)


def _holds_home(folder: Path) -> bool:
    """Whether a folder is the home of who asks, or one above it."""
    home = os.path.expanduser("~")  # unchanged, if there is none
    real = os.path.realpath(folder)
    return os.path.isabs(home) and os.path.commonpath([os.path.realpath(home), real]) == real


def _name_of(path: Path, place: str | None) -> str:
    """Returns what a file is called in the repo. A place that is a folder keeps its name."""
    if place is None or place in _ROOTS:
        return path.name
    if place.endswith("/"):
        return f"{place}{path.name}"
    other = Path(place)
    if other.is_file() and other.name != path.name and not other.samefile(path):
        # That a shell makes of `*` where there are two.
        output.warning(f"{path} is uploaded as {place}, and the file {place} that is here isn't")
    return place


def _no_path(path: Path, error: OSError, arguments: argparse.Namespace) -> str:
    if arguments.path is None:
        return f"nothing here is called {path}; name the file or folder to upload"
    try:
        around = [entry.name for entry in path.absolute().parent.iterdir()]
    except OSError:
        around = []
    hint = did_you_mean(path.name, around)
    if not hint and Path(arguments.repo.repo_id).exists():
        hint = f"; the repo comes first: xet-ffi upload {path} {arguments.repo.repo_id}"
    return f"can't look at {path}: {error.strerror}{hint}"


def _make_sure_of(hub: Client, repo: Target, arguments: argparse.Namespace, send: Send) -> bool:
    """Creates the repo, and the branch, if they aren't there, as `hf upload` does.

    Nothing is created for what can't be read, or isn't there: False.
    """
    # The commit begins `main`; a pull request needs none.
    branch = None if repo.revision == "main" or arguments.create_pr else repo.revision
    has_repo, has_branch = _look_for(hub, repo, branch, arguments)
    if has_repo and has_branch:
        return True
    nothing = _look_here(arguments, send)
    if nothing and not (has_repo and arguments.delete):
        if _tell_left_out(nothing, arguments):
            output.error("nothing is created for that")
        return False
    if not has_repo:
        repo.repo_id = _create(hub, repo, arguments)
        # A typo makes a repo, too.
        output.say(f"created {named(repo.repo_id, repo.repo_type)}, since there was none")
    if branch is not None:
        # Somebody may be quicker.
        hub.create_branch(
            repo.repo_id, branch, repo_type=repo.repo_type, exist_ok=True, timeout=arguments.timeout
        )
        output.say(f"created branch {branch} at main, since there was none")
    return True


def _look_for(
    hub: Client, repo: Target, branch: str | None, arguments: argparse.Namespace
) -> tuple[bool, bool]:
    """Whether the repo is there, and the branch; it's an error if they may not be created.

    They're looked for since a token that may write to a repo need not be one that may create any.
    That costs one request.
    """
    if "/" not in repo.repo_id and not arguments.no_create_repo:
        # In the namespace of the token, which only the answer to its creation names.
        return False, False
    try:
        hub.resolve(repo.repo_id, timeout=arguments.timeout, **repo.where)
    except RevisionNotFoundError:
        if branch is None:
            # Without a commit, which this one will be.
            return True, True
        if arguments.no_create_repo or _NO_BRANCH.fullmatch(branch):
            raise
        return True, False
    except GatedRepoError:
        # Not for reading; who may write to it is seen at the commit.
        return True, True
    except RepoNotFoundError:
        if arguments.no_create_repo:
            raise
        return False, False
    return True, True


def _look_here(arguments: argparse.Namespace, send: Send) -> Commit | None:
    """Returns a commit if there is nothing for it; what can't be read here is an error.

    That is all of an upload up to where it asks the Hub: the names in a folder, and its first
    files.
    """
    try:
        with client(arguments, offline=True) as alone:
            # What such a revision stands for is known: whether there is anything, content tells.
            return send(alone, revision=_SOME_COMMIT)
    except OfflineError:
        return None


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


def _tell_left_out(commit: Commit, arguments: argparse.Namespace) -> bool:
    """Says what a reader of the URL alone would take for done. False: patterns that fit nothing."""
    if commit.files_left_out:
        kinds = "sockets, pipes, devices, or links that lead nowhere or in a circle"
        files = (
            "1 file that is"
            if commit.files_left_out == 1
            else f"{commit.files_left_out:,} files that are"
        )
        note = f"left out: {files} no content ({kinds})"
        output.say(note)
    if not commit.nothing_to_commit:
        return True
    if commit.files:
        output.say("nothing to commit: the Hub has these files already")
    elif arguments.include or arguments.exclude:
        output.error("nothing to commit: no file of the folder fits the patterns")
        return False
    else:
        output.say("nothing to commit: the folder has no files")
    return True


COMMANDS = {"upload": _upload}
