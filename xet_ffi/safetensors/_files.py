"""The tensors of a repo, and what is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from xet_ffi._errors import invalid
from xet_ffi.client import Client
from xet_ffi.safetensors._buffers import empty, writable
from xet_ffi.safetensors._errors import InvalidSafetensorsError, TensorNotFoundError
from xet_ffi.safetensors._opening import Repo, patterns_of
from xet_ffi.safetensors._reading import batches, read
from xet_ffi.safetensors._tensor import Tensor
from xet_ffi.safetensors._workers import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, TypeAlias

    from typing_extensions import Self, Unpack

    from xet_ffi._progress import Cancel, ProgressCallback
    from xet_ffi._reading import File, FileReport
    from xet_ffi._structs import Deadlines
    from xet_ffi.safetensors._header import TensorInfo
    from xet_ffi.safetensors._opening import Opened
    from xet_ffi.safetensors._reading import How

    What: TypeAlias = str | Tensor | Iterable[str | Tensor] | Mapping[Any, str | Tensor]
    Out: TypeAlias = Mapping[Any, Any] | Callable[[Tensor], Any]


def open_tensors(
    client: Client | None,
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    pattern: str | Iterable[str] = "*.safetensors",
    local_files_only: bool = False,
    require_proof: bool = False,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> TensorFiles:
    """Opens the safetensors files of a repo, and reads their headers; all of them side by side.

    It takes a listing, then for each file one request to open it and one that brings its header
    (two, if that has more than 256 KiB). Where an index (`model.safetensors.index.json`) names
    files that are all among those that fit, only those of its folder are taken: a model that is
    there as shards and as one file is not there twice.

    Args:
        client: Whose Hub, token and cache are used. None: those of the environment.
        repo_id: "name" or "namespace/name".
        repo_type: "model" (the default), "dataset" or "space".
        revision: Branch, tag, commit or "refs/pr/N". Default: main.
        pattern: Which files; one pattern or several, as for `Client.download_snapshot`.
        local_files_only: Use no network: files are read from the cache. So it is if the client is
            offline.
        require_proof: Take no byte that isn't proven to be the file's, as for `Client.open`.
        timeout: Longest time for opening, in seconds. Default: none.
        cancel: An Event, or a callable that is asked every 50 ms; true raises CancelledError.
        **deadlines: As for `Client.list_files`; of opening, and of all that is read later.

    Raises:
        EntryNotFoundError: No file fits.
        InvalidSafetensorsError: A file isn't what the format allows, or two files have a tensor of
            the same name.

    >>> with open_tensors(client, "alice/llama") as tensors:
    ...     list(tensors)
    ['layers.0.bias', 'layers.0.weight', 'layers.1.bias', 'layers.1.weight']
    """
    if client is None:
        # Open files need it no longer.
        with Client() as own:
            return open_tensors(
                own,
                repo_id,
                repo_type=repo_type,
                revision=revision,
                pattern=pattern,
                local_files_only=local_files_only,
                require_proof=require_proof,
                timeout=timeout,
                cancel=cancel,
                **deadlines,
            )
    options = {
        "repo_type": repo_type,
        "revision": revision,
        "local_files_only": local_files_only or client.info().offline,
        "require_proof": require_proof,
        "deadlines": deadlines,
    }
    limits = Limits(repo_id, timeout, cancel)
    repo = Repo(client, repo_id, patterns_of(pattern), options, limits)
    opened = repo.open()
    try:
        return TensorFiles(repo_id, repo.commit, opened)
    except BaseException:
        for one in opened.values():
            one.file.close()
        raise


class TensorFiles(Mapping[str, Tensor]):
    """The tensors of a repo at a commit, by name, in the order of their files.

    `open_tensors` makes it. To look at them reads nothing: headers were read then. One serves many
    threads at a time.

    Attributes:
        repo_id: The repo.
        commit: The commit that it is open at, whatever becomes of the branch.
        metadata: What the header of each file says besides, by the path of the file.

    >>> tensors["layers.0.weight"].shape, tensors.commit == client.resolve("alice/llama")
    ((4, 6), True)
    """

    __slots__ = ("_files", "_infos", "commit", "metadata", "repo_id")

    def __init__(self, repo_id: str, commit: str, opened: dict[str, Opened]) -> None:
        self.repo_id = repo_id
        self.commit = commit
        self.metadata = {path: one.metadata for path, one in opened.items()}
        self._files: dict[str, File] = {path: one.file for path, one in opened.items()}
        self._infos: dict[str, TensorInfo] = {}
        for path, one in opened.items():
            for info in one.tensors:
                before = self._infos.setdefault(info.name, info)
                if before is not info:
                    message = (
                        f"{repo_id}: {before.file} and {path} both have a tensor {info.name!r}; "
                        "choose files with `pattern`"
                    )
                    details = {"kind": "invalid_safetensors", "repo": repo_id, "file": path}
                    raise InvalidSafetensorsError(message, details=details)

    def __getitem__(self, name: str) -> Tensor:
        return Tensor(self, self.info(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def __contains__(self, name: object) -> bool:
        return name in self._infos

    @property
    def files(self) -> list[str]:
        """The paths of the files that are open."""
        return list(self._files)

    def info(self, name: str) -> TensorInfo:
        """Returns how the header describes a tensor.

        Raises:
            TensorNotFoundError: There is none of that name.

        >>> tensors.info("layers.1.bias").dtype
        'F32'
        """
        found = self._infos.get(name)
        if found is None:
            raise self._absent(name)
        return found

    def match(self, patterns: str | Iterable[str] = "*") -> dict[str, Tensor]:
        """Returns the tensors whose names are, or fit, one of `patterns`; those of `fnmatch`.

        Raises:
            TensorNotFoundError: There is none for one of the patterns.

        >>> tensors.match("*.bias")["layers.1.bias"].shape
        (2,)
        """
        chosen: set[str] = set()
        for pattern in patterns_of(patterns):
            fit = {pattern} if pattern in self._infos else self._fit(pattern)
            if not fit:
                raise self._absent(pattern)
            chosen |= fit
        return {name: self[name] for name in self._infos if name in chosen}

    def _fit(self, pattern: str) -> set[str]:
        return {name for name in self._infos if fnmatchcase(name, pattern)}

    def _absent(self, name: str) -> TensorNotFoundError:
        from difflib import get_close_matches

        near = get_close_matches(name, self._infos, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return TensorNotFoundError(
            f"{self.repo_id}: there is no tensor {name!r}{hint}",
            details={"kind": "tensor_not_found", "repo": self.repo_id, "revision": self.commit},
        )

    def for_rank(
        self,
        rank: int,
        ranks: int,
        axes: Mapping[str, int | None],
        *,
        uneven: bool = False,
    ) -> dict[str, Tensor]:
        """Returns one rank's part of all tensors, for `load`.

        Args:
            rank: Whose part, from 0 on.
            ranks: How many there are.
            axes: For names or patterns, the axis along which such a tensor is split; None, and
                tensors for which there is nothing: each rank has all of them. The first one that
                fits counts.
            uneven: As for `Tensor.shard`.

        Raises:
            TensorNotFoundError: There is no tensor for one of the patterns.

        >>> parts = tensors.for_rank(1, 2, {"*.weight": 0})
        >>> {name: part.shape for name, part in parts.items()}["layers.0.weight"]
        (2, 6)
        """
        split: dict[str, int | None] = {}
        for pattern, axis in axes.items():
            for name in self.match(pattern):
                split.setdefault(name, axis)
        parts = {}
        for name, tensor in self.items():
            along = split.get(name)
            parts[name] = (
                tensor if along is None else tensor.shard(along, rank, ranks, uneven=uneven)
            )
        return parts

    def load(
        self,
        what: What = "*",
        *,
        out: Out | None = None,
        timeout: float | None = None,
        progress: ProgressCallback | bool | None = None,
        cancel: Cancel | None = None,
    ) -> dict[Any, Any]:
        """Reads tensors, or parts of them, many at a time.

        Args:
            what: Names, patterns, and tensors or parts of them; one or several. Or a mapping of
                them, whose keys are the result's. Default: all tensors.
            out: What they are read into, by the keys of the result; or a callable that makes it for
                each `Tensor`, such as pinned memory. As for `Tensor.load`. Buffers mustn't overlap.
                Default: new arrays of numpy.
            timeout: Longest time for all of it, in seconds. Default: none.
            progress: True for a bar, or a callable that receives a `Progress`. It runs on this
                thread; what it raises ends the call and is raised here.
            cancel: As for `open_tensors`.

        Returns:
            What each was read into, by its name, or by the key that `what` has for it.

        Raises:
            XetError: Nothing in `out` is to be used then.

        >>> [array.shape for array in tensors.load("layers.0.*").values()]
        [(2,), (4, 6)]
        >>> tensors.load({"first": tensors["layers.0.bias"][:1]})
        {'first': array([1.], dtype=float32)}
        """
        limits = Limits(self.repo_id, timeout, cancel)
        wanted = self._wanted(what)
        results = {key: self._target(key, tensor, out) for key, tensor in wanted.items()}
        parts = [(tensor, writable(results[key], tensor)) for key, tensor in wanted.items()]
        parts.sort(key=lambda part: (part[0].info.file, part[0].info.offset))
        sizes: dict[str, int] = {}
        for tensor, _ in parts:
            sizes[tensor.info.file] = sizes.get(tensor.info.file, 0) + tensor.size
        work = batches((tensor.info.file, tensor.combs(), target) for tensor, target in parts)
        read(work, sizes, self._files, limits, progress)
        return results

    def _wanted(self, what: What) -> dict[Any, Tensor]:
        if isinstance(what, Mapping):
            return {key: self._one(item) for key, item in what.items()}
        wanted: dict[Any, Tensor] = {}
        for item in [what] if isinstance(what, (str, Tensor)) else what:
            if isinstance(item, str):
                wanted = self.match(item) | wanted
                continue
            part = self._one(item)
            if part.name in wanted:
                problem = f"has {part.name} twice; a mapping gives each part a name of its own"
                raise invalid("what", problem)
            wanted[part.name] = part
        return wanted

    def _one(self, item: str | Tensor) -> Tensor:
        if isinstance(item, str):
            return self[item]
        if not isinstance(item, Tensor):
            message = f"what: expected names and tensors, not {type(item).__name__}"
            raise TypeError(message)
        if not item.is_of(self):
            raise invalid("what", f"{item.name} is a tensor of other files")
        return item

    def _target(self, key: Any, tensor: Tensor, out: Out | None) -> Any:
        if out is None:
            return empty(tensor)
        if callable(out):
            return out(tensor)
        if key not in out:
            raise invalid("out", f"has nothing for {key!r}")
        return out[key]

    def load_slice(
        self, name: str, axis: int, rank: int, ranks: int, *, out: Any = None, **how: Unpack[How]
    ) -> Any:
        """Reads one rank's part of a tensor: `tensors[name].shard(axis, rank, ranks).load(out)`.

        >>> tensors.load_slice("layers.0.weight", 1, rank=2, ranks=3)[0]
        array([4., 5.], dtype=float32)
        """
        return self[name].shard(axis, rank, ranks).load(out, **how)

    def reports(self) -> dict[str, FileReport]:
        """Returns what was received and reused so far, by the path of the file."""
        return {path: file.report() for path, file in self._files.items()}

    def close(self) -> None:
        """Closes the files. What reads at the time ends normally. Closing twice is fine."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<xet_ffi.safetensors.TensorFiles {self.repo_id!r} at {self.commit[:12]}: "
            f"{len(self)} tensors in {len(self._files)} files>"
        )
