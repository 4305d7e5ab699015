"""A rank's part of a safetensors model into memory: ``make bench-tensors``.

Ours reads the parts in place; the official clients download the model and slice its files. Both on
one xet-hub, in turn, each run a process of its own with an empty cache, on loopback and behind 50
ms of delay each way. What has come into memory is compared by its hash when the clock has stopped.
Bytes are counted by the hub, and compared with the chunks that the parts are in.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import numpy as np  # noqa: E402
from held import Held  # noqa: E402
from measure import median, run, spread  # noqa: E402
from run import ALICE, MIB, Bench, Samples, begin, parser, stage  # noqa: E402
from tensor_client import SPLITS  # noqa: E402

from toxiproxy import Toxiproxy  # noqa: E402

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub
    from xet_ffi.safetensors import TensorFiles

REPO = "alice/model"
RANK, RANKS = 1, 4
SHARDS = 4

#: Of the model: the width, and that of the feed-forward layers. A layer has 48 MiB.
WIDTH, WIDE = 2048, 4096


def layer(number: int, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors as a transformer's layer has them; noise, which nothing makes smaller."""
    shapes = {
        "q_proj.weight": (WIDTH, WIDTH),
        "o_proj.weight": (WIDTH, WIDTH),
        "up_proj.weight": (WIDE, WIDTH),
        "down_proj.weight": (WIDTH, WIDE),
        "norm.weight": (WIDTH,),
    }
    for name, shape in shapes.items():
        noise = rng.integers(0, 1 << 16, shape, dtype="u2").view("f2")
        yield f"model.layers.{number}.{name}", noise


def publish(api: HfApi, scratch: Path, size: int) -> None:
    """Puts the model on the hub, in shards with an index."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(29)
    folder = scratch / "model"
    folder.mkdir()
    layers = max(SHARDS, round(size / 48))
    where: dict[str, str] = {}
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        numbers = range(shard * layers // SHARDS, (shard + 1) * layers // SHARDS)
        tensors = dict(pair for number in numbers for pair in layer(number, rng))
        save_file(tensors, folder / name)
        where |= dict.fromkeys(tensors, name)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    shutil.rmtree(folder)


def chunks(hub: Hub, tensors: TensorFiles, split: str) -> int:
    """Bytes of the chunks that the rank's parts are in, each counted once."""
    held = {file: Held(hub.describe(REPO, file)["chunk_lengths"]) for file in tensors.files}
    axes = {f"*{name}": axis for name, axis in SPLITS[split].items()}
    for part in tensors.for_rank(RANK, RANKS, axes).values():
        for comb in part.combs():
            starts = comb.source + comb.stride * np.arange(comb.count)
            held[part.info.file].add(starts, starts + comb.length)
    return sum(one.size() for one in held.values())


@dataclass
class Found:
    """What the runs of one client held, beside what they cost."""

    digests: set[str]
    bytes_loaded: int = 0


def compare(bench: Bench, split: str, endpoint: str, found: Found) -> Mapping[str, Samples]:
    """Runs both in turn."""

    def once(client: str, samples: Samples) -> None:
        with bench.home() as home:
            place = home / "digest"
            where = (split, endpoint, REPO, str(home / "hub"), str(RANK), str(RANKS), str(place))
            command = bench.command("tensor_client.py", client, *where)
            bench.hub.reset_stats()
            samples.runs.append(run(command, bench.environment(home)))
            stats = bench.hub.stats()
            samples.requests.append(stats.requests("hub") + stats.requests("cas"))
            samples.megabytes.append(stats.bytes_sent("storage") / MIB)
            digest, loaded = place.read_text().split()
            found.digests.add(digest)
            found.bytes_loaded = int(loaded)

    return bench.compare(once)


@contextmanager
def line(hub: Hub, delay: int) -> Iterator[str]:
    """The hub's endpoint behind so many milliseconds each way."""
    if not delay:
        yield hub.endpoint
        return
    with Toxiproxy.start() as toxiproxy:
        wires = toxiproxy.wires(hub)
        for wire in wires.values():
            wire.add("latency", upstream=True, latency=delay)
            wire.add("latency", latency=delay)
        try:
            yield wires["hub"].url
        finally:
            hub.announce()


def main() -> None:
    """Runs all cases and prints the table."""
    from huggingface_hub import HfApi

    from xet_ffi import Client
    from xet_ffi.safetensors import open_tensors

    options = parser(__doc__, 2048, "the model")
    options.add_argument("--delay", type=int, nargs="*", default=[0, 50], help="ms each way")
    told = options.parse_args()
    with stage(told) as bench:
        hub, scratch = bench.hub, bench.scratch
        publish(HfApi(endpoint=hub.endpoint, token=ALICE.secret), scratch, told.size)
        with (
            Client(hub.endpoint, token=False, cache_dir=scratch / "look") as client,
            open_tensors(client, REPO) as tensors,
        ):
            least = {split: chunks(hub, tensors, split) / MIB for split in SPLITS}
            size = sum(tensor.size for tensor in tensors.values()) / MIB
        found = {split: Found(set()) for split in SPLITS}
        begin(
            bench,
            *("split by", "delay each way", "ours, s", "official, s", "ours takes"),
            *("CPU s, ours", "official", "peak MiB, ours", "official"),
            *("storage MiB, ours", "official", "of the parts' chunks"),
        )
        for split in reversed(SPLITS):
            for delay in told.delay:
                with line(hub, delay) as endpoint:
                    samples = compare(bench, split, endpoint, found[split])
                print(row(f"{split} | {delay} ms", samples, least[split]), flush=True)
    if any(len(one.digests) != 1 for one in found.values()):
        sys.exit("what was loaded differs")
    chunks_of = ", ".join(f"{split} {mib:.0f} MiB" for split, mib in least.items())
    print(
        f"\nThe model has {size:.0f} MiB in {SHARDS} shards, the parts of rank {RANK} of {RANKS} "
        f"{found['rows'].bytes_loaded / MIB:.0f} MiB, in chunks of: {chunks_of}."
    )


def row(name: str, samples: Mapping[str, Samples], least: float) -> str:
    """One line of the table."""
    both = list(samples.values())
    shares = [a.work / b.work for a, b in zip(*(each.runs for each in both), strict=True)]
    cells = [
        name,
        *(spread([one.work for one in each.runs]) for each in both),
        f"**{median(shares):.2f}** of it",
        *(f"{median([one.cpu for one in each.runs]):.2f}" for each in both),
        *(f"{median([one.peak_mb for one in each.runs]):.0f}" for each in both),
        *(f"{median(each.megabytes):.0f}" for each in both),
        f"{median(both[0].megabytes) / least:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
