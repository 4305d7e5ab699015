"""The official client, huggingface_hub with hf_xet, takes xet-hub for the real Hub."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.hf_api import RepoFile

from hub import Hub, Token

StartHub = Callable[..., Hub]


def download(hub: Hub, repo_id: str, name: str, cache_dir: Path, **options: Any) -> bytes:
    """Downloads one file into `cache_dir`, anonymously unless a token is given."""
    options.setdefault("token", False)
    path = hf_hub_download(
        repo_id,
        name,
        endpoint=hub.endpoint,
        cache_dir=cache_dir,
        **options,
    )
    return Path(path).read_bytes()


def run_python(code: str, tmp_path: Path, **environment: str) -> str:
    """Runs code in a fresh interpreter, because the client reads its environment on import."""
    home = tmp_path / f"home-{len(list(tmp_path.iterdir()))}"
    inherited = {name: value for name, value in os.environ.items() if name != "HF_XET_CACHE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "HF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(api: HfApi, repo_id: str, **options: Any) -> list[str]:
    """The paths of all files but the `.gitattributes` that every repository begins with."""
    found = api.list_repo_tree(repo_id, recursive=True, **options)
    return [entry.path for entry in found if isinstance(entry, RepoFile)][1:]


def test_uploads_go_through_xet(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> None:
    """A large file travels as a xorb and a shard, not over LFS, and comes back unchanged."""
    data = os.urandom(2_000_000)
    hf_api.create_repo(repo_id)
    hf_api.upload_file(path_or_fileobj=data, path_in_repo="model.bin", repo_id=repo_id)
    stats = hub.stats()
    assert stats.xorbs_received >= 1
    assert stats.shards_received == 1
    assert (stats.lfs_puts, stats.requests("hub", "lfs-batch")) == (0, 0)

    hub.reset_stats()
    assert download(hub, repo_id, "model.bin", cache_dir) == data
    stats = hub.stats()
    assert stats.requests("cas", "reconstruction") >= 1
    assert stats.bytes_sent("storage") >= len(data)
    assert stats.leaked_authorization == 0


def test_a_folder_makes_the_round_trip(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, cache_dir: Path
) -> None:
    """Nested, unicode, spaced, empty, plain and large files all come back as they were."""
    contents = {
        "README.md": b"---\nlicense: mit\n---\n# A model\n",
        "config.json": b"{}",
        "empty": b"",
        "a b/c d.txt": "Grüße".encode(),
        "モデル/重み.safetensors": os.urandom(100_000),
        "deep/er/and/deeper/w+1@2.bin": os.urandom(300_000),
        "percent%20.txt": b"%",
    }
    source = tmp_path / "source"
    for name, content in contents.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    hf_api.create_repo(repo_id)
    hf_api.upload_folder(folder_path=source, repo_id=repo_id)
    assert sorted(files(hf_api, repo_id)) == sorted(contents)

    target = snapshot_download(repo_id, endpoint=hub.endpoint, cache_dir=cache_dir, token=False)
    for name, content in contents.items():
        assert (Path(target) / name).read_bytes() == content, name


def test_unchanged_files_are_not_sent_again(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """A second upload of the same folder makes no commit and sends no file."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s/x.txt").write_text("x")
    (tmp_path / "s/x.bin").write_bytes(os.urandom(50_000))
    hf_api.create_repo(repo_id)
    hf_api.upload_folder(folder_path=tmp_path / "s", repo_id=repo_id)
    before = hf_api.repo_info(repo_id).sha
    hub.reset_stats()
    hf_api.upload_folder(folder_path=tmp_path / "s", repo_id=repo_id)
    assert hf_api.repo_info(repo_id).sha == before
    assert hub.stats().requests("hub", "commit") == 0
    assert hub.stats().xorbs_received == 0


UPLOAD = """
import sys
from huggingface_hub import HfApi
endpoint, token, repo, path = sys.argv[1:] if len(sys.argv) > 1 else ARGS
HfApi(endpoint=endpoint, token=token).upload_file(
    path_or_fileobj=path, path_in_repo="x.bin", repo_id=repo)
"""


def upload_elsewhere(
    hub: Hub, token: Token, repo_id: str, path: Path, tmp_path: Path, **environment: str
) -> None:
    """Uploads a file as `x.bin` from a process that knows nothing of earlier uploads."""
    arguments = (hub.endpoint, token.secret, repo_id, str(path))
    run_python(f"ARGS = {arguments!r}\n{UPLOAD}", tmp_path, **environment)


