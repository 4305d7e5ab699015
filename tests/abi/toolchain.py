"""What the ABI tests share: where the header and the libraries are, and how C is compiled."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HEADER = ROOT / "xet_ffi" / "xet.h"
TARGET = ROOT / "native" / "target" / "release"
SUFFIX = "dylib" if sys.platform == "darwin" else "so"
#: What programs that are linked with the library look for.
SONAME = f"libxet.0.{SUFFIX}" if sys.platform == "darwin" else f"libxet.{SUFFIX}.0"

C = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic")
CXX = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic")

# What the static library needs of the system: `cargo rustc --lib -- --print native-static-libs`.
STATIC_LIBS = (
    ("-framework", "Security", "-framework", "CoreFoundation", "-framework", "SystemConfiguration")
    if sys.platform == "darwin"
    else ("-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc")
)


def shared_library() -> Path:
    """The library under test: that of XET_FFI_LIBRARY, else cargo's release build."""
    path = Path(os.environ.get("XET_FFI_LIBRARY") or TARGET / f"libxet.{SUFFIX}")
    return _existing(path)


def static_library() -> Path:
    """The static library of cargo's release build."""
    return _existing(TARGET / "libxet.a")


def _existing(path: Path) -> Path:
    if not path.is_file():
        message = f"{path} is missing: run `make native`"
        raise FileNotFoundError(message)
    return path.resolve()


@functools.cache
def script(name: str) -> Any:
    """A script at the root of the tree, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


@functools.cache
def declarations() -> str:
    """What CFFI reads of xet.h, found the way build_ffi.py does it."""
    text: str = script("build_ffi").declarations(HEADER.read_text(encoding="utf-8"))
    return text


@functools.cache
def ffi() -> Any:
    """CFFI, with the declarations of xet.h."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(declarations())
    return ffi


@functools.cache
def plain_declarations() -> str:
    """The declarations without their comments."""
    return re.sub(r"/\*.*?\*/", "", declarations(), flags=re.DOTALL)


def functions() -> set[str]:
    """The functions that xet.h declares."""
    return set(re.findall(r"^[\w ]+?\**(xet_\w+)\(", plain_declarations(), flags=re.MULTILINE))


def constants() -> set[str]:
    """The numbers that xet.h names, by #define or in an enum."""
    return set(re.findall(r"\b(XET_[A-Z0-9_]+)(?: = | )-?\d+", plain_declarations()))


@dataclass(frozen=True)
class Compiled:
    """How a compilation ended."""

    worked: bool
    messages: str
    program: Path


def compile_c(
    sources: Sequence[Path], program: Path, flags: Sequence[str] = C, libs: Sequence[str] = ()
) -> Compiled:
    """Compiles and links `sources`; with "-c" among the flags, only compiles."""
    default = "c++" if any("c++" in flag for flag in flags) else "cc"
    compiler = os.environ.get("CXX" if default == "c++" else "CC") or default
    command = [*compiler.split(), *flags, f"-I{HEADER.parent}", *map(str, sources)]
    command += ["-o", str(program), *libs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Compiled(done.returncode == 0, done.stderr, program)


def build(
    sources: Sequence[Path], program: Path, flags: Sequence[str] = C, *, static: bool = False
) -> Path:
    """Builds a program with libxet and returns it; compiler messages become the assertion's text.

    The shared library is found at run time by its soname, through the LD_LIBRARY_PATH that
    `environment` sets.
    """
    library = static_library() if static else shared_library()
    system = STATIC_LIBS if static else ("-lpthread",)
    compiled = compile_c(sources, program, flags, [str(library), *system])
    assert compiled.worked, compiled.messages
    return compiled.program


def environment(**more: str) -> dict[str, str]:
    """An environment in which programs find the library under test, and nothing else of the user's.

    No tokens and endpoints, no proxies, no RUST_LOG, and no index of what else is on this machine.
    """
    kept = ("PATH", "HOME", "TMPDIR", "LANG")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    path = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    fixed = {path: str(shared_library().parent), "XET_FFI_REUSE_INDEX_BYTES": "0"}
    return {**found, **fixed, **more}


def run(
    command: Sequence[str | Path], timeout: float = 120, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program in that environment."""
    return subprocess.run(
        [str(part) for part in command],
        env=environment(**environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def valgrind() -> str | None:
    """Valgrind, if this machine has it."""
    return shutil.which("valgrind")


#: How it is asked for errors, which end a program with 9. Only what is lost for certain is one:
#: Rust's hash tables and thread handles are held by pointers to their middle, which valgrind takes
#: for accidental. LeakSanitizer doesn't.
VALGRIND_FLAGS = (
    "--quiet",
    f"--suppressions={HERE / 'valgrind.supp'}",
    "--error-exitcode=9",
    "--fair-sched=yes",
    "--leak-check=full",
    "--errors-for-leak-kinds=definite",
    "--show-leak-kinds=definite",
)
