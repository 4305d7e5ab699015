"""The command that says which tensors a repo has, from the headers of its files."""

from __future__ import annotations

import glob
import math

from xet_ffi._bar import size
from xet_ffi.cli import output
from xet_ffi.cli.shown import Shown
from xet_ffi.cli.target import Target, client
from xet_ffi.safetensors import open_tensors

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from xet_ffi.safetensors import TensorInfo

_TITLES = ("name", "dtype", "shape", "size", "file")


def _tensors(arguments: argparse.Namespace) -> int:
    repo = Target(arguments)
    with client(arguments) as hub, Shown(arguments):
        tensors = open_tensors(
            hub,
            repo.repo_id,
            pattern=_files(repo, arguments),
            local_files_only=arguments.local_files_only,
            timeout=arguments.timeout,
            **repo.where,
        )
        with tensors:
            chosen = [tensor.info for tensor in tensors.match(arguments.patterns or "*").values()]
    totals = _totals(chosen)
    if arguments.json:
        found = {"commit": tensors.commit, "tensors": chosen, "metadata": tensors.metadata}
        found["totals"] = totals
        output.result(found, as_json=True)
        return output.DONE
    for line in _table([_TITLES, *map(_row, chosen)]):
        output.line(line)
    count, files = totals["tensors"], totals["files"]
    kinds = ", ".join(f"{elements:,} {dtype}" for dtype, elements in totals["elements"].items())
    print(
        f"{count:,} tensor{'s' * (count != 1)} in {files:,} file{'s' * (files != 1)}, "
        f"{size(totals['size'])}B; elements: {kinds}"
    )
    return output.DONE


def _files(repo: Target, arguments: argparse.Namespace) -> list[str]:
    """Returns the patterns of the files that are meant."""
    if repo.path and arguments.include:
        message = f"REPO names {repo.path} already: it has no use for --include"
        raise output.Misuse(message)
    if repo.path.endswith(".safetensors"):
        return [glob.escape(repo.path)]
    if repo.path:
        return [f"{glob.escape(repo.path.rstrip('/'))}/"]
    return arguments.include or ["*.safetensors"]


def _row(info: TensorInfo) -> tuple[str, ...]:
    return (info.name, info.dtype, str(list(info.shape)), f"{info.size:,}", info.file)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Returns lines with columns; numbers end where their column does."""
    name, dtype, shape, bytes_, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [
        f"{row[0]:<{name}}  {row[1]:<{dtype}}  {row[2]:<{shape}}  {row[3]:>{bytes_}}  {row[4]}"
        for row in rows
    ]


def _totals(chosen: list[TensorInfo]) -> dict[str, Any]:
    elements: dict[str, int] = {}
    for info in chosen:
        elements[info.dtype] = elements.get(info.dtype, 0) + math.prod(info.shape)
    return {
        "tensors": len(chosen),
        "files": len({info.file for info in chosen}),
        "size": sum(info.size for info in chosen),
        "elements": elements,
    }


COMMANDS = {"tensors": _tensors}
