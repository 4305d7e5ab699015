"""xet.h stands on its own, in C and in C++, and its types are distinct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from abi.toolchain import CXX, HEADER, C, build, compile_c, run

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = pytest.mark.parametrize(
    ("flags", "suffix"), [(C, "c"), (CXX, "cpp")], ids=["C11", "C++17"]
)


@LANGUAGES
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_the_header_compiles_alone(
    tmp_path: Path, flags: tuple[str, ...], suffix: str, times: int
) -> None:
    """A unit that holds nothing but the header, once or twice, compiles without a warning."""
    source = tmp_path / f"unit.{suffix}"
    source.write_text('#include "xet.h"\n' * times + "typedef int xet_not_empty;\n")
    compiled = compile_c([source], tmp_path / "unit.o", [*flags, "-c"])
    assert compiled.worked, compiled.messages


@LANGUAGES
def test_two_units_of_one_program_may_include_it(
    tmp_path: Path, flags: tuple[str, ...], suffix: str
) -> None:
    """The header defines nothing, so that two units that include it link; C++ finds C's names."""
    one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    one.write_text(
        '#include "xet.h"\nextern const char *version(void);\n'
        "const char *version(void) { return xet_version(); }\n"
    )
    two.write_text(
        '#include <stdio.h>\n#include "xet.h"\nextern const char *version(void);\n'
        "int main(void) { puts(version()); return xet_abi_version() == 0; }\n"
    )
    done = run([build([one, two], tmp_path / "program", flags)])
    assert done.returncode == 0
    assert done.stdout.strip().count(".") == 2


#: What a function body must not contain, each with a right form that shows why it fails.
WRONG_AND_RIGHT = {
    "a list of the other kind": (
        "XetFileList *l = 0; xet_entry_list_free(l);",
        "XetFileList *l = 0; xet_free_file_list(l);",
    ),
    "a transfer as an error": (
        "XetTransfer *t = 0; xet_free_error(t);",
        "XetTransfer *t = 0; xet_transfer_free(t);",
    ),
    "options of the other function": (
        "XetDownloadOptions o; XetEntryList *l; xet_client_list_files(0, &o, 0, &l);",
        "XetListOptions o; XetEntryList *l; xet_client_list_files(0, &o, 0, &l);",
    ),
    "an out-parameter without its level": (
        "XetClient *c = 0; xet_client_create(0, c);",
        "XetClient *c = 0; xet_client_create(0, &c);",
    ),
    "a string where the library's own is freed": (
        'const char *s = ""; xet_free_string(s);',
        "char *s = 0; xet_free_string(s);",
    ),
    "a borrowed error that is freed": (
        "xet_free_error(xet_last_error());",
        "const XetError *e = xet_last_error(); (void)e;",
    ),
    "a client-wide callback for a call": (
        "XetProgressCallback f = 0; XetCallbacks c; c.progress = f; (void)c;",
        "XetCallProgressCallback f = 0; XetCallbacks c; c.progress = f; (void)c;",
    ),
    "a log callback without a level": (
        "void (*f)(const char *, const char *, void *) = 0; xet_set_log_callback(f, 0, 0);",
        "XetLogCallback f = 0; xet_set_log_callback(f, 0, 0);",
    ),
    "a client by value": (
        "XetClient c; (void)c;",
        "XetClient *c = 0; (void)c;",
    ),
}


@LANGUAGES
@pytest.mark.parametrize("case", WRONG_AND_RIGHT)
def test_wrong_types_do_not_compile(
    tmp_path: Path, flags: tuple[str, ...], suffix: str, case: str
) -> None:
    """Mixing up the library's types is an error of the compiler, and the right form is not."""
    relaxed = [flag for flag in flags if flag not in {"-Wall", "-Wextra"}]
    outcomes = []
    for body in WRONG_AND_RIGHT[case]:
        source = tmp_path / f"unit.{suffix}"
        source.write_text(f'#include "xet.h"\nvoid f(void);\nvoid f(void) {{ {body} }}\n')
        outcomes.append(compile_c([source], tmp_path / "unit.o", [*relaxed, "-c"]))
    wrong, right = outcomes
    assert right.worked, right.messages
    assert not wrong.worked


def test_the_markers_hold_all_declarations() -> None:
    """Nothing is declared outside the region that CFFI reads, so no language misses anything."""
    text = HEADER.read_text(encoding="utf-8")
    before, _, rest = text.partition("/* begin cdef */")
    region, _, after = rest.partition("/* end cdef */")
    assert "XetError" in region
    for outside in (before.rpartition("*/")[2], after):
        assert not [line for line in outside.splitlines() if "xet_" in line or "Xet" in line]
