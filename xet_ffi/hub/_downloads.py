"""Downloads."""

from __future__ import annotations

import os
from contextlib import contextmanager

from xet_ffi._errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    NetworkError,
    OfflineError,
    RateLimitedError,
    TransferTimeoutError,
    XetError,
    invalid,
    make,
)
from xet_ffi._lib import lib
from xet_ffi.hub._arguments import (
    ETAG_TIMEOUT,
    checked_repo,
    deadlines,
    resolved,
    takes_old_arguments,
)
from xet_ffi.hub._bars import shown
from xet_ffi.hub._clients import client, real_path
from xet_ffi.hub._dry_run import note_absent, plan_file, plan_snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike
    from typing import Any, Literal, overload

    from typing_extensions import TypedDict, Unpack

    from xet_ffi.client import Client
    from xet_ffi.hub._bars import Shown
    from xet_ffi.hub._clients import Token, UserAgent
    from xet_ffi.hub._results import DryRunFileInfo

_MAX_WORKERS = 8
_MOST_WORKERS = 256

if TYPE_CHECKING:

    class Options(TypedDict, total=False):
        """What both take, for their overloads."""

        repo_type: str | None
        revision: str | None
        library_name: str | None
        library_version: str | None
        cache_dir: str | PathLike[str] | None
        local_dir: str | PathLike[str] | None
        user_agent: UserAgent
        force_download: bool
        etag_timeout: float
        token: Token
        local_files_only: bool
        headers: Mapping[str, str] | None
        endpoint: str | None
        tqdm_class: Any

    class FileOptions(Options, total=False):
        """What `hf_hub_download` takes besides."""

        subfolder: str | None

    class SnapshotOptions(Options, total=False):
        """What `snapshot_download` takes besides."""

        allow_patterns: list[str] | str | None
        ignore_patterns: list[str] | str | None
        max_workers: int


if TYPE_CHECKING:

    @overload
    def hf_hub_download(
        repo_id: str,
        filename: str,
        *,
        dry_run: Literal[False] = False,
        **options: Unpack[FileOptions],
    ) -> str: ...
    @overload
    def hf_hub_download(
        repo_id: str, filename: str, *, dry_run: Literal[True], **options: Unpack[FileOptions]
    ) -> DryRunFileInfo: ...


@takes_old_arguments
def hf_hub_download(
    repo_id: str,
    filename: str,
    *,
    subfolder: str | None = None,
    repo_type: str | None = None,
    revision: str | None = None,
    library_name: str | None = None,
    library_version: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_dir: str | PathLike[str] | None = None,
    user_agent: UserAgent = None,
    force_download: bool = False,
    etag_timeout: float = ETAG_TIMEOUT,
    token: Token = None,
    local_files_only: bool = False,
    headers: Mapping[str, str] | None = None,
    endpoint: str | None = None,
    tqdm_class: Any = None,
    dry_run: bool = False,
) -> str | DryRunFileInfo:
    """Downloads one file, verified, into the cache or into `local_dir`, and returns its path.

    Args:
        repo_id: "name" or "namespace/name".
        filename: The file's path in the repo, or in `subfolder` of it.
        subfolder: A folder of the repo.
        repo_type: "model" (the default), "dataset" or "space".
        revision: Branch, tag, commit or "refs/pr/N". Default: main.
        library_name: For the User-Agent, as are `library_version` and `user_agent`.
        library_version: See `library_name`.
        cache_dir: Root of the cache. Default: `HF_HUB_CACHE`, else `$HF_HOME/hub`.
        local_dir: A folder that receives a real file. Default: the cache, as a snapshot.
        user_agent: See `library_name`.
        force_download: Fetch even what is present and intact.
        etag_timeout: Longest wait for a connection, and for an answer of any server to begin, in
            seconds. `HF_HUB_ETAG_TIMEOUT` comes first. Default: as `Client` has it.
        token: A token; True for that of this machine, which must be there; False for none.
            Default: that of this machine, if there is one.
        local_files_only: Use no network.
        headers: Go to the Hub with each request. "authorization" is a bearer token.
        endpoint: Address of the Hub. Default: `HF_ENDPOINT`, else https://huggingface.co.
        tqdm_class: A class like tqdm, to show progress with. Default: a bar, on a terminal.
        dry_run: Change nothing, and return what would be done as a `DryRunFileInfo`.

    Raises:
        RepoNotFoundError: No such repo, or not for this token; GatedRepoError is one.
        RevisionNotFoundError: The repo has no such revision.
        EntryNotFoundError: The revision has no such file.
        LocalEntryNotFoundError: The file isn't here, and the Hub can't be asked.
        InvalidConfigError: A bad argument; a ValueError.

    >>> with open(hf_hub_download("alice/model", "config.json")) as file:
    ...     file.read()
    '{"layers": 2}'
    """
    checked_repo(repo_id, repo_type)
    if subfolder:
        filename = f"{subfolder}/{filename}"
    filename = "/".join([part for part in filename.split("/") if part != "."])
    if force_download and local_files_only:
        raise invalid("force_download", "can't be combined with local_files_only")
    who = client(
        token,
        endpoint=endpoint,
        cache_dir=cache_dir,
        library_name=library_name,
        library_version=library_version,
        user_agent=user_agent,
        headers=headers,
    )
    what: dict[str, Any] = {
        "repo_type": repo_type,
        "revision": resolved(revision),
        "local_dir": None if local_dir is None else real_path(local_dir),
        "force_download": force_download,
        **deadlines(etag_timeout),
    }
    if dry_run:
        return plan_file(who, repo_id, filename, local_files_only=local_files_only, **what)
    try:
        with (
            shown(tqdm_class, filename) as progress,
            _no_hub(progress, f"the Hub can't be asked for {filename}" if force_download else None),
        ):
            transfer = who.download_file(
                repo_id, filename, local_files_only=local_files_only, progress=progress, **what
            )
            progress.finish(transfer)
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        if local_dir is None:
            _note_absent(who, repo_id, filename, **what)
        raise
    return _theirs(who, transfer.path)


