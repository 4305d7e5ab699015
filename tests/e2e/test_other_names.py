"""One repo under several names: hub-protocol.md 10, "Answers" (legacy and case-mismatched ids)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

import raw
from published import noise
from slow_disk import SlowDisk
from xet_ffi import Client, RepoNotFoundError

if TYPE_CHECKING:
    from hub import Hub, Token
    from xet_ffi import Transfer

FILES = {
    "large.bin": noise(300_000, "other names"),
    "small.txt": b"hello",
    "folder/other.txt": b"other",
    "twin.txt": b"hello",
}

#: Nobody's cache has it.
LATER = b"later\n" * 1000


@pytest.fixture(params=["lfs", "xet"])
def repo(request: pytest.FixtureRequest, hub: Hub, hf_api: HfApi, repo_id: str) -> str:
    """A repo with files of each kind."""
    hf_api.create_repo(repo_id)
    commit(hf_api, repo_id, FILES)
    # The cache shares content of Xet's among its repos anyway, but not that of LFS.
    hub.set_settings(repo_id, xet=request.param == "xet")
    hub.reset_stats()
    return repo_id


def commit(hf_api: HfApi, repo_id: str, files: dict[str, bytes]) -> None:
    """Adds files to a repo."""
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    hf_api.create_commit(repo_id, operations, commit_message="files")


def in_capitals(repo: str) -> str:
    """Another way to write its name."""
    return repo.replace("alice/r", "Alice/R")


def renamed(hf_api: HfApi, repo: str) -> str:
    """Gives it a new name, to which the old one leads."""
    new = f"{repo}-new"
    hf_api.move_repo(repo, new)
    return new


def check(transfer: Transfer, files: dict[str, bytes]) -> None:
    """Reads what a call has brought."""
    for path, content in files.items():
        assert (Path(transfer) / path).read_bytes() == content


def folder(cache_dir: Path, repo: str) -> Path:
    """That of a repo in the cache."""
    return cache_dir / f"models--{repo.replace('/', '--')}"


@pytest.mark.parametrize("first", ["own", "other"])
@pytest.mark.parametrize("kind", ["case", "old name"])
def test_a_repo_by_another_name_is_not_downloaded_again(
    hub: Hub, hf_api: HfApi, alice: Client, repo: str, cache_dir: Path, kind: str, first: str
) -> None:
    """Each name has its folder, as the user wrote it; no byte comes twice, and the plan says so."""
    own, other = (repo, in_capitals(repo)) if kind == "case" else (renamed(hf_api, repo), repo)
    one, two = (own, other) if first == "own" else (other, own)
    check(alice.download_snapshot(one), FILES)
    assert alice.plan_snapshot(two).bytes_remote == 0
    hub.reset_stats()
    done = alice.download_snapshot(two)
    check(done, FILES)
    assert (done.bytes_network, done.bytes_reused) == (0, done.bytes_total)
    assert hub.stats().requests("hub", "resolve-cache") == 0
    assert hub.stats().requests("storage") == 0
    assert folder(cache_dir, two).name in done.path
    # Neither leans on the other.
    shutil.rmtree(folder(cache_dir, one))
    check(done, FILES)
    assert alice.download_snapshot(two, timeout=60).bytes_network == 0


def test_a_file_and_a_local_folder_take_it_as_well(
    alice: Client, repo: str, tmp_path: Path
) -> None:
    """Whatever is asked for, and wherever it goes."""
    alice.download_snapshot(repo)
    other = in_capitals(repo)
    file = alice.download_file(other, "large.bin")
    assert (file.bytes_network, Path(file).read_bytes()) == (0, FILES["large.bin"])
    here = alice.download_snapshot(other, local_dir=tmp_path / "here")
    assert here.bytes_network == 0
    check(here, FILES)


def test_what_has_changed_since_the_rename_is_fetched(
    hf_api: HfApi, alice: Client, repo: str
) -> None:
    """And nothing else: content is found by its hash, not by the commit."""
    alice.download_snapshot(repo)
    new = renamed(hf_api, repo)
    commit(hf_api, new, {"later.txt": LATER})
    done = alice.download_snapshot(new)
    check(done, FILES | {"later.txt": LATER})
    assert done.bytes_network == len(LATER)


def test_what_is_damaged_there_is_not_taken(alice: Client, repo: str, cache_dir: Path) -> None:
    """A file is read before it's believed; the other name's is left as it is."""
    alice.download_snapshot(repo)
    blobs = sorted(folder(cache_dir, repo).glob("blobs/*"))
    for blob in blobs:
        content = bytearray(blob.read_bytes())
        if content and not blob.is_symlink():
            content[0] ^= 1
            blob.chmod(0o644)
            blob.write_bytes(content)
    done = alice.download_snapshot(in_capitals(repo))
    if not any(blob.is_symlink() for blob in blobs):
        check(done, FILES)
        assert done.bytes_network > 0


def test_what_one_may_not_see_is_not_found_here(
    hub: Hub, alice: Client, repo: str, tokens: dict[str, Token], cache_dir: Path
) -> None:
    """Content is taken by what the Hub has listed for this token, and by nothing else."""
    alice.download_snapshot(repo)
    hub.set_settings(repo, private=True)
    with (
        Client(hub.endpoint, tokens["carol"].secret, cache_dir) as carol,
        pytest.raises(RepoNotFoundError),
    ):
        carol.download_snapshot(in_capitals(repo))


def test_another_repos_folder_is_no_matter(alice: Client, repo: str, cache_dir: Path) -> None:
    """Folders that are broken, or no folders at all, are passed over."""
    root = cache_dir
    root.mkdir(parents=True, exist_ok=True)
    name = folder(cache_dir, in_capitals(repo)).name
    (root / name.swapcase().replace("MODELS", "models")).write_text("no folder")
    (root / "models--x").symlink_to("models--x")
    check(alice.download_snapshot(repo), FILES)


def test_a_redirect_of_the_repo_is_followed_once(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """Each further request of the call goes to the name that the Hub has for the repo."""
    hf_api.create_repo(repo_id)
    commit(hf_api, repo_id, {f"{n}.txt": b"%d" % n for n in range(40)})
    counts = {}
    for name in (repo_id, in_capitals(repo_id)):
        folder_of_it = cache_dir / name.replace("/", "-")
        hub.reset_stats()
        with Client(hub.endpoint, token=False, cache_dir=folder_of_it) as client:
            assert client.download_snapshot(name).files == 41
        counts[name] = hub.stats().requests("hub", "revision", "tree", "resolve")
    assert counts[in_capitals(repo_id)] - counts[repo_id] <= 2
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        hub.reset_stats()
        for _ in range(2):
            client.list_files(in_capitals(repo_id))
        assert hub.stats().statuses(307) == 2, "it's asked anew by each call"


def test_content_is_found_where_the_largest_file_has_changed(
    hf_api: HfApi, alice: Client, repo_id: str
) -> None:
    """By the new name, after the old one: what the revisions have in common doesn't come again."""
    files = {f"{n}.bin": noise(200_000 + n, f"shard {n}") for n in range(4)}
    hf_api.create_repo(repo_id)
    commit(hf_api, repo_id, FILES | files)
    alice.download_snapshot(repo_id)
    new, large = renamed(hf_api, repo_id), noise(400_000, "larger")
    commit(hf_api, new, {"large.bin": large})
    done = alice.download_snapshot(new)
    check(done, FILES | files | {"large.bin": large})
    assert done.bytes_reused == sum(len(content) for content in (FILES | files).values()) - len(
        FILES["large.bin"]
    ) + len((Path(done) / ".gitattributes").read_bytes())


