"""Errors that huggingface_hub's classes catch, in programs that have imported it.

Its classes can't be bases of ours, since we don't import it: an `except` of Python looks at the
real bases of a class, and nothing else. So where it is imported when an error is raised, the error
is of a class with two bases, ours and theirs. (Its module of errors is imported then, if it isn't
yet: a program may name `huggingface_hub.errors`, which does so, only in the `except`.) It has our
name and our attributes, and is pickled as
ours: who unpickles it gets both bases, or ours alone where huggingface_hub isn't imported. Of their
attributes it has those that programs read: `response`, `request`, `append_to_message`; and
`server_message`, which is one of ours, too.
"""

from __future__ import annotations

from importlib import import_module

from xet_ffi import _errors
from xet_ffi._dataclass import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NAMES: tuple[tuple[type[_errors.XetError], str, int | None], ...] = (
    (_errors.GatedRepoError, "GatedRepoError", 403),
    (_errors.RepoNotFoundError, "RepositoryNotFoundError", 404),
    (_errors.RepoDisabledError, "DisabledRepoError", 403),
    (_errors.RevisionNotFoundError, "RevisionNotFoundError", 404),
    (_errors.LocalEntryNotFoundError, "LocalEntryNotFoundError", None),
    (_errors.EntryNotFoundError, "RemoteEntryNotFoundError", 404),
    (_errors.OfflineError, "OfflineModeIsEnabled", None),
)
"""The first class of ours that an error is one of, the name of theirs for it, and the status that
it stands for: what is missing from a listing is so without an answer that says 404."""

_made: dict[tuple[type, type], type[_errors.XetError]] = {}
"""The classes with two bases. Two threads may both make one; the first to be kept is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of the HTTP answer that an error is about: a part of what `httpx` has.

    Attributes:
        status_code: Its status.
        headers: "x-request-id", if the server sent one; the names are in lower case.
        url: What was asked for, without its query; None if that isn't known.
        text: Empty: the error's message quotes what the server said.
    """

    status_code: int
    headers: dict[str, str]
    url: str | None
    text: str = ""


class _Official:
    """What an error has besides, in a class of both."""

    details: dict[str, Any]
    message: str
    request = None
    _status: int | None

    @property
    def response(self) -> Answer | None:
        """The answer that the error is about; None if it is about none."""
        status = self.details.get("http_status", self._status)
        if status is None:
            return None
        request_id = self.details.get("request_id")
        headers = {"x-request-id": request_id} if request_id else {}
        return Answer(status_code=status, headers=headers, url=self.details.get("url"))

    def append_to_message(self, additional_message: str) -> None:
        """Adds to what `str()` says."""
        self.message += additional_message
        self.args = (self.message,)


def subclass(cls: type[_errors.XetError], details: Mapping[str, Any]) -> type[_errors.XetError]:
    """Returns the class of both for an error of `cls`; `cls` if they have none for it."""
    name, status = _equivalent(cls, details)
    theirs = _official(name)
    if theirs is None and name == "RemoteEntryNotFoundError":
        theirs = _official("EntryNotFoundError")  # before version 1
    if theirs is None:
        return cls
    found = _made.get((cls, theirs))
    if found is None:
        body = {
            "__doc__": cls.__doc__,
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "_own_class": cls,
            "_status": status,
        }
        found = type(cls.__name__, (_Official, cls, theirs), body)
        found = _made.setdefault((cls, theirs), found)
    return found


def _official(name: str) -> type | None:
    """Returns their class of that name; None if this version, or what is there of it, has none."""
    try:
        found = getattr(import_module("huggingface_hub.errors"), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def _equivalent(cls: type[_errors.XetError], details: Mapping[str, Any]) -> tuple[str, int | None]:
    """Returns the name of their class, empty if there is none, and the status it stands for."""
    if details.get("dry_run") and not issubclass(cls, _errors.RevisionNotFoundError):
        return "DryRunError", None
    for ours, name, status in _NAMES:
        if issubclass(cls, ours):
            return name, status
    status, field = details.get("http_status"), details.get("field")
    if status is not None:
        return ("BadRequestError" if status == 400 else "HfHubHTTPError"), None  # noqa: PLR2004 - as there
    if field == "token" and issubclass(cls, _errors.AuthError):
        return "LocalTokenNotFoundError", None
    is_repo_id = field == "repo_id" or details.get("kind") == "invalid_repo_id"
    return ("HFValidationError" if is_repo_id else ""), None
