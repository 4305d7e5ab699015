"""One node of ``bench/fleet.py``: makes a client, says so, waits for its turn, and downloads.

``fleet_node.py ENDPOINT REPO CACHE SHARED`` prints what its download took, as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from xet_ffi import Client


def main() -> None:
    """Downloads a snapshot when there is a line on standard input."""
    endpoint, repo, cache, shared = sys.argv[1:]
    with Client(endpoint, token=False, cache_dir=cache, shared_cache=shared) as client:
        print("ready", flush=True)
        sys.stdin.readline()
        begun = time.monotonic()
        done = client.download_snapshot(repo)
        seconds = time.monotonic() - begun
    closed = time.monotonic() - begun - seconds
    print(
        json.dumps(
            {
                "seconds": seconds,
                "closing": closed,
                "network": done.bytes_network,
                "shared": done.bytes_shared,
                "errors": done.tier_errors,
                "path": str(done.path),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
