"""What reads tables and arrays through fsspec reads them over `xet://`, and gets them right.

Each library has a program here, which says what it has got by assertions, in a Python that has it:
that of tests/clients/readers.txt.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hub import Hub, Token
from official import VENVS
from xet_ffi import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PYTHON = VENVS / "readers" / "bin" / "python"
ALICE = Token("alice", "hf_alice_secret")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A hub with the table on it."""
    folder = tmp_path_factory.mktemp("readers")
    with Hub.start(folder / "hub", [ALICE]) as hub:
        repo = f"alice/r-{uuid.uuid4().hex[:12]}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        named = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": ALICE.secret,
            "HF_HOME": str(folder / "home"),
            "READERS_REPO": repo,
        }
        with Client(hub.endpoint, ALICE.secret) as client:
            client.create_repo(repo, repo_type="dataset")
        run("write", kept | named)
        yield kept | named


def run(program: str, environment: dict[str, str]) -> None:
    """Runs a program to its end."""
    assert PYTHON.exists(), "run `make clients`"
    # Before that Python's own packages, and seen by the processes that it starts: xet_ffi is here,
    # and the entry point by which fsspec finds it.
    ours = [str(HERE.parent), os.environ.get("PYTHONPATH", ""), sysconfig.get_path("purelib")]
    done = subprocess.run(
        [PYTHON, HERE / f"{program}.py"],
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, ours))},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "library", ["pandas", "pyarrow", "columns", "duckdb", "polars", "zarr", "dask"]
)
def test_a_library_reads_what_is_there(library: str, environment: dict[str, str]) -> None:
    """See its program."""
    run(f"with_{library}", environment)
