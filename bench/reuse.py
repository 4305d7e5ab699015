"""What a download costs when a part of it is on the machine: ``python bench/reuse.py``.

Side by side with huggingface_hub + hf_xet. Each case fills an empty cache with a client, then
measures a second download by the same client, both as processes of their own. All that the second
one receives is counted on the link between it and the hub: content, headers, listings. The table
goes to the terminal; ``bench/RESULTS.md`` keeps it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from link import Link  # noqa: E402
from measure import Run, median, run, spread  # noqa: E402
from run import ALICE, CLIENTS, MIB, machine  # noqa: E402

from hub import Hub  # noqa: E402

#: 100 Mbit/s.
LINK = 12_500_000
SILERO = ("5.1.2", "6.2.0")
#: Bytes of a chunk's note in the index: its length, and the beginning of its hash.
NOTE = 11


@dataclass
class Bench:
    """Where everything is."""

    hub: Hub
    link: Link | None
    """What downloads come through; None: straight from the hub."""
    scratch: Path

    @property
    def endpoint(self) -> str:
        """The hub, as clients see it."""
        return self.link.endpoint if self.link else self.hub.endpoint

    @contextmanager
    def through(self, link: Link | None) -> Iterator[None]:
        """Lets downloads come through another link meanwhile."""
        before = self.link
        self._use(link)
        try:
            yield
        finally:
            self._use(before)

    def _use(self, link: Link | None) -> None:
        self.link = link
        if link:
            link.announce()
        else:
            self.hub.announce()

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """A home of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return kept | {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more

    def command(self, client: str, task: str, repo: str, home: Path) -> list[str]:
        """One download by one client."""
        script = str(HERE / "contender.py")
        return [sys.executable, script, client, task, self.endpoint, repo, str(home / "hub")]

    @contextmanager
    def home(self) -> Iterator[Path]:
        """An empty home, gone afterwards."""
        path = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def download(
        self, client: str, repo: str, home: Path, task: str = "snapshot"
    ) -> tuple[Run, int]:
        """Downloads, and returns what it cost and how many bytes it received."""
        assert self.link is not None
        self.link.reset()
        done = run(self.command(client, task, repo, home), self.environment(home))
        return done, self.link.received


def publish(bench: Bench, repo: str, files: Mapping[str, bytes]) -> None:
    """Uploads files with the official client, as one commit."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=bench.hub.endpoint, token=ALICE.secret)
    api.create_repo(repo, exist_ok=True)
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit(repo, operations, commit_message="Publish")


def again(
    bench: Bench, first: Callable[[], str], second: Callable[[], str]
) -> dict[str, tuple[Run, int]]:
    """Has both clients download the repo of `first`, and measures the one of `second` then."""
    homes = {client: Path(tempfile.mkdtemp(dir=bench.scratch)) for client in CLIENTS}
    repo = first()
    for client in CLIENTS:
        bench.download(client, repo, homes[client])
    repo = second()
    measured = {client: bench.download(client, repo, homes[client]) for client in CLIENTS}
    for home in homes.values():
        shutil.rmtree(home)
    return measured


def row(name: str, target: str, of: int, measured: Mapping[str, tuple[Run, int]]) -> None:
    """Prints one line of the table; `of` is what the bytes are compared with."""
    cells = [name, target]
    for client in CLIENTS:
        received = measured[client][1]
        part = f" ({received / of:.1%})" if of else ""
        cells.append(f"{received / 1e6:,.3f} MB{part}")
    cells += [f"{measured[client][0].work:.2f}" for client in CLIENTS]
    print("| " + " | ".join(cells) + " |", flush=True)


def noise(size: int, seed: str) -> bytes:
    """Bytes that no compression makes smaller."""
    numbers = random.Random(seed)
    return b"".join(numbers.randbytes(min(MIB, size - at)) for at in range(0, size, MIB))


def revisions(bench: Bench, size: int) -> None:
    """One file, changed in one region, and with bytes inserted at its front."""
    old = noise(size, "old")
    changed = size // 10
    new = old[: size // 3] + noise(changed, "new") + old[size // 3 + changed :]
    measured = again(
        bench,
        lambda: published(bench, "alice/region", {"model.bin": old}),
        lambda: published(bench, "alice/region", {"model.bin": new}),
    )
    name = f"new revision, 10 % of {size // MIB} MiB changed in one region"
    row(name, "<= 110 % of the changed bytes", changed, measured)
    measured = again(
        bench,
        lambda: published(bench, "alice/front", {"model.bin": old}),
        lambda: published(bench, "alice/front", {"model.bin": noise(1000, "front") + old}),
    )
    row("new revision, 1,000 bytes inserted at the front", "<= 2 % of the file", size, measured)


def published(bench: Bench, repo: str, files: Mapping[str, bytes]) -> str:
    """Publishes, and returns the repo."""
    publish(bench, repo, files)
    return repo


def variant(bench: Bench, size: int) -> None:
    """A fine-tuned model in another repo, with 30 % of the tensors changed, and back."""
    each = size // 40
    base = [noise(each, f"tensor {i}") for i in range(20)]
    tuned = [noise(each, f"tuned {i}") if i % 10 in (2, 3, 7) else t for i, t in enumerate(base)]
    for repo, tensors in (("alice/base", base), ("alice/tuned", tuned)):
        publish(bench, repo, {"model.safetensors": safetensors(tensors)})
    changed = 6 * each
    measured = again(bench, lambda: "alice/base", lambda: "alice/tuned")
    row(
        "variant in another repo, 30 % of tensors changed",
        "<= 110 % of the changed bytes",
        changed,
        measured,
    )
    measured = again(bench, lambda: "alice/tuned", lambda: "alice/base")
    row("the same, variant first", "<= 110 % of the changed bytes", changed, measured)


def safetensors(tensors: list[bytes]) -> bytes:
    """A model of these tensors, laid out as safetensors does."""
    header, at = {}, 0
    for i, tensor in enumerate(tensors):
        offsets = [at, at + len(tensor)]
        header[f"layers.{i}"] = {"dtype": "U8", "shape": [len(tensor)], "data_offsets": offsets}
        at += len(tensor)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(tensors)


def silero(bench: Bench) -> None:
    """Two releases of a real model, from PyPI."""
    releases = []
    for release in SILERO:
        wheels = bench.scratch / "wheels" / release
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            str(wheels),
        ]
        if subprocess.run([*pip, f"silero-vad=={release}"], check=False).returncode:
            print("| silero-vad: PyPI is out of reach | | | | | |")
            return
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if "/data/" in name and "." in name]
            releases.append({Path(name).name: archive.read(name) for name in members})
    old, new = releases
    measured = again(
        bench,
        lambda: published(bench, "alice/silero", old),
        lambda: published(bench, "alice/silero", new),
    )
    differ, changed_files = chunk_difference(bench, old, new)
    target = f"<= {differ / 1e6:.3f} MB, by which the chunk lists differ"
    row(f"silero-vad {SILERO[0]} -> {SILERO[1]}, real files", target, changed_files, measured)


def chunk_difference(
    bench: Bench, old: Mapping[str, bytes], new: Mapping[str, bytes]
) -> tuple[int, int]:
    """How many bytes are in chunks of `new` that `old` doesn't have, and in files that changed.

    The chunks are those of the reuse index, which has cut nothing itself: they came with the files.
    Files that are too small for the index count as a whole.
    """
    with bench.home() as home:
        for repo in ("alice/chunks-old", "alice/chunks-new"):
            files = old if repo.endswith("old") else new
            publish(bench, repo, files)
            bench.download("ours", repo, home)
        database = sqlite3.connect(home / "xet" / "xet-ffi" / "reuse.sqlite")
        lists: dict[bytes, list[bytes]] = {}
        for content, path in database.execute("SELECT content, path FROM place"):
            sql = "SELECT notes FROM page WHERE id >> 20 = ? ORDER BY id"
            notes = b"".join(row[0] for row in database.execute(sql, [content]))
            text = Path(os.fsdecode(path)).read_bytes()
            lists[text] = [notes[i : i + NOTE] for i in range(0, len(notes), NOTE)]
        database.close()
    known = {note for text in old.values() for note in lists.get(text, [])}
    differ = changed = 0
    for name, text in new.items():
        if old.get(name) == text:
            continue
        changed += len(text)
        if text in lists:
            missing = set(lists[text]) - known
            differ += sum(int.from_bytes(note[:3], "little") for note in missing)
        else:
            differ += len(text)
    return differ, changed


def repeated(bench: Bench) -> None:
    """The same content again, in several ways."""
    size = 64 * MIB
    half, other = noise(size // 2, "half"), noise(size // 2, "other half")
    files = {"half.bin": half, "both.bin": half + other}
    for repo in ("alice/one", "alice/two"):
        publish(bench, repo, files)
    total = size + size // 2
    measured = again(bench, lambda: "alice/one", lambda: "alice/two")
    row("same files, other repo", "0 (listing and metadata aside)", total, measured)
    measured = again(bench, lambda: "alice/one", lambda: "alice/one")
    row("repeat, cache intact", "0; hit rate 100 %", total, measured)
    measured = {}
    for client in CLIENTS:
        with bench.home() as home:
            bench.download(client, "alice/one", home)
            (pointer,) = (home / "hub").glob("models--*/snapshots/*/both.bin")
            pointer.resolve().unlink()
            measured[client] = bench.download(client, "alice/one", home)
    row(
        "repeat, one blob of 64 MiB deleted, half of it in another file",
        "<= 50 % and its edges",
        size,
        measured,
    )


def killed(bench: Bench, size: int) -> None:
    """Killed when half has arrived, and started again.

    Over the slow link: what is in a fast one's buffers when its reader is killed, nobody received.
    """
    publish(bench, "alice/killed", {"model.bin": noise(size, "killed")})
    measured = {}
    with Link(bench.hub, LINK) as slow, bench.through(slow):
        for client in CLIENTS:
            with bench.home() as home:
                slow.reset()
                command = bench.command(client, "file", "alice/killed", home)
                process = subprocess.Popen(
                    command, env=bench.environment(home), stdout=subprocess.DEVNULL
                )
                slow.watch = lambda got, p=process: p.kill() if got >= size // 2 else None
                process.wait()
                measured[client] = bench.download(client, "alice/killed", home, "file")
    row(f"{size // MIB} MiB, killed at 50 %, restarted", "<= 52 %", size, measured)


def limited(bench: Bench, size: int) -> None:
    """The first case over a slow link."""
    old = noise(size, "old")
    changed = size // 10
    new = old[: size // 3] + noise(changed, "new") + old[size // 3 + changed :]
    publish(bench, "alice/slow", {"model.bin": old})
    homes = {client: Path(tempfile.mkdtemp(dir=bench.scratch)) for client in CLIENTS}
    for client in CLIENTS:
        bench.download(client, "alice/slow", homes[client])
    publish(bench, "alice/slow", {"model.bin": new})
    with Link(bench.hub, LINK) as slow, bench.through(slow):
        seconds = {
            client: bench.download(client, "alice/slow", homes[client])[0].work
            for client in CLIENTS
        }
    ratio = seconds["official"] / seconds["ours"]
    print(
        f"\nThe first row over 100 Mbit/s: {seconds['ours']:.1f} s, "
        f"official {seconds['official']:.1f} s: {ratio:.1f} times as fast."
    )


def overhead(bench: Bench, size: int, repeats: int) -> None:
    """What looking for reuse costs where there is none: with the index, and without.

    In processor time, too, which other jobs on the machine disturb less.
    """
    publish(bench, "alice/cold", {"model.bin": noise(size, "cold")})
    runs: dict[str, list[Run]] = {"with": [], "without": []}
    for i in range(repeats + 1):
        for which, most in (("with", ""), ("without", "0")):
            with bench.home() as home, bench.through(None):
                command = bench.command("ours", "file", "alice/cold", home)
                done = run(command, bench.environment(home, XET_FFI_REUSE_INDEX_BYTES=most))
                if i > 0:
                    runs[which].append(done)
    print(
        f"\nCold {size // MIB} MiB, nothing reusable, {repeats} pairs, with the index and without:"
    )
    for name, value in (("seconds", lambda r: r.work), ("processor seconds", lambda r: r.cpu)):
        a, b = ([value(r) for r in runs[which]] for which in ("with", "without"))
        share = median([x / y - 1 for x, y in zip(a, b, strict=True)])
        print(f"{name} {spread(a)}, {spread(b)}: {share:+.1%}, median of the pairs")


def main() -> None:
    """Runs all cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="of the large file, in MiB")
    parser.add_argument("--repeats", type=int, default=9, help="pairs of cold downloads")
    parser.add_argument("cases", nargs="*", help="revisions, variant, silero, ... (default: all)")
    parser.add_argument("--scratch", help="folder for hub and caches; a RAM disk measures no disk")
    arguments = parser.parse_args()
    size = arguments.size * MIB
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        scratch = Path(folder)
        os.environ |= {"HF_HOME": str(scratch / "publisher"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        with Hub.start(scratch / "hub", [ALICE]) as hub, Link(hub) as link:
            bench = Bench(hub, link, scratch)
            link.announce()
            print(f"{machine()}.\n")
            print("| case | target | received, ours | official | ours, s | official, s |")
            print("| --- | --- | --- | --- | --- | --- |")
            cases: dict[str, Callable[[], None]] = {
                "revisions": lambda: revisions(bench, size),
                "variant": lambda: variant(bench, size),
                "silero": lambda: silero(bench),
                "repeated": lambda: repeated(bench),
                "killed": lambda: killed(bench, size // 4),
                "limited": lambda: limited(bench, size),
                "overhead": lambda: overhead(bench, 2 * size, arguments.repeats),
            }
            for case in arguments.cases or cases:
                cases[case]()


if __name__ == "__main__":
    main()
