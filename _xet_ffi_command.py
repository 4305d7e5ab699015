"""The program `xet-ffi`: `xet_ffi.cli`, and what comes before it.

Reading the package takes most of a short command's time. Ctrl-C ends the process meanwhile, as it
does with any program, and without a traceback of half an import. It's no part of the package, since
whoever imports from there has it all.
"""

from __future__ import annotations

import signal


def main() -> int:
    """Runs the command and returns its exit status."""
    # A shell's background jobs ignore it, and go on doing so.
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from xet_ffi.cli import main as run

    if is_heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()
