"""What the tests of `make dist-test` share. Without what `make dist` makes, they are left out."""

from __future__ import annotations

import os
import platform
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from hub import Hub, Token

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv" / "dist-tools" / "bin"
#: What dist/ was built for.
MACHINE = os.environ.get("XET_DIST_MACHINE", platform.machine())
#: Where `make dist` built libxet and xet-hub.
BUILD = ROOT / "native" / "target" / f"{MACHINE}-unknown-linux-gnu" / "dist"
#: What Go calls it.
PLATFORM = {"x86_64": "linux-amd64", "aarch64": "linux-arm64"}.get(MACHINE, MACHINE)
#: Compiles C for that, against glibc 2.17.
ZIG: list[str | Path] = [
    TOOLS / "python",
    "-m",
    "ziglang",
    "cc",
    "-target",
    f"{MACHINE}-linux-gnu.2.17",
]
#: An older release of Debian's, if there is one.
OLDER = os.environ.get("XET_OLDER", "")
#: Without it there is nothing to prove here.
DIST = Path(os.environ.get("XET_DIST", "/nonexistent"))
if not DIST.is_dir():
    collect_ignore_glob = ["test_*.py"]
elif platform.machine() == MACHINE:
    collect_ignore_glob = ["test_foreign.py"]
else:
    collect_ignore_glob = ["test_again.py", "test_c.py", "test_go.py", "test_python.py"]
if not OLDER:
    collect_ignore_glob.append("test_older.py")

ALICE = Token("alice", "hf_alice_secret")
MODEL = random.Random(28).randbytes(3 << 20)
#: A program that does, and says how many bytes came over the network, and where the files are.
DOWNLOAD = """
import os, sys
from xet_ffi import Client
with Client() as client:
    model = client.download_snapshot("alice/model")
    assert sorted(os.listdir(model)) == [".gitattributes", "config.json", "model.bin"]
    print(model.bytes_network, model.path)
"""


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


def public_proxy() -> str:
    """Where Go gets what isn't ours."""
    return run("go", "env", "GOPROXY", GOPROXY=os.environ.get("GOPROXY", "")).strip()


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub with a model of a Xet file and a small one."""
    from huggingface_hub import HfApi

    with Hub.start(tmp_path_factory.mktemp("hub"), tokens=[ALICE]) as hub:
        api = HfApi(endpoint=hub.endpoint, token=ALICE.secret)
        api.create_repo("alice/model")
        for name, content in (("config.json", b"{}"), ("model.bin", MODEL)):
            api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id="alice/model")
        yield hub


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one folder of the tarball for C."""
    folder = tmp_path_factory.mktemp("tarball")
    (tarball,) = DIST.glob(f"libxet-*-linux-{MACHINE}.tar.gz")
    with tarfile.open(tarball) as tar:
        tar.extractall(folder, filter="data")
    (prefix,) = folder.iterdir()
    return prefix
