"""Arguments that all functions have in common, checked as huggingface_hub checks them."""

from __future__ import annotations

import os
import warnings
from functools import wraps

from xet_ffi._errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

ETAG_TIMEOUT = 10
"""Seconds; huggingface_hub's default."""

_OLD = ("resume_download", "force_filename", "local_dir_use_symlinks")

_REPO_TYPES = (None, "model", "dataset", "space")


def checked_repo(repo_id: Any, repo_type: str | None) -> None:
    """Refuses what isn't the name of a repo. The rules for `repo_id` are the library's."""
    if not isinstance(repo_id, str):
        raise invalid("repo_id", f"must be a string, not {type(repo_id).__name__}")
    if repo_type not in _REPO_TYPES:
        raise invalid("repo_type", f"must be model, dataset or space, not {repo_type!r}")


def unsupported(**given: tuple[object, object]) -> None:
    """Refuses arguments that can't be honoured: each is given as its value and its default.

    Raises:
        InvalidConfigError: A value isn't the default; `field` names the argument.
    """
    for name, (value, default) in given.items():
        if value != default:
            problem = f"xet_ffi.hub can't honour it; leave it at {default!r}, not {value!r}"
            raise invalid(name, problem)


def resolved(revision: str | None) -> str | None:
    """Returns the commit, if huggingface_hub's `resolve_revision` has been there already."""
    commit: str | None = getattr(revision, "resolved", revision)
    return commit


def deadlines(etag_timeout: float) -> dict[str, float]:
    """Returns `etag_timeout` as the longest wait for an answer to begin.

    HF_HUB_ETAG_TIMEOUT comes first, as in huggingface_hub; the client reads it.
    """
    if not hasattr(etag_timeout, "__float__") or not etag_timeout > 0:
        raise invalid("etag_timeout", f"must be a number of seconds, not {etag_timeout!r}")
    if etag_timeout == ETAG_TIMEOUT or os.environ.get("HF_HUB_ETAG_TIMEOUT"):
        return {}
    return {"connect_timeout": etag_timeout, "first_byte_timeout": etag_timeout}


def takes_old_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Lets a function take arguments that huggingface_hub has given up, and warns of them there.

    `proxies` is refused, unless it is None: no warning makes good for going past a proxy.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        unsupported(proxies=(kwargs.pop("proxies", None), None))
        for name in _OLD:
            if kwargs.pop(name, None) is not None:
                message = f"{name} has no effect any more, as in huggingface_hub"
                warnings.warn(message, UserWarning, stacklevel=2)
        return function(*args, **kwargs)

    return call
