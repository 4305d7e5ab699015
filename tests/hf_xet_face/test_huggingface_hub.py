"""huggingface_hub, of all versions that are in use, moves files with our hf_xet as with its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import RepoFile

from hf_xet_face.conftest import ALICE
from official import VERSIONS, Official
from published import MIB, noise, publish
from xet_ffi import Client

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub

#: Seconds after which a program that still runs is a failure.
DEADLINE = 120.0


@dataclass(frozen=True)
class Program:
    """A Python with huggingface_hub, switched to ours."""

    python: Path
    home: Path

    def run(self, hub: Hub, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What a program did."""
        return subprocess.run(
            [str(self.python), *words],
            env={
                **os.environ,
                "HF_ENDPOINT": hub.endpoint,
                "HF_TOKEN": ALICE.secret,
                "HF_HOME": str(self.home),
                "XET_FFI_HF_XET": "1",
                **environment,
            },
            cwd=sys.prefix,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )

    def script(self, hub: Hub, code: str, *words: str) -> Any:
        """What a script printed, as JSON."""
        done = self.run(hub, "-c", code, *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def hf(self, hub: Hub, *words: str) -> str:
        """What the command `hf` printed."""
        done = self.run(hub, "-m", "huggingface_hub.cli.hf", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with all that this one has, but the official hf_xet."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    here = Path(sysconfig.get_path("purelib"))
    there = folder / here.relative_to(sys.prefix)
    for entry in here.iterdir():
        if not entry.name.startswith("hf_xet"):
            (there / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


@pytest.fixture(params=["installed", "not installed"])
def program(request: pytest.FixtureRequest, tmp_path: Path, bare_python: Path) -> Program:
    """With the official package, and without."""
    python = Path(sys.executable) if request.param == "installed" else bare_python
    return Program(python, tmp_path / "home")


@pytest.fixture
def api(hub: Hub) -> HfApi:
    """The official client, in this process."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.endpoint, token=ALICE.secret)


def contents(seed: str) -> dict[str, bytes]:
    """Small and large files, of which some are partly alike."""
    large = noise(9 * MIB, seed)
    return {
        "config.json": b'{"layers": 2}',
        "empty.bin": b"",
        "model.safetensors": large,
        "nested/part.bin": large[: 3 * MIB] + noise(MIB, f"{seed}/part"),
        "nested/zeros.bin": bytes(MIB),
    }


def digests(files: dict[str, bytes]) -> dict[str, str]:
    """What identifies each file's content."""
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


READ = """
import hashlib, json, os, sys
import hf_xet
from huggingface_hub import HfFileSystem, hf_hub_download, snapshot_download
repo_id, repo_type, paths = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
assert hf_xet.__name__ == "xet_ffi.hf_xet"
digest = lambda data: hashlib.sha256(data).hexdigest()
found = {"file": {}, "snapshot": {}, "fs": {}}
one = hf_hub_download(repo_id, paths[2], repo_type=repo_type)
folder = snapshot_download(repo_id, repo_type=repo_type, max_workers=4)
local = snapshot_download(repo_id, repo_type=repo_type, local_dir=sys.argv[4])
assert one == os.path.join(folder, paths[2])
prefix = "" if repo_type == "model" else f"{repo_type}s/"
for path in paths:
    found["snapshot"][path] = digest(open(os.path.join(folder, path), "rb").read())
    found["file"][path] = digest(open(os.path.join(local, path), "rb").read())
    found["fs"][path] = digest(HfFileSystem().read_bytes(f"{prefix}{repo_id}/{path}"))
with HfFileSystem().open(f"{prefix}{repo_id}/{paths[2]}") as file:
    file.seek(5_000_000)
    found["part"] = digest(file.read(100_000))
print(json.dumps(found))
"""


@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_it_reads_what_was_published(
    hub: Hub, api: HfApi, program: Program, repo_id: str, repo_type: str, tmp_path: Path
) -> None:
    """Files and snapshots, in the cache and in a folder, and through its file system."""
    files = contents(repo_id)
    publish(api, repo_id, files, repo_type=repo_type)
    hub.reset_stats()
    found = program.script(
        hub, READ, repo_id, repo_type, json.dumps([*files]), str(tmp_path / "local")
    )
    assert found["snapshot"] == found["file"] == found["fs"] == digests(files)
    middle = files["model.safetensors"][5_000_000:5_100_000]
    assert found["part"] == hashlib.sha256(middle).hexdigest()
    assert hub.stats().fetched("xorbs") > 0
    assert hub.stats().leaked_authorization == 0


def test_the_command_downloads_and_verifies(
    hub: Hub, api: HfApi, program: Program, repo_id: str
) -> None:
    """`hf download`, and `hf cache verify` on what it has left."""
    files = contents(repo_id)
    publish(api, repo_id, files)
    folder = Path(program.hf(hub, "download", repo_id, "--quiet").split()[-1])
    found = {path: (folder / path).read_bytes() for path in files}
    assert found == files
    assert repo_id in program.hf(hub, "cache", "verify", repo_id)


WRITE = """
import json, sys
import hf_xet
from huggingface_hub import HfApi
assert hf_xet.__name__ == "xet_ffi.hf_xet"
repo_id, folder = sys.argv[1:]
api = HfApi()
api.create_repo(repo_id)
one = f"{folder}/model.safetensors"
api.upload_file(path_or_fileobj=one, path_in_repo="one.bin", repo_id=repo_id)
api.upload_file(path_or_fileobj=bytes(200_000), path_in_repo="zeros.bin", repo_id=repo_id)
api.upload_folder(folder_path=folder, path_in_repo="all", repo_id=repo_id)
found = [f for f in api.list_repo_tree(repo_id, recursive=True) if hasattr(f, "size")]
print(json.dumps({f.path: [f.size, f.xet_hash, f.lfs and f.lfs.sha256] for f in found}))
"""


def test_it_writes_what_others_read(
    hub: Hub, api: HfApi, program: Program, repo_id: str, tmp_path: Path
) -> None:
    """A file, bytes, and a folder: with the hashes that the official module gives them."""
    files = contents(repo_id)
    write(files, tmp_path / "there")
    listed = program.script(hub, WRITE, repo_id, str(tmp_path / "there"))
    published = {
        **{f"all/{path}": content for path, content in files.items()},
        "one.bin": files["model.safetensors"],
        "zeros.bin": bytes(200_000),
    }
    with Client(hub.endpoint, ALICE.secret, tmp_path / "cache") as client:
        folder = Path(client.download_snapshot(repo_id, ignore_patterns=".gitattributes"))
    assert {path: (folder / path).read_bytes() for path in published} == published
    other = f"{repo_id}-official"
    publish(api, other, published)
    official = {
        entry.path: [entry.size, entry.xet_hash, entry.lfs and entry.lfs.sha256]
        for entry in api.list_repo_tree(other, recursive=True)
        if isinstance(entry, RepoFile)
    }
    assert {path: listed[path] for path in published} == {p: official[p] for p in published}
    assert listed["one.bin"][1] is not None


def test_no_telemetry_is_sent(hub: Hub, api: HfApi, program: Program, repo_id: str) -> None:
    """Whoever asks for it: the CAS is asked for content, and given some."""
    publish(api, repo_id, {"model.safetensors": noise(MIB, repo_id)})
    hub.reset_stats()
    code = """import os, sys, huggingface_hub as h
h.snapshot_download(sys.argv[1])
h.upload_file(path_or_fileobj=os.urandom(100_000), path_in_repo="new.bin", repo_id=sys.argv[1])
"""
    wanted = {"HF_HUB_DISABLE_TELEMETRY": "0", "HF_XET_TELEMETRY_ENABLED": "1"}
    done = program.run(hub, "-c", code, repo_id, **wanted)
    assert done.returncode == 0, done.stderr
    asked = {*hub.stats().raw["requests"]["cas"]}
    assert asked >= {"reconstruction", "xorb", "shard"}
    assert "telemetry" not in asked


def write(files: dict[str, bytes], folder: Path) -> None:
    """Puts files into a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def test_the_command_uploads(hub: Hub, program: Program, repo_id: str, tmp_path: Path) -> None:
    """`hf upload`, of a folder, which is there for everybody then."""
    files = contents(repo_id)
    write(files, tmp_path / "there")
    program.hf(hub, "upload", repo_id, str(tmp_path / "there"), ".")
    with Client(hub.endpoint, ALICE.secret, tmp_path / "cache") as client:
        folder = Path(client.download_snapshot(repo_id))
    assert {path: (folder / path).read_bytes() for path in files} == files


def test_the_bars_of_an_upload_come_to_their_end(
    hub: Hub, program: Program, repo_id: str, tmp_path: Path
) -> None:
    """That of what storage checks, too, which is the last."""
    write({"model.safetensors": noise(3 * MIB, repo_id)}, tmp_path / "there")
    code = (
        "import sys; from huggingface_hub import HfApi; HfApi().create_repo(sys.argv[1]); "
        "HfApi().upload_file(repo_id=sys.argv[1], path_or_fileobj=sys.argv[2], path_in_repo='m')"
    )
    path = str(tmp_path / "there" / "model.safetensors")
    done = program.run(hub, "-c", code, repo_id, path, HF_HUB_DISABLE_PROGRESS_BARS="0")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.replace("\r", "\n").splitlines()
    for name in ("Processing Files (1 / 1)", "New Data Upload", "Validating"):
        assert any(line.startswith(name) and "100%" in line for line in lines), done.stderr


def test_an_upload_that_is_refused_is_given_up(
    hub: Hub, program: Program, repo_id: str, tmp_path: Path
) -> None:
    """Whatever of it is on its way: huggingface_hub aborts it, and raises what was refused."""
    write({f"{i}.bin": noise(MIB, f"{repo_id}/{i}") for i in range(4)}, tmp_path / "there")
    hub.fault("commit", status=403)
    code = (
        "import sys; from huggingface_hub import HfApi; HfApi().create_repo(sys.argv[1]); "
        "HfApi().upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])"
    )
    done = program.run(hub, "-c", code, repo_id, str(tmp_path / "there"))
    assert done.returncode == 1
    assert "403" in done.stderr.splitlines()[-1] or "403 Forbidden" in done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_of_other_years_read_with_it(
    hub: Hub, api: HfApi, version: str, repo_id: str, tmp_path: Path
) -> None:
    """Up to version 1 they call functions that are deprecated now."""
    files = contents(f"{version}/{repo_id}/read")
    publish(api, repo_id, files)
    client = Official(version, xet=True, home=tmp_path / "home", face=True)
    target = {"repo_id": repo_id}
    hub.reset_stats()
    file, folder = client.call(
        hub,
        ["hf_hub_download", {**target, "filename": "model.safetensors"}],
        ["snapshot_download", target],
        token=ALICE.secret,
    )
    found = {path: (Path(folder) / path).read_bytes() for path in files}
    assert (Path(file).read_bytes(), found) == (files["model.safetensors"], files)
    assert hub.stats().fetched("xorbs") > 0
    assert hub.stats().fetched("files") == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_of_other_years_write_with_it(
    hub: Hub, version: str, repo_id: str, tmp_path: Path
) -> None:
    """And read what they have written."""
    files = contents(f"{version}/{repo_id}")
    write(files, tmp_path / "there")
    client = Official(version, xet=True, home=tmp_path / "home", face=True)
    target = {"repo_id": repo_id}
    one = {"path_or_fileobj": str(tmp_path / "there" / "model.safetensors")}
    hub.reset_stats()
    *_, file, folder = client.call(
        hub,
        ["create_repo", target],
        ["upload_file", {**target, **one, "path_in_repo": "one.bin"}],
        ["upload_folder", {**target, "folder_path": str(tmp_path / "there")}],
        ["hf_hub_download", {**target, "filename": "one.bin"}],
        ["snapshot_download", target],
        token=ALICE.secret,
    )
    found = {path: (Path(folder) / path).read_bytes() for path in files}
    assert (Path(file).read_bytes(), found) == (files["model.safetensors"], files)
    stats = hub.stats()
    assert stats.xorbs_received > 0
    assert stats.lfs_puts == 0
    assert stats.fetched("files") == 0
