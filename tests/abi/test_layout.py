"""Structs and numbers are the same in C, in C++, in CFFI and in Rust.

`layout.json` is the common reference. A Rust test compares it with the library's own structs and
numbers; here it is compared with what compilers and CFFI read in xet.h.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from abi.toolchain import CXX, HERE, C, compile_c, constants, ffi, run, shared_library

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = json.loads((HERE / "layout.json").read_text(encoding="utf-8"))
STRUCTS: dict[str, Any] = {struct["name"]: struct for struct in LAYOUT["structs"]}
CONSTANTS: dict[str, int] = {number["name"]: number["value"] for number in LAYOUT["constants"]}

#: The base interface on 64-bit machines: size, and offset and size of each field. Compiled programs
#: hold these numbers, so a difference here is a mistake in xet.h, never in this table.
BASE: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {
    "XetProgressUpdate": (
        56,
        {
            "phase": (0, 4),
            "total_bytes": (8, 8),
            "completed_bytes": (16, 8),
            "total_files": (24, 4),
            "completed_files": (28, 4),
            "current_file": (32, 8),
            "current_file_completed_bytes": (40, 8),
            "current_file_total_bytes": (48, 8),
        },
    ),
    "XetCancellationToken": (16, {"callback": (0, 8), "user_data": (8, 8)}),
    "XetConfig": (
        32,
        {
            "endpoint": (0, 8),
            "token": (8, 8),
            "cache_dir": (16, 8),
            "max_concurrent_downloads": (24, 4),
            "enable_dedup": (28, 1),
        },
    ),
    "XetDownloadRequest": (
        40,
        {
            "repo_id": (0, 8),
            "repo_type": (8, 8),
            "revision": (16, 8),
            "filename": (24, 8),
            "local_dir": (32, 8),
        },
    ),
    "XetSnapshotRequest": (
        64,
        {
            "repo_id": (0, 8),
            "repo_type": (8, 8),
            "revision": (16, 8),
            "local_dir": (24, 8),
            "allow_patterns": (32, 8),
            "allow_patterns_len": (40, 8),
            "ignore_patterns": (48, 8),
            "ignore_patterns_len": (56, 8),
        },
    ),
    "XetFileInfo": (24, {"path": (0, 8), "hash": (8, 8), "size": (16, 8)}),
    "XetFileList": (16, {"files": (0, 8), "count": (8, 8)}),
    "XetError": (24, {"code": (0, 4), "message": (8, 8), "details": (16, 8)}),
}

BASE_CODES = {
    "OK": 0,
    "INVALID_CONFIG": 1,
    "AUTH_FAILED": 2,
    "NETWORK_ERROR": 3,
    "NOT_FOUND": 4,
    "PERMISSION_DENIED": 5,
    "CHECKSUM_MISMATCH": 6,
    "CANCELLED": 7,
    "IO_ERROR": 8,
    "UNKNOWN": 99,
}


#: What C calls the types of the library that aren't pointers to structs or functions.
C_TYPES = {
    "*const *const c_char": "char * *",
    "*const c_char": "char *",
    "*const c_void": "void *",
    "*mut *const c_char": "char * *",
    "*mut c_char": "char *",
    "*mut c_void": "void *",
    "f64": "double",
    "i32": "int32_t",
    "*const u8": "uint8_t *",
    "u32": "uint32_t",
    "u64": "uint64_t",
    "usize": "size_t",
}

#: Where Rust holds a number and C something finer, which has the number's size.
FINER = {("XetProgressUpdate", "phase"), ("XetConfig", "enable_dedup")}


def fields_of(struct: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Offset and size of each field, in order."""
    return {field["name"]: (field["offset"], field["size"]) for field in struct["fields"]}


def test_cffi_sees_the_structs_of_the_library() -> None:
    """CFFI finds the same structs, with the same fields in the same order, offsets and sizes."""
    names = {name for name in ffi().list_types()[0] if ffi().typeof(name).kind == "struct"}
    opaque = {name for name in names if ffi().typeof(name).fields is None}
    assert opaque == {"XetClient", "XetFile", "XetGroup", "XetStorage", "XetStream"}
    assert names - opaque == set(STRUCTS)
    for name, struct in STRUCTS.items():
        ctype = ffi().typeof(name)
        seen = {f: (field.offset, ffi().sizeof(field.type)) for f, field in ctype.fields}
        assert list(seen.items()) == list(fields_of(struct).items()), name
        assert (ffi().sizeof(name), ffi().alignof(name)) == (struct["size"], struct["align"]), name


