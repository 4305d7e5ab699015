"""Where fault tests play: a hub, a proxy before each of its origins, and something to fetch."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abi.toolchain import environment
from faults.content import ALICE, NEW, OLD, REPO
from hub import Hub
from toxiproxy import Toxiproxy, Wire
from xet_ffi import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Stage:
    """A hub that serves REPO: OLD in commit `old`, NEW in commit `new`, which is main."""

    hub: Hub
    toxiproxy: Toxiproxy
    wires: dict[str, Wire]
    old: str
    new: str
    #: A cache, and a local folder, into which OLD was downloaded without faults.
    cache: Path
    local: Path

    @property
    def published(self) -> dict[str, dict[str, bytes]]:
        """The files by commit and path."""
        return {self.old: OLD, self.new: NEW}

    def through_wires(self) -> None:
        """From now on clients that begin at `wires["hub"].url` reach every origin by its wire."""
        urls = {"endpoint": "hub", "cas": "cas", "storage": "storage"}
        self.hub.announce(**{name: self.wires[origin].url for name, origin in urls.items()})

    def heal(self) -> None:
        """Without faults, without proxies, counters at zero."""
        self.hub.clear_faults()
        self.toxiproxy.heal()
        self.hub.announce()
        self.hub.reset_stats()


@contextmanager
def open_stage(base: Path) -> Iterator[Stage]:
    """Sets everything up below a folder."""
    with Hub.start(base / "hub", [ALICE]) as hub, Toxiproxy.start() as toxiproxy:
        old, new = publish(hub, base, "versions")
        with Client(hub.endpoint, token=False, cache_dir=base / "cache") as client:
            client.download_snapshot(REPO, revision=old)
        with Client(hub.endpoint, token=False, cache_dir=base / "unused") as client:
            client.download_snapshot(REPO, revision=old, local_dir=base / "local")
        wires = toxiproxy.wires(hub)
        yield Stage(hub, toxiproxy, wires, old, new, base / "cache", base / "local")


def publish(hub: Hub, base: Path, what: str) -> list[str]:
    """Publishes something of content.py, in an interpreter of its own.

    (huggingface_hub reads its environment once.)
    """
    done = subprocess.run(
        [sys.executable, "-m", "faults.content", hub.endpoint, what],
        env=environment(
            HF_HOME=str(base / "hf"), HF_HUB_DISABLE_PROGRESS_BARS="1", PYTHONPATH=str(TESTS)
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    made: list[str] = json.loads(done.stdout.splitlines()[-1])
    return made
