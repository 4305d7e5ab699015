"""Links that someone planted where we write: nothing is written through them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from picture import picture
from published import MIB, noise, publish
from xet_ffi import CancelledError, Client, IoError, XetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi

    from hub import Hub

FILES = {
    "top.txt": b"top\n",
    "a/b/deep.txt": b"deep\n",
    "a/weights.bin": noise(MIB, "links"),
}
SECRET = b"somebody else's\n"


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repo with files at several depths."""
    publish(hf_api, repo_id, FILES)
    return repo_id


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that no download may change, with a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_bytes(SECRET)
    before = picture(folder)
    yield folder
    assert picture(folder) == before


@pytest.fixture
def client(hub: Hub, cache_dir: Path) -> Iterator[Client]:
    """A client with an empty cache."""
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        yield client


@pytest.mark.parametrize("link", ["a", "a/b"])
def test_a_folder_that_leads_out_of_local_dir_is_refused(
    client: Client, repo: str, outside: Path, tmp_path: Path, link: str
) -> None:
    """A linked folder on the way to a file fails the download, and the error names it."""
    planted = tmp_path / "local" / link
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside)
    with pytest.raises(XetError) as caught:
        client.download_snapshot(repo, local_dir=tmp_path / "local")
    assert caught.value.kind == "unsafe_path"
    assert caught.value.file == str(planted)


def test_a_folder_that_leads_to_within_local_dir_is_followed(
    client: Client, repo: str, tmp_path: Path
) -> None:
    """A link of the user's own, to a place in the same folder, works."""
    local = tmp_path / "local"
    (local / "elsewhere").mkdir(parents=True)
    (local / "a").symlink_to("elsewhere")
    client.download_snapshot(repo, local_dir=local)
    assert (local / "elsewhere" / "b" / "deep.txt").read_bytes() == FILES["a/b/deep.txt"]


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("target", ["secret.txt", "absent.txt"])
def test_a_link_in_the_place_of_a_file_is_replaced(
    client: Client, repo: str, outside: Path, tmp_path: Path, path: str, target: str
) -> None:
    """A link where a file belongs gives way to the file; what it led to stays as it was."""
    planted = tmp_path / "local" / path
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside / target)
    client.download_snapshot(repo, local_dir=tmp_path / "local")
    assert not planted.is_symlink()
    assert planted.read_bytes() == FILES[path]


def test_a_link_to_the_right_content_is_no_file_either(
    client: Client, repo: str, tmp_path: Path
) -> None:
    """A local_dir holds real files, even where a link would show the same bytes."""
    (tmp_path / "copy.txt").write_bytes(FILES["top.txt"])
    planted = tmp_path / "local" / "top.txt"
    planted.parent.mkdir()
    planted.symlink_to(tmp_path / "copy.txt")
    client.download_snapshot(repo, local_dir=tmp_path / "local")
    assert not planted.is_symlink()


@pytest.mark.parametrize(
    "link", ["", "huggingface", "huggingface/download", "huggingface/download/a"]
)
def test_metadata_that_would_leave_local_dir_is_refused(
    client: Client, repo: str, outside: Path, tmp_path: Path, link: str
) -> None:
    """The notes about each file must stay in the folder too; the error names the link."""
    planted = tmp_path / "local" / ".cache" / link
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside)
    with pytest.raises(XetError) as caught:
        client.download_snapshot(repo, local_dir=tmp_path / "local")
    assert caught.value.kind == "unsafe_path"
    assert caught.value.file == str(planted)


@pytest.mark.parametrize("link", ["trees", "refs"])
def test_notes_that_would_leave_local_dir_are_not_taken(
    client: Client, repo: str, outside: Path, tmp_path: Path, link: str
) -> None:
    """What only saves work later, the listing and the ref, is left out, and the files are there."""
    planted = tmp_path / "local" / ".cache" / "huggingface" / link
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside)
    client.download_snapshot(repo, local_dir=tmp_path / "local")
    for path, content in FILES.items():
        assert (tmp_path / "local" / path).read_bytes() == content


