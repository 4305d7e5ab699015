"""How the tests compile Go: in the module `go/`, with the library of this tree."""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import TYPE_CHECKING

from abi.toolchain import ROOT, static_library

if TYPE_CHECKING:
    from pathlib import Path

PKG_CONFIG_PATH = ROOT / "native" / "target" / "pkgconfig"


def build(
    source: Path, program: Path, *, pkg_config: Path = PKG_CONFIG_PATH, static: bool = False
) -> Path:
    """Builds a Go file, wherever it lies, as a program of the module, and returns the program."""
    if not (pkg_config / "xet.pc").is_file():
        message = f"no xet.pc in {pkg_config}: run `make pkgconfig`"
        raise FileNotFoundError(message)
    environ = {**os.environ, "PKG_CONFIG_PATH": str(pkg_config)}
    if pkg_config != PKG_CONFIG_PATH:
        # Go's cache doesn't ask pkg-config again, only the compiler's flags tell builds apart.
        name = hashlib.sha256(str(pkg_config).encode()).hexdigest()
        environ["CGO_CFLAGS"] = f"-g -O2 -DXET_PKG_CONFIG_{name}"
    command = ["go", "build", "-buildvcs=false", "-o", str(program)]
    if static:
        # Go's cache doesn't know when libxet.a has changed; this names its content.
        content = hashlib.sha256(static_library().read_bytes()).hexdigest()
        command += ["-tags", "xet_static", f"-ldflags=-X main.libxet={content}"]
    else:
        command += ["-tags", "xet_system"]
    done = subprocess.run(
        [*command, str(source)],
        cwd=ROOT / "go",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return program
