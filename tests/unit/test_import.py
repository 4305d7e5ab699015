"""Importing is cheap, and explains itself when it can't work."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import xet_ffi
from interpreter import python
from xet_ffi._lib import lib

#: What the declarations that this package was built from need.
NEEDED = lib.XET_ABI_VERSION

C_COMPILER = os.environ.get("CC", "cc")


HEAVY = {
    "cffi",
    "dataclasses",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "re",
    "threading",
    "tqdm",
    "typing",
}
"""Each of these takes about as long to import as the package, or longer."""

COMMIT = "c" * 40


def brought_in(code: str) -> str:
    """Returns which of them `code` has imported; an interpreter may have some from the start."""
    code = f"import sys; before = set(sys.modules); {code}; "
    finished = python(f"{code}print(sorted({HEAVY} & (set(sys.modules) - before)))")
    assert finished.stderr == ""
    return finished.stdout.strip()


def test_importing_brings_in_nothing_that_takes_long() -> None:
    """Nor does a client."""
    assert brought_in("import xet_ffi; xet_ffi.Client()") == "[]"


def test_a_download_of_what_is_there_brings_in_nothing_that_takes_long(tmp_path: Path) -> None:
    """It is as short as a process gets."""
    repo = tmp_path / "models--org--name"
    blob = repo / "blobs" / ("1" * 40)
    file = repo / "snapshots" / COMMIT / "config.json"
    for folder in (blob.parent, file.parent, repo / "refs"):
        folder.mkdir(parents=True)
    blob.write_bytes(b"{}")
    file.symlink_to(f"../../blobs/{blob.name}")
    (repo / "refs" / "main").write_text(COMMIT)
    download = "client.download_file('org/name', 'config.json', local_files_only=True)"
    code = f"import xet_ffi; client = xet_ffi.Client(cache_dir={str(tmp_path)!r}); "
    assert brought_in(f"{code}assert {download}.path == {str(file)!r}") == "[]"


def test_what_looks_after_the_cache_is_there() -> None:
    """Without an import of its own, as `xet_ffi.hub` is, and `AsyncClient`."""
    code = "import xet_ffi; print(xet_ffi.cache.usage.__name__, xet_ffi.hub.__name__)"
    assert python(code).stdout.split() == ["usage", "xet_ffi.hub"]
    assert python("import xet_ffi; print(xet_ffi.AsyncClient)").stdout.count("AsyncClient") == 1


def test_sources_that_nothing_was_built_of_say_so(tmp_path: Path) -> None:
    """Python finds them first where it's started in a clone, whatever is installed."""
    sources = Path(__file__).resolve().parents[2] / "xet_ffi"
    generated = shutil.ignore_patterns("_xet_ffi.py", "libxet.*", "__pycache__")
    shutil.copytree(sources, tmp_path / "xet_ffi", ignore=generated)
    finished = python(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import xet_ffi")
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("ImportError: xet_ffi is not built")
    assert "run `make build`" in last
    assert "leave this folder" in last


def test_a_missing_library_is_named() -> None:
    """With the way out."""
    finished = python("import xet_ffi", XET_FFI_LIBRARY="/nowhere/libxet.so")
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("ImportError: can't load libxet")
    assert "/nowhere/libxet.so" in last
    assert "XET_FFI_LIBRARY" in last


def compile_library(folder: Path, source: str) -> str:
    """Compiles a shared library and returns its path."""
    library = folder / "libxet.so"
    subprocess.run(
        [C_COMPILER, "-shared", "-fPIC", "-x", "c", "-", "-o", library],
        input=source,
        text=True,
        check=True,
    )
    return str(library)


def test_a_library_that_is_too_old_is_refused_with_both_numbers(tmp_path: Path) -> None:
    """Before any function that it doesn't have is called."""
    library = compile_library(
        tmp_path, f"unsigned xet_abi_version(void) {{ return {NEEDED - 1}; }}"
    )
    last = python("import xet_ffi", XET_FFI_LIBRARY=library).stderr.splitlines()[-1]
    has, needs = f"has ABI version {NEEDED - 1}", f"but this xet_ffi needs {NEEDED} or later"
    assert last.startswith(f"ImportError: {library} {has}, {needs}")


def test_some_other_library_is_refused(tmp_path: Path) -> None:
    """A typo in XET_FFI_LIBRARY is no crash."""
    library = compile_library(tmp_path, "int unrelated;")
    last = python("import xet_ffi", XET_FFI_LIBRARY=library).stderr.splitlines()[-1]
    assert last == f"ImportError: {library} is not libxet: it has no xet_abi_version"


def test_everything_public_says_that_it_is() -> None:
    """Tracebacks and help() name what a user can import."""
    assert list(xet_ffi.__all__) == sorted(xet_ffi.__all__)
    for name in xet_ffi.__all__:
        value = getattr(xet_ffi, name)
        assert value == xet_ffi.__version__ or value.__module__ == "xet_ffi"


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_the_package_does_without_docstrings_and_assertions(flag: str) -> None:
    """Some applications run so."""
    code = "import xet_ffi; print(xet_ffi.Client('http://127.0.0.1:9', token=False))"
    finished = python(code, [flag])
    assert finished.stderr == ""
    assert finished.stdout == "<xet_ffi.Client endpoint='http://127.0.0.1:9'>\n"