def test_the_types_of_the_fields_are_those_of_the_header() -> None:
    """Python and Go copy fields by them, so they must not be another's."""
    for name, struct in STRUCTS.items():
        ctypes = {field: seen.type for field, seen in ffi().typeof(name).fields}
        for field in struct["fields"]:
            if (name, field["name"]) in FINER:
                continue
            ctype, rust = ctypes[field["name"]], field["type"]
            if rust.startswith("Option<"):
                assert ctype == ffi().typeof(rust.removeprefix("Option<").removesuffix(">")), field
            else:
                pointer = rust.replace("*const ", "").replace("*mut ", "") + " *" * rust.count("*")
                assert ctype.cname == C_TYPES.get(rust, pointer), (name, field)


@pytest.mark.parametrize(("flags", "suffix"), [(C, "c"), (CXX, "cpp")], ids=["C", "C++"])
def test_the_compiler_sees_the_structs_and_numbers_of_the_library(
    tmp_path: Path, flags: tuple[str, ...], suffix: str
) -> None:
    """A compiled program prints the same sizes, offsets and constants."""
    expected: list[tuple[str, int]] = []
    for name, struct in STRUCTS.items():
        expected += [
            (f"sizeof({name})", struct["size"]),
            (f"{'alignof' if suffix == 'cpp' else '_Alignof'}({name})", struct["align"]),
        ]
        for field, (offset, size) in fields_of(struct).items():
            expected.append((f"offsetof({name}, {field})", offset))
            expected.append((f"sizeof((({name} *)0)->{field})", size))
    expected += CONSTANTS.items()
    lines = [f'    printf("%lld\\n", (long long)({expression}));' for expression, _ in expected]
    source = tmp_path / f"layout.{suffix}"
    source.write_text(
        '#include <stdio.h>\n#include "xet.h"\nint main(void) {\n' + "\n".join(lines) + "\n}\n"
    )
    compiled = compile_c([source], tmp_path / "layout", flags)
    assert compiled.worked, compiled.messages
    printed = map(int, run([compiled.program]).stdout.split())
    assert list(zip([e for e, _ in expected], printed, strict=True)) == expected


def test_every_number_of_the_header_is_one_of_the_library() -> None:
    """No constant stands in only one of the two, and CFFI reads the same values."""
    assert constants() == set(CONSTANTS)
    lib = ffi().dlopen(str(shared_library()))
    assert {name: getattr(lib, name) for name in CONSTANTS} == CONSTANTS


@pytest.mark.parametrize("name", BASE)
def test_base_structs_are_fixed_for_ever(name: str) -> None:
    """The structs of the base interface lie in memory as they did for its first callers."""
    size, fields = BASE[name]
    assert STRUCTS[name]["size"] == size
    assert list(fields_of(STRUCTS[name]).items()) == list(fields.items())


def test_base_numbers_are_fixed_for_ever() -> None:
    """The codes and phases of the base interface keep their numbers."""
    for name, code in BASE_CODES.items():
        assert CONSTANTS[f"XET_CODE_{name}"] == code
    for number, phase in enumerate(["SCANNING", "DOWNLOADING", "FINALIZING"]):
        assert CONSTANTS[f"XET_PROGRESS_PHASE_{phase}"] == number


def test_codes_never_share_a_number() -> None:
    """Each code, level, phase and kind has a number of its own within its group."""
    for prefix in ("XET_CODE_", "XET_LOG_", "XET_PROGRESS_PHASE_", "XET_FILE_KIND_"):
        numbers = [value for name, value in CONSTANTS.items() if name.startswith(prefix)]
        assert len(numbers) > 1
        assert len(set(numbers)) == len(numbers)
    for prefix in ("XET_CLIENT_", "XET_DOWNLOAD_"):
        flags = [value for name, value in CONSTANTS.items() if name.startswith(prefix)]
        assert sum(flags) == 2 ** len(flags) - 1


def test_structs_that_grow_say_their_size_first() -> None:
    """Every struct outside the base interface begins with `uint32_t struct_size`.

    But for what stays what it is, as arrays of it couldn't grow: a header of HTTP, and a part of a
    file.
    """
    for name in STRUCTS.keys() - BASE.keys() - {"XetHeader", "XetReadRange"}:
        field = STRUCTS[name]["fields"][0]
        assert (field["name"], field["offset"], field["size"]) == ("struct_size", 0, 4), name


def test_the_library_has_the_headers_version() -> None:
    """`xet_abi_version` is the XET_ABI_VERSION of the header it was built with."""
    lib = ffi().dlopen(str(shared_library()))
    assert lib.xet_abi_version() == lib.XET_ABI_VERSION
