"""hf_xet's own tests, those of the version whose surface ours is, pass with ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

SDIST = Path(__file__).parents[2] / ".venv" / "sdists" / "hf_xet-1.8.0.tar.gz"

#: How many there are.
TESTS = 92


def test_all_of_them_pass(tmp_path: Path) -> None:
    """None is skipped, and it's ours that they test."""
    assert SDIST.exists(), f"no {SDIST}: run `make test-python`"
    with tarfile.open(SDIST) as archive:
        archive.extractall(tmp_path, filter="data")
    tests = tmp_path / "hf_xet-1.8.0" / "hf_xet" / "tests"
    (tests / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    which = tests / "test_which.py"
    which.write_text(
        "import hf_xet\ndef test_which(): assert hf_xet.__name__ == 'xet_ffi.hf_xet'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", tests / "pytest.ini", tests],
        cwd=tests,
        env={**os.environ, "XET_FFI_HF_XET": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    last = done.stdout.splitlines()[-1] if done.stdout else done.stderr
    assert re.match(rf"{TESTS + 1} passed in ", last), done.stdout[-6000:]
