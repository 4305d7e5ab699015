"""The clients behind the functions: one for each identity, kept, so that connections are."""

from __future__ import annotations

import os

from xet_ffi._errors import invalid, make
from xet_ffi._lib import lib
from xet_ffi.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Any, Literal, TypeAlias

    Token: TypeAlias = bool | str | None
    UserAgent: TypeAlias = Mapping[str, str] | str | None
    Key: TypeAlias = tuple[object, ...]

_PREFIXES = ("HF_", "HUGGING", "XET_FFI_", "SSL_CERT_")
_NAMES = (
    "CURL_CA_BUNDLE",
    "DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "HOME",
    "REQUESTS_CA_BUNDLE",
    "REQUEST_METHOD",
    "TRANSFORMERS_OFFLINE",
    "XDG_CACHE_HOME",
)
"""With the prefixes, and `*_proxy` in either case, all variables that a client reads."""

_MOST = 16
"""Clients that are kept. The oldest goes first; it lives as long as calls on it run."""

_kept: dict[Key, Client] = {}
"""By all that they depend on.

There is no lock, which a fork could leave locked: each step is one operation of the dictionary. Two
threads may both make a client; the first to be kept is used. A client works on after a fork.
"""


def client(
    token: Token = None,
    *,
    endpoint: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    max_concurrent_downloads: int | None = None,
    library_name: str | None = None,
    library_version: str | None = None,
    user_agent: UserAgent = None,
    headers: Mapping[str, str] | None = None,
) -> Client:
    """Returns the client for these arguments and for the environment as it is now.

    Raises:
        AuthError: `token` is True, and there is none.
        InvalidConfigError: `headers` has one that can't be sent.
    """
    others: dict[str, str] = {}
    agent = _user_agent(library_name, library_version, user_agent)
    for name, value in (headers or {}).items():
        kind = name.lower()
        scheme, _, secret = value.partition(" ")
        if kind == "authorization" and scheme.lower() == "bearer" and secret:
            token = secret
        elif kind == "user-agent":
            agent = value
        elif kind == "authorization":
            raise invalid("headers", f"{name!r} can only be sent as 'Bearer' and a token")
        else:
            others[name] = value
    options: dict[str, Any] = {
        "endpoint": endpoint,
        "token": _token(token),
        "cache_dir": None if cache_dir is None else real_path(cache_dir),
        "max_concurrent_downloads": max_concurrent_downloads,
        "user_agent": agent,
    }
    key = (*options.values(), *others.items(), _environment(), _stamp(_token_file()))
    found = _kept.get(key)
    if found is None:
        found = _kept.setdefault(key, Client(**options, headers=others))
        for oldest in list(_kept)[:-_MOST]:
            _kept.pop(oldest, None)
    return found


def real_path(path: str | PathLike[str]) -> str:
    """Returns an absolute path without links and "~", as huggingface_hub makes it of folders."""
    return os.path.realpath(os.path.expanduser(path))


def _token(token: Token) -> str | Literal[False] | None:
    """Returns what `Client` is given for it."""
    if token is True:
        found = _saved_token()
        if not found:
            message = (
                "token=True, but there is no token: set HF_TOKEN, log in with `hf auth login`, "
                "or pass the token"
            )
            details = {"kind": "unauthorized", "field": "token"}
            raise make(lib.XET_CODE_AUTH_FAILED, message, details)
        return found
    if token is False or token is None or isinstance(token, str):
        return token
    message = f"token: expected a str or a bool, not {type(token).__name__}"
    raise TypeError(message)


def _saved_token() -> str | None:
    """Returns this machine's token, also where HF_HUB_DISABLE_IMPLICIT_TOKEN keeps it back."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        value = os.environ.get(name)
        if value:
            return value.strip()
    try:
        with open(_token_file(), encoding="utf-8", errors="replace") as file:
            return file.read().replace("\r", "").replace("\n", "").strip()
    except FileNotFoundError:
        return None


def _token_file() -> str:
    """Returns where `hf auth login` saves the token."""
    path = os.environ.get("HF_TOKEN_PATH")
    if not path:
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        home = os.environ.get("HF_HOME") or os.path.join(caches, "huggingface")
        path = os.path.join(home, "token")
    return os.path.expanduser(os.path.expandvars(path))


def _stamp(path: str) -> tuple[int, ...] | None:
    """Returns what changes with a file: who logs in meanwhile is asked for by the next call."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _environment() -> tuple[tuple[str, str | None], ...]:
    """Returns the variables that a client reads."""
    names = [
        name
        for name in os.environ  # a copy of the names, which other threads may change
        if name.startswith(_PREFIXES) or name in _NAMES or name.lower().endswith("_proxy")
    ]
    return tuple([(name, os.path.expandvars(os.environ.get(name, ""))) for name in sorted(names)])


def _user_agent(name: str | None, version: str | None, more: UserAgent) -> str | None:
    """Returns what stands before our own User-Agent, in huggingface_hub's form."""
    parts = [] if name is None else [f"{name}/{version}"]
    if isinstance(more, str):
        parts.append(more)
    elif more is not None:
        parts += [f"{key}/{value}" for key, value in more.items()]
    return "; ".join(parts) or None