#: Downloads a file, in a call that may stand still for a few seconds.
IN_TIME = """
import sys
from xet_ffi import Client
endpoint, repo, root = sys.argv[1:]
limits = dict.fromkeys(["connect_timeout", "first_byte_timeout", "read_timeout"], 0.5)
with Client(endpoint, token=False, cache_dir=root, max_attempts=5, **limits) as client:
    print(client.download_file(repo, "file.bin").path)
"""


@pytest.mark.parametrize("size", [1_000, 400_000])
def test_other_folders_on_a_slow_disk_are_looked_into_for_a_moment(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, size: int
) -> None:
    """And not at all for what is small."""
    hf_api.create_repo(repo_id)
    content = noise(size, "slow looks")
    commit(hf_api, repo_id, {"file.bin": content})
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    for n in range(500):
        (disk.folder / f"models--others--{n}" / "blobs").mkdir(parents=True)
    disk.rule("stat", "access", delay_ms=100, match="models--others--")
    [path], _ = disk.run(IN_TIME, hub.endpoint, repo_id, str(disk.folder))
    assert Path(path).read_bytes() == content
    looks = sum("models--others--" in call.path for call in disk.calls("stat", "access"))
    assert 0 < looks < 300 if size > 1_000 else not looks


@pytest.fixture
def legacy(hub: Hub, repo: str, tokens: dict[str, Token]) -> tuple[str, str]:
    """A repo that had a name without a namespace, as `gpt2` had, and its names before and now."""
    old = f"gpt2-{repo.partition('-')[2]}"
    now = f"openai-community/{old}"
    for one, two in ((repo, old), (old, now)):
        # The official client wants a namespace.
        body = json.dumps({"fromRepo": one, "toRepo": two, "type": "model"})
        url = f"{hub.endpoint}/api/repos/move"
        assert raw.request("POST", url, token=tokens["alice"].secret, body=body).status == 200
    hub.reset_stats()
    return old, now