def test_chunks_known_to_the_cas_are_not_sent_again(
    hub: Hub, hf_api: HfApi, repo_id: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """Another machine that uploads the same content finds it by the global dedup query."""
    path = tmp_path / "content"
    path.write_bytes(os.urandom(1_500_000))
    for name in (repo_id, f"{repo_id}-2"):
        hf_api.create_repo(name)
        hub.reset_stats()
        upload_elsewhere(hub, tokens["alice"], name, path, tmp_path)
    stats = hub.stats()
    assert stats.requests("cas", "chunks") >= 1
    assert (stats.xorbs_received, stats.shards_received) == (0, 1)


def test_older_cas_interfaces_are_enough(
    own_hub: StartHub, tokens: dict[str, Token], cache_dir: Path
) -> None:
    """Without upload grants and version 2 the client falls back, in both directions."""
    hub = own_hub(config={"xorb_grants": False, "cas_v2": False})
    api = HfApi(endpoint=hub.endpoint, token=tokens["alice"].secret)
    data = os.urandom(700_000)
    api.create_repo("alice/r")
    api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id="alice/r")
    stats = hub.stats()
    assert (stats.xorbs_received, stats.shards_received, stats.requests("storage")) == (1, 1, 0)
    assert stats.statuses(501) >= 1
    assert download(hub, "alice/r", "x.bin", cache_dir) == data


