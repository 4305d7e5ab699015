"""The modules of the engine use each other in one direction only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "native/core/src"
LIBRARY = ROOT / "native/src"

#: Each module may use those before it, and no other. `fuzz` is for tests, and for all of them.
ORDER = (
    "model sys config call http hub cache reuse cas download upload client".split()  # noqa: SIM905
)

#: The numbers of errors that the standard library has no names for, and the strings of C.
SPEAK_C = (ENGINE / "model/error.rs", LIBRARY / "ptr.rs")


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
    assert sorted(declared) == sorted([*ORDER, "fuzz"])
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
