"""Plain HTTP requests, for what a client would hide: redirects, headers, broken bodies."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: Seconds without a byte after which a request fails.
TIMEOUT = 20.0


@dataclass(frozen=True)
class Answer:
    """A response, redirects not followed."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def __getitem__(self, header: str) -> str:
        value = self.headers[header]
        assert value is not None, f"no {header} header in {self.headers.items()}"
        return str(value)


def request(
    method: str,
    url: str,
    *,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | str | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """Sends one request over a connection of its own."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        all_headers = dict(headers or {})
        if token is not None:
            all_headers["Authorization"] = f"Bearer {token}"
        connection.request(method, target, body=body, headers=all_headers)
        response = connection.getresponse()
        return Answer(response.status, response.msg, response.read())
    finally:
        connection.close()


def get(url: str, **options: Any) -> Answer:
    """Sends a GET request."""
    return request("GET", url, **options)
