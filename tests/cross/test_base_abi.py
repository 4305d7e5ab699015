"""Programs that were built for the base interface, from C and from Go, run with today's library.

They are linked with a library that has the base functions and no others, as the library of their
time did, and then find today's in its place.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import HERE as ABI
from abi.toolchain import SONAME, SUFFIX, compile_c, run
from cross import golang
from cross.conftest import ALICE, HERE
from picture import contents
from published import VARIETY, VARIETY_LFS

if TYPE_CHECKING:
    from pathlib import Path

    from cross.conftest import Published

MODEL = {**VARIETY, **VARIETY_LFS}

PKG_CONFIG = """\
Name: base
Description: libxet as it was
Version: 1.0.0
Cflags: -I{include}
Libs: -L{folder} -lxet
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same program in C and in Go, linked with the library of their time."""
    folder = tmp_path_factory.mktemp("base")
    header = (ABI / "base_abi.h").read_text(encoding="utf-8")
    names = re.findall(r"\b(xet_\w+)\(", header)
    assert len(names) == 10
    source = folder / "then.c"
    source.write_text("".join(f"void {name}(void);\nvoid {name}(void) {{}}\n" for name in names))
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{SONAME}"]
    then = compile_c([source], folder / f"libxet.{SUFFIX}", flags)
    assert then.worked, then.messages
    # golang.build knows a folder of pkg-config files by its xet.pc.
    for name in ("base", "xet"):
        text = PKG_CONFIG.format(include=ABI, folder=folder)
        (folder / f"{name}.pc").write_text(text)
    c = compile_c([ABI / "base_client.c"], folder / "c", libs=[str(then.program), "-lpthread"])
    assert c.worked, c.messages
    go = golang.build(HERE / "base_client.go", folder / "go", pkg_config=folder)
    return {"C": c.program, "Go": go}


CALLS = {
    "a listing": ("list", "alice/model", "-"),
    "a listing of main": ("list", "alice/model", ""),
    "a file": ("file", "alice/model", "models", "-", "model.safetensors", "-"),
    "a file with a Unicode name": (
        "file",
        "alice/model",
        "model",
        "main",
        "ünï cödé/文件 ☃.txt",
        "LOCAL",
    ),
    "a snapshot": ("snapshot", "alice/model", "-", "-", "-"),
    "a snapshot in a folder": ("snapshot", "alice/data", "dataset", "", "LOCAL"),
    "a malformed repo id": ("list", "a/b/c", "-"),
    "an unknown repo": ("list", "alice/nothing", "-"),
    "an unknown file": ("file", "alice/model", "-", "-", "no.bin", "-"),
    "a path out of the repo": ("file", "alice/model", "-", "-", "../x", "-"),
}


@pytest.mark.parametrize("case", CALLS)
def test_they_do_today_what_they_did(
    programs: dict[str, Path], published: Published, tmp_path: Path, case: str
) -> None:
    """The same lines and the same files, in both languages."""
    seen = {}
    for language, program in programs.items():
        cache, local = tmp_path / language / "cache", tmp_path / language / "local"
        arguments = [str(local) if part == "LOCAL" else part for part in CALLS[case]]
        command = [str(program), published.hub.endpoint, ALICE.secret, str(cache)]
        done = run([*command, *arguments], HOME=str(tmp_path))
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert done.stdout
        text = re.sub(r'"request_id":"[^"]*"', "", done.stdout)
        files = contents(tmp_path / language) if (tmp_path / language).exists() else {}
        seen[language] = (text.replace(str(tmp_path / language), "HERE"), files)
    assert seen["Go"][0] == seen["C"][0]
    assert {*seen["Go"][1]} == {*seen["C"][1]}
    if case == "a snapshot":
        folder = f"cache/models--alice--model/snapshots/{published.model}"
        found = {path: seen["Go"][1][f"{folder}/{path}"] for path in MODEL}
        assert found == MODEL


def test_they_can_be_cancelled(
    programs: dict[str, Path], published: Published, tmp_path: Path
) -> None:
    """In the middle of the bytes, with the code that they know."""
    published.hub.fault("storage", stall_after_bytes=1_000_000)
    for language, program in programs.items():
        command = [str(program), published.hub.endpoint, ALICE.secret, str(tmp_path / language)]
        done = run([*command, "cancel", "alice/model", "model.safetensors"], HOME=str(tmp_path))
        error, asked = (line.split("\t") for line in done.stdout.splitlines())
        assert error[:2] == ["error", "7"], language
        assert json.loads(error[3])["kind"] == "cancelled"
        assert asked == ["asked", "1"]


def test_a_bad_configuration_is_no_client(programs: dict[str, Path], tmp_path: Path) -> None:
    """As it was: NULL."""
    for program in programs.values():
        done = run([program, "not a url", "-", tmp_path, "list", "a/b", "-"])
        assert (done.returncode, done.stdout) == (0, "no client\n")
