"""Origins of an xet-hub that can't be had while the others answer.

with out_of_reach(hub, "dropped", origin="cas") as host:
    ...
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub


@contextmanager
def out_of_reach(hub: Hub, way: str, *, origin: str = "storage") -> Iterator[str]:
    """Has the origin, for as long as this lasts, where it can't be had; gives its host's name.

    The plain bytes of files stay where they are.
    """
    with socket.socket() as closed, socket.socket() as deaf:
        for one in (closed, deaf):
            one.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # The queue of those that wait to be let in is full: what else comes is dropped.
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:
                one.settimeout(0)
                one.connect_ex(deaf.getsockname())
            here = {
                "refused": f"http://127.0.0.1:{closed.getsockname()[1]}",
                "unknown host": "http://no-such-host.invalid",
                "dropped": f"http://127.0.0.1:{deaf.getsockname()[1]}",
                "not TLS": hub.storage.replace("http:", "https:"),
            }
            url = here.get(way, getattr(hub, origin))
            hub.announce(bridge=hub.storage, **{origin: url})
            yield url.partition("://")[2]
        finally:
            hub.announce()
            hub.clear_faults()
            for one in waiting:
                one.close()
