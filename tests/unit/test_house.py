"""The modules of the engine use each other in one direction only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "native/core/src"
LIBRARY = ROOT / "native/src"

#: Each module may use those before it, and no other; those of `TESTS` are for the tests of all.
ORDER = [
    *"model sys config call http tier hub cache".split(),  # noqa: SIM905
    *"reuse cas download upload read client storage".split(),  # noqa: SIM905
]

TESTS = {"fuzz", "support", "world"}

#: The strings of C.
SPEAK_C = (LIBRARY / "ptr.rs",)


def sources(folder: Path) -> list[Path]:
    """All Rust files below a folder."""
    return sorted(folder.rglob("*.rs"))


def uses(file: Path) -> set[str]:
    """The modules of the crate that a file names."""
    text = file.read_text()
    single = re.findall(r"\bcrate::(\w+)", text)
    grouped = [
        name
        for group in re.findall(r"\bcrate::\{(.*?)\};", text, re.DOTALL)
        for name in re.findall(r"(?:^|,)\s*(\w+)", group)
    ]
    return {*single, *grouped}


def test_every_module_has_its_place() -> None:
    """What `lib.rs` declares, and what CONTRIBUTING lists, are the modules of the order."""
    declared = re.findall(r"^(?:pub )?mod (\w+);", (ENGINE / "lib.rs").read_text(), re.MULTILINE)
    assert sorted({*declared} - TESTS) == sorted(ORDER)
    listed = re.findall(
        r"^\| &nbsp; `(\w+)/`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
    assert listed == ORDER


@pytest.mark.parametrize("module", ORDER)
def test_a_module_uses_only_those_before_it(module: str) -> None:
    """No module uses one that stands behind it, so there are no circles."""
    later = set(ORDER[ORDER.index(module) + 1 :])
    files = sources(ENGINE / module)
    assert files
    wrong = {str(file.relative_to(ENGINE)): uses(file) & later for file in files}
    assert not {file: names for file, names in wrong.items() if names}


def place(file: Path) -> tuple[str, ...]:
    """The names that lead to the module in a file: `download/xet/mod.rs` is download, xet."""
    names = file.relative_to(ENGINE).with_suffix("").parts
    return names[:-1] if names[-1] == "mod" else names


def named(file: Path) -> set[tuple[str, ...]]:
    """The paths in the crate that a file names, by `crate::` or by `super::`."""
    code = re.sub(r"//.*", "", file.read_text().split("#[cfg(test)]\nmod tests {")[0])
    found: set[tuple[str, ...]] = set()
    for start, rest in re.findall(r"\b(crate::|(?:super::)+)(\w+(?:::\w+)*|\{[^}]*\})", code):
        here = place(file)
        base = () if start == "crate::" else here[: len(here) - start.count("super")]
        names = re.findall(r"[{,]\s*(\w+)", rest) if rest.startswith("{") else [rest]
        found.update((*base, *name.split("::")) for name in names)
    return found


@pytest.mark.parametrize("folder", ["cas", "cas/sources", "download", "download/xet"])
def test_files_of_a_folder_use_each_other_in_no_circle(folder: str) -> None:
    """What two files of a folder both need stands in a third one."""
    top = tuple(folder.split("/"))
    depth = len(top)
    uses: dict[str, set[str]] = {}
    for file in sources(ENGINE / folder):
        where = place(file)
        if len(where) > depth and file.name not in {"fuzz.rs", "tests.rs"}:
            inside = {path[depth] for path in named(file) if path[:depth] == top != path}
            uses.setdefault(where[depth], set()).update(inside - {where[depth]})
    assert len(uses) > 1
    while free := {name for name, others in uses.items() if not others & uses.keys()}:
        uses = {name: others for name, others in uses.items() if name not in free}
    assert not {name: others & uses.keys() for name, others in uses.items()}


@pytest.mark.parametrize("folder", [ENGINE, LIBRARY], ids=["engine", "library"])
def test_the_system_is_asked_in_one_place(folder: Path) -> None:
    """Only `sys/` knows of libc and of operating systems; tests fork where they have to."""
    wrong = []
    for file in sources(folder):
        if ENGINE / "sys" in file.parents or file in SPEAK_C or file.name == "tests.rs":
            continue
        code = file.read_text().split("#[cfg(test)]\nmod tests {")[0]
        if re.search(r"\blibc::|cfg\(.*target_os", code):
            wrong.append(str(file.relative_to(ROOT)))
    assert not wrong
