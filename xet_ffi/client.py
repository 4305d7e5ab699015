"""The client: one Hub, one identity, one cache."""

from __future__ import annotations

from xet_ffi import _layout, _logs
from xet_ffi._dataclass import dataclass
from xet_ffi._downloading import download_file, download_snapshot
from xet_ffi._errors import check
from xet_ffi._handle import Handle
from xet_ffi._lib import ffi, lib
from xet_ffi._listing import list_files, resolve
from xet_ffi._planning import plan_snapshot
from xet_ffi._reading import open  # noqa: A004 - nothing here opens another file
from xet_ffi._strings import text
from xet_ffi._structs import Struct
from xet_ffi._uploading import (
    create_branch,
    create_commit,
    create_repo,
    upload_file,
    upload_folder,
)
from xet_ffi.cache import cache_index, cache_prune, cache_remove, cache_usage, cache_verify
from xet_ffi.storage import hash_files, storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from types import TracebackType
    from typing import Literal

    from typing_extensions import Self

    from xet_ffi._lib import CData

_TRANSPORTS = {name: number for number, name in _layout.TRANSPORTS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """What a client works with, as it was found when the client was made. Immutable.

    Attributes:
        endpoint: Address of the Hub, without a slash at its end.
        cache_dir: Root of the Hub cache; absolute.
        xet_cache_dir: Where Xet state lives, the index of what is on this machine too; absolute.
        token_source: Where the token comes from: "argument", the name of an environment variable,
            the absolute path of the token file, or "none". Never the token.
        transport: "auto", "xet" or "http".
        max_concurrent_downloads: Files in flight at a time.
        anonymous: No token is sent, whatever the environment holds.
        offline: The network isn't used, whether an argument or the environment says so.
    """

    endpoint: str
    cache_dir: str
    xet_cache_dir: str
    token_source: str
    transport: str
    max_concurrent_downloads: int
    anonymous: bool
    offline: bool

    @classmethod
    def from_native(cls, info: CData) -> ClientInfo:
        """Copies a `const XetClientInfo *`."""
        return cls(**_layout.client_info(info))


class Client:
    """Lists, downloads, reads and uploads the repos of one Hub, with one identity and one cache.

    A client is cheap to make, uses no network before its first call, and serves many threads at a
    time. It can be used after `os.fork()`; it can't be pickled.

    Args:
        endpoint: Address of the Hub. Default: `HF_ENDPOINT`, else https://huggingface.co.
        token: User access token; False sends none. Default, also if it's blank: `HF_TOKEN`, else
            the token that `hf auth login` saved, else none.
        cache_dir: Root of the Hub cache. Default: `HF_HUB_CACHE`, else `$HF_HOME/hub`.
        max_concurrent_downloads: Large files (over 512 KiB) in flight at a time over all calls, 1
            to 256. Default: 8. Smaller files don't wait for them. Of 8 and more, one call has at
            most seven eighths.
        user_agent: Put before the library's own User-Agent, such as "my-service/1.2".
        offline: Never use the network. Default: `HF_HUB_OFFLINE`.
        connect_timeout: Longest wait for a connection, in seconds. Default: 10.
        first_byte_timeout: Longest wait for an answer to begin, in seconds, connecting included.
            Default: `read_timeout`, if that is given, else 15.
        read_timeout: Longest silence within an answer, in seconds. Default:
            `HF_HUB_DOWNLOAD_TIMEOUT`, else 10.
        min_speed: Bytes per second below which an answer counts as silent, once it has been that
            slow for half of `read_timeout`; 0: however slow it is. Default: 2,048.
        headers: Go to the Hub with each request, and to nobody else: neither to storage, nor to
            where the Hub redirects to. "authorization", "user-agent" and what requests have of
            their own can't be among them.
        max_bytes_per_second: The most content that all calls together receive. Default: no limit.
        max_attempts: Attempts per request, 1 to 20; after a timeout there are 3 at most. Default:
            6.
        shared_cache: Where the nodes of a deployment share what they have fetched:
            "redis://[user:password@]host:port[/db]", "rediss://..." for TLS,
            "redis+unix:///socket", or "file:///folder" on a disk that all of them see; "none" for
            nowhere. Whatever becomes of it, files are right. Default: `XET_FFI_SHARED_CACHE`, else
            "none".
        shared_cache_secret: The secret of that deployment, which all of its nodes have: names
            and keys there are derived from it. Default: `XET_FFI_SHARED_CACHE_SECRET`, else none.
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
        headers: Mapping[str, str] | None = None,
        shared_cache: str | None = None,
        shared_cache_secret: str | None = None,
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
        options.count("max_bytes_per_second", max_bytes_per_second)
        options.choice("transport", transport, _TRANSPORTS)
        options.headers("headers", headers)
        options.text("shared_cache", shared_cache)
        options.text("shared_cache_secret", shared_cache_secret)
        options.flag(lib.XET_CLIENT_ANONYMOUS, on=token is False)
        options.flag(lib.XET_CLIENT_OFFLINE, on=offline)
        _logs.follow()
        out = ffi.new("XetClient **")
        check(lib.xet_client_create(options.pointer, out))
        self._handle = Handle(out[0], lib.xet_client_free, "client")
        info = self._native_info()
        self._endpoint = text(info.endpoint)

    def info(self) -> ClientInfo:
        """Says what the client works with. Uses no network.

        >>> with Client("http://127.0.0.1:9/", token="hf_...", offline=True) as client:
        ...     info = client.info()
        >>> info.endpoint, info.token_source, info.offline
        ('http://127.0.0.1:9', 'argument', True)
        """
        return ClientInfo.from_native(self._native_info())

    def _native_info(self) -> CData:
        out = ffi.new("XetClientInfo **")
        check(lib.xet_client_info(self._handle.pointer(), out))
        return ffi.gc(out[0], lib.xet_client_info_free)

    # Each is in the module of its section, as it is in the header.
    list_files = list_files
    resolve = resolve
    download_file = download_file
    download_snapshot = download_snapshot
    plan_snapshot = plan_snapshot
    open = open
    upload_file = upload_file
    upload_folder = upload_folder
    create_commit = create_commit
    create_repo = create_repo
    create_branch = create_branch
    storage = storage
    hash_files = hash_files
    cache_usage = cache_usage
    cache_verify = cache_verify
    cache_remove = cache_remove
    cache_prune = cache_prune
    cache_index = cache_index

    def close(self) -> None:
        """Closes the client. Calls that other threads have begun finish normally; later ones fail.

        Closing twice is fine, and so is not closing: the garbage collector does it, too.
        """
        self._handle.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._handle.closed

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
