"""Changes of repos that are to be one commit: those of one call, or of a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fsspec.transaction import Transaction

from xet_ffi import CommitAdd, CommitCopy, CommitDelete
from xet_ffi.fs.files import LateFile
from xet_ffi.fs.paths import Place, Repo

if TYPE_CHECKING:
    from xet_ffi._operations import Operation, Source
    from xet_ffi.fs.files import StagedFile
    from xet_ffi.fs.hub import Shared


class Batch:
    """Changes, by repo and path: of two that are about the same file, the later one counts.

    Attributes:
        message: What the commit says: `commit_message` and `commit_description`, if given.
    """

    def __init__(self, **message: Any) -> None:
        self.message = {name: text for name, text in message.items() if text is not None}
        self._changes: dict[Repo, dict[str, Operation]] = {}

    def add(self, place: Place, source: Source | LateFile) -> None:
        """Adds a file, or replaces it."""
        self._set(place, CommitAdd(place.path, cast("Source", source)))

    def delete(self, place: Place, *, is_there: bool) -> None:
        """Deletes a file; `is_there`: in the repo, and not only here."""
        if is_there:
            self._set(place, CommitDelete(place.path))
        else:
            self._changes[place.repo].pop(place.path)

    def copy(self, source: Place, place: Place, hub: Shared) -> None:
        """Copies a file as it's here, or in its repo, which may be another one."""
        known = self._changes.get(source.repo, {}).get(source.path)
        if isinstance(known, CommitAdd):
            given = known.source
            self.add(place, given.again() if isinstance(given, LateFile) else given)
            return
        path, revision = source.path, source.repo.revision
        if isinstance(known, CommitCopy):
            path, revision = known.src_path_in_repo, known.src_revision or revision
        if (source.repo.type, source.repo.id) == (place.repo.type, place.repo.id):
            at = None if revision == place.repo.revision else revision
            self._set(place, CommitCopy(path, place.path, at))
        else:
            repo = Repo(source.repo.type, source.repo.id, revision)
            self.add(place, LateFile(hub, Place(repo, source.root, path)))

    def has(self, place: Place) -> bool | None:
        """Whether it will have the file; None if it doesn't change it."""
        known = self._changes.get(place.repo, {}).get(place.path)
        return None if known is None else not isinstance(known, CommitDelete)

    def take(self) -> list[tuple[Repo, list[Operation]]]:
        """Returns the changes of each repo, and has them no more.

        Those that delete come last: what moves from one repo to another is there before it goes.
        """
        taken = [(repo, list(changes.values())) for repo, changes in self._changes.items()]
        self._changes = {}
        deletes = [
            any(isinstance(operation, CommitDelete) for operation in operations)
            for _, operations in taken
        ]
        order = sorted(range(len(taken)), key=deletes.__getitem__)
        return [taken[at] for at in order if taken[at][1]]

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

    fs: Any

    def __init__(self, fs: Any) -> None:
        super().__init__(fs)
        self.commit_message: str | None = None
        self.commit_description: str | None = None
        self.batch = Batch()

    def start(self) -> None:
        """Begins."""
        super().start()
        self.batch = Batch()

    def complete(self, commit: bool = True) -> None:
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
