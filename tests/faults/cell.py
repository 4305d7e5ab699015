"""Runs one cell of the matrix and judges how it ended."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from abi.toolchain import environment
from faults.checks import RESUMABLE, Usage, unfinished, wrong_files, wrong_in_folder
from faults.content import NEW, OLD, REPO
from faults.matrix import THIRD, Column
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from pathlib import Path

    from faults.matrix import Fault
    from faults.stage import Stage

#: Seconds after its `timeout` in which a call must have ended, whatever happens.
GRACE = 10.0

#: Of little patience, so that the matrix takes little time.
OPTIONS: dict[str, Any] = {"read_timeout": 1.0, "connect_timeout": 1.0, "max_attempts": 2}


@dataclass(frozen=True)
class Outcome:
    """How a call ended: "ok", or the kind of its error."""

    kind: str
    text: str = ""


def arm(stage: Stage, column: Column, fault: Fault, *, times: int | None) -> None:
    """Sets the fault's rules for the column's requests: the next fires when one is used up."""
    for action in fault.actions:
        positions: dict[str, Any] = {
            name: column.size // 3 if value == THIRD else value for name, value in action.items()
        }
        stage.hub.fault(
            column.route,
            method=column.method,
            path_regex=column.path_regex,
            times=times,
            **positions,
        )


class Caller(Protocol):
    """Makes the calls of cells, those of a cell on a client of its own."""

    def usage(self) -> Usage:
        """What the process that calls holds."""

    def leak_since(self, before: Usage) -> Usage | None:
        """What it holds beyond that."""

    def call(
        self, endpoint: str, cache: Path, folders: list[Path | None], file: str | None, limit: float
    ) -> list[Outcome]:
        """Fetches the file into the cache (None) and folders, side by side; or lists the files."""


class PythonCaller:
    """Calls from this process."""

    def usage(self) -> Usage:
        """What this process holds."""
        return Usage.of()

    def leak_since(self, before: Usage) -> Usage | None:
        """What it holds beyond that."""
        return before.leaked_since()

    def call(
        self, endpoint: str, cache: Path, folders: list[Path | None], file: str | None, limit: float
    ) -> list[Outcome]:
        """Fetches the file into the cache (None) and folders, side by side; or lists the files."""
        with Client(endpoint, token=False, cache_dir=cache, **OPTIONS) as client:

            def attempt(folder: Path | None) -> Outcome:
                try:
                    if file is None:
                        found = {entry.path for entry in client.list_files(REPO, timeout=limit)}
                        missing = NEW.keys() - found
                        return Outcome(f"missing: {missing}" if missing else "ok")
                    transfer = client.download_file(REPO, file, local_dir=folder, timeout=limit)
                    return Outcome("ok", str(transfer.path))
                except XetError as error:
                    return Outcome(error.kind or "?", str(error))

            pool = ThreadPoolExecutor(len(folders))
            calls = [pool.submit(attempt, folder) for folder in folders]
            pool.shutdown(wait=False)
            return [call.result(limit + GRACE) for call in calls]


class GoCaller:
    """Calls from a Go program, driver.go."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)

    def close(self) -> None:
        """Ends the program."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def usage(self) -> Usage:
        """What the program holds."""
        return Usage.of(self._process.pid)

    def leak_since(self, before: Usage) -> Usage | None:
        """What it holds beyond that."""
        return before.leaked_since(self._process.pid)

    def call(
        self, endpoint: str, cache: Path, folders: list[Path | None], file: str | None, limit: float
    ) -> list[Outcome]:
        """As from Python."""
        request = {
            "Endpoint": endpoint,
            "Cache": str(cache),
            "Repo": REPO,
            "File": file or "",
            "Folders": [str(folder or "") for folder in folders],
            "Limit": limit,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        outcomes = json.loads(self._answers.get(timeout=limit + GRACE))
        for outcome in outcomes:
            if file is None and outcome["kind"] == "ok":
                assert NEW.keys() <= {*outcome["files"]}
        return [Outcome(outcome["kind"], outcome["text"]) for outcome in outcomes]


@dataclass
class Place:
    """Copies of the stage's cache and folder, with OLD in them, for one cell."""

    stage: Stage
    root: Path

    def __post_init__(self) -> None:
        shutil.copytree(self.stage.cache, self.cache, symlinks=True)
        shutil.copytree(self.stage.local, self.local, symlinks=True)

    @property
    def cache(self) -> Path:
        """The cache."""
        return self.root / "cache"

    @property
    def local(self) -> Path:
        """The folder."""
        return self.root / "local"

    def judge(self, file: str | None, folders: list[Path | None], outcomes: list[Outcome]) -> None:
        """What a call says of itself must be so, and what was there must be there still."""
        assert wrong_files(self.cache, self.stage.published) == []
        assert wrong_in_folder(self.local, [OLD, NEW]) == []
        earlier = self.cache / "models--alice--faults" / "snapshots" / self.stage.old
        for name, content in OLD.items():
            assert (earlier / name).read_bytes() == content, f"{name} of the earlier version"
            assert (self.local / name).is_file(), f"{name} in the folder"
        later = self.cache / "models--alice--faults" / "snapshots" / self.stage.new
        for folder, outcome in zip(folders, outcomes, strict=True):
            if file is None:
                continue
            path = (folder or later) / file
            if outcome.kind == "ok":
                assert path.read_bytes() == NEW[file], f"{path} is said to be there"
                assert outcome.text == str(path)
            elif folder is None:
                assert not path.exists(), f"{path}: {outcome}"
            else:
                assert path.read_bytes() == OLD[file], f"{path}: the earlier file, {outcome}"
        left = unfinished(self.root)
        if all(outcome.kind == "ok" for outcome in outcomes):
            assert left == []
        assert {path.suffix for path in left} <= RESUMABLE


def run_cell(
    place: Place,
    caller: Caller,
    endpoint: str,
    file: str | None,
    expected: str,
    *,
    limit: float,
    both: bool,
) -> list[Outcome]:
    """Makes the call, into the cache and (`both`) into the folder, and judges all there is."""
    folders: list[Path | None] = [None, place.local] if both and file is not None else [None]
    before = caller.usage()
    started = time.monotonic()
    outcomes = caller.call(endpoint, place.cache, folders, file, limit)
    seconds = time.monotonic() - started
    assert seconds < limit + GRACE, "a hang"
    leaked = caller.leak_since(before)
    assert leaked is None, f"{leaked}, before: {before}"
    place.judge(file, folders, outcomes)
    assert {outcome.kind for outcome in outcomes} <= {*expected.split("|")}, outcomes
    return outcomes
