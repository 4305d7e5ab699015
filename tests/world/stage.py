"""What is on the hub of the world's tests, who may change it, and servers that are no hub."""

from __future__ import annotations

import socket
import threading
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from hub import Hub

TOKEN = Token("alice", "hf_alice_secret")


@dataclass(frozen=True)
class Model:
    """A repo with a file of Git's, one of LFS's, and one of Xet's."""

    repo_id: str
    files: dict[str, bytes]


def name_certificates(
    monkeypatch: pytest.MonkeyPatch, variable: str, content: bytes | None, place: Path
) -> None:
    """Has `variable` name a file of certificates, or a folder with one; None: nothing is there."""
    if content is not None:
        file = place / "x.pem" if variable.endswith("DIR") else place
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    monkeypatch.setenv(variable, str(place))


def publish(hub: Hub, files: dict[str, bytes], repo_id: str | None = None) -> tuple[str, str]:
    """Adds files to a repo, which is new unless it's named. Returns its name and the commit."""
    from xet_ffi import Client, CommitAdd

    with Client(hub.endpoint, TOKEN.secret) as client:
        if repo_id is None:
            repo_id = f"alice/w-{uuid.uuid4().hex[:12]}"
            client.create_repo(repo_id)
        adds = [CommitAdd(path, content) for path, content in files.items()]
        commit = client.create_commit(repo_id, adds)
    hub.reset_stats()
    return repo_id, commit.oid


@contextmanager
def server(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that speaks to each connection like this; gives its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        speak(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
