"""What the tests of `make dist-test` share. Without what `make dist` makes, they are left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from hub import Hub, Token

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Without it there is nothing to prove here.
DIST = Path(os.environ.get("XET_DIST", "/nonexistent"))
collect_ignore_glob = [] if DIST.is_dir() else ["test_*.py"]

ALICE = Token("alice", "hf_alice_secret")


def run(*command: str | Path, cwd: Path | None = None, **environ: str) -> str:
    """Runs a program as on a machine that has nothing of ours, and returns what it prints."""
    ours = ("XET", "HF_", "PYTHON", "GO", "PKG_CONFIG", "CARGO", "RUST", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**kept, **environ},
        check=False,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub with a model of a Xet file and a small one."""
    from huggingface_hub import HfApi

    with Hub.start(tmp_path_factory.mktemp("hub"), tokens=[ALICE]) as hub:
        api = HfApi(endpoint=hub.endpoint, token=ALICE.secret)
        api.create_repo("alice/model")
        for name, content in (("config.json", b"{}"), ("model.bin", os.urandom(3 << 20))):
            api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id="alice/model")
        yield hub
