"""Uploading: methods of `Client` that write to the Hub, and what they return."""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._call import act, run, run_shown
from xet_ffi._dataclass import dataclass
from xet_ffi._lib import lib
from xet_ffi._operations import CommitAdd, Operations
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from typing_extensions import Unpack

    from xet_ffi._lib import CData
    from xet_ffi._operations import Operation, Source
    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._structs import Deadlines
    from xet_ffi.client import Client

_REPORT = ("XetCommitReport", lib.xet_commit_report_free)
_REPO = ("XetRepoReport", lib.xet_repo_report_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What a finished upload did. Immutable.

    `bytes_total` is the sum of `bytes_new`, `bytes_on_hub` and `bytes_repeated`.

    Attributes:
        oid: The commit, the last one if there are several; with nothing to commit, the one that
            the revision stands for.
        commit_url: Its page on the Hub.
        pr_url: The page of the pull request that was opened, or None.
        commits: How many commits were made; 0 if there was nothing to commit.
        files: How many files the call was about.
        files_changed: How many of them were added or replaced.
        bytes_total: Content of these files.
        bytes_new: Content that neither the Hub nor an earlier file of the call had.
        bytes_on_hub: Content that the Hub had, in whatever file.
        bytes_repeated: Content that stood earlier in the files of the call.
        bytes_sent: Sent as content, as sent: compressed or in base64, with its description for the
            storage.
        xorbs: Xorbs (blocks of Xet storage) that were sent.
        retries: Requests, and whole sessions with Xet storage, that were made again.
        seconds: Wall time of the call.
        files_left_out: What stands in the folder, selected by the patterns, and is no content:
            sockets, pipes, devices, links that lead nowhere, links to a folder that they are in.
            The log names each.
        dedup_asked: Chunks of which Xet storage was asked whether it has them from others: the
            first of a file, and about one in a thousand.
        dedup_answered: Those of which it told where it has them.
        dedup_failed: Those about which it said nothing: it refused, or failed. Of the rest it said
            that it doesn't have them.
    """

    oid: str
    commit_url: str
    pr_url: str | None
    commits: int
    files: int
    files_changed: int
    bytes_total: int
    bytes_new: int
    bytes_on_hub: int
    bytes_repeated: int
    bytes_sent: int
    xorbs: int
    retries: int
    seconds: float
    files_left_out: int
    dedup_asked: int
    dedup_answered: int
    dedup_failed: int

    @property
    def nothing_to_commit(self) -> bool:
        """Whether the Hub had everything already, so that no commit was made."""
        return self.commits == 0

    @classmethod
    def from_native(cls, report: CData) -> Commit:
        """Copies a `const XetCommitReport *`."""
        return cls(**_layout.commit(report))


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoUrl:
    """A repo that `create_repo` has made, or found.

    Attributes:
        repo_id: "namespace/name".
        url: Its page on the Hub.
    """

    repo_id: str
    url: str

    @classmethod
    def from_native(cls, report: CData) -> RepoUrl:
        """Copies a `const XetRepoReport *`."""
        return cls(**_layout.repo_url(report))


def upload_file(
    self: Client,
    path_or_fileobj: Source,
    path_in_repo: str,
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    create_pr: bool = False,
    parent_commit: str | None = None,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> Commit:
    """Uploads one file, in a commit of its own.

    Content that the Hub has already isn't sent, whatever file it is in there. A file that
    changes while it is read raises IoError, and nothing is committed.

    Args:
        path_or_fileobj: The path of a file; its content, as bytes; or a binary file object,
            which is read to its end, as the source of a `CommitAdd`.
        path_in_repo: Where the file shall be.
        repo_id: "name" or "namespace/name".
        repo_type: "model" (the default), "dataset" or "space".
        revision: Branch, or "refs/pr/N" of an open pull request. Default: main.
        commit_message: The commit's title. Default: one that says what it does.
        commit_description: The rest of its message.
        create_pr: Open a pull request instead; the right to read the repo is enough.
        parent_commit: The commit that `revision` must still stand for, else ConflictError.
        timeout: Longest time for the whole call, in seconds. Default: none.
        progress: True for a bar, or a callable that receives a `Progress` at most every
            50 ms. It runs on this thread; what it raises ends the call and is raised here.
        cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
        **deadlines: As for `list_files`.

    >>> commit = client.upload_file(b"{}", "tokenizer.json", "alice/model")
    >>> commit.files_changed, commit.bytes_new
    (1, 2)
    """
    return self.create_commit(
        repo_id,
        [CommitAdd(path_in_repo, path_or_fileobj)],
        repo_type=repo_type,
        revision=revision,
        commit_message=commit_message,
        commit_description=commit_description,
        create_pr=create_pr,
        parent_commit=parent_commit,
        timeout=timeout,
        progress=progress,
        cancel=cancel,
        **deadlines,
    )


def create_commit(
    self: Client,
    repo_id: str,
    operations: Iterable[Operation],
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    create_pr: bool = False,
    parent_commit: str | None = None,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> Commit:
    """Makes one commit of several changes: all of them, or none.

    The arguments that aren't named here are those of `upload_file`.

    Args:
        operations: `CommitAdd`, `CommitDelete` and `CommitCopy` objects. None may write a path
            that another one writes.
        progress: As for `upload_file`; the numbers are those of all files.

    >>> changes = [CommitCopy("config.json", "old.json"), CommitAdd("config.json", b"{}")]
    >>> commit = client.create_commit("alice/model", changes, commit_message="Reset")
    >>> commit.files, commit.nothing_to_commit
    (1, False)
    """
    options = _commit_options(
        "XetCommitOptions",
        repo_id,
        repo_type,
        revision,
        commit_message,
        commit_description,
        create_pr,
        parent_commit,
        timeout,
    )
    options.deadlines(deadlines)
    changes = Operations(operations)
    options.pointer.operations = changes.array
    options.pointer.operations_len = changes.length
    try:
        report = run_shown(
            lib.xet_client_create_commit, self._handle, options.pointer, _REPORT, progress, cancel
        )
    finally:
        changes.close()
    return Commit.from_native(report)


def upload_folder(
    self: Client,
    folder_path: str | PathLike[str],
    repo_id: str,
    *,
    path_in_repo: str | None = None,
    repo_type: str | None = None,
    revision: str | None = None,
    allow_patterns: Iterable[str] | str | None = None,
    ignore_patterns: Iterable[str] | str | None = None,
    delete_patterns: Iterable[str] | str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    create_pr: bool = False,
    parent_commit: str | None = None,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> Commit:
    """Uploads a folder, in several commits if it is large.

    Files that the Hub has already are left out. After an error, the commits that were made stay,
    and are the `commits` of the exception (of its `__context__`, if a callback has raised it);
    after an error or a kill, the same call goes on where the last one was. `.git` and
    `.cache/huggingface` folders are not content. Links are followed, also those to folders. What
    can't be read, or has a name that isn't UTF-8, is an error unless the patterns exclude it.

    The arguments that aren't named here are those of `upload_file`.

    Args:
        folder_path: The folder on this machine.
        path_in_repo: Where the folder goes. Default: the root of the repo.
        allow_patterns: Take only files whose path in the folder matches one of these, as for
            `download_snapshot`.
        ignore_patterns: Leave out files that match one of these.
        delete_patterns: Delete the files of the repo, by their paths below `path_in_repo`, that
            match one of these and that the folder doesn't bring again.
        commit_message: The commits' title; those after the first add "(part N)".
        parent_commit: What `revision` must still stand for at the first commit, else
            ConflictError.
        progress: As for `upload_file`; the numbers are those of all files.

    >>> commit = client.upload_folder("checkpoint", "alice/model", ignore_patterns="*.tmp")
    >>> commit.commits, commit.files
    (1, 1)
    """
    options = _commit_options(
        "XetUploadFolderOptions",
        repo_id,
        repo_type,
        revision,
        commit_message,
        commit_description,
        create_pr,
        parent_commit,
        timeout,
    )
    options.required("folder_path", folder_path)
    options.text("path_in_repo", path_in_repo)
    options.texts("allow_patterns", allow_patterns)
    options.texts("ignore_patterns", ignore_patterns)
    options.texts("delete_patterns", delete_patterns)
    options.deadlines(deadlines)
    report = run_shown(
        lib.xet_client_upload_folder, self._handle, options.pointer, _REPORT, progress, cancel
    )
    return Commit.from_native(report)


def create_repo(
    self: Client,
    repo_id: str,
    *,
    repo_type: str | None = None,
    private: bool | None = None,
    exist_ok: bool = False,
    space_sdk: str | None = None,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> RepoUrl:
    """Creates a repo. One that exists raises ConflictError, unless `exist_ok`.

    Args:
        repo_id: "name" (in the namespace of the token) or "namespace/name".
        repo_type: "model" (the default), "dataset" or "space".
        private: Who may see it. Default: as the namespace has it.
        exist_ok: A repo that exists is as good as a new one; it stays as it is.
        space_sdk: What a space is made with, such as "static".
        timeout: Longest time for the whole call, in seconds. Default: none.
        cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
        **deadlines: As for `list_files`.

    >>> client.create_repo("alice/other", private=True, exist_ok=True).repo_id
    'alice/other'
    """
    options = Struct("XetCreateRepoOptions")
    options.required("repo_id", repo_id)
    options.text("repo_type", repo_type)
    options.text("space_sdk", space_sdk)
    options.seconds("timeout", timeout)
    options.deadlines(deadlines)
    options.flag(lib.XET_CREATE_REPO_EXIST_OK, on=exist_ok)
    options.flag(lib.XET_CREATE_REPO_PRIVATE, on=private is True)
    options.flag(lib.XET_CREATE_REPO_PUBLIC, on=private is False)
    report = run(lib.xet_client_create_repo, self._handle, options.pointer, _REPO, cancel=cancel)
    return RepoUrl.from_native(report)


def create_branch(
    self: Client,
    repo_id: str,
    branch: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    exist_ok: bool = False,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> None:
    """Creates a branch. One that exists raises ConflictError, unless `exist_ok`.

    Args:
        repo_id: "name" or "namespace/name".
        branch: Its name.
        repo_type: "model" (the default), "dataset" or "space".
        revision: What it begins with: a branch, tag or commit. Default: "main".
        exist_ok: A branch that exists is as good as a new one; it stays as it is.
        timeout: Longest time for the whole call, in seconds. Default: none.
        cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
        **deadlines: As for `list_files`.

    >>> client.create_branch("alice/model", "experiment", exist_ok=True)
    """
    options = Struct("XetCreateBranchOptions")
    options.required("repo_id", repo_id)
    options.required("branch", branch)
    options.text("repo_type", repo_type)
    options.text("revision", revision)
    options.seconds("timeout", timeout)
    options.deadlines(deadlines)
    options.flag(lib.XET_CREATE_BRANCH_EXIST_OK, on=exist_ok)
    act(lib.xet_client_create_branch, self._handle, options.pointer, cancel=cancel)


def _commit_options(
    ctype: str,
    repo_id: str,
    repo_type: str | None,
    revision: str | None,
    commit_message: str | None,
    commit_description: str | None,
    create_pr: bool,
    parent_commit: str | None,
    timeout: float | None,
) -> Struct:
    """Returns a struct with what commits and folders have in common."""
    options = Struct(ctype)
    options.required("repo_id", repo_id)
    options.text("repo_type", repo_type)
    options.text("revision", revision)
    options.text("message", commit_message)
    options.text("description", commit_description)
    options.text("parent_commit", parent_commit)
    options.seconds("timeout", timeout)
    options.flag(lib.XET_COMMIT_CREATE_PR, on=create_pr)
    return options
