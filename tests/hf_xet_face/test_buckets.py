"""Buckets of huggingface_hub, whose files have no SHA-256, with both modules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hf_xet_face.test_huggingface_hub import Program, contents, digests, write

if TYPE_CHECKING:
    from hub import Hub

#: How each module is switched on.
SWITCHES = {"hf_xet": "", "xet_ffi.hf_xet": "1"}


@pytest.fixture(params=SWITCHES)
def module(request: pytest.FixtureRequest) -> str:
    """Each of the modules."""
    return str(request.param)


def script(program: Program, hub: Hub, module: str, code: str, *words: str) -> Any:
    """What a script printed, as JSON."""
    code = f"import json, sys\nimport hf_xet\nassert hf_xet.__name__ == {module!r}\n{code}"
    done = program.run(hub, "-c", code, *words, XET_FFI_HF_XET=SWITCHES[module])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """This Python."""
    return Program(Path(sys.executable), tmp_path / "home")


WRITE = """
import pathlib
from huggingface_hub import HfApi
bucket, folder = sys.argv[1:]
api = HfApi()
api.create_bucket(bucket)
api.sync_bucket(folder, f"hf://buckets/{bucket}/all", quiet=True)
one = f"{folder}/model.safetensors"
api.batch_bucket_files(bucket, add=[(one, "one.bin"), (bytes(200_000), "zeros.bin")])
(moved,) = api.get_bucket_paths_info(bucket, ["one.bin"])
copy = ("bucket", bucket, moved.xet_hash, "copy.bin")
api.batch_bucket_files(bucket, copy=[copy], delete=["zeros.bin"])
found = api.list_bucket_tree(bucket, recursive=True)
print(json.dumps({file.path: [file.size, file.xet_hash] for file in found}))
"""

READ = """
import hashlib, pathlib
from huggingface_hub import HfApi, HfFileSystem
bucket, folder = sys.argv[1:]
api = HfApi()
digest = lambda data: hashlib.sha256(data).hexdigest()
api.sync_bucket(f"hf://buckets/{bucket}/all", f"{folder}/all", quiet=True)
api.download_bucket_files(bucket, [("copy.bin", f"{folder}/copy.bin")])
fs = HfFileSystem()
fs.get_file(f"buckets/{bucket}/one.bin", f"{folder}/one.bin")
root = pathlib.Path(folder)
print(json.dumps({
    "files": {str(path.relative_to(root)): digest(path.read_bytes())
              for path in root.rglob("*") if path.is_file()},
    "part": digest(fs.read_block(f"buckets/{bucket}/one.bin", 5_000_000, 100_000)),
}))
"""


def test_buckets_hold_what_they_are_given(
    hub: Hub, program: Program, module: str, repo_id: str, tmp_path: Path
) -> None:
    """Folders and bytes up, files and folders down; content by the hashes of its pieces alone."""
    files = contents(repo_id)
    write(files, tmp_path / "there")
    hub.reset_stats()
    listed = script(program, hub, module, WRITE, repo_id, str(tmp_path / "there"))
    whole = {f"all/{path}": content for path, content in files.items()}
    whole |= dict.fromkeys(("one.bin", "copy.bin"), files["model.safetensors"])
    assert {path: size for path, (size, _) in listed.items()} == {
        path: len(content) for path, content in whole.items()
    }
    assert listed["one.bin"] == listed["copy.bin"] == listed["all/model.safetensors"]
    assert hub.stats().xorbs_received > 0
    fresh = Program(program.python, tmp_path / "fresh")
    hub.reset_stats()
    found = script(fresh, hub, module, READ, repo_id, str(tmp_path / "here"))
    assert found["files"] == digests(whole)
    middle = {"part": files["model.safetensors"][5_000_000:5_100_000]}
    assert {"part": found["part"]} == digests(middle)
    stats = hub.stats()
    assert stats.fetched("xorbs") > 0
    assert stats.leaked_authorization == 0


def test_the_command_syncs_a_bucket(
    hub: Hub, program: Program, repo_id: str, tmp_path: Path
) -> None:
    """`hf buckets sync`, there and back: what is there already isn't sent again."""
    files = contents(repo_id)
    write(files, tmp_path / "there")
    bucket = f"hf://buckets/{repo_id}"
    program.hf(hub, "buckets", "create", repo_id)
    program.hf(hub, "buckets", "sync", str(tmp_path / "there"), bucket)
    sent = hub.stats().xorbs_received
    program.hf(hub, "buckets", "sync", str(tmp_path / "there"), bucket)
    assert hub.stats().xorbs_received == sent > 0
    program.hf(hub, "buckets", "sync", bucket, str(tmp_path / "here"))
    assert {path: (tmp_path / "here" / path).read_bytes() for path in files} == files
