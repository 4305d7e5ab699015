"""Questions about a repo."""

from __future__ import annotations

from xet_ffi._errors import GatedRepoError, RepoNotFoundError, RevisionNotFoundError
from xet_ffi.hub._arguments import checked_repo
from xet_ffi.hub._clients import client

TYPE_CHECKING = False
if TYPE_CHECKING:
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
