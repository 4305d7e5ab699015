"""A resolver of names that isn't ready, for one process.

    names = OddNames(tmp_path)
    names.fail("aaa")
    subprocess.run([...], env={**os.environ, **names.environment})
    assert names.left == ""

Each letter is a look-up that fails: `a` as where no server of names answers (EAI_AGAIN), `n` as
where there is no such name. Names in `.test` are this machine's. See tests/preload/odd_names.c.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from abi.toolchain import compile_c

SOURCE = Path(__file__).resolve().parent / "preload" / "odd_names.c"
FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")


class OddNames:
    """A resolver, as programs see it that run in its `environment`."""

    def __init__(self, folder: Path) -> None:
        if sys.platform != "linux":
            pytest.skip("needs LD_PRELOAD")
        library = folder / "odd_names.so"
        made = compile_c([SOURCE], library, [*FLAGS], ["-ldl"])
        assert made.worked, made.messages
        self._failures = folder / "odd_names"
        self._failures.touch()
        self.environment = {"LD_PRELOAD": str(library), "ODD_NAMES": str(self._failures)}

    def fail(self, how: str) -> None:
        """Has the next look-ups fail, the last letter first."""
        self._failures.write_text(how)

    @property
    def left(self) -> str:
        """The failures that are still to come."""
        return self._failures.read_text()
