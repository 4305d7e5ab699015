"""Downloading: methods of `Client`, the report of a finished one, and what it says of each file."""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._call import run_shown
from xet_ffi._dataclass import dataclass
from xet_ffi._lib import lib
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from typing_extensions import Unpack

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._structs import Deadlines
    from xet_ffi.client import Client

_TRANSFER = ("XetTransfer", lib.xet_transfer_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransfer:
    """What one file of a finished download took. Immutable.

    Attributes:
        path: Relative to the repo, with "/".
        way: Which way it came: "local" (it was on this machine, or is empty), "xet", "http",
            "xet+http" (Xet failed, and plain HTTP brought in what was missing), or "shared" (from
            the cache that nodes share alone).
        bytes_total: Content of the file.
        bytes_network: Received as file content, as sent.
        bytes_reused: Content that was on this machine already.
        retries: Requests that were made again for this file.
        fallbacks: 1 if it was fetched another way than the Hub proposed first.
        local_path: Where it is now, in the snapshot folder or in `local_dir`; absolute.
        hash: Of its content, as the Hub published it; None if that isn't known.
        hash_kind: Which hash that is: "git_blob" (SHA-1 of git's header and the content), "sha256"
            or "xet" (Merkle hash); "none" without the Hub, if the cache doesn't say.
        verified: Whether this call has hashed the content, and it had that hash. If not, the file
            was in its place already, and nobody has read it again; `cache.verify` does.
        bytes_shared: Received from the cache that nodes share, as stored there.
    """

    path: str
    way: str
    bytes_total: int
    bytes_network: int
    bytes_reused: int
    retries: int
    fallbacks: int
    local_path: str
    hash: str | None
    hash_kind: str
    verified: bool
    bytes_shared: int

    @classmethod
    def from_native(cls, file: CData) -> FileTransfer:
        """Copies a `const XetFileTransfer *`."""
        return cls(**_layout.file_transfer(file))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What a finished download did. Immutable, and a path: `open(transfer)` opens the file.

    `str(transfer)` and `os.fspath(transfer)` are `path`.

    Attributes:
        path: The file, the snapshot folder, or `local_dir`; absolute.
        files: How many files the call was about.
        bytes_total: Content of those files.
        bytes_network: Received as file content, as sent: with Xet's compression, without HTTP
            headers and listings.
        bytes_reused: Content that was on this machine already.
        retries: Requests that were made again.
        fallbacks: Files fetched another way than the Hub proposed first.
        stalls: Streams that stalled, or only trickled, and were given up for another.
        refreshes: Tokens and signed URLs that were refused, and fetched anew.
        refetches: Ranges fetched again because the hash of a complete file was wrong.
        seconds: Wall time of the call.
        commit: The commit that the revision stands for.
        file_transfers: What each file took and which way it came, in the order of the listing.
        sources_dropped: Files on this machine that were to be reused and had changed, shrunk,
            rotted or gone.
        bytes_shared: Received from the cache that nodes share, as stored there; not in
            `bytes_network`.
        tier_errors: How often that cache failed, or gave something that is damaged: storage took
            its place.
    """

    path: str
    files: int
    bytes_total: int
    bytes_network: int
    bytes_reused: int
    retries: int
    fallbacks: int
    stalls: int
    refreshes: int
    refetches: int
    seconds: float
    commit: str
    file_transfers: tuple[FileTransfer, ...]
    sources_dropped: int
    bytes_shared: int
    tier_errors: int

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        # Two lines, however many files there are; what each took is in `file_transfers`.
        names = ("files", "bytes_total", "bytes_network", "bytes_reused", "retries", "seconds")
        numbers = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"<xet_ffi.Transfer path={self.path!r}\n commit={self.commit!r}, {numbers}>"

    @classmethod
    def from_native(cls, transfer: CData) -> Transfer:
        """Copies a `const XetTransfer *`."""
        return cls(
            file_transfers=tuple(
                FileTransfer.from_native(transfer.file_transfers[i]) for i in range(transfer.files)
            ),
            **_layout.transfer(transfer),
        )


def download_file(
    self: Client,
    repo_id: str,
    filename: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    local_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> Transfer:
    """Downloads one file, verified, into the cache or into `local_dir`.

    Args:
        repo_id: "name" or "namespace/name".
        filename: The file's path in the repo.
        repo_type: "model" (the default), "dataset" or "space".
        revision: Branch, tag, commit or "refs/pr/N". Default: main.
        local_dir: A folder that receives a real file. Default: the cache, as a snapshot.
        local_files_only: Use no network; what isn't on this machine is LocalEntryNotFoundError.
        force_download: Fetch even what is present and intact.
        timeout: Longest time for the whole call, in seconds. Default: none.
        progress: True for a bar, or a callable that receives a `Progress` at most every
            50 ms. It runs on this thread; what it raises ends the call and is raised here.
        cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
            It runs on this thread, and may raise, too.
        **deadlines: As for `list_files`.

    >>> with open(client.download_file("alice/model", "config.json")) as file:
    ...     file.read()
    '{"layers": 2}'
    """
    options = download_options(
        repo_id, repo_type, revision, local_dir, timeout, local_files_only, force_download
    )
    options.required("filename", filename)
    options.deadlines(deadlines)
    return _download(self, options, progress, cancel)


def download_snapshot(
    self: Client,
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    local_dir: str | PathLike[str] | None = None,
    allow_patterns: Iterable[str] | str | None = None,
    ignore_patterns: Iterable[str] | str | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> Transfer:
    """Downloads the files of a revision, verified, into the cache or into `local_dir`.

    The arguments that aren't named here are those of `download_file`.

    Args:
        local_dir: A folder that receives real files. Default: the cache.
        allow_patterns: Take only files that match one of these. A string is one pattern; an
            empty list matches nothing. Default: all files. Patterns are those of `fnmatch`,
            with case; "*" also crosses "/", and "folder/" means everything in it.
        ignore_patterns: Leave out files that match one of these.
        progress: As for `download_file`; the numbers are those of all files.

    >>> transfer = client.download_snapshot("alice/model", ignore_patterns=["*.safetensors", ".*"])
    >>> transfer.files, transfer.bytes_total
    (1, 13)
    >>> sorted(os.listdir(transfer))
    ['config.json']
    """
    options = download_options(
        repo_id, repo_type, revision, local_dir, timeout, local_files_only, force_download
    )
    options.texts("allow_patterns", allow_patterns)
    options.texts("ignore_patterns", ignore_patterns)
    options.deadlines(deadlines)
    return _download(self, options, progress, cancel)


def _download(
    self: Client, options: Struct, progress: ProgressCallback | bool | None, cancel: Cancel | None
) -> Transfer:
    transfer = run_shown(
        lib.xet_client_download, self._handle, options.pointer, _TRANSFER, progress, cancel
    )
    return Transfer.from_native(transfer)


def download_options(
    repo_id: str,
    repo_type: str | None,
    revision: str | None,
    local_dir: str | PathLike[str] | None,
    timeout: float | None,
    local_files_only: bool,
    force_download: bool,
) -> Struct:
    """Returns a XetDownloadOptions with what files and snapshots have in common."""
    options = Struct("XetDownloadOptions")
    options.required("repo_id", repo_id)
    options.text("repo_type", repo_type)
    options.text("revision", revision)
    options.text("local_dir", local_dir)
    options.seconds("timeout", timeout)
    options.flag(lib.XET_DOWNLOAD_LOCAL_FILES_ONLY, on=local_files_only)
    options.flag(lib.XET_DOWNLOAD_FORCE, on=force_download)
    return options
