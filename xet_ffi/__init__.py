"""Verified, resumable downloads and uploads of Hugging Face repos over the Xet protocol.

    from xet_ffi import Client

    with Client() as client:
        transfer = client.download_file("org/name", "model.onnx", progress=True)
        with open(transfer, "rb") as file: ...
        with client.open("org/name", "model.onnx") as file:
            header = file.read(64)
        client.upload_file("model.onnx", "model.onnx", "org/other")

Every file is checked against the hash that the Hub published before it gets its name. The cache
and the environment variables are those of huggingface_hub. Errors are subclasses of `XetError` and
of the builtin that fits. Logs go to the logger "xet_ffi" of Python's `logging`; where a process
doesn't use that, `RUST_LOG` sends them to stderr.
"""

from __future__ import annotations

from xet_ffi import cache as cache
from xet_ffi._downloading import FileTransfer, Transfer
from xet_ffi._errors import (
    AuthError,
    CancelledError,
    ChecksumMismatchError,
    ClosedError,
    ConflictError,
    EntryNotFoundError,
    GatedRepoError,
    InvalidConfigError,
    IoError,
    LocalEntryNotFoundError,
    MadeCommit,
    NetworkError,
    NoSpaceError,
    NotFoundError,
    OfflineError,
    PermissionDeniedError,
    RateLimitedError,
    RepoDisabledError,
    RepoNotFoundError,
    RevisionNotFoundError,
    TransferTimeoutError,
    UnknownError,
    XetError,
)
from xet_ffi._listing import FileInfo, Listing
from xet_ffi._operations import CommitAdd, CommitCopy, CommitDelete
from xet_ffi._planning import Plan, PlannedFile
from xet_ffi._progress import Progress
from xet_ffi._reading import File, FileReport
from xet_ffi._uploading import Commit, RepoUrl
from xet_ffi._version import __version__
from xet_ffi.client import Client, ClientInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from xet_ffi import aio as aio
    from xet_ffi import fs as fs
    from xet_ffi import hf_xet as hf_xet
    from xet_ffi import hub as hub
    from xet_ffi import safetensors as safetensors
    from xet_ffi.aio import AsyncClient as AsyncClient
    from xet_ffi.aio import AsyncFile as AsyncFile

__all__ = [
    "AuthError",
    "CancelledError",
    "ChecksumMismatchError",
    "Client",
    "ClientInfo",
    "ClosedError",
    "Commit",
    "CommitAdd",
    "CommitCopy",
    "CommitDelete",
    "ConflictError",
    "EntryNotFoundError",
    "File",
    "FileInfo",
    "FileReport",
    "FileTransfer",
    "GatedRepoError",
    "InvalidConfigError",
    "IoError",
    "Listing",
    "LocalEntryNotFoundError",
    "MadeCommit",
    "NetworkError",
    "NoSpaceError",
    "NotFoundError",
    "OfflineError",
    "PermissionDeniedError",
    "Plan",
    "PlannedFile",
    "Progress",
    "RateLimitedError",
    "RepoDisabledError",
    "RepoNotFoundError",
    "RepoUrl",
    "RevisionNotFoundError",
    "Transfer",
    "TransferTimeoutError",
    "UnknownError",
    "XetError",
    "__version__",
]


def __getattr__(name: str) -> ModuleType | type:
    """Imports these at their first use: most programs never do."""
    from importlib import import_module

    if name in {"aio", "fs", "hf_xet", "hub", "safetensors"}:
        return import_module(f"xet_ffi.{name}")
    if name in {"AsyncClient", "AsyncFile"}:
        return getattr(import_module("xet_ffi.aio"), name)  # type: ignore[no-any-return]
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


# Tracebacks, pickles and help() show the public name, not the module that happens to hold it.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
del _name
