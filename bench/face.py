"""huggingface_hub on libxet against huggingface_hub on hf_xet: ``make bench-face``.

One huggingface_hub, one xet-hub, two ways underneath: with ``XET_FFI_HF_XET=1`` ours, without it
the official hf_xet. Each run is a process of its own with an empty home, the two in turn. What has
come, or gone up, is compared with what was published, by its hash, when the clock has stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from measure import median, run, spread  # noqa: E402
from run import ALICE, MIB, Bench, Samples, machine, row  # noqa: E402

from hub import Hub  # noqa: E402

Digests = dict[str, str]
"""The SHA-256 of each file, by name."""

SWITCH = "XET_FFI_HF_XET"


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> Digests:
    """Those of all files of a folder."""
    return {path.name: digest(path) for path in folder.iterdir()}


def expect(found: Digests, wanted: Digests) -> None:
    """Ends the run if content isn't what was published."""
    if found != wanted:
        wrong = sorted(
            name for name in found.keys() | wanted if found.get(name) != wanted.get(name)
        )
        sys.exit(f"{len(wrong)} of {len(wanted)} files aren't what was published: {wrong[:3]}")


@dataclass
class Published:
    """A folder, and the repo that has it."""

    repo: str
    folder: Path
    digests: Digests


class Face:
    """What is measured, and with what."""

    def __init__(self, bench: Bench, size: int, count: int) -> None:
        self._bench = bench
        self._rng = random.Random(15)
        self._size = size
        self._count = count

    def large(self, folder: Path) -> None:
        """Writes the large file."""
        with (folder / "model.bin").open("wb") as file:
            for _ in range(self._size):
                file.write(self._rng.randbytes(MIB))

    def small(self, folder: Path) -> None:
        """Writes the many small ones."""
        for number in range(self._count):
            (folder / f"{number}.bin").write_bytes(self._rng.randbytes(MIB))

    def publish(self, name: str, make: Callable[[Path], None]) -> Published:
        """Puts what `make` writes into a repo."""
        folder = Path(tempfile.mkdtemp(dir=self._bench.scratch))
        make(folder)
        api = self._api()
        api.create_repo(f"alice/{name}")
        api.upload_folder(repo_id=f"alice/{name}", folder_path=folder)
        published = Published(f"alice/{name}", folder, digests(folder))
        shutil.rmtree(folder)
        return published

    def _api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self._bench.hub.endpoint, token=ALICE.secret)

    def _run(self, client: str, home: Path, samples: Samples, *arguments: str) -> None:
        command = [sys.executable, str(HERE / "face_client.py"), client, *arguments]
        environment = self._bench.environment(home) | {"HF_TOKEN": ALICE.secret}
        environment.pop(SWITCH, None)
        # Whoever installs a package has it compiled.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if client == "ours":
            environment[SWITCH] = "1"
        self._bench.hub.reset_stats()
        samples.runs.append(run(command, environment))
        stats = self._bench.hub.stats()
        samples.requests.append(stats.requests("hub") + stats.requests("cas"))
        sent = stats.bytes_sent("storage")
        received = stats.raw["xorb_bytes_received"] + stats.raw["lfs_bytes_received"]
        samples.megabytes.append((sent + received) / MIB)

    def download(self, task: str, what: Published) -> Mapping[str, Samples]:
        """Downloads with huggingface_hub."""

        def once(client: str, samples: Samples) -> None:
            with self._bench.home() as home:
                self._run(client, home, samples, task, self._bench.hub.endpoint, what.repo)
                (snapshot,) = home.glob("hub/models--*/snapshots/*")
                found = digests(snapshot)
                expect({n: d for n, d in found.items() if n in what.digests}, what.digests)

        return self._bench.compare(once)

    def group(self, what: Published, delay: float = 0) -> Mapping[str, Samples]:
        """Downloads in one group of hf_xet's, from servers that take so many seconds to answer."""
        api = self._api()
        commit = api.repo_info(what.repo).sha
        entries = api.list_repo_tree(what.repo, expand=True)
        files = [(e.path, e.xet_hash, e.size) for e in entries if e.path in what.digests]
        wanted = self._bench.scratch / "wanted.json"
        wanted.write_text(json.dumps(files))
        url = f"{self._bench.hub.endpoint}/api/models/{what.repo}/xet-read-token/{commit}"
        self._bench.hub.delay(delay)

        def once(client: str, samples: Samples) -> None:
            with self._bench.home() as home:
                place = home / "files"
                place.mkdir()
                self._run(client, home, samples, "group", url, str(wanted), str(place))
                expect(digests(place), what.digests)

        return self._bench.compare(once)

    def upload(self, task: str) -> Mapping[str, Samples]:
        """Uploads with huggingface_hub: content of its own each time."""
        api = self._api()

        def once(client: str, samples: Samples) -> None:
            repo = f"alice/{task}-{client}-{self._rng.randrange(1 << 40)}"
            api.create_repo(repo)
            with self._bench.home() as home:
                content = home / "content"
                content.mkdir()
                (self.large if task == "upload_file" else self.small)(content)
                wanted = digests(content)
                path = content / "model.bin" if task == "upload_file" else content
                endpoint = self._bench.hub.endpoint
                self._run(client, home, samples, task, endpoint, repo, str(path))
                shutil.rmtree(content)
                copy = Path(api.snapshot_download(repo, cache_dir=home / "check"))
                expect({n: d for n, d in digests(copy).items() if n in wanted}, wanted)
            api.delete_repo(repo)

        return self._bench.compare(once)

    def load(self) -> Mapping[str, Samples]:
        """Imports hf_xet."""

        def once(client: str, samples: Samples) -> None:
            with self._bench.home() as home:
                self._run(client, home, samples, "load")
                samples.requests.clear()
                samples.megabytes.clear()

        return self._bench.compare(once)


