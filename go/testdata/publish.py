"""Publishes folders with the official client, since only it can upload over Xet.

    python publish.py ENDPOINT TOKEN  (repo_type repo_id folder)...

Files below "lfs/" go over LFS. Prints each repo's commit on a line.
"""

import logging
import sys
import warnings
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

# Its LFS upload calls its HTTP library in a way that is going out of use.
warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
# And it says that it does what it is asked to do.
logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

endpoint, token, *rest = sys.argv[1:]
api = HfApi(endpoint=endpoint, token=token)
for repo_type, repo_id, folder in zip(rest[0::3], rest[1::3], rest[2::3], strict=True):
    api.create_repo(repo_id, repo_type=repo_type)
    files = {p.relative_to(folder).as_posix(): p for p in Path(folder).rglob("*") if p.is_file()}
    plain = [CommitOperationAdd(n, p) for n, p in files.items() if not n.startswith("lfs/")]
    commit = api.create_commit(repo_id, plain, commit_message="Add files", repo_type=repo_type)
    for name in files.keys() - {operation.path_in_repo for operation in plain}:
        # The official client sends open file objects over LFS.
        with files[name].open("rb") as content:
            commit = api.create_commit(
                repo_id,
                [CommitOperationAdd(name, content)],
                commit_message="Add a file",
                repo_type=repo_type,
            )
    print(commit.oid)
