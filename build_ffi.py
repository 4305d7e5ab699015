"""Turns `xet_ffi/xet.h` into CFFI's generated module, `xet_ffi._xet_ffi`.

setuptools runs this at build time (`cffi_modules` in setup.py). The module is out-of-line and in
ABI mode: it holds the parsed declarations and no machine code, so importing it needs neither a C
compiler nor pycparser, and one wheel serves every Python version.
"""

from pathlib import Path

from cffi import FFI

HEADER = Path(__file__).resolve().parent / "xet_ffi" / "xet.h"
BEGIN = "/* begin cdef */"
END = "/* end cdef */"


def declarations(header: str) -> str:
    """Returns what stands between the markers; the rest is for the preprocessor, not for CFFI."""
    _, begin, rest = header.partition(BEGIN)
    body, end, _ = rest.partition(END)
    if not (begin and end):
        message = f"{HEADER}: no {BEGIN!r} ... {END!r}"
        raise ValueError(message)
    return body


ffi = FFI()
ffi.set_source("xet_ffi._xet_ffi", None)
ffi.cdef(declarations(HEADER.read_text(encoding="utf-8")))

if __name__ == "__main__":
    ffi.compile(tmpdir=str(HEADER.parent.parent))
