"""xet.h stands on its own, in C and in C++, and its types are distinct."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from abi.test_symbols import BASE
from abi.toolchain import CXX, HEADER, C, build, compile_c, declarations, functions, run

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
    "a struct's size as another's": (
        "XetListOptions o = XET_INIT(XetDownloadOptions); (void)o;",
        "XetListOptions o = XET_INIT(XetListOptions); (void)o;",
    ),
    "XET_INIT of a struct without a size": (
        "XetConfig o = XET_INIT(XetConfig); (void)o;",
        "XetClientOptions o = XET_INIT(XetClientOptions); (void)o;",
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


@LANGUAGES
def test_xet_init_makes_structs_that_are_empty_but_for_their_size(
    tmp_path: Path, flags: tuple[str, ...], suffix: str
) -> None:
    """As an initialiser and as a value, with warnings that programs switch on."""
    types = re.findall(
        r"^} (Xet\w*(?:Options|Callbacks|Deadlines|Operation));$", declarations(), re.MULTILINE
    )
    assert len(types) > 8
    body = "".join(
        f"    {{ {name} a = XET_INIT({name}), zero; memset(&zero, 0, sizeof zero);\n"
        f"      zero.struct_size = sizeof({name}); a = XET_INIT({name});\n"
        f'      if (memcmp(&a, &zero, sizeof a) != 0) {{ puts("{name}"); }} }}\n'
        for name in types
    )
    source = tmp_path / f"unit.{suffix}"
    source.write_text(
        f'#include <stdio.h>\n#include <string.h>\n#include "xet.h"\nint main(void) {{\n{body}}}\n'
    )
    strict = [*flags, "-Wconversion", "-Wshadow", "-Wsign-conversion"]
    compiled = compile_c([source], tmp_path / "unit", strict)
    assert compiled.worked, compiled.messages
    assert run([compiled.program]).stdout == ""


#: What the first interface shares with the rest: it stands in the sections of that.
SHARED = {"xet_client_free", "xet_free_error", "xet_free_string"}


def test_the_first_interface_stands_in_one_section() -> None:
    """For existing callers, behind all others, with the error of its constructor."""
    _, _, existing = declarations().partition("/* ==== for existing callers ")
    plain = re.sub(r"/\*.*?\*/", "", existing, flags=re.DOTALL)
    found = {name for name in functions() if f"{name}(" in plain}
    assert found == (BASE.keys() - SHARED) | {"xet_last_error"}


def test_what_is_given_out_is_released_by_a_function_of_its_name() -> None:
    """XetCacheReport by xet_cache_report_free, and so on; strings by xet_free_string."""
    ours, _, _ = declarations().partition("/* ==== for existing callers ")
    given = set(re.findall(r"(\w+) \*\*out_\w+\)", ours))
    assert {"XetEntryList", "XetClient", "char"} < given
    for name in given - {"char"}:
        words = re.findall(r"[A-Z][a-z]+", name)
        assert "_".join(words).lower() + "_free" in functions(), name


def test_functions_of_a_client_have_one_order_of_parameters() -> None:
    """The client, options, callbacks, and where the answer goes; each where it is needed."""
    ours, _, _ = declarations().partition("/* ==== for existing callers ")
    plain = re.sub(r"/\*.*?\*/", "", ours, flags=re.DOTALL)
    found = re.findall(
        r"^XetError \*(xet_client_\w+)\((.*?)\);", plain, flags=re.MULTILINE | re.DOTALL
    )
    assert len(found) > 10
    order = ("XetClient *client", "Options *options", "XetCallbacks *callbacks", "**out_")
    for name, parameters in found:
        kinds = [
            next(rank for rank, kind in enumerate(order) if kind in parameter)
            for parameter in parameters.split(",")
        ]
        assert kinds == sorted(set(kinds)), name


def test_an_enum_precedes_what_refers_to_it() -> None:
    """Who reads the header from its beginning knows the numbers when a field names them."""
    text = re.sub(r"\n *\* ?", " ", declarations())
    for use in re.finditer(r"/\*\*[^/]*?(XET_[A-Z_]+_)\*[^/]*?\*/\s+(?:u?int\d+_t) \w+;", text):
        first = re.search(rf"\b{use[1]}[A-Z0-9_]+ = ", text)
        assert first is not None, use[1]
        assert first.start() < use.start(), use[1]
