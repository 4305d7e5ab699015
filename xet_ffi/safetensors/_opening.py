"""Which files of a repo are one set of tensors, and what is in them.

    model-00001-of-00002.safetensors, model-00002-of-00002.safetensors    shards
    model.safetensors.index.json        {"weight_map": {TENSOR: FILE}}: which files belong together

The index only chooses files; what is in a file, its own header says.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from functools import partial
from posixpath import dirname, join, normpath

from xet_ffi._dataclass import dataclass
from xet_ffi._errors import EntryNotFoundError
from xet_ffi.safetensors import _header as header
from xet_ffi.safetensors._errors import InvalidSafetensorsError
from xet_ffi.safetensors._workers import AT_ONCE, side_by_side

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from threading import Event
    from typing import Any

    from xet_ffi._reading import File
    from xet_ffi.client import Client
    from xet_ffi.safetensors._header import TensorInfo
    from xet_ffi.safetensors._workers import Job, Limits

INDEX = ".safetensors.index.json"

_GUESS = 256 << 10
"""Bytes of a header that come with the question how long it is. Few have more."""

_WINDOWS = 8 << 20
"""Memory that all files of a set may keep of what was read."""

_LEAST_WINDOW = 256 << 10

_LARGEST_INDEX = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An open file, and what its header says."""

    file: File
    tensors: list[TensorInfo]
    metadata: dict[str, str]


