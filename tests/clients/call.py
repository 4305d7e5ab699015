"""Calls methods of HfApi, of whichever huggingface_hub this Python has.

Standard input is `{"endpoint", "token", "calls": [[method, arguments], ...]}`, standard output the
list of what they returned; one JSON each. Objects become their attributes. XET_FFI_SITE is where
xet_ffi is installed, if that is another Python's folder.
"""

from __future__ import annotations

import json
import os
import site
import sys
from collections.abc import Iterator
from typing import Any

if "XET_FFI_SITE" in os.environ:
    # Behind this Python's own packages; its .pth files count, as that of xet_ffi.
    site.addsitedir(os.environ["XET_FFI_SITE"])

from huggingface_hub import HfApi


def plain(value: Any) -> Any:
    """What JSON has no word for: listings come as iterators, entries as objects."""
    if isinstance(value, Iterator):
        return list(value)
    return vars(value) if hasattr(value, "__dict__") else str(value)


def main() -> None:
    """Reads the calls, and makes them one after the other."""
    asked = json.load(sys.stdin)
    api = HfApi(endpoint=asked["endpoint"], token=asked["token"])
    answers = [
        json.dumps(getattr(api, method)(**arguments), default=plain)
        for method, arguments in asked["calls"]
    ]
    # On a line of its own: some hf_xet log to where answers go.
    sys.stdout.write(f"\n[{','.join(answers)}]")


main()
