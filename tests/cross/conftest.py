"""Fixtures of the tests across languages: a hub with repos, and the same program in each."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import build as build_c
from abi.toolchain import environment, run
from cross import golang
from hub import Hub, Token

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ALICE = Token("alice", "hf_alice_secret")
BOB = Token("bob", "hf_bob_secret", "read")

#: Publishes in an interpreter of its own, because huggingface_hub reads its environment once.
_PUBLISH = """
import json, sys
sys.path.insert(0, sys.argv[1])
from huggingface_hub import HfApi
from published import VARIETY, VARIETY_LFS, commit, publish
api = HfApi(endpoint=sys.argv[2], token=sys.argv[3])
publish(api, "alice/model")
commits = [api.model_info("alice/model").sha]
commits.append(publish(api, "alice/data", {"train.csv": b"a,b\\n"}, repo_type="dataset"))
publish(api, "alice/gated", {"secret.txt": b"for members\\n"})
print(json.dumps(commits))
"""


@dataclass(frozen=True)
class Published:
    """The hub, and the commits of alice/model and alice/data; alice/gated lets only alice in."""

    hub: Hub
    model: str
    data: str


@pytest.fixture(scope="session")
def _published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    base = tmp_path_factory.mktemp("cross")
    with Hub.start(base / "hub", [ALICE, BOB]) as hub:
        tests = HERE.parent
        done = subprocess.run(
            [sys.executable, "-c", _PUBLISH, str(tests), hub.endpoint, ALICE.secret],
            env=environment(HF_HOME=str(base / "hf"), HF_HUB_DISABLE_PROGRESS_BARS="1"),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        hub.set_settings("alice/gated", gate="manual")
        yield Published(hub, *json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def published(_published: Published) -> Iterator[Published]:
    """What is published, with counters at zero and no faults."""
    _published.hub.clear_faults()
    _published.hub.reset_stats()
    yield _published
    _published.hub.clear_faults()


@dataclass(frozen=True)
class Driver:
    """The same program in one of the languages."""

    command: tuple[str, ...]

    def __call__(
        self, hub: Hub, cache: Path, *arguments: str, token: str = ALICE.secret, **environ: str
    ) -> list[list[str]]:
        """Runs it and returns the lines that it printed, split at tabs."""
        done = run(self.arguments(hub, cache, *arguments, token=token), timeout=120, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert token not in done.stdout
        return [line.split("\t") for line in done.stdout.splitlines()]

    def arguments(
        self, hub: Hub, cache: Path, *arguments: str, token: str = ALICE.secret
    ) -> list[str]:
        """The whole command line."""
        return [*self.command, hub.endpoint, token, str(cache), *arguments]


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Driver]:
    """The driver by language."""
    base = tmp_path_factory.mktemp("drivers")
    return {
        "C": Driver((str(build_c([HERE / "driver.c"], base / "c")),)),
        "Go": Driver((str(golang.build(HERE / "driver.go", base / "go")),)),
        "Python": Driver((sys.executable, str(HERE / "driver.py"))),
    }
