"""hf_xet's deprecated functions, which huggingface_hub calls up to its version 1."""

from __future__ import annotations

import os
import threading
import warnings
from contextlib import contextmanager, suppress

from xet_ffi._errors import ClosedError, XetError
from xet_ffi.hf_xet._arguments import expect, octets, sequence, texts, token_pair
from xet_ffi.hf_xet._errors import raise_translated
from xet_ffi.hf_xet._legacy_types import PyXetDownloadInfo, PyXetUploadInfo, uploaded
from xet_ffi.hf_xet._session import XetSession, begun
from xet_ffi.hf_xet._updaters import Ticker, Updater
from xet_ffi.hf_xet._uploads import given_sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta
    from typing import Any, TypeAlias, TypeVar

    from xet_ffi._groups import Downloads, GroupReport, Sha256, Uploads
    from xet_ffi.storage import Storage

    G = TypeVar("G", Downloads, Uploads)
    Progress: TypeAlias = Callable[..., Any]
    Refresher: TypeAlias = Callable[[], tuple[str, int]]
    TokenInfo: TypeAlias = tuple[str, int]

_lock = threading.Lock()
_session: XetSession | None = None


def upload_bytes(
    file_contents: Sequence[bytes],
    endpoint: str | None,
    token_info: TokenInfo | None,
    token_refresher: Refresher | None,
    progress_updater: Progress | None,
    _repo_type: str | None,
    request_headers: dict[str, str] | None = None,
    sha256s: Sequence[str] | None = None,
    skip_sha256: bool = False,  # noqa: FBT002 - hf_xet's signature
) -> list[PyXetUploadInfo]:
    """Uploads bytes. Deprecated: use `XetUploadCommit.start_upload_bytes`.

    Args:
        file_contents: The bytes of each file.
        endpoint: The CAS. Default: `data.default_cas_endpoint`.
        token_info: A token, and its end in seconds since 1970.
        token_refresher: Returns another one. Runs on a thread of its own.
        progress_updater: Told of progress on this thread: by the number of bytes that are new, or
            by (total_update, item_updates), if that is what its arguments are called.
        _repo_type: Means nothing.
        request_headers: Go to the CAS with each request.
        sha256s: That of each file. Default: they are computed.
        skip_sha256: There are none.
    """
    _deprecate("upload_bytes", "new_upload_commit().start_upload_bytes")
    contents = [octets(content) for content in sequence(file_contents)]
    hashes = _sha256s("file_contents", len(contents), sha256s, skip=skip_sha256)
    updater = None if progress_updater is None else Updater(progress_updater)
    access = (endpoint, token_info, token_refresher, request_headers)
    return _upload(list(zip(contents, hashes, strict=True)), access, updater)


def upload_files(
    file_paths: Sequence[str],
    endpoint: str | None,
    token_info: TokenInfo | None,
    token_refresher: Refresher | None,
    progress_updater: Progress | None,
    _repo_type: str | None,
    request_headers: dict[str, str] | None = None,
    sha256s: Sequence[str] | None = None,
    skip_sha256: bool = False,  # noqa: FBT002 - hf_xet's signature
) -> list[PyXetUploadInfo]:
    """Uploads files. Deprecated: use `XetUploadCommit.start_upload_file`.

    The arguments are those of `upload_bytes`, but for `file_paths`.
    """
    _deprecate("upload_files", "new_upload_commit().start_upload_file")
    paths = [os.path.abspath(path) for path in texts(file_paths)]
    hashes = _sha256s("file_paths", len(paths), sha256s, skip=skip_sha256)
    updater = None if progress_updater is None else Updater(progress_updater)
    for path in paths:
        os.stat(path)  # one that isn't there is told before any is sent
    access = (endpoint, token_info, token_refresher, request_headers)
    return _upload(list(zip(paths, hashes, strict=True)), access, updater)


