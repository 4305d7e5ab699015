"""A Hub without Xet: large files go over LFS, in one piece or in parts."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi, hf_hub_download

from interpreter import python
from published import MIB, commit, noise
from xet_ffi import Client, CommitAdd, IoError, NetworkError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub

PART = 1_000_000


@pytest.fixture(params=[False, True], ids=["basic", "multipart"])
def is_in_parts(request: pytest.FixtureRequest) -> bool:
    """Whether LFS objects are taken in parts."""
    return bool(request.param)


@pytest.fixture
def lfs_hub(own_hub: Callable[..., Hub], is_in_parts: bool) -> Hub:
    """A hub that takes LFS objects in one piece, or in parts of a megabyte."""
    return own_hub(config={"lfs_part_size": PART if is_in_parts else 0})


@pytest.fixture
def api(lfs_hub: Hub) -> HfApi:
    """The official client of `lfs_hub`, with a repo without Xet."""
    api = HfApi(endpoint=lfs_hub.endpoint, token="hf_alice_secret")
    api.create_repo("alice/r")
    lfs_hub.set_settings("alice/r", xet=False)
    return api


@pytest.fixture
def client(lfs_hub: Hub, api: HfApi, cache_dir: Path) -> Client:
    """Ours."""
    assert api.endpoint == lfs_hub.endpoint
    return Client(lfs_hub.endpoint, "hf_alice_secret", cache_dir)


def test_the_hub_takes_parts_from_the_official_client(lfs_hub: Hub, api: HfApi) -> None:
    """It sends open files over LFS, so it can say whether xet-hub does parts right."""
    data = noise(3_500_000, "lfs/official")
    commit(api, "alice/r", {"x.bin": data}, lfs=True)
    [info] = api.get_paths_info("alice/r", "x.bin")
    assert info.lfs is not None  # type: ignore[union-attr]
    assert info.lfs.sha256 == hashlib.sha256(data).hexdigest()  # type: ignore[union-attr]
    multipart = lfs_hub.stats().raw["methods"]["storage"].get("POST", 0)
    assert lfs_hub.stats().raw["lfs_bytes_received"] == len(data)
    assert multipart in (0, 1)


def test_large_files_go_over_lfs(lfs_hub: Hub, api: HfApi, client: Client, tmp_path: Path) -> None:
    """From files, memory and streams; the official client downloads them."""
    contents = {
        "a.bin": noise(3 * PART, "lfs/a"),
        "b.bin": noise(3 * PART + 1, "lfs/b"),
        "c.bin": noise(6 * MIB, "lfs/c"),
        "d.bin": noise(400, "lfs/d"),
        "t.txt": b"text\n",
    }
    path = tmp_path / "a.bin"
    path.write_bytes(contents["a.bin"])
    made = client.create_commit(
        "alice/r",
        [
            CommitAdd("a.bin", path),
            CommitAdd("b.bin", contents["b.bin"]),
            CommitAdd("c.bin", io.BytesIO(contents["c.bin"])),
            CommitAdd("d.bin", contents["d.bin"]),
            CommitAdd("t.txt", contents["t.txt"]),
        ],
    )
    total = sum(map(len, contents.values()))
    assert (made.bytes_total, made.bytes_new, made.xorbs) == (total, total, 0)
    stats = lfs_hub.stats()
    assert stats.lfs_puts == 4
    assert stats.raw["lfs_bytes_received"] == total - len(contents["t.txt"])
    assert stats.leaked_authorization == 0
    assert stats.requests("cas") == 0
    for name, content in contents.items():
        theirs = hf_hub_download(
            "alice/r",
            name,
            endpoint=lfs_hub.endpoint,
            token=False,
            cache_dir=tmp_path / "theirs",
        )
        assert Path(theirs).read_bytes() == content
    assert api.repo_info("alice/r").sha == made.oid


def test_objects_that_are_there_are_not_sent(lfs_hub: Hub, client: Client) -> None:
    """Neither under another name, nor twice in one commit."""
    data = noise(2 * MIB, "lfs/there")
    client.upload_file(data, "a.bin", "alice/r")
    lfs_hub.reset_stats()
    moved = client.upload_file(data, "b.bin", "alice/r")
    assert (moved.commits, moved.bytes_new, moved.bytes_on_hub) == (1, 0, len(data))
    assert lfs_hub.stats().lfs_puts == 0
    other = noise(2 * MIB, "lfs/other")
    client.create_commit("alice/r", [CommitAdd("c.bin", other), CommitAdd("d.bin", other)])
    assert lfs_hub.stats().lfs_puts == 1


def test_a_part_that_breaks_is_sent_again(lfs_hub: Hub, client: Client) -> None:
    """From its start, as often as there are attempts."""
    data = noise(4 * MIB, "lfs/breaks")
    lfs_hub.fault("storage", method="PUT", times=2, status=503)
    made = client.upload_file(data, "a.bin", "alice/r")
    assert made.retries == 2
    assert Path(client.download_file("alice/r", "a.bin")).read_bytes() == data


def test_xet_can_be_switched_off_here(hub: Hub, empty_repo: str) -> None:
    """HF_HUB_DISABLE_XET=1 means LFS for uploads, too."""
    code = f"""