def test_a_legacy_id_is_redirected_on_the_api(
    hub: Hub, alice: Client, legacy: tuple[str, str], cache_dir: Path
) -> None:
    """A file, a snapshot, a listing and an upload: each call is redirected once."""
    old, now = legacy
    answer = raw.get(f"{hub.endpoint}/api/models/{old}")
    assert (answer.status, answer["Location"]) == (307, f"/api/models/{now}")

    def redirects() -> int:
        """Since the last time."""
        stats = hub.stats()
        hub.reset_stats()
        # Each plain file is redirected to the resolve cache, whatever the repo is called.
        return stats.statuses(307) - stats.requests("hub", "resolve-cache")

    redirects()
    assert {file.path for file in alice.list_files(old)} >= set(FILES)
    assert redirects() == 1
    file = alice.download_file(old, "small.txt")
    assert Path(file).read_bytes() == FILES["small.txt"]
    assert redirects() == 1
    snapshot = alice.download_snapshot(old)
    check(snapshot, FILES)
    assert folder(cache_dir, old).name in snapshot.path
    assert not folder(cache_dir, now).exists()
    hub.reset_stats()
    done = alice.upload_file(LATER, "later.txt", old)
    assert done.commit_url == f"{hub.endpoint}/{now}/commit/{done.oid}"
    assert hub.stats().statuses(307) == 1
    assert Path(alice.download_file(old, "later.txt", revision=done.oid)).read_bytes() == LATER


@pytest.mark.parametrize("first", ["old", "now"])
def test_a_legacy_id_shares_its_content(
    alice: Client, legacy: tuple[str, str], cache_dir: Path, first: str
) -> None:
    """Each name has a folder, and takes what the other one's holds, whichever comes first."""
    one, two = legacy if first == "old" else legacy[::-1]
    check(alice.download_snapshot(one), FILES)
    done = alice.download_snapshot(two)
    check(done, FILES)
    assert (done.bytes_network, done.bytes_reused) == (0, done.bytes_total)
    assert folder(cache_dir, one).is_dir()
    assert folder(cache_dir, two).is_dir()
