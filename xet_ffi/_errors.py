"""The exceptions, and `check`, the one place where an error of the library becomes one of them.

Each XET_CODE_* of xet.h has one class, which also subclasses the builtin that callers of such
functions already catch. Kinds, which are finer than codes, have a subclass where programs tell them
apart. Everything else is in `details`.

Where huggingface_hub has been imported, what is raised is an instance of its class for the same
failure, too: see `_official`.
"""

from __future__ import annotations

import errno
import sys

from xet_ffi._dataclass import dataclass
from xet_ffi._lib import lib
from xet_ffi._strings import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, SupportsIndex

    from xet_ffi._lib import CData


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCommit:
    """A commit of an upload that failed later. Immutable.

    Attributes:
        oid: The commit.
        url: Its page on the Hub.
    """

    oid: str
    url: str


class XetError(Exception):
    """Base of all errors of this package.

    Attributes:
        code: The XET_CODE_* number of xet.h.
        details: What is known about the circumstances: `kind`, and where known `field`,
            `http_status`, `request_id`, `server_message`, `repo`, `revision`, `file`, `url`
            (without its query), `attempts`, `retry_after` (seconds), `tried` (how the other ways
            of getting the file failed), `bytes_needed`, `bytes_free`; of an upload, `commits` and
            `pull_request_url` (what it had done before it failed). Never a token.

    `str()` is one sentence: what failed, on which repo and file, and the way out.
    """

    code: int = lib.XET_CODE_UNKNOWN

    def __init__(
        self, message: str, *, code: int | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        # Not by super(): behind these classes may stand one of huggingface_hub, which wants more.
        Exception.__init__(self, message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        if code is not None:
            self.code = code

    @property
    def kind(self) -> str | None:
        """What went wrong, finer than the class, such as "revision_not_found"."""
        return self.details.get("kind")

    @property
    def field(self) -> str | None:
        """The argument that is wrong."""
        return self.details.get("field")

    @property
    def repo(self) -> str | None:
        """The repo that the call was about."""
        return self.details.get("repo")

    @property
    def revision(self) -> str | None:
        """The revision that the call was about."""
        return self.details.get("revision")

    @property
    def file(self) -> str | None:
        """The file in question: its path in the repo, or on this machine."""
        return self.details.get("file")

    @property
    def http_status(self) -> int | None:
        """The status of the HTTP answer that the error is about."""
        return self.details.get("http_status")

    @property
    def request_id(self) -> str | None:
        """The server's name for the failed request; worth quoting in a bug report to the Hub."""
        return self.details.get("request_id")

    @property
    def server_message(self) -> str | None:
        """What the Hub said of it in its own words, which are in `str()`, too."""
        return self.details.get("server_message")

    @property
    def retry_after(self) -> float | None:
        """How many seconds the server asks to wait."""
        return self.details.get("retry_after")

    @property
    def commits(self) -> list[MadeCommit]:
        """What an upload had committed before it failed, in that order; it stays."""
        return [
            MadeCommit(oid=made["oid"], url=made["url"]) for made in self.details.get("commits", ())
        ]

    @property
    def pr_url(self) -> str | None:
        """The page of the pull request that an upload had opened before it failed."""
        return self.details.get("pull_request_url")

    @property
    def tried(self) -> list[str]:
        """How the other ways of getting the file failed."""
        return list(self.details.get("tried", ()))

    def __str__(self) -> str:
        # OSError would prefix "[Errno 2]" and append the file name; the sentence says it better.
        return self.message

    # What pickle asks first: it stands before that of huggingface_hub's classes.
    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return (_restore, (self._own_class, self.message, self.code, self.details))

    @property
    def _own_class(self) -> type[XetError]:
        """The class, without that of huggingface_hub which it was raised with."""
        return type(self)


class _OSXetError(XetError, OSError):
    """Base of those that are an OSError: fills in the attributes that every OSError has."""

    _errno: int | None = None

    def __init__(
        self, message: str, *, code: int | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.errno = self._errno
        self.filename = self.file


def _restore(cls: type[XetError], message: str, code: int, details: dict[str, Any]) -> XetError:
    """Unpickles an error."""
    return as_official(cls, details)(message, code=code, details=details)


class InvalidConfigError(XetError, ValueError):
    """A bad argument or configuration; `field` names it."""

    code = lib.XET_CODE_INVALID_CONFIG


class ClosedError(InvalidConfigError):
    """The client was closed before the call."""


class AuthError(_OSXetError, PermissionError):
    """The token is missing, unknown or expired."""

    code = lib.XET_CODE_AUTH_FAILED
    _errno = errno.EACCES


class NetworkError(_OSXetError, ConnectionError):
    """The endpoint can't be reached, or answered with a server error or with nonsense."""

    code = lib.XET_CODE_NETWORK_ERROR


class NotFoundError(_OSXetError, FileNotFoundError):
    """No such repo, revision or file; the subclass says which."""

    code = lib.XET_CODE_NOT_FOUND
    _errno = errno.ENOENT


class RepoNotFoundError(NotFoundError):
    """The repo doesn't exist, or this token can't see it."""


class RevisionNotFoundError(NotFoundError):
    """The repo has no such branch, tag, commit or pull request."""


class EntryNotFoundError(NotFoundError):
    """The revision has no such file."""


class LocalEntryNotFoundError(EntryNotFoundError):
    """Not on this machine, and the call may not use the network."""


class PermissionDeniedError(_OSXetError, PermissionError):
    """The token lacks a right, or a local path can't be read or written."""

    code = lib.XET_CODE_PERMISSION_DENIED
    _errno = errno.EACCES


class GatedRepoError(PermissionDeniedError, RepoNotFoundError):
    """The repo is gated, and its owners have not let this token in.

    A RepoNotFoundError as in huggingface_hub, so that "it isn't there for me" is one `except`.
    """


class RepoDisabledError(PermissionDeniedError):
    """The Hub has disabled the repo."""


class ChecksumMismatchError(_OSXetError):
    """The bytes received are not those whose hash the Hub published. No file was left behind."""

    code = lib.XET_CODE_CHECKSUM_MISMATCH
    _errno = errno.EIO


class CancelledError(XetError):
    """The call's `cancel` said so."""

    code = lib.XET_CODE_CANCELLED


class IoError(_OSXetError):
    """A local file or folder could not be read or written."""

    code = lib.XET_CODE_IO_ERROR


class TransferTimeoutError(_OSXetError, TimeoutError):
    """A deadline passed: connecting, waiting for bytes, or the call's own `timeout`."""

    code = lib.XET_CODE_TIMEOUT
    _errno = errno.ETIMEDOUT


class RateLimitedError(_OSXetError, ConnectionError):
    """The server limits requests, for longer than the call's `timeout`, or than two hours.

    Two minutes, if it is one request that it refuses, and lets others of its sort through.
    """

    code = lib.XET_CODE_RATE_LIMITED


class ConflictError(XetError):
    """The repo changed meanwhile."""

    code = lib.XET_CODE_CONFLICT


class NoSpaceError(_OSXetError):
    """The disk, or the user's quota, is full."""

    code = lib.XET_CODE_NO_SPACE
    _errno = errno.ENOSPC


class OfflineError(_OSXetError, ConnectionError):
    """The network is switched off (HF_HUB_OFFLINE, or `offline=True`) and the call needs it."""

    code = lib.XET_CODE_OFFLINE


class UnknownError(XetError):
    """A bug in the library, or a failure that has no better class."""

    code = lib.XET_CODE_UNKNOWN


BY_CODE: dict[int, type[XetError]] = {
    cls.code: cls
    for cls in (
        InvalidConfigError,
        AuthError,
        NetworkError,
        NotFoundError,
        PermissionDeniedError,
        ChecksumMismatchError,
        CancelledError,
        IoError,
        TransferTimeoutError,
        RateLimitedError,
        ConflictError,
        NoSpaceError,
        OfflineError,
        UnknownError,
    )
}
"""The class of each code. What only a newer library knows becomes UnknownError, with its `code`."""

BY_KIND: dict[str, type[XetError]] = {
    "repo_not_found": RepoNotFoundError,
    "revision_not_found": RevisionNotFoundError,
    "entry_not_found": EntryNotFoundError,
    "local_entry_not_found": LocalEntryNotFoundError,
    "gated_repo": GatedRepoError,
    "repo_disabled": RepoDisabledError,
}
"""The class of each kind that has one; it subclasses the class of its code."""


def make(code: int, message: str, details: Mapping[str, Any]) -> XetError:
    """Returns the exception for an error of the library."""
    cls = BY_CODE.get(code, UnknownError)
    finer = BY_KIND.get(details.get("kind", ""), cls)
    raised = as_official(finer if issubclass(finer, cls) else cls, details)
    return raised(message, code=code, details=details)


def as_official(cls: type[XetError], details: Mapping[str, Any]) -> type[XetError]:
    """Returns `cls`, or where huggingface_hub is imported a subclass that its classes catch."""
    if "huggingface_hub" not in sys.modules:
        return cls
    from xet_ffi._official import subclass

    return subclass(cls, details)


def invalid(field: str, problem: str) -> XetError:
    """Returns the error for a bad argument, in the library's own words and with its details."""
    details = {"kind": "invalid_argument", "field": field}
    return make(lib.XET_CODE_INVALID_CONFIG, f"{field}: {problem}", details)


def check(error: CData) -> None:
    """Raises `error`, an owned XetError *, as a Python exception; NULL is success."""
    if error:
        raise take(error)


def take(error: CData) -> XetError:
    """Turns an owned, non-NULL XetError * into an exception, and frees it."""
    try:
        return from_native(error)
    finally:
        lib.xet_free_error(error)


def from_native(error: CData) -> XetError:
    """Copies a borrowed, non-NULL XetError * into an exception."""
    details: dict[str, Any] = {}
    if error.details:
        import json

        details = json.loads(text(error.details))
    message = text(error.message)
    struct, dot, member = details.get("field", "").partition(".")
    if dot and struct in _STRUCTS:
        # A member of the C struct is an argument by the same name here.
        details["field"] = member
        message = message.removeprefix(f"{struct}.")
    return make(error.code, message, details)


_STRUCTS = frozenset(("options", "download", "upload"))
"""What C callers name an argument's struct by."""