import os
from xet_ffi import Client
with Client({hub.endpoint!r}, "hf_alice_secret") as client:
    print(client.upload_file(os.urandom(100_000), "x.bin", {empty_repo!r}).bytes_new)
"""
    done = python(code, HF_HUB_DISABLE_XET="1")
    assert (done.returncode, done.stdout) == (0, "100000\n"), done.stderr
    assert (hub.stats().lfs_puts, hub.stats().requests("cas")) == (1, 0)


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "unverified"])
def test_an_object_that_storage_has_lost_is_sent_again(
    lfs_hub: Hub, client: Client, is_in_parts: bool, verify: bool
) -> None:
    """It says that it has taken it: the Hub, or else the batch call, says that it isn't there."""
    if not verify:
        # As for a Hub that doesn't know the address.
        lfs_hub.fault("any", path_regex="/verify$", status=404)
    method = "POST" if is_in_parts else "PUT"
    lfs_hub.fault("storage", method=method, times=1, status=200, body="{}")
    data = noise(4 * MIB, f"lfs/lost/{verify}")
    lfs_hub.reset_stats()
    made = client.upload_file(data, "a.bin", "alice/r")
    assert Path(client.download_file("alice/r", "a.bin")).read_bytes() == data
    assert (made.bytes_new, made.bytes_sent) == (len(data), 2 * len(data))
    assert lfs_hub.stats().lfs_puts == 1
    # Both times, its own call is asked; and the batch call, each time that it says no.
    assert lfs_hub.stats().requests("hub", "lfs-batch") == 2 + (2 if verify else 3)


def test_storage_that_keeps_nothing_is_named(
    lfs_hub: Hub, api: HfApi, client: Client, is_in_parts: bool
) -> None:
    """After the second time, with the file and the server; nothing is committed."""
    head = api.repo_info("alice/r").sha
    lfs_hub.fault("storage", method="POST" if is_in_parts else "PUT", status=200)
    with pytest.raises(NetworkError, match=r"has taken a\.bin, 2 times") as caught:
        client.upload_file(noise(4 * MIB, "lfs/nothing"), "a.bin", "alice/r")
    assert lfs_hub.storage.partition("://")[2] in str(caught.value)
    assert (caught.value.kind, caught.value.details["file"]) == ("invalid_response", "a.bin")
    assert lfs_hub.faults()[0]["fired"] == 2
    assert api.repo_info("alice/r").sha == head


def test_what_is_lost_before_the_commit_is_named(lfs_hub: Hub, client: Client) -> None:
    """The Hub refuses the commit, which isn't the caller's mistake; the same call mends it."""
    lfs_hub.fault("commit", method="POST", times=1, stall_before=3)
    contents = {f"{name}.bin": noise(2 * MIB, f"lfs/gone/{name}") for name in "abc"}
    additions = [CommitAdd(path, content) for path, content in contents.items()]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.create_commit, "alice/r", additions)
        lfs_hub.wait_for(lambda stats: stats.lfs_puts == len(contents), "all objects")
        sha256 = hashlib.sha256(contents["b.bin"]).hexdigest()
        (lfs_hub.data / "lfs" / sha256[:2] / sha256).unlink()
        with pytest.raises(NetworkError, match=r"finds nothing of the content of b\.bin") as caught:
            call.result()
    assert (caught.value.kind, caught.value.http_status) == ("invalid_response", 400)
    assert caught.value.details["file"] == "b.bin"
    client.create_commit("alice/r", additions)
    assert lfs_hub.stats().lfs_puts == len(contents) + 1


