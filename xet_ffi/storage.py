"""Xet storage: content by its Xet hash, without a repo.

    with client.storage(cas, token=token, token_expires=expires) as storage:
        with storage.downloads() as downloads:
            downloads.add(file_hash, "model.safetensors")
        with storage.uploads() as uploads:
            uploads.add("checkpoint.bin")
        for piece in storage.open(file_hash): ...

For programs that know hashes and tokens by themselves; who has the name of a repo wants
`Client.download_file`. Content is verified, resumed and reused as it is there.
"""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._call import run, run_shown
from xet_ffi._contents import ContentStream
from xet_ffi._dataclass import dataclass
from xet_ffi._groups import (
    DedupStats,
    Downloads,
    GroupReport,
    GroupTask,
    ShardStats,
    Uploads,
)
from xet_ffi._handle import Handle, Owner
from xet_ffi._lib import ffi, lib
from xet_ffi._structs import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from typing_extensions import Unpack

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._structs import Deadlines
    from xet_ffi._tokens import TokenCallback, TokenSource
    from xet_ffi.client import Client

__all__ = [
    "Content",
    "ContentStream",
    "DedupStats",
    "Downloads",
    "GroupReport",
    "GroupTask",
    "ShardStats",
    "Storage",
    "Uploads",
]

_STORAGE = ("XetStorage", lib.xet_storage_free)
_CONTENTS = ("XetContentList", lib.xet_content_list_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Content by its hash. Immutable.

    Attributes:
        hash: The Xet hash, 64 hex digits.
        size: In bytes.
    """

    hash: str
    size: int

    @classmethod
    def from_native(cls, content: CData) -> Content:
        """Copies a `const XetContent *`."""
        return cls(**_layout.content(content))


class Storage(Owner):
    """Xet storage, and the right to it. `Client.storage` opens one.

    It serves many groups and streams, and many threads, at a time. What was begun with it goes on
    when it's closed.
    """

    __slots__ = ("__weakref__", "_tokens")

    def __init__(self, handle: Handle, tokens: TokenSource | None) -> None:
        self._handle = handle
        self._tokens = tokens

    def downloads(self, *, timeout: float | None = None) -> Downloads:
        """Begins a group of downloads.

        Args:
            timeout: Longest time for all of it, in seconds. Default: none.
        """
        return Downloads(self._handle, self._tokens, timeout)

    def uploads(self, *, timeout: float | None = None) -> Uploads:
        """Begins a group of uploads; the argument is that of `downloads`."""
        return Uploads(self._handle, self._tokens, timeout)

    def open(
        self,
        hash: str,  # noqa: A002 - it is one, and nothing here hashes
        *,
        size: int | None = None,
        start: int = 0,
        end: int | None = None,
        unordered: bool = False,
        timeout: float | None = None,
    ) -> ContentStream:
        """Opens content to be read piece by piece. Asks for nothing before the first piece.

        Args:
            hash: The Xet hash, 64 hex digits.
            size: Of the whole content, in bytes. Default: storage is asked.
            start: The first byte.
            end: The one behind the last. Default: the content's end.
            unordered: Pieces come as storage sends them, each once, in any order.
            timeout: Longest time from the first piece to the end, in seconds. Default: none.
        """
        return ContentStream(
            self._handle, self._tokens, hash, size, start, end, timeout, unordered=unordered
        )


def storage(
    self: Client,
    endpoint: str | None = None,
    *,
    token: str | None = None,
    token_expires: int | None = None,
    refresh_url: str | None = None,
    refresh_headers: Mapping[str, str] | None = None,
    token_callback: TokenCallback | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> Storage:
    """Opens Xet storage: content by its Xet hash. Uses the network only if `endpoint` is missing.

    Args:
        endpoint: The CAS: "https://...", or "local://DIR", a folder that has everything. Default:
            where `refresh_url` says that it is; without that, "http://localhost:8080".
        token: A token of the CAS. Default: none, or one from the two below.
        token_expires: Its end, in seconds since 1970. Default: it has none.
        refresh_url: Asked for a token when there is none that is good, as the Hub's routes for Xet
            tokens answer.
        refresh_headers: Go to `refresh_url`, and to nobody else.
        token_callback: Returns a token and its end instead. Runs on a thread of its own while one
            waits for this storage, and is given up after 120 seconds; what it raises is the cause
            of the AuthError of what needed the token.
        headers: Go to the CAS with each request, and never to where it says that content is.
        timeout: Longest time for the question to `refresh_url`, in seconds. Default: none.
        cancel: As for `download_file`.
        **deadlines: As for `list_files`; of all work with the storage.

    >>> with client.storage(f"local://{os.getcwd()}/cas") as storage:
    ...     with storage.uploads() as uploads:
    ...         task = uploads.add(b"weights")
    ...     content = uploads.wait_task(task).hash
    ...     b"".join(storage.open(content))
    b'weights'
    """
    options = Struct("XetStorageOptions")
    options.text("endpoint", endpoint)
    options.text("token", token)
    options.count("token_expires", token_expires, least=0)
    options.text("refresh_url", refresh_url)
    options.headers("refresh_headers", refresh_headers)
    options.headers("headers", headers)
    options.seconds("timeout", timeout)
    options.deadlines(deadlines)
    tokens = None
    if token_callback is not None:
        from xet_ffi._tokens import GET_TOKEN, TokenSource

        tokens = TokenSource(token_callback)
        options.pointer.token_callback = GET_TOKEN
        options.pointer.token_user_data = tokens.user_data
    native = run(
        lib.xet_client_open_storage, self._handle, options.pointer, _STORAGE, cancel=cancel
    )
    return Storage(Handle.adopt(native, "storage"), tokens)


def hash_files(
    self: Client,
    paths: Iterable[str | PathLike[str]],
    *,
    timeout: float | None = None,
    progress: ProgressCallback | bool | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> tuple[Content, ...]:
    """Finds out what the Xet hashes of files would be, in their order. Sends nothing.

    Args:
        paths: Files of this machine.
        timeout: Longest time for the whole call, in seconds. Default: none.
        progress: As for `download_file`.
        cancel: As for `download_file`.
        **deadlines: As for `list_files`.

    >>> [content] = client.hash_files(["checkpoint/model.safetensors"])
    >>> len(content.hash), content.size
    (64, 200000)
    """
    options = Struct("XetHashOptions")
    options.texts("paths", paths)
    options.seconds("timeout", timeout)
    options.deadlines(deadlines)
    native = run_shown(
        lib.xet_client_hash_files, self._handle, options.pointer, _CONTENTS, progress, cancel
    )
    contents = ffi.unpack(native.contents, native.count) if native.count else ()
    return tuple([Content.from_native(content) for content in contents])
