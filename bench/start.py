"""How long a program waits before it can ask for its first file: ``start.py CLIENT``, seconds as JSON."""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Imports the client that the argument names and makes it ready."""
    started = time.perf_counter()
    if sys.argv[1] == "ours":
        import xet_ffi

        xet_ffi.Client()
    else:
        from huggingface_hub import snapshot_download  # noqa: F401
    json.dump({"seconds": time.perf_counter() - started}, sys.stdout)


if __name__ == "__main__":
    main()
