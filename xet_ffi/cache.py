"""Looks after the cache: what it takes, whether it's still intact, what may go.

    from xet_ffi import cache

    print(cache.usage().bytes)
    for found in cache.verify().items: ...
    cache.remove("alice/model", dry_run=True)
    cache.prune(unreferenced=True, dry_run=True)
    cache.index()

With a client at hand, `client.cache_usage()` and its like do the same for its cache. All of it is
safe while downloads run, and only `remove` removes what huggingface_hub considers referenced. The
cache is that of `cache_dir`, by default `HF_HUB_CACHE`.
"""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._call import run_shown
from xet_ffi._dataclass import dataclass
from xet_ffi._errors import invalid
from xet_ffi._lib import lib
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from os import PathLike
    from typing import Any, Literal

    from typing_extensions import Unpack

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._structs import Deadlines
    from xet_ffi.client import Client

__all__ = ["CacheItem", "CacheReport", "CacheUsage", "index", "prune", "remove", "usage", "verify"]

_USAGE = ("XetCacheUsage", lib.xet_cache_usage_free)
_REPORT = ("XetCacheReport", lib.xet_cache_report_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUsage:
    """How much a cache takes, and what is in `HF_XET_CACHE` beside it. Immutable.

    Attributes:
        repos: Repos in the cache.
        revisions: Revisions of them.
        files: Contents, each counted once, however many revisions have it.
        bytes: What those take.
        bytes_unreferenced: Of those, what no ref leads to.
        bytes_partial: What interrupted downloads have left, for the next attempt; those of
            storages, and so of `hf_xet`'s surface, included: they keep it in `HF_XET_CACHE`.
        index_bytes: What the index of chunks takes on the disk, in `HF_XET_CACHE`.
        indexed_files: Contents that the index knows, in this cache and elsewhere.
        indexed_bytes: What those have.
        read_bytes: What chunks that were read in place take on the disk, in
            `HF_XET_CACHE/xet-ffi/read`; no part of `bytes`. `XET_FFI_READ_CACHE_BYTES` is the most
            that they may take.
    """

    repos: int
    revisions: int
    files: int
    bytes: int
    bytes_unreferenced: int
    bytes_partial: int
    index_bytes: int
    indexed_files: int
    indexed_bytes: int
    read_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheItem:
    """A file, and what was found or done. Immutable.

    Attributes:
        path: The file, absolute.
        reason: A few words for a person.
        bytes: Its size; of a removed file, what is free now.
    """

    path: str
    reason: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReport:
    """What came of a look at the cache. Immutable.

    Attributes:
        files: Files that were hashed, removed or indexed.
        bytes: What those have; of removed ones, what is free now.
        items: The files that are damaged, were removed, or were left out; each function says which
            come first.
    """

    files: int
    bytes: int
    items: tuple[CacheItem, ...]


def usage(
    *,
    cache_dir: str | PathLike[str] | None = None,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheUsage:
    """Adds up what is in the cache, in the index, and of what was read in place.

    Args:
        cache_dir: The cache.
        timeout: Longest time for the whole call, in seconds. Default: none.
        progress: True for a bar, or a callable that receives a `Progress` at most every 50 ms.
        cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
        **deadlines: As for `Client.list_files`.

    >>> cache.usage().repos
    1
    """
    with _client(cache_dir) as client:
        return cache_usage(client, timeout=timeout, progress=progress, cancel=cancel, **deadlines)


def verify(
    repo_id: str | None = None,
    *,
    repo_type: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheReport:
    """Hashes everything in the cache again, and returns the files that are damaged.

    It changes nothing, but what is damaged isn't reused any more. To get such a file again, remove
    it, or download it with `force_download=True`. Behind those are links of revisions to content
    that isn't there; the last items are what can't be read, and links that lead out of the cache,
    which aren't followed: look at their reasons before you remove anything. What was read in place
    isn't looked at: each chunk is hashed whenever it's used. The other arguments are those of
    `usage`.

    Args:
        repo_id: Of this repo only.
        repo_type: "model" (the default), "dataset" or "space".
        cache_dir: The cache.
        timeout: Longest time for the whole call, in seconds. Default: none.
        progress: As for `usage`.
        cancel: As for `usage`.
        **deadlines: As for `usage`.

    >>> [(found.path, found.reason) for found in cache.verify().items]
    []
    """
    with _client(cache_dir) as client:
        return cache_verify(
            client,
            repo_id,
            repo_type=repo_type,
            timeout=timeout,
            progress=progress,
            cancel=cancel,
            **deadlines,
        )


def remove(
    repo_id: str,
    *,
    commits: Iterable[str] | None = None,
    repo_type: str | None = None,
    dry_run: bool = False,
    cache_dir: str | PathLike[str] | None = None,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheReport:
    """Removes revisions of a repo, with the refs that name them, and returns what went.

    Contents that other revisions or other repos have stay. So does what was read in place, of which
    nothing says whose it is: `prune` removes it, by age or by size. The first `files` items of the
    report are what was removed; those after them can't be, and their reasons say why.

    Args:
        repo_id: The repo.
        commits: Its revisions, by their whole commits. Default: all, and the repo.
        repo_type: "model" (the default), "dataset" or "space".
        dry_run: Only say what would go.
        cache_dir: The cache.
        timeout: Longest time for the whole call, in seconds. Default: none.
        progress: As for `usage`.
        cancel: As for `usage`. What was removed until then is gone.
        **deadlines: As for `usage`.

    Raises:
        ConflictError: Somebody downloads into the repo, or has something in common with it; all of
            it stays.
        NotFoundError: It isn't in the cache.

    >>> cache.remove("alice/model", dry_run=True).files > 0
    True
    """
    with _client(cache_dir) as client:
        return cache_remove(
            client,
            repo_id,
            commits=commits,
            repo_type=repo_type,
            dry_run=dry_run,
            timeout=timeout,
            progress=progress,
            cancel=cancel,
            **deadlines,
        )


def prune(
    *,
    size: int | None = None,
    older_than: timedelta | float | None = None,
    unreferenced: bool = False,
    dry_run: bool = False,
    cache_dir: str | PathLike[str] | None = None,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheReport:
    """Removes what nothing refers to, and returns what went.

    That is what interrupted downloads have left (those of storages in `HF_XET_CACHE` included),
    contents that no revision has, revisions that no ref names, and shared contents that no repo
    has. A revision that was made or changed in the last ten minutes stays, even if no ref names it:
    a download may be filling it. So do repos that are in use at the moment. By age and by size,
    what was read in place goes, too, for all caches that share `HF_XET_CACHE`.

    The first `files` items of the report are what was removed. Those after them could have gone and
    were kept: they are in use, that young, or can't be removed. At least one of the first three
    arguments chooses what may go:

    Args:
        size: What was read in place, the oldest first, and then what was not used for longest,
            until all has at most so many bytes: the usage's `bytes`, `bytes_partial` and
            `read_bytes` together.
        older_than: What was not used for that long, or, if it was read in place, not written: a
            timedelta, or seconds.
        unreferenced: All of it, except what was read in place, which has a limit of its own.
        dry_run: Only say what would go.
        cache_dir: The cache.
        timeout: Longest time for the whole call, in seconds. Default: none.
        progress: As for `usage`.
        cancel: As for `usage`. What was removed until then is gone.
        **deadlines: As for `usage`.

    >>> cache.prune(older_than=timedelta(days=30), dry_run=True).files
    0
    """
    with _client(cache_dir) as client:
        return cache_prune(
            client,
            size=size,
            older_than=older_than,
            unreferenced=unreferenced,
            dry_run=dry_run,
            timeout=timeout,
            progress=progress,
            cancel=cancel,
            **deadlines,
        )


def index(
    *,
    rebuild: bool = False,
    cache_dir: str | PathLike[str] | None = None,
    endpoint: str | None = None,
    token: str | Literal[False] | None = None,
    offline: bool = False,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheReport:
    """Makes what is in the cache known to the reuse index, such as what huggingface_hub put there.

    Later downloads take chunks from there. Reads those files once, and asks the Hub's CAS about
    them. The items of the report are files that were left out, and files of which the CAS couldn't
    be asked: those serve as wholes only, until the index is rebuilt.

    Args:
        rebuild: Begin with an empty index.
        cache_dir: The cache.
        endpoint: As for `Client`.
        token: As for `Client`.
        offline: Ask nobody: then files serve as wholes only.
        timeout: Longest time for the whole call, in seconds. Default: none.
        progress: As for `usage`.
        cancel: As for `usage`.
        **deadlines: As for `usage`.

    >>> cache.index(rebuild=True).items
    ()
    """
    from xet_ffi.client import Client

    with Client(endpoint, token, cache_dir, offline=offline) as client:
        return cache_index(
            client, rebuild=rebuild, timeout=timeout, progress=progress, cancel=cancel, **deadlines
        )


def _client(cache_dir: str | PathLike[str] | None) -> Client:
    # Which has these functions as methods.
    from xet_ffi.client import Client

    return Client(cache_dir=cache_dir, offline=True)


# Methods of `Client`.


def cache_usage(
    self: Client,
    *,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheUsage:
    """Adds up what is in the client's cache, and beside it, as `cache.usage` does.

    >>> client.cache_usage().repos
    1
    """
    options = _options(timeout, deadlines)
    found = _run(self, lib.xet_client_cache_usage, options, _USAGE, progress, cancel)
    return CacheUsage(**_layout.cache_usage(found))


def cache_verify(
    self: Client,
    repo_id: str | None = None,
    *,
    repo_type: str | None = None,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheReport:
    """Hashes everything in the client's cache again, or in one repo, as `cache.verify` does.

    >>> client.cache_verify("alice/model").items
    ()
    """
    options = _options(timeout, deadlines)
    options.text("repo_id", repo_id)
    options.text("repo_type", repo_type)
    return _report(self, lib.xet_client_cache_verify, options, progress, cancel)


def cache_remove(
    self: Client,
    repo_id: str,
    *,
    commits: Iterable[str] | None = None,
    repo_type: str | None = None,
    dry_run: bool = False,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheReport:
    """Removes revisions of a repo from the client's cache, as `cache.remove` does.

    >>> client.cache_remove("alice/model", dry_run=True).files > 0
    True
    """
    options = _options(timeout, deadlines)
    options.required("repo_id", repo_id)
    options.text("repo_type", repo_type)
    options.texts("commits", commits)
    options.flag(lib.XET_CACHE_DRY_RUN, on=dry_run)
    return _report(self, lib.xet_client_cache_remove, options, progress, cancel)


def cache_prune(
    self: Client,
    *,
    size: int | None = None,
    older_than: timedelta | float | None = None,
    unreferenced: bool = False,
    dry_run: bool = False,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheReport:
    """Removes from the client's cache what nothing refers to, as `cache.prune` does.

    >>> client.cache_prune(unreferenced=True, dry_run=True).files
    0
    """
    options = _options(timeout, deadlines)
    options.flag(lib.XET_CACHE_UNREFERENCED, on=unreferenced)
    options.flag(lib.XET_CACHE_DRY_RUN, on=dry_run)
    options.flag(lib.XET_CACHE_MAX_BYTES, on=size is not None)
    options.count("max_bytes", size, least=0, argument="size")
    if older_than is not None:
        # Not by its class, whose module nobody else needs.
        in_seconds = getattr(older_than, "total_seconds", lambda: older_than)
        seconds: Any = in_seconds()
        if not 1 <= seconds < float("inf"):
            raise invalid("older_than", f"must be at least a second, not {older_than}")  # noqa: EM101
        options.count("older_than_s", int(seconds), argument="older_than")
    if size is None and older_than is None and not unreferenced:
        message = "name what may go: size, older_than or unreferenced=True"
        raise invalid("unreferenced", message)  # noqa: EM101
    return _report(self, lib.xet_client_cache_prune, options, progress, cancel)


def cache_index(
    self: Client,
    *,
    rebuild: bool = False,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> CacheReport:
    """Makes what is in the client's cache known to the reuse index, as `cache.index` does.

    >>> client.cache_index(rebuild=True).items
    ()
    """
    options = _options(timeout, deadlines)
    options.flag(lib.XET_CACHE_REBUILD, on=rebuild)
    return _report(self, lib.xet_client_cache_index, options, progress, cancel)


def _options(timeout: float | None, deadlines: Deadlines) -> Struct:
    options = Struct("XetCacheOptions")
    options.seconds("timeout", timeout)
    options.deadlines(deadlines)
    return options


def _report(
    client: Client,
    function: Callable[..., Any],
    options: Struct,
    progress: ProgressCallback | bool | None,
    cancel: Cancel | None,
) -> CacheReport:
    found = _run(client, function, options, _REPORT, progress, cancel)
    items = (CacheItem(**_layout.cache_item(found.items[i])) for i in range(found.count))
    return CacheReport(items=tuple(items), **_layout.cache_report(found))


def _run(
    client: Client,
    function: Callable[..., Any],
    options: Struct,
    release: tuple[str, Callable[[CData], None]],
    progress: ProgressCallback | bool | None,
    cancel: Cancel | None,
) -> CData:
    handle = client._handle  # noqa: SLF001 - the module is a part of the client
    return run_shown(function, handle, options.pointer, release, progress, cancel)
