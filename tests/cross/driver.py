"""One call from Python, for test_table.py; see driver.c."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from xet_ffi import (
    Client,
    ClientInfo,
    Commit,
    FileReport,
    Listing,
    Plan,
    Progress,
    Transfer,
    XetError,
)

Result: TypeAlias = "Listing | str | Transfer | Plan | Commit"


def optional(argument: str) -> str | None:
    """An argument, of which "-" is the default."""
    return None if argument == "-" else argument


def call(client: Client, action: str, repo: str, rest: list[str]) -> Result:
    """Does what the command line says."""
    if action == "cancel":
        came: list[Progress] = []
        return client.download_snapshot(
            repo,
            progress=lambda p: came.append(p) if p.bytes_network else None,
            cancel=lambda: bool(came),
        )
    if action == "limited":
        return client.download_snapshot(repo, timeout=0.3)
    if action == "upload":
        parent, path, file = rest
        client.create_repo(repo, exist_ok=True)
        return client.upload_file(Path(file), path, repo, parent_commit=optional(parent))
    repo_type, revision, *rest = rest
    if action in {"list", "resolve"}:
        ask = client.list_files if action == "list" else client.resolve
        return ask(repo, repo_type=optional(repo_type), revision=optional(revision))
    local_dir, *rest = rest
    if action == "file":
        return client.download_file(
            repo,
            rest[0],
            repo_type=optional(repo_type),
            revision=optional(revision),
            local_dir=optional(local_dir),
        )
    do = client.plan_snapshot if action == "plan" else client.download_snapshot
    return do(
        repo,
        repo_type=optional(repo_type),
        revision=optional(revision),
        local_dir=optional(local_dir),
        allow_patterns=[p for p in rest if not p.startswith("!")] or None,
        ignore_patterns=[p[1:] for p in rest if p.startswith("!")],
    )


def read(client: Client, repo: str, rest: list[str]) -> FileReport:
    """Reads parts of a file, and prints them."""
    repo_type, revision, name, *numbers = rest
    offsets = [int(number) for number in numbers]
    parts = list(zip(offsets[::2], offsets[1::2], strict=True))
    with client.open(
        repo, name, repo_type=optional(repo_type), revision=optional(revision), readahead=False
    ) as file:
        for part in [*file.read_ranges(parts), file.read_at(*parts[0])]:
            show("part", part.hex())
        return file.report()


def show(*fields: object) -> None:
    """Prints a line."""
    print(*fields, sep="\t")


def show_transfer(result: Transfer) -> None:
    """Prints the report of a download."""
    numbers = (result.files, result.bytes_total, result.bytes_network, result.bytes_reused)
    tries = (result.retries, result.fallbacks, result.stalls)
    again = (result.refreshes, result.refetches)
    show("done", result.path, result.commit, *numbers, *tries, *again)
    for one in result.file_transfers:
        sizes = (one.bytes_total, one.bytes_network, one.bytes_reused)
        proof = (one.local_path, one.hash or "-", one.hash_kind, int(one.verified))
        show("way", one.path, one.way, *sizes, one.retries, one.fallbacks, *proof)


def show_open(result: FileReport) -> None:
    """Prints what a file is, and what was read of it."""
    hashes = (result.commit, result.etag, result.xet_hash or "-", result.proof)
    counts = (result.reads, result.bytes_read, result.bytes_network, result.bytes_proof)
    again = (result.bytes_reused, result.retries, result.stalls)
    show("open", result.path, result.kind, result.size, *hashes, *counts, *again)


def show_commit(result: Commit) -> None:
    """Prints the report of an upload."""
    counts = (result.commits, result.files, result.files_changed, result.bytes_total)
    sizes = (result.bytes_new, result.bytes_on_hub, result.bytes_repeated)
    show("committed", *counts, *sizes, result.xorbs)


def show_plan(result: Plan) -> None:
    """Prints what a download would do."""
    sums = (result.bytes_total, result.bytes_present, result.bytes_reusable)
    show("plan", result.commit, *sums, result.bytes_remote, result.disk_need)
    for planned in result.files:
        parts = (planned.bytes_total, planned.bytes_present, planned.bytes_reusable)
        show("planned", planned.path, *parts, planned.bytes_remote)


def show_info(result: ClientInfo) -> None:
    """Prints what a client works with."""
    folders = (result.cache_dir, result.xet_cache_dir)
    how = (result.token_source, result.transport, result.max_concurrent_downloads)
    show("info", result.endpoint, *folders, *how, int(result.anonymous), int(result.offline))


def show_listing(result: Listing) -> None:
    """Prints the files of a repo."""
    for file in result:
        hashes = (file.hash, file.sha256 or "-", file.xet_hash or "-")
        show("entry", file.path, file.kind, file.size, *hashes, result.commit)


SHOW: dict[type, Callable[..., None]] = {
    Transfer: show_transfer,
    FileReport: show_open,
    Commit: show_commit,
    Plan: show_plan,
    ClientInfo: show_info,
    Listing: show_listing,
    str: lambda commit: show("commit", commit),
}


def main(endpoint: str, token: str, cache_dir: str, action: str, repo: str, *rest: str) -> None:
    """Makes a client and the call."""
    result: object
    try:
        with Client(optional(endpoint), optional(token), cache_dir, max_attempts=1) as client:
            if action == "info":
                result = client.info()
            elif action == "read":
                result = read(client, repo, list(rest))
            else:
                result = call(client, action, repo, list(rest))
    except XetError as error:
        show("error", error.code, error.message, json.dumps(error.details))
    else:
        SHOW[type(result)](result)


if __name__ == "__main__":
    main(*sys.argv[1:])