def starts(scratch: Path, repeats: int) -> tuple[list[float], list[float]]:
    """Interpreter starts with the switch unset, in milliseconds: with its line, and without.

    Each in an environment of its own that has nothing else.
    """
    import sysconfig

    ours = Path(sysconfig.get_path("purelib"))
    pythons = []
    for name in ("with", "without"):
        place = scratch / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        (packages,) = place.glob("lib/python*/site-packages")
        for file in ("xet_ffi_hf_xet.pth", "_xet_ffi_switch.py"):
            if name == "with":
                shutil.copy(ours / file, packages)
        pythons.append(str(place / "bin" / "python"))
    environment = {name: value for name, value in os.environ.items() if name != SWITCH}
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats + 5):
        for python, seconds in zip(pythons, times, strict=True):
            begun = time.perf_counter()
            subprocess.run([python, "-c", "pass"], check=True, env=environment)
            if number >= 5:
                seconds.append((time.perf_counter() - begun) * 1000)
    return times


def main() -> None:
    """Runs all cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, help="of the large file, in MiB")
    parser.add_argument("--count", type=int, default=1000, help="of the files of 1 MiB")
    parser.add_argument("--scratch", help="folder for hub and caches; a RAM disk measures no disk")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()
    # Before anything imports huggingface_hub.
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    many = f"{arguments.count:,} files of 1 MiB"
    print(f"{machine()}. {arguments.repeats} runs each, in turn; median (min-max).\n")
    print(
        "| case | ours, s | official, s | ratio | CPU s, ours | official | peak MiB, ours "
        "| official | requests, ours | official | MiB moved, ours | official |"
    )
    print("| --- " * 12 + "|")

    def show(name: str, measure: Callable[[Face], Mapping[str, Samples]]) -> None:
        if arguments.only not in name:
            return
        # A hub of its own: it keeps what was uploaded, and the RAM disk has an end.
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            scratch = Path(folder)
            with Hub.start(scratch / "hub", [ALICE]) as hub:
                bench = Bench(hub, scratch, arguments.repeats)
                samples = measure(Face(bench, arguments.size, arguments.count))
        print(row(name, samples, lambda r: r.work), flush=True)

    show("import hf_xet", lambda f: f.load())
    show("cold file", lambda f: f.download("file", f.publish("big", f.large)))
    show(f"{many}, one group", lambda f: f.group(f.publish("many", f.small)))
    show(f"{many}, one group, 20 ms", lambda f: f.group(f.publish("many", f.small), 0.02))
    show(f"{many}, snapshot", lambda f: f.download("snapshot", f.publish("many", f.small)))
    show("upload of the file", lambda f: f.upload("upload_file"))
    show(f"upload of {many}", lambda f: f.upload("upload_folder"))
    if arguments.only in "interpreter start":
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            these, others = starts(Path(folder), arguments.repeats * 20)
        differences = [one - other for one, other in zip(these, others, strict=True)]
        print(
            f"\nInterpreter start, switch unset: {spread(these)} ms with the line in "
            f"site-packages, {spread(others)} without; by pairs {median(differences):+.3f} ms."
        )


if __name__ == "__main__":
    main()