def planted_partials(client: Client, repo: str, folder: Path, **options: Any) -> list[Path]:
    """Where the partial files of a download are, found by cancelling one as early as possible."""
    names: list[Path] = []

    def look() -> bool:
        names.extend(folder.rglob("*.partial"))
        return bool(names)

    with pytest.raises(CancelledError):
        client.download_snapshot(repo, cancel=look, **options)
    return names


@pytest.mark.parametrize("place", ["cache", "local"])
@pytest.mark.parametrize("suffix", ["", ".chunks"])
def test_a_link_in_the_place_of_a_partial_file_is_not_written_through(
    hub: Hub, client: Client, repo: str, outside: Path, tmp_path: Path, place: str, suffix: str
) -> None:
    """Neither content nor notes about it go where a planted partial file leads."""
    options: dict[str, Any] = {"local_dir": tmp_path / "local"} if place == "local" else {}
    hub.fault("storage", stall_after_bytes=500_000)
    partials = planted_partials(client, repo, tmp_path, **options)
    hub.clear_faults()
    for partial in partials:
        planted = Path(f"{partial}{suffix}")
        planted.unlink(missing_ok=True)
        planted.symlink_to(outside / "secret.txt")
    transfer = client.download_snapshot(repo, **options)
    for path, content in FILES.items():
        assert (Path(transfer.path) / path).read_bytes() == content
        assert (Path(transfer.path) / path).resolve().is_relative_to(tmp_path / place)


def test_a_snapshot_folder_that_leads_out_of_the_cache_is_refused(
    client: Client, repo: str, outside: Path, cache_dir: Path
) -> None:
    """A linked folder inside a snapshot fails the download, and the error names it."""
    transfer = client.download_snapshot(repo, allow_patterns="top.txt")
    planted = Path(transfer.path) / "a"
    planted.symlink_to(outside)
    assert planted.is_relative_to(cache_dir)
    with pytest.raises(XetError) as caught:
        client.download_snapshot(repo)
    assert caught.value.kind == "unsafe_path"
    assert caught.value.file == str(planted)


@pytest.mark.parametrize("what", ["pointer", "blob", "tree", "ref"])
def test_links_in_the_cache_are_replaced_not_followed(
    client: Client, repo: str, outside: Path, tmp_path: Path, hub: Hub, what: str
) -> None:
    """Pointers, blobs, listings and refs are replaced, so what a link led to stays as it was."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "other") as other:
        snapshot = Path(other.download_snapshot(repo).path)
    names = {
        "pointer": snapshot / "top.txt",
        "blob": (snapshot / "top.txt").parent / (snapshot / "top.txt").readlink(),
        "tree": snapshot.parent.parent / "trees" / f"{snapshot.name}.json",
        "ref": snapshot.parent.parent / "refs" / "main",
    }
    name = names[what]
    relative = Path(name.parent.resolve(), name.name).relative_to((tmp_path / "other").resolve())
    planted = tmp_path / "cache" / relative
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside / "secret.txt")
    transfer = client.download_snapshot(repo)
    assert (Path(transfer.path) / "top.txt").read_bytes() == FILES["top.txt"]
    assert transfer.commit == snapshot.name


def test_a_link_in_the_place_of_a_lock_is_refused(
    client: Client, repo: str, outside: Path, cache_dir: Path, tmp_path: Path, hub: Hub
) -> None:
    """A lock that is a link is an error that names it, as in huggingface_hub."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "other") as other:
        other.download_file(repo, "top.txt")
    (lock,) = (tmp_path / "other" / ".locks").rglob("[0-9a-f]*.lock")
    planted = cache_dir / lock.relative_to(tmp_path / "other")
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside / "secret.txt")
    with pytest.raises(IoError) as caught:
        client.download_file(repo, "top.txt")
    assert caught.value.filename == str(planted)
