"""The client: one Hub, one identity, one cache."""

from __future__ import annotations

import os

from xet_ffi import _logging
from xet_ffi._call import run, run_shown
from xet_ffi._deadlines import attach
from xet_ffi._errors import check
from xet_ffi._handle import Handle
from xet_ffi._lib import ffi, lib
from xet_ffi._listing import FileInfo
from xet_ffi._plan import Plan
from xet_ffi._structs import Struct
from xet_ffi._transfer import Transfer
from xet_ffi._uploads import Uploads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from types import TracebackType
    from typing import Literal

    from typing_extensions import Self, Unpack

    from xet_ffi._call import Cancel
    from xet_ffi._deadlines import Deadlines
    from xet_ffi._progress import ProgressCallback

_LISTING = ("XetEntryList", lib.xet_entry_list_free)
_TRANSFER = ("XetTransfer", lib.xet_transfer_free)
_PLAN = ("XetPlan", lib.xet_plan_free)
_TRANSPORTS = {
    "auto": lib.XET_TRANSPORT_AUTO,
    "xet": lib.XET_TRANSPORT_XET,
    "http": lib.XET_TRANSPORT_HTTP,
}


class Client(Uploads):
    """Lists, downloads and uploads the repos of one Hub, with one identity and one cache.

    A client is cheap to make, uses no network before its first call, and serves many threads at a
    time. It can be used after `os.fork()`; it can't be pickled.

    Args:
        endpoint: Address of the Hub. Default: `HF_ENDPOINT`, else https://huggingface.co.
        token: User access token; False sends none. Default: `HF_TOKEN`, else the token that
            `hf auth login` saved, else none.
        cache_dir: Root of the Hub cache. Default: `HF_HUB_CACHE`, else `$HF_HOME/hub`.
        max_concurrent_downloads: Large files (over 512 KiB) in flight at a time over all calls, 1 to
            256. Default: 8. Smaller files don't wait for them.
        user_agent: Put before the library's own User-Agent, such as "my-service/1.2".
        offline: Never use the network. Default: `HF_HUB_OFFLINE`.
        connect_timeout: Longest wait for a connection, in seconds. Default: 10.
        first_byte_timeout: Longest wait for an answer to begin, in seconds, connecting included.
            Default: `read_timeout`, if that is given, else 15.
        read_timeout: Longest silence within an answer, in seconds. Default:
            `HF_HUB_DOWNLOAD_TIMEOUT`, else 10.
        min_speed: Bytes per second below which an answer counts as silent, once it has been that
            slow for half of `read_timeout`; 0: however slow it is. Default: 2,048.
        max_bytes_per_second: The most content that all calls together receive. Default: no limit.
        max_attempts: Attempts per request, 1 to 20; after a timeout there are 3 at most. Default:
            6.
        transport: Which way Xet files come: "xet" alone, plain "http", or "auto", which is Xet
            and, where that fails, plain HTTP. Other files always come over plain HTTP. Default:
            `XET_FFI_TRANSPORT`, else "http" if `HF_HUB_DISABLE_XET` is set, else "auto".

    All methods raise `XetError` subclasses; a closed client raises `ClosedError`.

    >>> with Client("http://127.0.0.1:9", token=False) as client:
    ...     client
    <xet_ffi.Client endpoint='http://127.0.0.1:9'>
    >>> client
    <xet_ffi.Client endpoint='http://127.0.0.1:9' (closed)>
    """

    __slots__ = ("__weakref__", "_endpoint", "_handle")

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | Literal[False] | None = None,
        cache_dir: str | PathLike[str] | None = None,
        max_concurrent_downloads: int | None = None,
        *,
        user_agent: str | None = None,
        offline: bool = False,
        connect_timeout: float | None = None,
        first_byte_timeout: float | None = None,
        read_timeout: float | None = None,
        min_speed: int | None = None,
        max_bytes_per_second: int | None = None,
        max_attempts: int | None = None,
        transport: Literal["auto", "xet", "http"] | None = None,
    ) -> None:
        options = Struct("XetClientOptions")
        options.text("endpoint", endpoint)
        options.text("token", None if token is False else token)
        options.text("cache_dir", cache_dir)
        options.text("user_agent", user_agent)
        options.count("max_concurrent_downloads", max_concurrent_downloads)
        options.count("max_attempts", max_attempts)
        options.seconds("connect_timeout", connect_timeout)
        options.seconds("first_byte_timeout", first_byte_timeout)
        options.seconds("read_timeout", read_timeout)
        options.speed("min_speed", min_speed)
        options.count("max_bytes_per_second", max_bytes_per_second, 2**64 - 1)
        options.choice("transport", transport, _TRANSPORTS)
        options.flag(lib.XET_CLIENT_ANONYMOUS, on=token is False)
        options.flag(lib.XET_CLIENT_OFFLINE, on=offline)
        _logging.follow()
        out = ffi.new("XetClient **")
        check(lib.xet_client_create(options.pointer, out))
        self._handle = Handle(out[0], lib.xet_client_free, "client")
        self._endpoint = endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"

    def list_files(
        self,
        repo_id: str,
        *,
        repo_type: str | None = None,
        revision: str | None = None,
        timeout: float | None = None,
        cancel: Cancel | None = None,
        **deadlines: Unpack[Deadlines],
    ) -> list[FileInfo]:
        """Lists the files of a repo, in the Hub's order.

        Args:
            repo_id: "name" or "namespace/name".
            repo_type: "model" (the default), "dataset" or "space".
            revision: Branch, tag, commit or "refs/pr/N". Default: main.
            timeout: Longest time for the whole call, in seconds. Default: none.
            cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
            **deadlines: `connect_timeout`, `first_byte_timeout`, `read_timeout` and `min_speed`, as
                for `Client`, for this call.
        """
        options = Struct("XetListOptions")
        options.text("repo_id", repo_id)
        options.text("repo_type", repo_type)
        options.text("revision", revision)
        options.seconds("timeout", timeout)
        attach(options, deadlines)
        listing = run(
            lib.xet_client_list_files, self._handle, options.pointer, _LISTING, cancel=cancel
        )
        return [FileInfo.from_native(listing.entries[i]) for i in range(listing.count)]

    def download_file(
        self,
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
            progress: True for a tqdm bar, or a callable that receives a `Progress` at most every
                50 ms. It runs on this thread; what it raises ends the call and is raised here.
            cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
                It runs on this thread, and may raise, too.
            **deadlines: As for `list_files`.
        """
        options = _download_options(
            repo_id, repo_type, revision, local_dir, timeout, local_files_only, force_download
        )
        if filename is None:
            message = "filename: expected str, not NoneType"
            raise TypeError(message)
        options.text("filename", filename)
        attach(options, deadlines)
        return self._download(options, progress, cancel)

    def download_snapshot(
        self,
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

        Takes what `download_file` takes, and:

        Args:
            repo_id: "name" or "namespace/name".
            repo_type: "model" (the default), "dataset" or "space".
            revision: Branch, tag, commit or "refs/pr/N". Default: main.
            local_dir: A folder that receives real files. Default: the cache.
            allow_patterns: Take only files that match one of these. A string is one pattern; an
                empty list matches nothing. Default: all files. Patterns are those of `fnmatch`,
                with case; "*" also crosses "/", and "folder/" means everything in it.
            ignore_patterns: Leave out files that match one of these.
            local_files_only: Use no network; what isn't on this machine is LocalEntryNotFoundError.
            force_download: Fetch even what is present and intact.
            timeout: Longest time for the whole call, in seconds. Default: none.
            progress: As for `download_file`; the numbers are those of all files.
            cancel: As for `download_file`.
            **deadlines: As for `list_files`.
        """
        options = _download_options(
            repo_id, repo_type, revision, local_dir, timeout, local_files_only, force_download
        )
        options.texts("allow_patterns", allow_patterns)
        options.texts("ignore_patterns", ignore_patterns)
        attach(options, deadlines)
        return self._download(options, progress, cancel)

    def plan_snapshot(
        self,
        repo_id: str,
        *,
        repo_type: str | None = None,
        revision: str | None = None,
        local_dir: str | PathLike[str] | None = None,
        allow_patterns: Iterable[str] | str | None = None,
        ignore_patterns: Iterable[str] | str | None = None,
        force_download: bool = False,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Plan:
        """Finds out what `download_snapshot` would do, and changes nothing.

        It asks the Hub, and fetches and hashes no content. Takes what `download_snapshot` takes:

        Args:
            repo_id: "name" or "namespace/name".
            repo_type: "model" (the default), "dataset" or "space".
            revision: Branch, tag, commit or "refs/pr/N". Default: main.
            local_dir: A folder that would receive real files. Default: the cache.
            allow_patterns: Only files that match one of these.
            ignore_patterns: No files that match one of these.
            force_download: As if nothing were here.
            timeout: Longest time for the whole call, in seconds. Default: none.
            cancel: As for `download_file`.
        """
        options = _download_options(
            repo_id,
            repo_type,
            revision,
            local_dir,
            timeout,
            local_files_only=False,
            force_download=force_download,
        )
        options.texts("allow_patterns", allow_patterns)
        options.texts("ignore_patterns", ignore_patterns)
        return Plan.from_native(
            run(lib.xet_client_plan, self._handle, options.pointer, _PLAN, cancel=cancel)
        )

    def close(self) -> None:
        """Closes the client. Calls that other threads have begun finish normally; later ones fail.

        Closing twice is fine, and so is not closing: the garbage collector does it, too.
        """
        self._handle.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._handle.closed

    def _download(
        self, options: Struct, progress: ProgressCallback | bool | None, cancel: Cancel | None
    ) -> Transfer:
        transfer = run_shown(
            lib.xet_client_download, self._handle, options.pointer, _TRANSFER, progress, cancel
        )
        return Transfer.from_native(transfer)

    def __enter__(self) -> Self:
        self._handle.pointer()
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<xet_ffi.Client endpoint={self._endpoint!r}{' (closed)' if self.closed else ''}>"


def _download_options(
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
    options.text("repo_id", repo_id)
    options.text("repo_type", repo_type)
    options.text("revision", revision)
    options.text("local_dir", local_dir)
    options.seconds("timeout", timeout)
    options.flag(lib.XET_DOWNLOAD_LOCAL_FILES_ONLY, on=local_files_only)
    options.flag(lib.XET_DOWNLOAD_FORCE, on=force_download)
    return options
