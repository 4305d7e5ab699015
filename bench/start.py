"""How long a program waits before it can ask for its first file: ``start.py CLIENT``."""

from __future__ import annotations

import sys
import time

from report import report


def main() -> None:
    """Imports the client that the argument names and makes it ready."""
    started = time.perf_counter()
    if sys.argv[1] == "ours":
        import xet_ffi

        xet_ffi.Client()
    else:
        from huggingface_hub import snapshot_download  # noqa: F401
    report(time.perf_counter() - started)


if __name__ == "__main__":
    main()
