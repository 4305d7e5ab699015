"""What is in dist/, with a C library that is older than this machine's.

`make dist-test DIST_OLDER=bullseye` on Debian. XET_OLDER is a folder with the glibc of that release,
which `native/packaging/debian` unpacked.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dist.conftest import ALICE, BUILD, MACHINE, MODEL, OLDER, ZIG, run

if TYPE_CHECKING:
    from hub import Hub

LIBRARIES = Path(OLDER) / "lib" / f"{MACHINE}-linux-gnu"


def loader(*more: Path) -> list[str | Path]:
    """Begins a command whose program has that glibc, and else what is in these folders."""
    (program,) = LIBRARIES.glob("ld-linux-*.so.*")
    return [program, "--library-path", ":".join(map(str, (LIBRARIES, *more)))]


def test_a_c_program_downloads_with_an_older_glibc(
    prefix: Path, hub: Hub, tmp_path: Path
) -> None:
    """The tarball's example, which loads the very library that is in the wheel."""
    said = run(*loader(), LIBRARIES / "libc.so.6")
    older, ours = (
        [*map(int, re.findall(r"\d+", version))]
        for version in (said.split("version ")[1].split()[0], platform.libc_ver()[1])
    )
    assert [2, 17] <= older < ours
    program = tmp_path / "example"
    library: list[str | Path] = ["-I", prefix / "include", "-L", prefix / "lib", "-lxet"]
    run(*ZIG, prefix / "example/download.c", "-o", program, *library)
    command = [*loader(prefix / "lib"), program]
    assert f"libc.so.6 => {LIBRARIES}" in run(command[0], "--list", *command[1:])
    home = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": ALICE.secret, "HF_HOME": str(tmp_path)}
    said = run(*command, "alice/model", "model.bin", cwd=tmp_path, **home)
    assert Path(said.strip()).read_bytes() == MODEL


def test_the_hub_runs_with_an_older_glibc() -> None:
    """As `uvx xet-hub` brings it."""
    assert run(*loader(), BUILD / "xet-hub", "--version").split()[0] == "xet-hub"