def download_files(
    files: Sequence[PyXetDownloadInfo],
    endpoint: str | None,
    token_info: TokenInfo | None,
    token_refresher: Refresher | None,
    progress_updater: Sequence[Progress] | None,
    request_headers: dict[str, str] | None = None,
) -> list[str]:
    """Downloads files, and returns their paths. Deprecated: use `XetFileDownloadGroup`.

    Args:
        files: What, and where to. Folders that are missing are made.
        endpoint: As for `upload_bytes`.
        token_info: As for `upload_bytes`.
        token_refresher: As for `upload_bytes`.
        progress_updater: One function for each file, as that of `upload_bytes`.
        request_headers: As for `upload_bytes`.
    """
    _deprecate("download_files", "new_file_download_group().start_download_file")
    wanted = [expect(file, PyXetDownloadInfo) for file in sequence(files)]
    updaters = None
    if progress_updater is not None:
        functions = sequence(progress_updater)
        updaters = [(Updater(each), slice(i, i + 1)) for i, each in enumerate(functions)]
        if len(updaters) != len(wanted):
            message = f"there are {len(updaters)} progress updaters for {len(wanted)} files"
            raise ValueError(message)
    session = _current()
    storage = _storage(session, endpoint, token_info, token_refresher, request_headers)
    with _ended(begun(storage.downloads)) as group:
        for file in wanted:
            place = os.path.abspath(file.destination_path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            group.add(file.hash, place, size=file.file_size)
        _wait(session, group, updaters)
    return [file.destination_path for file in wanted]


def hash_files(file_paths: Sequence[str]) -> list[PyXetUploadInfo]:
    """Finds out the Xet hashes of files. Sends nothing."""
    try:
        contents = _current()._client.hash_files([os.path.abspath(p) for p in texts(file_paths)])
    except XetError as error:
        raise_translated(error)
    return [uploaded(content.hash, content.size, None) for content in contents]


def force_sigint_shutdown() -> None:
    """Ends what the deprecated functions do, and raises KeyboardInterrupt. Deprecated."""
    _warn("hf_xet.force_sigint_shutdown() is deprecated. Use XetSession.sigint_abort() instead.")
    global _session
    with _lock:
        session, _session = _session, None
    if session is not None:
        session.sigint_abort()
    raise KeyboardInterrupt


class _Running:
    """A group that `force_sigint_shutdown` ends."""

    __slots__ = ("__weakref__", "_group")

    def __init__(self, group: Downloads | Uploads) -> None:
        self._group = group

    def abort(self) -> None:
        with suppress(ClosedError):  # its end came in between
            self._group.cancel()


def _current() -> XetSession:
    global _session  # noqa: PLW0603 - there is one
    with _lock:
        if _session is None:
            _session = XetSession()
        return _session


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _upload(
    items: list[tuple[str | bytes, Sha256]], access: Any, updater: Updater | None
) -> list[PyXetUploadInfo]:
    session = _current()
    with _ended(begun(_storage(session, *access).uploads)) as group:
        for source, sha256 in items:
            group.add(source, sha256=sha256)
        report = _wait(session, group, None if updater is None else [(updater, slice(None))])
    return [uploaded(task.hash or "", task.bytes_total, task.sha256) for task in report.tasks]


@contextmanager
def _ended(group: G) -> Iterator[G]:
    """Gives a group up at the end, also if that is an error: a traceback would keep it going."""
    try:
        yield group
    except XetError as error:
        raise_translated(error)
    finally:
        group.close()


def _wait(
    session: XetSession,
    group: Downloads | Uploads,
    updaters: list[tuple[Updater, slice]] | None,
) -> GroupReport:
    running = _Running(group)
    session.begins(running)
    if updaters is None:
        return group.wait()
    interval: timedelta = session._config["data.progress_update_interval"]  # type: ignore[assignment]
    ticker = Ticker(group, updaters, interval.total_seconds(), session._rates())
    report = group.wait(progress=ticker)
    ticker.tell(report)
    return report


def _storage(
    session: XetSession,
    endpoint: str | None,
    token_info: TokenInfo | None,
    token_refresher: Refresher | None,
    headers: dict[str, str] | None,
) -> Storage:
    if token_refresher is not None and not callable(token_refresher):
        message = f"refresh func: {token_refresher!r} is not callable"
        raise TypeError(message)
    access: dict[str, Any] = {}
    if token_info is not None:
        token, expires = token_pair(token_info)
        access = {"token": token, "token_expires": expires}
    return session.storage(endpoint, headers, token_callback=token_refresher, **access)


def _sha256s(name: str, count: int, sha256s: Sequence[str] | None, *, skip: bool) -> list[Sha256]:
    if skip and sha256s is not None:
        message = "skip_sha256=True and sha256s are mutually exclusive"
        raise ValueError(message)
    if sha256s is None:
        return [False if skip else None] * count
    given = texts(sha256s)
    if len(given) != count:
        message = f"sha256s length ({len(given)}) must match {name} length ({count})"
        raise ValueError(message)
    return [given_sha256(sha256) for sha256 in given]


def _deprecate(name: str, instead: str) -> None:
    _warn(f"hf_xet.{name}() is deprecated. Use XetSession().{instead}() instead.", level=4)


def _warn(message: str, level: int = 3) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=level)
