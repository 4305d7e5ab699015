"""Changes of repos that are to be one commit: those of one call, or of a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.transaction import Transaction

from xet_ffi import CommitAdd, CommitCopy, CommitDelete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xet_ffi.fs.files import StagedFile
    from xet_ffi.fs.hub import Shared
    from xet_ffi.fs.paths import Place, Repo
    from xet_ffi._operations import Operation, Source


class Batch:
    """Changes, by repo and path: of two that are about the same file, the later one counts.

    Attributes:
        message: What the commit says: `commit_message` and `commit_description`, if given.
    """

    def __init__(self, **message: Any) -> None:
        self.message = {name: text for name, text in message.items() if text is not None}
        self._changes: dict[Repo, dict[str, Operation]] = {}

    def add(self, place: Place, source: Source) -> None:
        """Adds a file, or replaces it."""
        self._set(place, CommitAdd(place.path, source))

    def delete(self, place: Place, *, is_there: bool) -> None:
        """Deletes a file; `is_there`: in the repo, and not only here."""
        if is_there:
            self._set(place, CommitDelete(place.path))
        else:
            self._changes[place.repo].pop(place.path)

    def copy(self, source: Place, place: Place) -> None:
        """Copies a file of the same repo, as it's here, or in the repo."""
        known = self._changes.get(source.repo, {}).get(source.path)
        if isinstance(known, CommitAdd):
            self.add(place, known.source)
        elif isinstance(known, CommitCopy):
            self._set(place, CommitCopy(known.src_path_in_repo, place.path, known.src_revision))
        else:
            revision = None if source.repo == place.repo else source.repo.revision
            self._set(place, CommitCopy(source.path, place.path, revision))

    def has(self, place: Place) -> bool | None:
        """Whether it will have the file; None if it doesn't change it."""
        known = self._changes.get(place.repo, {}).get(place.path)
        return None if known is None else not isinstance(known, CommitDelete)

    def take(self) -> Iterator[tuple[Repo, list[Operation]]]:
        """Yields the changes of each repo, and has them no more."""
        while self._changes:
            repo, changes = self._changes.popitem()
            if changes:
                yield repo, list(changes.values())

    def _set(self, place: Place, operation: Operation) -> None:
        if not place.path:
            message = f"{place.name}: a file in a repo is NAMESPACE/NAME/PATH"
            raise ValueError(message)
        self._changes.setdefault(place.repo, {})[place.path] = operation


class CommitTransaction(Transaction):
    """All that is written in it becomes one commit of each repo, or none.

    What it has written is to be read when it has ended.

    Attributes:
        commit_message: The commit's title; it may be set until the end. Default: one that says
            what it does.
        commit_description: The rest of its message.
    """

    def __init__(self, fs: Any) -> None:
        super().__init__(fs)
        self.commit_message: str | None = None
        self.commit_description: str | None = None
        self.batch = Batch()

    def start(self) -> None:
        """Begins."""
        super().start()
        self.batch = Batch()

    def complete(self, commit: bool = True) -> None:  # noqa: FBT002 - as fsspec has it
        """Ends: makes the commit, or forgets all changes."""
        files: list[StagedFile] = list(self.files)
        fs = self.fs
        try:
            if commit:
                for file in files:
                    file.close()
                self.batch.message = Batch(
                    commit_message=self.commit_message, commit_description=self.commit_description
                ).message
                hub: Shared = fs.hub
                hub.commit(self.batch)
        finally:
            for file in files:
                file.discard()
            self.files.clear()
            fs._intrans = False  # noqa: SLF001 - fsspec's transactions do so
            fs._transaction = None  # noqa: SLF001 - the same
            self.fs = None