def test_content_that_changes_after_it_was_hashed_is_not_sent_as_what_it_was(
    lfs_hub: Hub, api: HfApi, client: Client
) -> None:
    """Its hash is its name; memory, and files whose times lie, may change meanwhile."""
    head = api.repo_info("alice/r").sha
    data = bytearray(noise(4 * MIB, "lfs/changes"))
    lfs_hub.fault("lfs-batch", times=1, stall_before=3)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.upload_file, data, "a.bin", "alice/r")
        lfs_hub.wait_for(lambda stats: stats.requests("hub", "lfs-batch") > 0, "the hash")
        data[3 * MIB : 3 * MIB + 5] = b"other"
        with pytest.raises(IoError, match="changed while it was being uploaded") as caught:
            call.result()
    assert caught.value.kind == "source_changed"
    assert lfs_hub.stats().lfs_puts == 0
    assert api.repo_info("alice/r").sha == head


def test_a_part_that_breaks_at_the_end_is_hashed_once(lfs_hub: Hub, client: Client) -> None:
    """The last part is sent again, and so is the first."""
    data = noise(4 * MIB, "lfs/breaks late")
    for part in (1, 4, 5):
        lfs_hub.fault("storage", method="PUT", path_regex=f"/parts/{part}$", times=1, status=503)
    lfs_hub.fault("storage", method="PUT", path_regex=r"/\d+$", times=1, status=503)
    client.upload_file(data, "a.bin", "alice/r")
    assert Path(client.download_file("alice/r", "a.bin")).read_bytes() == data


def test_where_to_send_an_object_is_asked_anew_when_its_url_has_run_out(
    own_hub: Callable[..., Hub], cache_dir: Path
) -> None:
    """Storage that takes longer for a batch than its URLs are good for gets all of it."""
    hub = own_hub(args=["--url-ttl", "2"])
    files = {f"{i}.bin": noise(500_000, f"lfs/late/{i}") for i in range(16)}
    hub.delay(1.0, "storage")
    with Client(hub.endpoint, "hf_alice_secret", cache_dir) as client:
        client.create_repo("alice/late")
        hub.set_settings("alice/late", xet=False)
        client.create_commit("alice/late", [CommitAdd(name, data) for name, data in files.items()])
    assert hub.stats().statuses(403) > 0
    assert hub.stats().lfs_puts == len(files)
    hub.delay()
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as reader:
        folder = Path(reader.download_snapshot("alice/late").path)
    for name, data in files.items():
        assert (folder / name).read_bytes() == data


def test_storage_that_refuses_each_url_ends_the_upload(lfs_hub: Hub, client: Client) -> None:
    """After it was asked twice more where to send the object, and with the refusal."""
    lfs_hub.fault("storage", method="PUT", times=2, status=403)
    data = noise(2 * MIB, "lfs/refused")
    client.upload_file(data, "a.bin", "alice/r")
    assert Path(client.download_file("alice/r", "a.bin")).read_bytes() == data
    lfs_hub.reset_stats()
    lfs_hub.fault("storage", method="PUT", status=403)
    with pytest.raises(PermissionDeniedError, match="refused a URL"):
        client.upload_file(noise(2 * MIB, "lfs/forbidden"), "b.bin", "alice/r")
    assert lfs_hub.stats().requests("hub", "lfs-batch") == 3


@pytest.mark.parametrize("status", [400, 404, 409, 412, 413])
def test_what_storage_says_is_not_the_hubs(
    lfs_hub: Hub, client: Client, tmp_path: Path, status: int
) -> None:
    """It knows no model, so none has changed or is missing; it's storage that refuses a file."""
    path = tmp_path / "x.bin"
    path.write_bytes(noise(PART + 1, "lfs/refused"))
    lfs_hub.fault("storage", method="PUT", status=status)
    with pytest.raises(NetworkError) as caught:
        client.upload_file(path, "sub/x.bin", "alice/r")
    assert caught.value.file == "sub/x.bin"
    for word in ("storage at ", "sub/x.bin", f"HTTP {status}"):
        assert word in str(caught.value)
    for word in ("has changed", "check the endpoint"):
        assert word not in str(caught.value)


def test_credentials_that_have_expired_are_those_of_a_url(lfs_hub: Hub, client: Client) -> None:
    """Storage says so with a 400, too; the next URL has others."""
    content = noise(PART + 1, "lfs/expired")
    body = "<Error><Code>ExpiredToken</Code></Error>"
    lfs_hub.fault("storage", method="PUT", times=1, status=400, body=body)
    client.upload_file(content, "x.bin", "alice/r")
    assert lfs_hub.stats().requests("hub", "lfs-batch") >= 2
