"""`python -m xet_ffi`: see `xet_ffi.cli`."""

from __future__ import annotations

import sys

from xet_ffi.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
