"""Reads parts of one file in place by one client, as a process of its own.

``reading_client.py CLIENT CASE ENDPOINT REPO READS DIGEST``. Reports the seconds from the
question for the file to its last byte; then writes to the file DIGEST what was read, as its hash.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from report import report

NAME = "data.bin"

#: What one read of the random ones takes.
LENGTH = 64 << 10

#: What one read of the sequential ones takes.
STEP = 1 << 20

Work = Callable[[], Iterable[bytes | memoryview]]


def offsets(size: int, reads: int) -> list[int]:
    """Where the random reads are: the same for all."""
    chance = random.Random(17)
    return [chance.randrange(0, size - LENGTH) for _ in range(reads)]


def ours(case: str, endpoint: str, repo: str, reads: int) -> Work:
    """The work for xet_ffi."""
    from xet_ffi import Client

    client = Client(endpoint=endpoint, token=False)

    def work() -> Iterable[bytes | memoryview]:
        with client.open(repo, NAME) as file:
            if case == "at once":
                return file.read_ranges([(at, LENGTH) for at in offsets(file.size, reads)])
            if case == "one by one":
                return [file.read_at(at, LENGTH) for at in offsets(file.size, reads)]
            found, buffer = hashlib.sha256(), bytearray(STEP)
            while read := file.readinto(buffer):
                found.update(memoryview(buffer)[:read])
            return [found.digest()]

    return work


def official(case: str, endpoint: str, repo: str, reads: int) -> Work:
    """The same for HfFileSystem; for the whole file, our own download of it."""
    if case == "whole":
        from xet_ffi import Client

        client = Client(endpoint=endpoint, token=False)

        def download() -> Iterable[bytes | memoryview]:
            found = hashlib.sha256()
            with Path(client.download_file(repo, NAME).path).open("rb") as file:
                while piece := file.read(STEP):
                    found.update(piece)
            return [found.digest()]

        return download

    from huggingface_hub import HfFileSystem

    system = HfFileSystem(endpoint=endpoint, token=False)

    def work() -> Iterable[bytes | memoryview]:
        path = f"{repo}/{NAME}"
        if case == "at once":
            places = offsets(system.info(path)["size"], reads)
            ends = [at + LENGTH for at in places]
            return system.cat_ranges([path] * reads, places, ends)
        with system.open(path, "rb") as file:
            parts = []
            for at in offsets(file.size, reads):
                file.seek(at)
                parts.append(file.read(LENGTH))
            return parts

    return work


def main() -> None:
    """Does the work, and reports it."""
    client, case, endpoint, repo, reads, place = sys.argv[1:]
    work = {"ours": ours, "official": official}[client](case, endpoint, repo, int(reads))
    started = time.perf_counter()
    parts = work()
    report(time.perf_counter() - started)
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    Path(place).write_text(found.hexdigest())


if __name__ == "__main__":
    main()
