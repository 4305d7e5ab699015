"""Questions about a repo."""

from __future__ import annotations

from xet_ffi._errors import (
    GatedRepoError,
    RepoNotFoundError,
    RevisionNotFoundError,
    invalid,
    make,
)
from xet_ffi._lib import lib
from xet_ffi.hub._arguments import checked_repo
from xet_ffi.hub._clients import client
from xet_ffi.hub._results import BlobLfsInfo, RepoFile, RepoFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from xet_ffi._listing import FileInfo, Listing
    from xet_ffi.hub._clients import Token


def list_repo_files(
    repo_id: str,
    *,
    revision: str | None = None,
    repo_type: str | None = None,
    token: Token = None,
) -> list[str]:
    """Returns the paths of a repo's files, in the Hub's order.

    Args:
        repo_id: "name" or "namespace/name".
        revision: Branch, tag, commit or "refs/pr/N". Default: main.
        repo_type: "model" (the default), "dataset" or "space".
        token: A token; True for that of this machine, which must be there; False for none.
            Default: that of this machine, if there is one.

    >>> list_repo_files("alice/model")
    ['.gitattributes', 'config.json', 'model.safetensors']
    """
    checked_repo(repo_id, repo_type)
    listing = client(token).list_files(repo_id, repo_type=repo_type, revision=revision)
    return [file.path for file in listing]


def list_repo_tree(
    repo_id: str,
    path_in_repo: str | None = None,
    *,
    recursive: bool = False,
    expand: bool = False,
    revision: str | None = None,
    repo_type: str | None = None,
    token: Token = None,
) -> Iterable[RepoFile | RepoFolder]:
    """Returns a repo's files and folders; the network is used when the first one is asked for.

    Args:
        repo_id: "name" or "namespace/name".
        path_in_repo: A folder, of which is told what is in it. Default: all of the repo.
        recursive: Also what is in the folders below.
        expand: Must be False: who made the last commits, and what scans have found, isn't in the
            listing that this takes.
        revision: Branch, tag, commit or "refs/pr/N". Default: main.
        repo_type: "model" (the default), "dataset" or "space".
        token: As for `list_repo_files`.

    Raises:
        EntryNotFoundError: The revision has no such folder.

    >>> [entry.path for entry in list_repo_tree("alice/model")]
    ['.gitattributes', 'config.json', 'model.safetensors']
    """
    checked_repo(repo_id, repo_type)
    if expand:
        problem = "True isn't possible here: huggingface_hub's list_repo_tree tells that, too"
        raise invalid("expand", problem)
    folder = (path_in_repo or "").strip("/")

    def entries() -> Iterator[RepoFile | RepoFolder]:
        listing = client(token).list_files(repo_id, repo_type=repo_type, revision=revision)
        found = _tree(listing, folder, recursive=recursive)
        first = next(found, None)
        if first is None and folder:
            message = f"{repo_id} has no file or folder {folder!r}"
            details = {"kind": "entry_not_found", "repo": repo_id, "file": folder}
            raise make(lib.XET_CODE_NOT_FOUND, message, details)
        if first is not None:
            yield first
        yield from found

    return entries()


def _tree(listing: Listing, folder: str, *, recursive: bool) -> Iterator[RepoFile | RepoFolder]:
    """Returns what is in a folder, and each folder before what is in it; of a file, itself."""
    below = f"{folder}/" if folder else ""
    known: set[str] = set()
    for file in listing:
        if file.path == folder:
            yield _file(file)
        if not file.path.startswith(below):
            continue
        end = file.path.find("/", len(below))
        while end >= 0:
            path = file.path[:end]
            if path not in known:
                known.add(path)
                yield RepoFolder(path)
            end = file.path.find("/", end + 1) if recursive else -1
        if recursive or "/" not in file.path[len(below) :]:
            yield _file(file)


def _file(file: FileInfo) -> RepoFile:
    lfs = None
    if file.sha256 is not None:
        pointer = (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{file.sha256}\nsize {file.size}\n"
        )
        lfs = BlobLfsInfo(size=file.size, sha256=file.sha256, pointer_size=len(pointer))
    return RepoFile(file.path, file.size, file.hash, lfs, file.xet_hash)


def repo_exists(repo_id: str, *, repo_type: str | None = None, token: Token = None) -> bool:
    """Says whether a repo is there for this token; a gated one is, for everybody.

    The arguments are those of `list_repo_files`.

    >>> repo_exists("alice/model"), repo_exists("alice/none")
    (True, False)
    """
    checked_repo(repo_id, repo_type)
    try:
        client(token).resolve(repo_id, repo_type=repo_type)
    except (GatedRepoError, RevisionNotFoundError):
        return True
    except RepoNotFoundError:
        return False
    return True


def revision_exists(
    repo_id: str, revision: str, *, repo_type: str | None = None, token: Token = None
) -> bool:
    """Says whether a repo is there for this token, and has the revision.

    The arguments are those of `list_repo_files`.

    >>> revision_exists("alice/model", "main"), revision_exists("alice/model", "v7")
    (True, False)
    """
    checked_repo(repo_id, repo_type)
    try:
        # `resolve` takes the word of who names a whole commit.
        client(token).list_files(repo_id, repo_type=repo_type, revision=revision)
    except (RepoNotFoundError, RevisionNotFoundError):
        return False
    return True


def file_exists(
    repo_id: str,
    filename: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    token: Token = None,
) -> bool:
    """Says whether a repo is there for this token, and has the file.

    It takes the listing of the repo, which a gated one shows to everybody: huggingface_hub asks for
    the file itself, and raises GatedRepoError there.

    The arguments are those of `list_repo_files`.

    >>> file_exists("alice/model", "config.json"), file_exists("alice/model", "none.json")
    (True, False)
    """
    checked_repo(repo_id, repo_type)
    try:
        return filename in list_repo_files(
            repo_id, revision=revision, repo_type=repo_type, token=token
        )
    except GatedRepoError:
        raise
    except (RepoNotFoundError, RevisionNotFoundError):
        return False
