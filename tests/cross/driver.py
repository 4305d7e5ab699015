"""One call from Python, for test_table.py; see driver.c."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypeAlias

from xet_ffi import Client, ClientInfo, Commit, Listing, Plan, Progress, Transfer, XetError

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


def show(*fields: object) -> None:
    """Prints a line."""
    print(*fields, sep="\t")


def main(endpoint: str, token: str, cache_dir: str, action: str, repo: str, *rest: str) -> None:
    """Makes a client and the call."""
    try:
        with Client(optional(endpoint), optional(token), cache_dir, max_attempts=1) as client:
            result = client.info() if action == "info" else call(client, action, repo, list(rest))
    except XetError as error:
        show("error", error.code, error.message, json.dumps(error.details))
        return
    if isinstance(result, Transfer):
        numbers = (result.files, result.bytes_total, result.bytes_network, result.bytes_reused)
        tries = (result.retries, result.fallbacks, result.stalls)
        again = (result.refreshes, result.refetches)
        show("done", result.path, result.commit, *numbers, *tries, *again)
        for one in result.file_transfers:
            sizes = (one.bytes_total, one.bytes_network, one.bytes_reused)
            proof = (one.local_path, one.hash or "-", one.hash_kind, int(one.verified))
            show("way", one.path, one.way, *sizes, one.retries, one.fallbacks, *proof)
        return
    if isinstance(result, Commit):
        counts = (result.commits, result.files, result.files_changed, result.bytes_total)
        sizes = (result.bytes_new, result.bytes_on_hub, result.bytes_repeated)
        show("committed", *counts, *sizes, result.xorbs)
        return
    if isinstance(result, Plan):
        sums = (result.bytes_total, result.bytes_present, result.bytes_reusable)
        show("plan", result.commit, *sums, result.bytes_remote, result.disk_need)
        for planned in result.files:
            parts = (planned.bytes_total, planned.bytes_present, planned.bytes_reusable)
            show("planned", planned.path, *parts, planned.bytes_remote)
        return
    if isinstance(result, ClientInfo):
        folders = (result.cache_dir, result.xet_cache_dir)
        how = (result.token_source, result.transport, result.max_concurrent_downloads)
        show("info", result.endpoint, *folders, *how, int(result.anonymous), int(result.offline))
        return
    if isinstance(result, str):
        show("commit", result)
        return
    for file in result:
        hashes = (file.hash, file.sha256 or "-", file.xet_hash or "-")
        show("entry", file.path, file.kind, file.size, *hashes, result.commit)


if __name__ == "__main__":
    main(*sys.argv[1:])