def test_several_ranges_in_one_request_suit_the_client(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """With multi-range fetching on, hf_xet reads a file whose chunks are scattered over a xorb."""
    pieces = [os.urandom(300_000) for _ in range(8)]
    hf_api.create_repo(repo_id)
    hf_api.upload_file(path_or_fileobj=b"".join(pieces), path_in_repo="all", repo_id=repo_id)
    scattered = b"".join(pieces[::2])
    hf_api.upload_file(path_or_fileobj=scattered, path_in_repo="x.bin", repo_id=repo_id)
    hub.reset_stats()
    setting = {"HF_XET_CLIENT_ENABLE_MULTIRANGE_FETCHING": "1"}
    assert download_elsewhere(hub, repo_id, tmp_path, **setting) == scattered
    stats = hub.stats()
    assert stats.bytes_sent("storage") < 2 * len(scattered)
    assert stats.requests("storage") < 4  # fewer than pieces: ranges travelled together


def test_lfs_works_without_xet(
    hub: Hub,
    hf_api: HfApi,
    repo_id: str,
    tokens: dict[str, Token],
    tmp_path: Path,
    cache_dir: Path,
) -> None:
    """With Xet disabled the client uploads over LFS, and such a file has no Xet hash."""
    path = tmp_path / "content"
    path.write_bytes(os.urandom(400_000))
    hf_api.create_repo(repo_id)
    upload_elsewhere(hub, tokens["alice"], repo_id, path, tmp_path, HF_HUB_DISABLE_XET="1")
    stats = hub.stats()
    assert (stats.lfs_puts, stats.xorbs_received, stats.shards_received) == (1, 0, 0)
    [info] = hf_api.get_paths_info(repo_id, "x.bin")
    assert isinstance(info, RepoFile)
    assert info.lfs is not None
    assert info.xet_hash is None
    assert download(hub, repo_id, "x.bin", cache_dir) == path.read_bytes()


DOWNLOAD = """
from huggingface_hub import hf_hub_download
endpoint, repo, cache, target = ARGS
path = hf_hub_download(repo, "x.bin", endpoint=endpoint, cache_dir=cache, token=TOKEN)
open(target, "wb").write(open(path, "rb").read())
"""


def download_elsewhere(
    hub: Hub, repo_id: str, tmp_path: Path, *, token: str | bool = False, **environment: str
) -> bytes:
    """Downloads `x.bin` in a fresh process."""
    target = tmp_path / "downloaded"
    arguments = (hub.endpoint, repo_id, str(tmp_path / "cache-elsewhere"), str(target))
    run_python(f"ARGS = {arguments!r}\nTOKEN = {token!r}\n{DOWNLOAD}", tmp_path, **environment)
    return target.read_bytes()


def test_xet_files_are_served_over_plain_http_too(
    hub: Hub, hf_api: HfApi, repo_id: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """A client without Xet gets the same bytes from storage, without sending its token there."""
    data = os.urandom(1_000_000) + bytes(1_000_000)
    hf_api.create_repo(repo_id, private=True)
    hf_api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id=repo_id)
    hub.reset_stats()
    secret = tokens["alice"].secret
    assert download_elsewhere(hub, repo_id, tmp_path, token=secret, HF_HUB_DISABLE_XET="1") == data
    stats = hub.stats()
    assert stats.requests("cas") == 0
    assert (stats.bytes_sent("storage"), stats.leaked_authorization) == (len(data), 0)


def test_a_cut_download_is_resumed_by_range(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """After a lost connection the client asks storage for the rest only."""
    data = os.urandom(12_000_000)  # the client keeps what it got in steps of 10 MiB
    hf_api.create_repo(repo_id)
    hf_api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id=repo_id)
    hub.reset_stats()
    hub.fault("storage", times=1, close_after_bytes=11_500_000)
    assert download_elsewhere(hub, repo_id, tmp_path, HF_HUB_DISABLE_XET="1") == data
    stats = hub.stats()
    assert (stats.requests("storage"), stats.statuses(206)) == (2, 1)
    assert stats.bytes_sent("storage") < 1.5 * len(data)


def test_a_commit_adds_copies_and_deletes(hf_api: HfApi, repo_id: str) -> None:
    """One commit with every kind of operation changes exactly what it says."""
    data = os.urandom(60_000)
    hf_api.create_repo(repo_id)
    hf_api.create_commit(
        repo_id,
        [
            CommitOperationAdd("keep.txt", b"1"),
            CommitOperationAdd("drop.txt", b"2"),
            CommitOperationAdd("dir/a.txt", b"3"),
            CommitOperationAdd("dir/b.txt", b"4"),
            CommitOperationAdd("large.bin", data),
        ],
        commit_message="first",
    )
    made = hf_api.create_commit(
        repo_id,
        [
            CommitOperationDelete("drop.txt"),
            CommitOperationDelete("dir/"),
            CommitOperationCopy("large.bin", "copies/large.bin"),
            CommitOperationCopy("keep.txt", "copies/keep.txt"),
        ],
        commit_message="second",
        commit_description="with a body",
    )
    names = ["copies/keep.txt", "copies/large.bin", "keep.txt", "large.bin"]
    assert files(hf_api, repo_id) == names
    [first, second, _] = hf_api.list_repo_commits(repo_id)
    assert (first.commit_id, first.title, first.message) == (made.oid, "second", "with a body")
    assert (second.title, second.authors) == ("first", ["alice"])
    [old] = hf_api.get_paths_info(repo_id, "dir/a.txt", revision=second.commit_id)
    assert old.path == "dir/a.txt"


def test_files_are_copied_between_repos(hub: Hub, hf_api: HfApi, repo_id: str) -> None:
    """A copy from another repository moves no content."""
    hf_api.create_repo(repo_id)
    hf_api.create_repo(f"{repo_id}-2")
    hf_api.upload_file(
        path_or_fileobj=os.urandom(50_000), path_in_repo="x.bin", repo_id=f"{repo_id}-2"
    )
    hub.reset_stats()
    copy = CommitOperationCopy(
        "x.bin", "copied.bin", src_repo_id=f"{repo_id}-2", src_repo_type="model"
    )
    hf_api.create_commit(repo_id, [copy], commit_message="copy")
    assert files(hf_api, repo_id) == ["copied.bin"]
    assert hub.stats().requests("cas") + hub.stats().requests("storage") == 0


def test_pull_requests_are_made_committed_to_and_merged(
    hub: Hub, hf_api: HfApi, repo_id: str, tokens: dict[str, Token], cache_dir: Path
) -> None:
    """Someone else opens a pull request with a commit; it changes main only when merged."""
    hf_api.create_repo(repo_id)
    carol = HfApi(endpoint=hub.endpoint, token=tokens["carol"].secret)
    made = carol.upload_file(
        path_or_fileobj=os.urandom(70_000), path_in_repo="a.bin", repo_id=repo_id, create_pr=True
    )
    assert (made.pr_num, made.pr_revision) == (1, "refs/pr/1")
    carol.upload_file(
        path_or_fileobj=b"2", path_in_repo="b.txt", repo_id=repo_id, revision="refs/pr/1"
    )
    assert files(hf_api, repo_id) == []
    assert files(hf_api, repo_id, revision="refs/pr/1") == ["a.bin", "b.txt"]
    assert download(hub, repo_id, "b.txt", cache_dir, revision="refs/pr/1") == b"2"
    refs = hf_api.list_repo_refs(repo_id, include_pull_requests=True)
    assert refs.pull_requests is not None
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"]

    hf_api.merge_pull_request(repo_id, 1)
    assert files(hf_api, repo_id) == ["a.bin", "b.txt"]
    assert hf_api.get_discussion_details(repo_id, 1).status == "merged"
    opened = hf_api.create_pull_request(repo_id, title="later")
    assert (opened.num, opened.status) == (2, "draft")
    assert [found.num for found in hf_api.get_repo_discussions(repo_id)] == [2, 1]


def test_branches_and_tags(hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path) -> None:
    """Branches move on by themselves, tags stay, and both can be deleted."""
    hf_api.create_repo(repo_id)
    hf_api.upload_file(path_or_fileobj=b"1", path_in_repo="x.txt", repo_id=repo_id)
    hf_api.create_tag(repo_id, tag="v1.0", tag_message="first")
    hf_api.create_branch(repo_id, branch="feature/x")
    hf_api.upload_file(
        path_or_fileobj=b"2", path_in_repo="x.txt", repo_id=repo_id, revision="feature/x"
    )
    texts = [
        download(hub, repo_id, "x.txt", cache_dir, revision=revision)
        for revision in ("main", "v1.0", "feature/x", "refs/heads/feature/x")
    ]
    assert texts == [b"1", b"1", b"2", b"2"]
    refs = hf_api.list_repo_refs(repo_id)
    assert [branch.name for branch in refs.branches] == ["feature/x", "main"]
    assert [tag.name for tag in refs.tags] == ["v1.0"]
    hf_api.delete_branch(repo_id, branch="feature/x")
    hf_api.delete_tag(repo_id, tag="v1.0")
    refs = hf_api.list_repo_refs(repo_id)
    assert ([branch.name for branch in refs.branches], refs.tags) == (["main"], [])


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_repo_types_do_not_mix(
    hub: Hub, hf_api: HfApi, repo_id: str, repo_type: str, cache_dir: Path
) -> None:
    """A model, a dataset and a space of one name are three repositories."""
    for kind in ("model", "dataset", "space"):
        sdk = "static" if kind == "space" else None
        hf_api.create_repo(repo_id, repo_type=kind, space_sdk=sdk)
    hf_api.upload_file(
        path_or_fileobj=repo_type.encode() * 20_000,
        path_in_repo="x.bin",
        repo_id=repo_id,
        repo_type=repo_type,
    )
    found = [len(files(hf_api, repo_id, repo_type=kind)) for kind in ("model", "dataset", "space")]
    assert sorted(found) == [0, 0, 1]
    data = download(hub, repo_id, "x.bin", cache_dir, repo_type=repo_type)
    assert data == repo_type.encode() * 20_000


def test_infos_agree_with_each_other(hf_api: HfApi, repo_id: str) -> None:
    """Tree, paths-info and repo info give the same ids and sizes, each under its own names."""
    hf_api.create_repo(repo_id)
    made = hf_api.create_commit(
        repo_id,
        [CommitOperationAdd("d/x.bin", os.urandom(30_000)), CommitOperationAdd("d/x.txt", b"hey")],
        commit_message="m",
    )
    info = hf_api.model_info(repo_id, files_metadata=True)
    assert info.sha == made.oid
    assert (info.private, info.gated, info.disabled) == (False, False, False)
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    tree = [e for e in hf_api.list_repo_tree(repo_id, "d", expand=True) if isinstance(e, RepoFile)]
    asked = hf_api.get_paths_info(repo_id, ["d/x.bin", "d/x.txt", "missing"], expand=True)
    assert [entry.path for entry in tree] == ["d/x.bin", "d/x.txt"]
    for one, two in zip(tree, asked, strict=True):
        assert isinstance(two, RepoFile)
        sibling = siblings[one.path]
        assert one.blob_id == two.blob_id == sibling.blob_id
        assert one.size == two.size == sibling.size
        assert (one.lfs and one.lfs.sha256) == (sibling.lfs and sibling.lfs.sha256)
        assert one.xet_hash == two.xet_hash
        assert one.last_commit is not None
        assert one.last_commit.oid == made.oid
    assert tree[0].xet_hash is not None
    assert tree[1].xet_hash is None
    assert tree[1].blob_id == "2b31011cf9de6c82d52dc386cd7d1a9be83188c1"  # git hash-object


def test_listings_come_in_pages(own_hub: StartHub, tokens: dict[str, Token]) -> None:
    """The client follows the links of a paged listing to its end."""
    hub = own_hub(args=["--page-size", "3"])
    api = HfApi(endpoint=hub.endpoint, token=tokens["alice"].secret)
    api.create_repo("alice/paged")
    names = [f"{n}.txt" for n in range(8)]
    for name in names[:4]:
        api.upload_file(path_or_fileobj=b"x", path_in_repo=name, repo_id="alice/paged")
    operations = [CommitOperationAdd(name, b"x") for name in names[4:]]
    api.create_commit("alice/paged", operations, commit_message="rest")
    hub.reset_stats()
    assert files(api, "alice/paged") == names
    assert hub.stats().requests("hub", "tree") == 3
    assert len(api.list_repo_commits("alice/paged")) == 6


def test_ten_thousand_files_are_listed_quickly(hub: Hub, hf_api: HfApi, repo_id: str) -> None:
    """A large repository is eleven pages, and no page takes long."""
    hf_api.create_repo(repo_id)
    operations = [CommitOperationAdd(f"d{n % 100}/{n}.txt", b"%d" % n) for n in range(10_000)]
    for start in range(0, 10_000, 2_500):
        hf_api.create_commit(repo_id, operations[start : start + 2_500], commit_message="part")
    hub.reset_stats()
    begun = time.monotonic()
    assert len(files(hf_api, repo_id)) == 10_000
    assert time.monotonic() - begun < 5
    assert hub.stats().requests("hub", "tree") == 11  # 10,000 files, 100 folders, .gitattributes


def test_a_renamed_repo_is_found_by_its_old_name(
    hub: Hub, hf_api: HfApi, repo_id: str, tokens: dict[str, Token], cache_dir: Path
) -> None:
    """Listing, downloading and uploading under the old name reach the repository."""
    data = os.urandom(40_000)
    hf_api.create_repo(repo_id, private=True)
    hf_api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id=repo_id)
    hf_api.move_repo(repo_id, f"{repo_id}-new")
    assert hf_api.repo_info(repo_id).id == f"{repo_id}-new"
    assert download(hub, repo_id, "x.bin", cache_dir, token=tokens["alice"].secret) == data
    hf_api.upload_file(path_or_fileobj=b"y", path_in_repo="y.txt", repo_id=f"{repo_id}-new")
    assert files(hf_api, repo_id) == ["x.bin", "y.txt"]


