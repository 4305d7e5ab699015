"""What a download would do, and what is in the cache: no byte of content is fetched or written."""

from __future__ import annotations

import os
from contextlib import suppress

from xet_ffi._errors import (
    NetworkError,
    OfflineError,
    RateLimitedError,
    TransferTimeoutError,
    XetError,
    invalid,
    make,
)
from xet_ffi._lib import lib
from xet_ffi.hub._arguments import checked_repo
from xet_ffi.hub._clients import client
from xet_ffi.hub._results import DryRunFileInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

    from xet_ffi._planning import Plan, PlannedFile
    from xet_ffi.client import Client

_CACHED_NO_EXIST = object()
"""What `try_to_load_from_cache` returns for a file that the Hub doesn't have."""


def plan_file(
    who: Client, repo_id: str, filename: str, *, local_files_only: bool, **what: Any
) -> DryRunFileInfo:
    """Returns what `hf_hub_download` would do."""
    try:
        if local_files_only:
            return _cached(who, repo_id, filename, **what)
        found = _plans(who, repo_id, allow_patterns=[_escaped(filename)], **what)
    except (NetworkError, OfflineError, RateLimitedError, TransferTimeoutError):
        return _cached(who, repo_id, filename, **what)
    for info in found:
        # A name that ends in "/" is a pattern for what is below.
        if info.filename == filename:
            return info
    message = f"{filename} doesn't exist in {repo_id} at {what['revision'] or 'main'}"
    details = {"kind": "entry_not_found", "repo": repo_id, "file": filename}
    raise make(lib.XET_CODE_NOT_FOUND, message, details)


def plan_snapshot(
    who: Client, repo_id: str, *, local_files_only: bool, **what: Any
) -> list[DryRunFileInfo]:
    """Returns what `snapshot_download` would do."""
    if local_files_only:
        problem = "can't be combined with local_files_only: a snapshot's plan is the Hub's"
        raise invalid("dry_run", problem)
    try:
        return _plans(who, repo_id, **what)
    except XetError as error:
        details = {**error.details, "dry_run": True}
        raise make(error.code, str(error), details) from error


def _plans(who: Client, repo_id: str, *, force_download: bool, **what: Any) -> list[DryRunFileInfo]:
    # Without force, which would plan as if nothing were here: that is asked, too.
    plan: Plan = who.plan_snapshot(repo_id, **what)
    repo_type, local_dir = what["repo_type"], what["local_dir"]
    folder = _snapshot(who, repo_id, repo_type, plan.commit, local_dir)
    # What the cache has is copied to `local_dir`.
    cached = folder if local_dir is None else _snapshot(who, repo_id, repo_type, plan.commit, None)
    places = (folder, cached)
    return [_info(file, plan.commit, places, force=force_download) for file in plan.files]


def _info(
    file: PlannedFile, commit: str, places: tuple[str, str], *, force: bool
) -> DryRunFileInfo:
    folder, cached = places
    path = os.path.join(folder, file.path)
    # Of an empty file nothing is ever missing. What other files have of it isn't the file.
    is_there = file.bytes_present == file.bytes_total if file.bytes_total else os.path.exists(path)
    is_cached = is_there or (cached != folder and os.path.exists(os.path.join(cached, file.path)))
    return DryRunFileInfo(
        commit_hash=commit,
        file_size=file.bytes_total,
        filename=file.path,
        local_path=path,
        is_cached=is_cached,
        will_download=force or not is_cached,
    )