class Repo:
    """A repo at a commit, whose files are to be opened.

    Args:
        client: Opens them.
        repo_id: Its name.
        patterns: Which files are wanted.
        options: How they are opened.
        limits: How long it may all take.
    """

    def __init__(
        self,
        client: Client,
        repo_id: str,
        patterns: list[str],
        options: dict[str, Any],
        limits: Limits,
    ) -> None:
        self.repo_id = repo_id
        self._client = client
        self._patterns = [f"{one}*.safetensors" if one.endswith("/") else one for one in patterns]
        self._options = options
        self._limits = limits
        self.commit, self._paths = self._list()

    def _list(self) -> tuple[str, list[str]]:
        where = {name: self._options[name] for name in ("repo_type", "revision")}
        how = {**where, "timeout": self._limits.remaining(), **self._options["deadlines"]}
        if self._options["local_files_only"]:
            there = self._client.download_snapshot(
                self.repo_id,
                allow_patterns=[*self._patterns, f"*{INDEX}"],
                local_files_only=True,
                **how,
            )
            return there.commit, [file.path for file in there.file_transfers]
        listing = self._client.list_files(self.repo_id, **how)
        return listing.commit, [file.path for file in listing]

    def open(self) -> dict[str, Opened]:
        """Opens the files of the set, side by side, and reads their headers.

        Raises:
            EntryNotFoundError: No file fits, or an index names one that isn't there.
            InvalidSafetensorsError: A file isn't what the format allows.
        """
        chosen = self._chosen()
        indexes = self._indexes(chosen)
        window = max(_WINDOWS // len(chosen), _LEAST_WINDOW)
        opened: dict[str, Opened] = {}
        named: list[set[str]] = []

        def file(path: str, stop: Event) -> None:
            opened[path] = self._with_header(path, window, stop)

        def index(path: str, stop: Event) -> None:
            named.append(self._named(path, stop))

        jobs: list[Job[None]] = [
            *((1, partial(index, path)) for path in indexes),
            *((1, partial(file, path)) for path in chosen),
        ]
        try:
            for _ in side_by_side(jobs, AT_ONCE, self._limits):
                pass
            belong = self._belong(chosen, named)
        except BaseException:
            for one in opened.values():
                one.file.close()
            raise
        for path in opened.keys() - belong:
            opened.pop(path).file.close()
        return {path: opened[path] for path in chosen if path in opened}

    def _chosen(self) -> list[str]:
        chosen = [p for p in self._paths if any(fnmatchcase(p, one) for one in self._patterns)]
        if not chosen:
            patterns = ", ".join(map(repr, self._patterns))
            message = f"{self.repo_id}: no file at {self.commit} fits {patterns}"
            raise EntryNotFoundError(message, details=self._details("entry_not_found"))
        return sorted(chosen)

    def _indexes(self, chosen: list[str]) -> list[str]:
        """Returns the indexes that may say which of several files of a folder belong together."""
        folders = [dirname(path) for path in chosen]
        return [
            path
            for path in self._paths
            if path.endswith(INDEX) and folders.count(dirname(path)) > 1
        ]

    def _belong(self, chosen: list[str], named: list[set[str]]) -> set[str]:
        """Returns the files of the set: where an index has all of its own among them, only those.

        So it is with a model that is there twice, in shards and in one file.
        """
        belong, paths = set(chosen), set(self._paths)
        kept: dict[str, set[str]] = {}
        for files in named:
            if absent := sorted(files - paths):
                if not files & belong:
                    continue  # it was left behind by files that are gone
                message = f"{self.repo_id}: an index names {absent[0]}, which isn't there"
                raise EntryNotFoundError(message, details=self._details("entry_not_found"))
            if files <= belong:
                kept.setdefault(dirname(next(iter(files))), set()).update(files)
        return {path for path in belong if path in kept.get(dirname(path), belong)}

    def _named(self, path: str, stop: Event) -> set[str]:
        """Returns the files that an index names."""
        with self._opened(path, _LEAST_WINDOW, stop) as file:
            if file.size > _LARGEST_INDEX:
                raise self._bad_index(path, f"it has {file.size:,} bytes")
            text = self._read(file, 0, file.size, stop)
        try:
            files = set(json.loads(text)["weight_map"].values())
            found = {normpath(join(dirname(path), name)) for name in files}
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise self._bad_index(path, f"it has no weight_map: {error!r}") from None
        folder = dirname(path)
        if not found or any(dirname(one) != folder for one in found):
            raise self._bad_index(path, "its weight_map names no files of its folder")
        return found

    def _with_header(self, path: str, window: int, stop: Event) -> Opened:
        file = self._opened(path, window, stop)
        try:
            head = self._read(file, 0, min(header.LENGTH + _GUESS, file.size), stop)
            length = header.length(head, file.size, self.repo_id, path)
            end = header.LENGTH + length
            if end > len(head):
                head += self._read(file, len(head), end - len(head), stop)
            tensors, metadata = header.parse(
                head[header.LENGTH : end], file.size, self.repo_id, path
            )
        except BaseException:
            file.close()
            raise
        return Opened(file=file, tensors=tensors, metadata=metadata)

    def _opened(self, path: str, window: int, stop: Event) -> File:
        options = self._options
        return self._client.open(
            self.repo_id,
            path,
            repo_type=options["repo_type"],
            revision=self.commit,
            local_files_only=options["local_files_only"],
            require_proof=options["require_proof"],
            readahead=False,
            window=window,
            timeout=self._limits.remaining(),
            cancel=stop,
            **options["deadlines"],
        )

    def _read(self, file: File, offset: int, length: int, stop: Event) -> bytes:
        return file.read_at(offset, length, timeout=self._limits.remaining(), cancel=stop)

    def _bad_index(self, path: str, problem: str) -> InvalidSafetensorsError:
        message = f"{self.repo_id}: {path} is no index of safetensors files: {problem}"
        return InvalidSafetensorsError(
            message, details={**self._details("invalid_safetensors"), "file": path}
        )

    def _details(self, kind: str) -> dict[str, str]:
        return {"kind": kind, "repo": self.repo_id, "revision": self.commit}


def patterns_of(pattern: str | Iterable[str]) -> list[str]:
    """Returns patterns as a list. A string is one pattern."""
    return [pattern] if isinstance(pattern, str) else list(pattern)