def test_xet_can_be_switched_off_for_a_repo(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """With the switch off, a Xet file looks like any LFS file, and downloads as one."""
    data = os.urandom(90_000)
    hf_api.create_repo(repo_id)
    hf_api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id=repo_id)
    hub.set_settings(repo_id, xet=False)
    [info] = hf_api.get_paths_info(repo_id, "x.bin")
    assert isinstance(info, RepoFile)
    assert info.xet_hash is None
    hub.reset_stats()
    assert download(hub, repo_id, "x.bin", cache_dir) == data
    assert hub.stats().requests("cas") == 0


def test_a_deleted_repo_is_gone(hf_api: HfApi, repo_id: str) -> None:
    """After deletion the name is free again."""
    hf_api.create_repo(repo_id)
    assert hf_api.repo_exists(repo_id)
    hf_api.delete_repo(repo_id)
    assert not hf_api.repo_exists(repo_id)
    hf_api.create_repo(repo_id)


def test_whoami(hub: Hub, hf_api: HfApi, tokens: dict[str, Token]) -> None:
    """The Hub knows whose token it is and what it allows."""
    me = hf_api.whoami()
    assert (me["name"], me["auth"]["accessToken"]["role"]) == ("alice", "write")
    bob = HfApi(endpoint=hub.endpoint, token=tokens["bob"].secret)
    assert bob.whoami()["auth"]["accessToken"]["role"] == "read"