def _cached(
    who: Client,
    repo_id: str,
    filename: str,
    *,
    repo_type: str | None,
    revision: str | None,
    local_dir: str | None,
    force_download: bool,
    **deadlines: float,
) -> DryRunFileInfo:
    """Says what is there where the Hub can't be asked, or isn't to be."""
    there = local_dir is not None and os.path.exists(os.path.join(local_dir, filename))
    # If it isn't, the cache is asked alone: to copy it from there would be a change.
    transfer = who.download_file(
        repo_id,
        filename,
        repo_type=repo_type,
        revision=revision,
        local_dir=local_dir if there else None,
        local_files_only=True,
        **deadlines,  # type: ignore[arg-type] # as `deadlines` makes them
    )
    folder = _snapshot(who, repo_id, repo_type, transfer.commit, local_dir)
    return DryRunFileInfo(
        commit_hash=transfer.commit,
        file_size=transfer.bytes_total,
        filename=filename,
        local_path=os.path.join(folder, filename),
        is_cached=True,
        will_download=force_download,
    )


def try_to_load_from_cache(
    repo_id: str,
    filename: str,
    cache_dir: str | PathLike[str] | None = None,
    revision: str | None = None,
    repo_type: str | None = None,
) -> Any:
    """Looks for a file in the cache, and nowhere else.

    Args:
        repo_id: "name" or "namespace/name".
        filename: The file's path in the repo.
        cache_dir: Root of the cache. Default: `HF_HUB_CACHE`, else `$HF_HOME/hub`.
        revision: Branch, tag, commit or "refs/pr/N". Default: main.
        repo_type: "model" (the default), "dataset" or "space".

    Returns:
        Its path, a str; None if it isn't cached; `_CACHED_NO_EXIST` if it was noted that the
        revision doesn't have it, which `hf_hub_download` does, too.

    >>> try_to_load_from_cache("alice/model", "config.json") is None
    True
    """
    checked_repo(repo_id, repo_type)
    if os.path.isabs(filename) or ".." in filename.split("/"):
        raise invalid("filename", f"must be a path in the repo, not {filename!r}")
    root = os.fspath(cache_dir) if cache_dir is not None else client(token=False).info().cache_dir
    folder = _repo(root, repo_id, repo_type)
    commit = revision or "main"
    try:
        with open(os.path.join(folder, "refs", commit), encoding="utf-8") as ref:
            commit = ref.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        pass  # it may be a commit
    if os.path.isfile(os.path.join(folder, ".no_exist", commit, filename)):
        return _CACHED_NO_EXIST
    path = os.path.join(folder, "snapshots", commit, filename)
    return path if os.path.isfile(path) else None


def note_absent(
    who: Client, repo_id: str, filename: str, *, repo_type: str | None, revision: str, commit: str
) -> None:
    """Notes in the cache that a commit hasn't a file, as huggingface_hub does."""
    folder = _repo(who.info().cache_dir, repo_id, repo_type)
    note = os.path.join(folder, ".no_exist", commit, filename)
    ref = os.path.join(folder, "refs", revision)
    # Whoever can't write there asks the Hub again, and nothing else is lost.
    with suppress(OSError):
        os.makedirs(os.path.dirname(note), exist_ok=True)
        with open(note, "ab"):
            pass
        # By which the note is found; one that is there leads to files, and stays.
        if revision != commit and not os.path.exists(ref):
            os.makedirs(os.path.dirname(ref), exist_ok=True)
            with open(f"{ref}.{os.getpid()}.tmp", "w", encoding="utf-8") as file:
                file.write(commit)
            os.replace(file.name, ref)


def _snapshot(
    who: Client, repo_id: str, repo_type: str | None, commit: str, local_dir: str | None
) -> str:
    """Returns the folder that a download fills."""
    if local_dir is not None:
        return local_dir
    root = os.path.realpath(who.info().cache_dir)
    return os.path.join(_repo(root, repo_id, repo_type), "snapshots", commit)


def _repo(root: str, repo_id: str, repo_type: str | None) -> str:
    """Returns a repo's folder in the cache."""
    return os.path.join(root, f"{repo_type or 'model'}s--{repo_id.replace('/', '--')}")


def _escaped(filename: str) -> str:
    """Returns the pattern that fits this name alone."""
    return "".join([f"[{letter}]" if letter in "*?[" else letter for letter in filename])
