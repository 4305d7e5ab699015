"""XetSession: where groups, commits and streams begin."""

from __future__ import annotations

import os

from xet_ffi._errors import XetError
from xet_ffi.client import Client
from xet_ffi.hf_xet._arguments import expect, header_fields, unsigned
from xet_ffi.hf_xet._config import XetConfig
from xet_ffi.hf_xet._downloads import XetFileDownloadGroup
from xet_ffi.hf_xet._errors import raise_translated
from xet_ffi.hf_xet._ids import XetTaskState
from xet_ffi.hf_xet._polling import Rates
from xet_ffi.hf_xet._streams import XetDownloadStreamGroup
from xet_ffi.hf_xet._uploads import XetUploadCommit
from xet_ffi.hf_xet._weak import Noted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Any, TypeAlias

    from xet_ffi.storage import Storage

    Headers: TypeAlias = dict[str, str]

_NO_HUB = "http://localhost"
"""A session has nothing to do with a Hub, whatever HF_ENDPOINT says."""
_LOCAL = "local://"
_LONGEST = 86_399.0
"""Seconds that a client may be told to wait, which is below a day; hf_xet knows no limit."""
_MOST_ATTEMPTS = 20
_MOST_DOWNLOADS = 256
_IN_NAMES = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
USER_AGENT = "hf_xet/1.8.0+xet.ffi"
"""As _xet_ffi_switch has it."""


class XetSession:
    """What groups have in common: settings, connections, limits. It serves many threads.

    Args:
        config: Settings. Default: those of the environment.
    """

    __slots__ = ("__weakref__", "_client", "_config", "_groups", "_id", "_interrupted")

    def __init__(self, config: XetConfig | None = None) -> None:
        self._config = XetConfig() if config is None else expect(config, XetConfig)
        self._id = os.urandom(16).hex()
        self._interrupted = False
        try:
            self._client = _client_for(self._config)
        except XetError as error:
            raise_translated(error)
        self._groups = Noted()

    def new_upload_commit(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        token_expiry_unix_secs: int | None = None,
        token_refresh_url: str | None = None,
        token_refresh_headers: Headers | None = None,
        custom_headers: Headers | None = None,
        progress_callback: Callable[..., Any] | None = None,
        progress_interval_ms: int = 100,
    ) -> XetUploadCommit:
        """Begins a commit of uploads.

        Args:
            endpoint: The CAS, or "local://DIR". Default: where `token_refresh_url` says that it is,
                which is asked at once; without that, `data.default_cas_endpoint`.
            token: A token; counts only with its end.
            token_expiry_unix_secs: Its end, in seconds since 1970.
            token_refresh_url: Asked for another token by GET.
            token_refresh_headers: Go there, and nowhere else.
            custom_headers: Go to the CAS with each request, and nowhere else.
            progress_callback: Called with a GroupProgressReport, and a dictionary of each file's
                ItemProgressReport, on a thread of its own, and once more by `wait_to_finish`.
            progress_interval_ms: The time between two calls, in milliseconds.
        """
        storage = self._storage(
            endpoint,
            token,
            token_expiry_unix_secs,
            token_refresh_url,
            token_refresh_headers,
            custom_headers,
        )
        interval = unsigned("progress_interval_ms", progress_interval_ms) / 1000
        native = begun(storage.uploads)
        group = XetUploadCommit.begin(native, "commit", progress_callback, interval, self._rates())
        self.begins(group)
        return group

    def new_file_download_group(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        token_expiry_unix_secs: int | None = None,
        token_refresh_url: str | None = None,
        token_refresh_headers: Headers | None = None,
        custom_headers: Headers | None = None,
        progress_callback: Callable[..., Any] | None = None,
        progress_interval_ms: int = 100,
    ) -> XetFileDownloadGroup:
        """Begins a group of downloads. The arguments are those of `new_upload_commit`."""
        storage = self._storage(
            endpoint,
            token,
            token_expiry_unix_secs,
            token_refresh_url,
            token_refresh_headers,
            custom_headers,
        )
        interval = unsigned("progress_interval_ms", progress_interval_ms) / 1000
        native = begun(storage.downloads)
        group = XetFileDownloadGroup.begin(
            native, "group", progress_callback, interval, self._rates()
        )
        self.begins(group)
        return group

    def new_download_stream_group(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        token_expiry_unix_secs: int | None = None,
        token_refresh_url: str | None = None,
        token_refresh_headers: Headers | None = None,
        custom_headers: Headers | None = None,
    ) -> XetDownloadStreamGroup:
        """Begins a group of streams. The arguments are those of `new_upload_commit`."""
        storage = self._storage(
            endpoint,
            token,
            token_expiry_unix_secs,
            token_refresh_url,
            token_refresh_headers,
            custom_headers,
        )
        group = XetDownloadStreamGroup.begin(storage)
        self.begins(group)
        return group

    def status(self) -> XetTaskState:
        """XetTaskState.Running, always: what fails is a group."""
        return XetTaskState.Running

    def sigint_abort(self) -> None:
        """Ends all that the session does. It can't be used any more: make another one."""
        self._interrupted = True
        for group in self._groups.all():
            group.abort()

    def begins(self, group: Any) -> None:
        """Notes what `sigint_abort` is to end. Not of hf_xet."""
        self._groups.add(group)
        if self._interrupted:  # in between, and it may not have seen this one
            group.abort()
            self._check_interrupted()

    def _check_interrupted(self) -> None:
        if self._interrupted:
            message = "Keyboard interrupt (SIGINT): this session was aborted; make another one"
            raise KeyboardInterrupt(message)

    def storage(
        self,
        endpoint: str | None,
        headers: Headers | None,
        *,
        token_callback: Callable[[], tuple[str, int]] | None = None,
        **access: Any,
    ) -> Storage:
        """Opens storage, with this session's client. Not of hf_xet."""
        self._check_interrupted()
        fields = _with_agent(header_fields(headers))
        if endpoint is not None:
            expect(endpoint, str)
        elif access.get("refresh_url") is None:
            endpoint = str(self._config["data.default_cas_endpoint"])
        scheme = str(self._config["data.local_cas_scheme"])
        if endpoint is not None and scheme and endpoint.startswith(scheme):
            endpoint = _LOCAL + endpoint.removeprefix(scheme)
        try:
            return self._client.storage(
                endpoint, headers=fields, token_callback=token_callback, **access
            )
        except XetError as error:
            raise_translated(error)

    def _storage(
        self,
        endpoint: str | None,
        token: str | None,
        expires: int | None,
        refresh_url: str | None,
        refresh_headers: Headers | None,
        headers: Headers | None,
    ) -> Storage:
        for value in (token, refresh_url):
            if value is not None:
                expect(value, str)
        refresh_fields = header_fields(refresh_headers)
        if expires is not None:
            expires = unsigned("token_expiry_unix_secs", expires)
        access: dict[str, Any] = {}
        if token is not None and expires is not None:
            access = {"token": token, "token_expires": expires}
        if refresh_url is not None:
            access["refresh_url"] = refresh_url
            access["refresh_headers"] = _sendable(refresh_fields)
        return self.storage(endpoint, headers, **access)

    def _rates(self) -> Rates:
        window: timedelta = self._config["data.progress_update_speed_sampling_window"]  # type: ignore[assignment]
        least: int = self._config["data.progress_update_speed_min_observations"]  # type: ignore[assignment]
        return Rates(window.total_seconds(), least)

    def __repr__(self) -> str:
        return f'XetSession(id="{self._id}", status="Running", config={self._config!r})'


