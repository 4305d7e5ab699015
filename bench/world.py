"""The world as it is, for both clients, on one xet-hub: ``make bench-world``.

Each case sets a stage (`storage_cases`, `network_cases`, `disk_cases`), on which the two clients do
the same work in turn, each as a process of its own with an empty home. What is there afterwards is
compared byte by byte. A client that has not ended after ``--limit`` seconds is stopped.
``--only WORDS`` runs the cases with these words in their names. ``bench/RESULTS.md`` keeps the
table under "Networks and disks as they are".
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from disk_cases import CASES as DISKS  # noqa: E402
from network_cases import CASES as NETWORK  # noqa: E402
from run import ALICE, CLIENTS, machine  # noqa: E402
from setting import Case, Job, World  # noqa: E402
from storage_cases import CASES as STORAGE  # noqa: E402

from hub import Hub  # noqa: E402
from toxiproxy import Toxiproxy  # noqa: E402

CASES: dict[str, Case] = {**STORAGE, **NETWORK, **DISKS}

#: Characters of a message that a cell has room for.
ROOM = 110

#: Settings of the network that would change a case.
FOREIGN = ("PROXY", "SSL_CERT", "CA_BUNDLE")


def environment(job: Job, home: Path) -> dict[str, str]:
    """A home of its own, and nothing of the caller's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "XET_"))
        and not any(word in name.upper() for word in FOREIGN)
    }
    own = {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    whole = {**kept, **own, **job.env}
    return {name: value for name, value in whole.items() if name not in job.without}


def arrived(world: World, job: Job, home: Path) -> tuple[int, int]:
    """How many files are right, and how many are there and wrong."""
    right = wrong = 0
    for path, content in job.files.items():
        if job.uploads:
            found = uploaded(world.hub, job.repo, path)
        elif job.task == "local":
            assert job.place is not None
            found = read(job.place / path)
        else:
            name = "models--" + job.repo.replace("/", "--")
            snapshots = (home / "hub" / name / "snapshots").glob("*")
            copies = [read(snapshot / path) for snapshot in snapshots]
            found = content if content in copies else next(filter(None, copies), None)
        right += found == content
        wrong += found not in {None, content}
    return right, wrong


def read(path: Path) -> bytes | None:
    """What a file holds, if there is one."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def uploaded(hub: Hub, repo: str, path: str) -> bytes | None:
    """What the hub has of a file, asked for without either client."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{hub.endpoint}/{repo}/resolve/main/{path}") as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError:
        return None


def secret(text: str) -> str:
    """A message without what a table of results shouldn't show: folders, ports and ids."""
    text = re.sub(r"(?<![\w:/])/[\w./+-]*/(?=[\w.+-])", "…/", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:…", text)
    return " ".join(text.replace("|", "\\|").split())


def once(world: World, case: Case, client: str, limit: float) -> str:
    """The cell of one client."""
    home = world.folder()
    # A case's faults end with it.
    with contextlib.ExitStack() as stage:
        job = stage.enter_context(case(world))
        stage.callback(world.hub.clear_faults)
        if job.first is not None:
            job.first(home)
        command = [sys.executable, str(HERE / "traveller.py"), client, job.task]
        given = {
            "endpoint": job.endpoint,
            "repo": job.repo,
            "token": job.token,
            "cache": str(home / "hub"),
            "place": job.place and str(job.place),
        }
        world.hub.reset_stats()
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment(job, home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        code: int | None
        try:
            _, errors = process.communicate(json.dumps(given), timeout=limit)
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            code, errors = None, ""
        seconds = time.perf_counter() - started
        told = f"; {job.tell(world.hub.stats())}" if job.tell else ""
    # With the stage cleared, so that an upload can be looked at.
    right, wrong = arrived(world, job, home)
    return outcome(code, errors, seconds, limit, right, wrong, len(job.files)) + told


def outcome(
    code: int | None, errors: str, seconds: float, limit: float, right: int, wrong: int, count: int
) -> str:
    """How it ended, in a few words."""
    files = f"{right} of {count} files" if right < count else "right files"
    if wrong:
        files += f", **{wrong} WRONG**"
    if code is None:
        return f"**> {limit:.0f} s**, {files}"
    if code == 0:
        lost = "" if right == count else "success with "
        return f"{lost}{files} in {seconds:.1f} s"
    if code < 0:
        return f"**the process dies** (signal {-code}) after {seconds:.1f} s, {files}"
    try:
        said = json.loads(errors.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return f"exit code {code}, {secret(errors[-ROOM:])}"
    message = secret(said["message"])
    cut = message if len(message) <= ROOM else message[:ROOM].rstrip() + " …"
    return f"{said['error']} after {seconds:.1f} s, {files}: “{cut}”"


def main() -> None:
    """Runs the cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=180, help="seconds to wait for a client")
    parser.add_argument("--only", help="words in the names of the cases to run")
    parser.add_argument("--scratch", help="folder for hub and caches")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=arguments.scratch) as folder,
        Hub.start(Path(folder) / "hub", [ALICE]) as hub,
        Toxiproxy.start() as toxiproxy,
    ):
        world = World(hub, toxiproxy, Path(folder))
        print(f"{machine()}. At most {arguments.limit:.0f} s.\n")
        print("| case | ours | official |")
        print("| --- " * 3 + "|", flush=True)
        for name, case in CASES.items():
            if arguments.only and arguments.only not in name:
                continue
            cells = [once(world, case, client, arguments.limit) for client in CLIENTS]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
