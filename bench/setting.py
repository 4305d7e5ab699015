"""What a case of `world.py` is made of: the work, and the stage that it is done on.

A case is a function that sets the stage for one client, yields the `Job`, and clears the stage.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from run import ALICE, MIB  # noqa: E402

from hub import Hub, Stats  # noqa: E402
from published import commit, noise, publish  # noqa: E402
from toxiproxy import Toxiproxy  # noqa: E402

__all__ = ["ALICE", "MIB", "Case", "Job", "World", "noise"]


@dataclass
class Job:
    """One piece of work for either client."""

    task: str
    """What `traveller.py` is to do."""
    endpoint: str
    repo: str
    files: Mapping[str, bytes]
    """What must be there in the end: in the cache or the local folder, or, of an upload, on the
    hub."""
    token: str | bool = False
    place: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    """The other origins, where a case needs them."""
    without: tuple[str, ...] = ()
    """Variables that the process must not have."""
    first: Callable[[Path], None] | None = None
    """What is done in the client's home before."""
    tell: Callable[[Stats], str] | None = None
    """What the server saw, in a few words."""

    @property
    def uploads(self) -> bool:
        """Whether it is an upload."""
        return self.task not in {"snapshot", "local"}


@dataclass
class World:
    """Where everything is."""

    hub: Hub
    toxiproxy: Toxiproxy
    scratch: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _many: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def folder(self) -> Path:
        """An empty one."""
        folder = self.scratch / f"stage-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def api(self) -> object:
        """The official client, for what is to be on the hub."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.hub.endpoint, token=ALICE.secret)

    def publish(self, files: Mapping[str, bytes], *, lfs: bool = False) -> str:
        """A new repo with these files; its name."""
        repo = f"alice/world-{next(self._numbers)}"
        publish(self.api(), repo, files, lfs=lfs)
        return repo

    def commit(self, repo: str, files: Mapping[str, bytes]) -> None:
        """Adds to a repo."""
        commit(self.api(), repo, files)

    def model(self) -> tuple[str, dict[str, bytes]]:
        """A new repo with a file of Git's and two of Xet's."""
        number = next(self._numbers)
        files = {
            "config.json": b"{}",
            "large.bin": noise(300_000, number),
            "model.safetensors": noise(900_000, number),
        }
        return self.publish(files), files

    def many(self, count: int, size: int) -> tuple[str, dict[str, bytes]]:
        """A repo with so many Xet files, the same one for each case that asks."""
        for repo, files in self._many.items():
            if len(files) == count:
                return repo, files
        files = {f"{i}.bin": noise(size, i) for i in range(count)}
        repo = self.publish(files)
        self._many[repo] = files
        return repo, files


Case = Callable[[World], AbstractContextManager[Job]]