def _client_for(config: XetConfig) -> Client:
    """Returns the client of a session; _config.py says what of its settings that means."""

    def seconds(path: str) -> float | None:
        value = config.changed(path)
        return None if value is None else min(max(value.total_seconds(), 0.001), _LONGEST)

    retries = config.changed("client.retry_max_attempts")
    downloads = config.changed("data.max_concurrent_file_downloads")
    return Client(
        _NO_HUB,
        token=False,
        transport="xet",
        connect_timeout=seconds("client.connect_timeout"),
        read_timeout=seconds("client.read_timeout"),
        max_attempts=None if retries is None else min(retries + 1, _MOST_ATTEMPTS),
        max_concurrent_downloads=(
            None if downloads is None else min(max(downloads, 1), _MOST_DOWNLOADS)
        ),
    )


def begun(begin: Callable[[], Any]) -> Any:
    """Returns the group that `begin` begins."""
    try:
        return begin()
    except XetError as error:
        raise_translated(error)


def _with_agent(headers: Headers) -> Headers:
    """Returns headers with the name of this module at the end of the User-Agent."""
    checked = _sendable(headers)
    name = next((name for name in checked if name.lower() == "user-agent"), "User-Agent")
    agents = [checked[name]] if name in checked else []
    return {**checked, name: "; ".join([*agents, USER_AGENT])}


def _sendable(headers: Headers) -> Headers:
    """Returns headers, if they can be sent."""
    for name, value in headers.items():
        if not name or not _IN_NAMES.issuperset(name):
            message = f"Invalid header name {name!r}: invalid HTTP header name"
            raise ValueError(message)
        if not all(" " <= letter <= "~" or letter == "\t" for letter in value):
            # Not the value itself: it may be a token.
            message = f"Invalid header value for {name!r}: failed to parse header value"
            raise ValueError(message)
    return headers
