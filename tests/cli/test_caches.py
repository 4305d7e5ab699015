"""cache ls, rm, verify --repair, prune: what is there, what goes, and what comes again."""

from __future__ import annotations

import fcntl
import json
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import scan_cache_dir

from cli.conftest import FILES
from published import noise
from world.stage import TOKEN, publish
from xet_ffi import Client, cache
from xet_ffi.cli import main

if TYPE_CHECKING:
    from hub import Hub


@pytest.fixture
def root(hub: Hub, repo: str, tmp_path: Path) -> Path:
    """A cache with two revisions of the repo, of which the large file is the same."""
    root = tmp_path / "home" / "hub"
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.download_snapshot(repo)
        publish(hub, {"config.json": b'{"new": 1}'}, repo)
        client.download_snapshot(repo)
    return root


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    """What `cache ls` says."""
    capsys.readouterr()
    assert main(["cache", "ls", "--json", *options]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_ls_says_what_huggingface_hub_says(
    hub: Hub, repo: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Per repo and revision: sizes, refs, files."""
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.create_repo("alice/corpus", repo_type="dataset", exist_ok=True)
        client.download_snapshot("alice/corpus", repo_type="dataset")
    theirs = {found.repo_id: found for found in scan_cache_dir(root).repos}
    ours = {found["repo_id"]: found for found in listed(capsys)}
    assert set(ours) == set(theirs) == {repo, "alice/corpus"}
    for repo_id, found in ours.items():
        assert found["repo_type"] == theirs[repo_id].repo_type
        assert found["size"] == theirs[repo_id].size_on_disk
        revisions = {one.commit_hash: one for one in theirs[repo_id].revisions}
        assert {one["commit"] for one in found["revisions"]} == set(revisions)
        for one in found["revisions"]:
            twin = revisions[one["commit"]]
            assert (one["size"], one["files"]) == (twin.size_on_disk, twin.nb_files)
            assert set(one["refs"]) == twin.refs
    assert main(["cache", "ls", "--revisions"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(repo) == 2
    assert "datasets/alice/corpus" in shown
    assert shown.splitlines()[0].split() == ["REPO", "REVISION", "SIZE", "FILES", "USED", "REFS"]


def test_rm_of_a_revision_leaves_what_others_have(
    repo: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other revision is whole, and huggingface_hub finds it so."""
    (found,) = listed(capsys)
    old = next(one for one in found["revisions"] if not one["refs"])
    assert main(["cache", "rm", f"{repo}@{old['commit'][:8]}", "--yes"]) == 0
    (left,) = listed(capsys)
    assert [one["refs"] for one in left["revisions"]] == [["main"]]
    report = cache.verify(cache_dir=root)
    assert (report.files, report.items) == (len(FILES) + 1, ())
    assert scan_cache_dir(root).warnings == []
    assert main(["download", repo, "--local-files-only", "-q"]) == 0


def test_rm_of_a_repo_frees_what_only_it_had(
    hub: Hub, repo: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also in the shared store, where another repo keeps what it has."""
    other, _ = publish(
        hub, {"model.safetensors": FILES["model.safetensors"], "own": noise(1_000_000, "own")}
    )
    assert main(["download", other, "-q"]) == 0
    blobs = [path for path in (root / "blobs").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size > 900_000 for path in blobs) == 2
    assert main(["cache", "rm", other, "-y"]) == 0
    assert " freed" in capsys.readouterr().err
    left = [path for path in (root / "blobs").rglob("*") if path.stat().st_size > 900_000]
    assert [path.stat().st_size for path in left] == [3_000_000]
    assert main(["cache", "rm", repo, "-y"]) == 0
    assert listed(capsys) == []
    assert not [path for path in (root / "blobs").rglob("*") if path.stat().st_size > 900_000]
    # And it can be had again.
    assert main(["download", repo, "-q"]) == 0


@pytest.mark.parametrize("lock", ["repo.xet.lock", "blob"])
def test_rm_leaves_a_repo_that_is_being_downloaded(
    repo: str, root: Path, lock: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By us or by huggingface_hub, which has other locks; and says so."""
    locks = root / ".locks" / f"models--{repo.replace('/', '--')}"
    path = locks / lock if lock.startswith("repo") else next(locks.glob("*[0-9a-f].lock"))
    before = listed(capsys)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH if lock.startswith("repo") else fcntl.LOCK_EX)
        assert main(["cache", "rm", repo, "-y"]) == 21
    assert "is in use" in capsys.readouterr().err
    after = listed(capsys)
    assert [one["size"] for one in after] == [one["size"] for one in before]


def test_rm_asks_and_says_what_is_not_there(
    repo: str, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script has to say --yes; a typo removes nothing, whatever else is named."""
    with open(os.devnull) as nobody:  # noqa: PTH123 - a device
        monkeypatch.setattr("sys.stdin", nobody)
        assert main(["cache", "rm", repo]) == 2
        assert "--yes" in capsys.readouterr().err
        assert main(["cache", "rm", repo, "--dry-run"]) == 0
    assert main(["cache", "rm", repo, f"{repo}x", "-y"]) == 14
    assert f"did you mean {repo}?" in capsys.readouterr().err
    assert main(["cache", "rm", f"{repo}@nothing", "-y"]) == 14
    assert len(listed(capsys)) == 1
    assert (root / f"models--{repo.replace('/', '--')}").is_dir()


def test_rm_takes_what_is_named_twice_for_once(
    repo: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a script may; a repo comes before its revisions, and what has none is shown, too."""
    (root / "models--left--over" / "blobs").mkdir(parents=True)
    named = [repo, f"{repo}@main", repo, "left/over"]
    assert main(["cache", "rm", *named, "--dry-run"]) == 0
    assert "left/over" in capsys.readouterr().out
    assert main(["cache", "rm", *named, "-y"]) == 0
    assert capsys.readouterr().err.count("removed ") == 2
    assert listed(capsys) == []


def test_rm_needs_no_more_files_at_a_time_than_there_may_be(
    repo: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Huggingface_hub leaves a lock for each file that it has brought."""
    locks = root / ".locks" / f"models--{repo.replace('/', '--')}"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(300):
        (locks / f"{number:040x}.lock").touch()
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        assert main(["cache", "rm", repo, "-y"]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert listed(capsys) == []


def test_rm_of_what_is_damaged(repo: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wants it gone need not mend it first."""
    folder = root / f"models--{repo.replace('/', '--')}"
    (folder / "refs" / "main").write_text("no commit")
    (folder / "refs" / "empty").mkdir()
    (folder / "snapshots" / "stray").mkdir()
    next(path for path in (folder / "snapshots").rglob("config.json")).resolve().unlink()
    assert main(["cache", "rm", repo, "-y"]) == 0
    assert listed(capsys) == []
    assert not folder.exists()


def test_what_is_missing_is_found_and_repaired(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link to nothing is no file; one content is fetched once, whoever links to it."""
    links = list(root.glob("models--*/snapshots/*/model.safetensors"))
    assert len(links) == 2
    links[0].resolve().unlink()
    assert main(["cache", "verify"]) == 16
    said = capsys.readouterr().out
    assert said.count("leads to content that isn't there") == 1
    assert ", 0 damaged, 1 missing" in said
    assert main(["cache", "verify", "--repair"]) == 0
    assert "1 of 1 repaired" in capsys.readouterr().out
    assert links[0].read_bytes() == links[1].read_bytes() == FILES["model.safetensors"]
    assert main(["cache", "verify"]) == 0


def test_one_repo_is_verified(
    hub: Hub, repo: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with `hf cache verify`; what another one has isn't looked at."""
    other, _ = publish(hub, {"own.txt": b"own"})
    assert main(["download", other, "-q"]) == 0
    (blob,) = {path.resolve() for path in root.glob("models--*/snapshots/*/own.txt")}
    blob.chmod(0o644)
    blob.write_bytes(b"OWN")
    assert main(["cache", "verify", repo]) == 0
    assert f"{len(FILES) + 2} files verified" in capsys.readouterr().out
    assert main(["cache", "verify", other]) == 16
    assert "own.txt" in capsys.readouterr().out
    assert main(["cache", "verify", "alice/nobody"]) == 14
    assert main(["cache", "verify", other, "--repair"]) == 0


def test_a_repo_to_verify_that_is_not_there_gets_the_nearest(
    repo: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one to remove does."""
    assert root.is_dir()
    assert main(["cache", "verify", f"{repo}x"]) == 14
    assert f"did you mean {repo}?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_repair_fetches_the_damaged_and_nothing_else(
    hub: Hub, repo: str, root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The repo and the file are named; also what is in the shared store comes again."""
    (link,) = root.glob("models--*/refs/main")
    folder = link.parent.parent / "snapshots" / link.read_text()
    blob = (folder / name).resolve()
    whole = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(b"x" + whole[1:])
    assert main(["cache", "verify"]) == 16
    said = capsys.readouterr()
    assert f"{repo}@{folder.name[:12]}/{name}" in said.out
    assert ": has the hash " in said.out
    assert "--repair" in said.err
    hub.reset_stats()
    assert main(["cache", "verify", "--repair"]) == 0
    assert "1 of 1 repaired" in capsys.readouterr().out
    assert (folder / name).read_bytes() == whole
    sent = hub.stats().bytes_sent("storage")
    assert sent <= len(whole) * 1.1 if name.startswith("model") else sent == 0
    assert main(["cache", "verify"]) == 0


def test_what_can_not_be_repaired_is_told(
    hub: Hub, repo: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the status of what is damaged."""
    (blob,) = {path.resolve() for path in root.glob("models--*/snapshots/*/onnx/model.onnx")}
    blob.chmod(0o644)
    blob.write_bytes(b"XXXX")
    hub.fault("any", status=403)
    assert main(["cache", "verify", "--repair"]) == 16
    shown = capsys.readouterr()
    assert "0 of 1 repaired" in shown.out
    assert f"can't repair {repo}@" in shown.err


@pytest.mark.usefixtures("root")
def test_prune_says_what_is_left_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for a size, it can't make room of what a branch stands for."""
    assert main(["cache", "prune", "--size", "10GB", "--dry-run"]) == 0
    assert capsys.readouterr().err == ""
    for mode, has in ((["--dry-run"], "would have"), ([], "has")):
        assert main(["cache", "prune", "--size", "1MB", *mode]) == 0
        told = capsys.readouterr().err
        assert f"the cache {has} 3 MB still" in told
        assert "`xet-ffi cache rm`" in told


def test_prune_tells_what_went_from_what_is_kept(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A revision of the last ten minutes may be in the making."""
    assert main(["cache", "prune", "--unreferenced"]) == 0
    *kept, last = capsys.readouterr().out.splitlines()
    assert last == "0 bytes freed"
    assert [line.split()[0] for line in kept] == ["kept"]
    assert str(root) in kept[0]


def test_prune_takes_sizes_and_ages_of_people(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And asks which."""
    assert main(["cache", "prune"]) == 2
    assert "--older-than" in capsys.readouterr().err
    for chosen in (["--older-than", "30d"], ["--size", "10GB"], ["--unreferenced"]):
        assert main(["cache", "prune", *chosen, "--dry-run"]) == 0
        assert "0 bytes would be freed" in capsys.readouterr().out
    assert root.is_dir()


def test_what_was_read_in_place_is_told_of(
    repo: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """How much, where, what limits it, and what removes it: what nothing refers to isn't it."""

    def said(*arguments: str) -> str:
        assert main(["cache", *arguments]) == 0
        return capfdbinary.readouterr().out.decode()

    assert "read bytes: " in said("usage")
    assert said("prune", "--unreferenced") == "0 bytes freed\n"
    assert main(["cat", repo, "model.safetensors", "--range", ":1KiB"]) == 0
    capfdbinary.readouterr()
    folder = tmp_path / "home" / "xet" / "xet-ffi" / "read"
    [pack] = folder.iterdir()
    takes = pack.stat().st_blocks * 512
    [line] = [line for line in said("usage").splitlines() if "read bytes" in line]
    assert line.split()[0] == f"{takes:,}"
    assert str(folder) in line
    assert "XET_FFI_READ_CACHE_BYTES limits it" in line
    assert json.loads(said("usage", "--json"))["read_bytes"] == takes
    for mode in (["--dry-run"], []):
        kept, last = said("prune", "--unreferenced", *mode).splitlines()
        assert kept.split()[0] == "kept"
        assert f"{folder}: kept: {takes:,} bytes that were read in place" in kept
        assert last.startswith("0 bytes ")
    [item] = json.loads(said("prune", "--unreferenced", "--json"))["items"]
    assert (item["path"], item["bytes"]) == (str(folder), takes)
    assert "that were read" not in said("prune", "--unreferenced", "--older-than", "1d")
    assert said("prune", "--size", "0").endswith(f"{takes:,} bytes freed\n")
    assert list(folder.iterdir()) == []