if TYPE_CHECKING:

    @overload
    def snapshot_download(
        repo_id: str, *, dry_run: Literal[False] = False, **options: Unpack[SnapshotOptions]
    ) -> str: ...
    @overload
    def snapshot_download(
        repo_id: str, *, dry_run: Literal[True], **options: Unpack[SnapshotOptions]
    ) -> list[DryRunFileInfo]: ...


@takes_old_arguments
def snapshot_download(
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_dir: str | PathLike[str] | None = None,
    library_name: str | None = None,
    library_version: str | None = None,
    user_agent: UserAgent = None,
    etag_timeout: float = ETAG_TIMEOUT,
    force_download: bool = False,
    token: Token = None,
    local_files_only: bool = False,
    allow_patterns: list[str] | str | None = None,
    ignore_patterns: list[str] | str | None = None,
    max_workers: int = _MAX_WORKERS,
    tqdm_class: Any = None,
    headers: Mapping[str, str] | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
) -> str | list[DryRunFileInfo]:
    """Downloads the files of a revision, verified, and returns the folder they are in.

    The arguments that aren't named here are those of `hf_hub_download`.

    Args:
        allow_patterns: Take only files that match one of these.
        ignore_patterns: Leave out files that match one of these.
        max_workers: Large files (over 512 KiB) in flight at a time, over all calls with the same
            arguments for the client. More than 256 is 256.
        tqdm_class: A class like tqdm: there is a bar for the bytes, and one for the files.
        dry_run: Change nothing, and return a `DryRunFileInfo` for each file.

    >>> sorted(os.listdir(snapshot_download("alice/model", allow_patterns="*.json")))
    ['config.json']
    """
    checked_repo(repo_id, repo_type)
    if not hasattr(max_workers, "__index__") or max_workers < 1:
        raise invalid("max_workers", f"must be a whole number of at least 1, not {max_workers!r}")
    who = client(
        token,
        endpoint=endpoint,
        cache_dir=cache_dir,
        max_concurrent_downloads=(
            None if max_workers == _MAX_WORKERS else min(max_workers, _MOST_WORKERS)
        ),
        library_name=library_name,
        library_version=library_version,
        user_agent=user_agent,
        headers=headers,
    )
    what: dict[str, Any] = {
        "repo_type": repo_type,
        "revision": resolved(revision),
        "local_dir": None if local_dir is None else real_path(local_dir),
        "allow_patterns": allow_patterns,
        "ignore_patterns": ignore_patterns,
        "force_download": force_download,
        **deadlines(etag_timeout),
    }
    if dry_run:
        return plan_snapshot(who, repo_id, local_files_only=local_files_only, **what)
    with shown(tqdm_class) as progress, _no_hub(progress):
        transfer = who.download_snapshot(
            repo_id, local_files_only=local_files_only, progress=progress, **what
        )
        progress.finish(transfer)
    return _theirs(who, transfer.path)


def _note_absent(
    who: Client,
    repo_id: str,
    filename: str,
    *,
    repo_type: str | None,
    revision: str | None,
    **_: Any,
) -> None:
    """Notes that a commit hasn't a file, for who asks the cache alone.

    Of the commit itself: what a branch stands for may have changed since it was asked.
    """
    try:
        commit = who.resolve(repo_id, repo_type=repo_type, revision=revision)
        if commit != revision:
            who.download_file(repo_id, filename, repo_type=repo_type, revision=commit)
            return
    except LocalEntryNotFoundError:
        return
    except EntryNotFoundError:
        pass
    except XetError:  # the Hub can't be asked any more
        return
    branch = revision or "main"
    note_absent(who, repo_id, filename, repo_type=repo_type, revision=branch, commit=commit)


@contextmanager
def _no_hub(progress: Shown, forced: str | None = None) -> Iterator[None]:
    """Says as huggingface_hub does that what the Hub can't be asked for isn't here either.

    Once the Hub has said what there is, an outage is what it is. `forced` is what to say where what
    is here isn't asked for.
    """
    try:
        yield
    except (NetworkError, OfflineError, RateLimitedError, TransferTimeoutError) as error:
        if progress.listed:
            raise
        if forced is not None:
            raise invalid("force_download", forced) from error
        message = f"{error}; and it isn't on this machine"
        details = {**error.details, "kind": "local_entry_not_found"}
        raise make(lib.XET_CODE_NOT_FOUND, message, details) from error


def _theirs(who: Client, path: str) -> str:
    """Returns a path as huggingface_hub gives it: the cache's root has no links in it."""
    root = who.info().cache_dir
    real = os.path.realpath(root)
    below = path.removeprefix(root + os.sep)
    return path if below == path or real == root else os.path.join(real, below)
