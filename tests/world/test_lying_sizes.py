"""Files of which the system says a wrong size: what is read counts, or it's an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import noise
from world.stage import TOKEN, publish
from xet_ffi import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub
    from slow_disk import SlowDisk

FILES = {
    "config.json": b"{}",
    "empty.txt": b"",
    "large.bin": noise(300_000, "sizes"),
    "model.safetensors": noise(5_000_000, "sizes"),
}


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    """A client that may write."""
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        yield client


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with a file of each storage."""
    return publish(hub, FILES)[0]


def content(client: Client, repo: str, name: str) -> bytes:
    """Of a file that was uploaded."""
    return Path(client.download_file(repo, name)).read_bytes()


#: What the kernel makes when it's read: it has no size before.
KERNEL = [
    "/proc/cpuinfo",
    "/proc/version",
    "/proc/self/limits",
    "/sys/kernel/mm/transparent_hugepage/enabled",
]


@pytest.mark.parametrize("path", KERNEL)
def test_what_the_kernel_makes_is_uploaded_as_it_is_read(
    client: Client, repo: str, path: str
) -> None:
    """The system says that it's empty, or a page long."""
    if not Path(path).exists():
        pytest.skip("there is no such file here")
    expected = Path(path).read_bytes()
    assert expected
    assert Path(path).stat().st_size != len(expected)
    client.upload_file(path, "kernel.txt", repo)
    assert content(client, repo, "kernel.txt") == expected


def test_a_folder_may_hold_such_files(client: Client, repo: str, tmp_path: Path) -> None:
    """By links, as a report of a machine has them."""
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "version").symlink_to("/proc/version")
    (folder / "empty").touch()
    client.upload_folder(folder, repo, path_in_repo="report")
    assert content(client, repo, "report/version") == Path("/proc/version").read_bytes()
    assert content(client, repo, "report/empty") == b""


#: Uploads what is in a folder, and says what came of it.
UPLOAD = """
import sys
from xet_ffi import Client, XetError
endpoint, token, repo, folder, name = sys.argv[1:]
with Client(endpoint, token, folder + "/cache") as client:
    try:
        client.upload_file(folder + "/" + name, name, repo)
        print("done")
    except XetError as error:
        print(error.kind)
"""


@pytest.mark.parametrize("name", [name for name in FILES if FILES[name]])
def test_a_disk_that_knows_no_sizes_uploads_all(
    hub: Hub, client: Client, disk: SlowDisk, name: str
) -> None:
    """Whatever the storage, and however large."""
    repo, _ = publish(hub, {"x": b"x"})
    (disk.folder / name).write_bytes(FILES[name])
    disk.rule("stat", "fstat", lies="size", match=name)
    said, _ = disk.run(UPLOAD, hub.endpoint, TOKEN.secret, repo, str(disk.folder), name)
    assert said == ["done"]
    assert content(client, repo, name) == FILES[name]


@pytest.mark.parametrize("size", [1, 100_000, 299_999])
def test_a_file_that_goes_on_behind_its_end_is_an_error(
    hub: Hub, disk: SlowDisk, size: int
) -> None:
    """Nothing of it is committed."""
    repo, commit = publish(hub, {"x": b"x"})
    (disk.folder / "large.bin").write_bytes(FILES["large.bin"])
    disk.rule("stat", "fstat", lies=f"size={size}", match="large.bin")
    said, _ = disk.run(UPLOAD, hub.endpoint, TOKEN.secret, repo, str(disk.folder), "large.bin")
    assert said == ["source_changed"]
    with Client(hub.endpoint, token=False) as client:
        assert client.resolve(repo) == commit


#: Downloads to a folder and to the cache, twice each.
DOWNLOAD = """
import sys
from xet_ffi import Client
endpoint, repo, folder = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=folder + "/cache") as client:
    for _ in range(2):
        print(client.download_snapshot(repo).path)
        print(client.download_snapshot(repo, local_dir=folder + "/out").path)
    client.download_snapshot(repo, local_files_only=True)
    client.download_snapshot(repo, local_dir=folder + "/out", local_files_only=True)
"""


def test_a_disk_that_knows_no_sizes_can_be_downloaded_to(
    hub: Hub, repo: str, disk: SlowDisk
) -> None:
    """Slower, as each look has to read."""
    disk.rule("stat", "fstat", lies="size")
    said, _ = disk.run(DOWNLOAD, hub.endpoint, repo, str(disk.folder))
    for path in said:
        assert {name: (Path(path) / name).read_bytes() for name in FILES} == FILES


#: Hashes a cache, and says what is wrong in it.
VERIFY = """
import sys
from xet_ffi import cache
found = cache.verify(cache_dir=sys.argv[1])
print(found.files, [item.reason for item in found.items])
"""


def test_a_disk_that_knows_no_sizes_has_sound_files(hub: Hub, repo: str, disk: SlowDisk) -> None:
    """Git's hash is one of the size, too."""
    cache = disk.folder / "cache"
    with Client(hub.endpoint, token=False, cache_dir=cache) as client:
        files = client.download_snapshot(repo).files
    disk.rule("stat", "fstat", lies="size")
    said, _ = disk.run(VERIFY, str(cache))
    assert said == [str(files), "[]"]
