"""huggingface_hub's own names for this client, so that a script changes one import.

    from xet_ffi.hub import hf_hub_download, snapshot_download

The functions have the signatures, defaults, results and meanings of huggingface_hub 2.4, which
isn't needed. Behind them are clients, kept for each token, endpoint, cache folder and User-Agent; a
client reads the environment when it is made, and another one is made when the environment has
changed. They serve many threads, and work on after a fork.

Errors are those of `xet_ffi`; where huggingface_hub is imported, its own classes catch them, too.

What can't be honoured raises InvalidConfigError (a ValueError) with the argument's name, if it is
given another value than its default:

- `headers` that replace what requests have of their own. `proxies` (of old).
- `create_commit`: `num_threads`. Copies from another repo.
- `create_repo`: `visibility="protected"`, `resource_group_id`, `region`, and all about a space but
  `space_sdk`.
- `repo_type="kernel"`; `_hot_reload`; `dry_run` of a snapshot with `local_files_only`.

What differs: `etag_timeout` is for each request of a call, not for the first alone; the default
titles of commits name this package; a README.md is validated by the Hub, at the commit;
`file_exists` and dry runs go by the listing, which a gated repo shows to everybody; an incomplete
snapshot in the cache is a LocalEntryNotFoundError without `snapshot_path`; `list_repo_tree` has
no `expand`, and its folders no `tree_id`.
"""

from __future__ import annotations

from xet_ffi.hub._downloads import hf_hub_download, snapshot_download
from xet_ffi.hub._dry_run import _CACHED_NO_EXIST, try_to_load_from_cache
from xet_ffi.hub._operations import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
)
from xet_ffi.hub._queries import (
    file_exists,
    list_repo_files,
    list_repo_tree,
    repo_exists,
    revision_exists,
)
from xet_ffi.hub._repos import create_repo
from xet_ffi.hub._results import (
    BlobLfsInfo,
    CommitInfo,
    DryRunFileInfo,
    RepoFile,
    RepoFolder,
    RepoUrl,
)
from xet_ffi.hub._uploads import (
    create_commit,
    delete_file,
    delete_folder,
    upload_file,
    upload_folder,
)

__all__ = [
    "_CACHED_NO_EXIST",
    "BlobLfsInfo",
    "CommitInfo",
    "CommitOperationAdd",
    "CommitOperationCopy",
    "CommitOperationDelete",
    "DryRunFileInfo",
    "RepoFile",
    "RepoFolder",
    "RepoUrl",
    "create_commit",
    "create_repo",
    "delete_file",
    "delete_folder",
    "file_exists",
    "hf_hub_download",
    "list_repo_files",
    "list_repo_tree",
    "repo_exists",
    "revision_exists",
    "snapshot_download",
    "try_to_load_from_cache",
    "upload_file",
    "upload_folder",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
del _name
