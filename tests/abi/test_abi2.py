"""A program of the time of ABI 2 works with today's library, and finds all that it knew."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from cffi import FFI

from abi.test_layout import LAYOUT, STRUCTS
from abi.toolchain import HERE, build, ffi, run, script, shared_library, valgrind

if TYPE_CHECKING:
    from pathlib import Path

    from abi.conftest import Published

FOLDER = HERE / "abi2"


def frozen() -> Any:
    """The header of ABI 2, as CFFI reads it."""
    text = script("build_ffi").declarations((FOLDER / "xet.h").read_text(encoding="utf-8"))
    then = FFI()
    then.cdef(text)
    return then


def arguments(published: Published, cache_dir: Path, tmp_path: Path, name: str) -> list[str]:
    """What the program is started with."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text(f"for {name}\n")
    hub = published.hub.endpoint
    repos = [published.repo_id, f"alice/abi2-{name}"]
    return [hub, published.token, str(cache_dir), *repos, str(folder), str(tmp_path / "local")]


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_a_program_of_abi_2_runs(
    tmp_path: Path, published: Published, cache_dir: Path, kind: str
) -> None:
    """It lists, plans, downloads, looks after its cache and uploads, as it did."""
    program = build([FOLDER / "client.c"], tmp_path / "client", static=kind == "static")
    done = run([program, *arguments(published, cache_dir, tmp_path, kind)], HOME=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(valgrind() is None, reason="this machine has no valgrind")
def test_a_program_of_abi_2_is_read_no_further_than_it_goes(
    tmp_path: Path, published: Published, cache_dir: Path
) -> None:
    """Valgrind sees no read behind its structs, and nothing of what it was given is lost."""
    program = build([FOLDER / "client.c"], tmp_path / "client")
    command = [valgrind() or "", "--quiet", "--error-exitcode=3", "--leak-check=full"]
    command += ["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite", str(program)]
    command += arguments(published, cache_dir, tmp_path, "valgrind")
    done = run(command, timeout=300, HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_frozen_header_is_that_of_abi_2() -> None:
    """What the program is compiled with is the copy that stands beside it."""
    text = (FOLDER / "xet.h").read_text(encoding="utf-8")
    assert re.search(r"^#define XET_ABI_VERSION 2$", text, flags=re.MULTILINE)
    assert "XET_INIT" not in text


def test_its_structs_are_the_beginning_of_todays() -> None:
    """Fields keep names, types and offsets; what is new stands behind what was there."""
    then, now = frozen(), ffi()
    for name in then.list_types()[0]:
        old, new = then.typeof(name), now.typeof(name)
        assert old.kind == new.kind, name
        if old.kind != "struct" or old.fields is None:
            continue
        before = [(f, field.offset, field.type.cname) for f, field in old.fields]
        after = [(f, field.offset, field.type.cname) for f, field in new.fields]
        assert after[: len(before)] == before, name
        assert all(offset >= then.sizeof(name) for _, offset, _ in after[len(before) :]), name


def test_its_sizes_are_accepted() -> None:
    """The size that a struct had in ABI 2 is one of those that the library has published."""
    then = frozen()
    for struct in LAYOUT["structs"]:
        for version in struct.get("sizes", []):
            if version["abi"] == 2:
                assert version["size"] == then.sizeof(struct["name"]), struct["name"]


def test_structs_that_a_caller_fills_have_published_sizes() -> None:
    """All of them, from the least on, up to the present one; what is added leaves no padding."""
    filled = ("Options", "Callbacks", "Deadlines", "Operation", "GroupDownload", "GroupUpload")
    base = {"XetDownloadRequest", "XetSnapshotRequest", "XetConfig"}
    expected = {name for name in STRUCTS.keys() - base if name.endswith(filled)}
    assert {name for name, struct in STRUCTS.items() if "sizes" in struct} == expected
    for name in expected:
        struct = STRUCTS[name]
        sizes = [version["size"] for version in struct["sizes"]]
        versions = [version["abi"] for version in struct["sizes"]]
        assert versions == sorted(set(versions)), name
        assert sizes == sorted(set(sizes)), name
        assert sizes[-1] == struct["size"], name
        added = [f for f in struct["fields"] if f["offset"] >= sizes[0]]
        assert sum(field["size"] for field in added) == sizes[-1] - sizes[0], name


def test_its_functions_and_numbers_are_still_there() -> None:
    """Nothing was renamed, retyped or renumbered, the version apart."""
    then, now = names(frozen()), names(ffi())
    assert then.pop("XET_ABI_VERSION") == 2
    assert now.pop("XET_ABI_VERSION") > 2
    assert then.items() <= now.items()


def names(declared: Any) -> dict[str, Any]:
    """The functions, types of callbacks and numbers of a header, as the library has them."""
    lib = declared.dlopen(str(shared_library()))
    values = {name: getattr(lib, name) for name in dir(lib)}
    found = {
        name: value if isinstance(value, int) else declared.typeof(value).cname
        for name, value in values.items()
    }
    types = {name: declared.typeof(name) for name in declared.list_types()[0]}
    return found | {name: kind.cname for name, kind in types.items() if kind.kind == "function"}
