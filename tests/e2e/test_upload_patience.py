"""Uploads are as patient as downloads: what keeps silent is given up, what moves is not."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi

from published import MIB, noise
from slow_disk import SlowDisk
from toxiproxy import Toxiproxy
from xet_ffi import CancelledError, Client, TransferTimeoutError, XetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub import Hub
    from xet_ffi import Progress

SECRET = "hf_alice_secret"

#: Where the whole call has this timeout, it ends by a limit of its parts: three deadlines, and what
#: lies between attempts. It is far above that, for machines under load.
PROMISE = 25

#: Uploads a file under a name, with a client that lets a server take nothing for 0.75 s.
UPLOAD = """
import sys
from xet_ffi import Client
endpoint, token, repo, path, name = sys.argv[1:]
short = {"connect_timeout": 1.0, "first_byte_timeout": 1.0, "read_timeout": 1.0}
# A busy machine may take long, too, but not each time.
with Client(endpoint, token=token, max_attempts=3, **short) as client:
    client.upload_file(path, name, repo)
"""


def impatient(hub: Hub, cache_dir: Path, seconds: float = 0.5) -> Client:
    """A client that lets a server be silent for three times `seconds`, in all."""
    return Client(
        hub.endpoint,
        SECRET,
        cache_dir,
        connect_timeout=seconds,
        first_byte_timeout=seconds,
        read_timeout=seconds,
    )


@pytest.fixture
def toxiproxy() -> Iterator[Toxiproxy]:
    """Wires that can be slow, or dead."""
    with Toxiproxy.start() as toxiproxy:
        yield toxiproxy


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("preupload", "sent no answer for"),
        ("xet-token", "sent no answer for"),
        ("xorb", "that was to ask Xet storage where content is to be sent"),
        ("shard", "that was to register content with Xet storage"),
    ],
)
@pytest.mark.parametrize("how", [{"stall_before": 600}, {"stall_after_bytes": 1}])
def test_xet_storage_that_keeps_silent(
    hub: Hub, empty_repo: str, cache_dir: Path, route: str, said: str, how: dict[str, int]
) -> None:
    """Before it answers, or in the middle of it: the error names the step and the host."""
    if route in ("preupload", "xet-token") and "stall_after_bytes" in how:
        said = "sent nothing for"
    hub.fault(route, method=None if route == "xet-token" else "POST", **how)  # type: ignore[arg-type]
    with (
        impatient(hub, cache_dir) as client,
        pytest.raises(TransferTimeoutError, match=said) as caught,
    ):
        client.upload_file(noise(MIB, f"{route}{how}"), "x.bin", empty_repo, timeout=PROMISE)
    assert "127.0.0.1:" in str(caught.value)


def test_storage_behind_the_cas_may_keep_silent(hub: Hub, empty_repo: str, cache_dir: Path) -> None:
    """Content goes by way of the CAS then; nobody waits for that storage twice."""
    hub.fault("storage", method="PUT", stall_before=600)
    with impatient(hub, cache_dir) as client:
        for name in ("first", "second"):
            data = noise(MIB, f"silent {name}")
            commit = client.upload_file(data, f"{name}.bin", empty_repo, timeout=PROMISE)
            assert commit.bytes_new == len(data)
        assert hub.stats().requests("storage", "storage") == 1
        hub.clear_faults()
        for name in ("first", "second"):
            path = client.download_file(empty_repo, f"{name}.bin").path
            assert Path(path).read_bytes() == noise(MIB, f"silent {name}")


@pytest.mark.parametrize("part_size", [0, 300_000])
@pytest.mark.parametrize("route", ["lfs-batch", "storage"])
def test_lfs_storage_that_keeps_silent(
    own_hub: Callable[..., Hub], cache_dir: Path, route: str, part_size: int
) -> None:
    """Asked where to send an object, or sent it, in one piece or in parts."""
    hub = own_hub(config={"lfs_part_size": part_size})
    HfApi(endpoint=hub.endpoint, token=SECRET).create_repo("alice/r")
    hub.set_settings("alice/r", xet=False)
    hub.fault(route, method="POST" if route == "lfs-batch" else "PUT", stall_before=600)
    with (
        impatient(hub, cache_dir) as client,
        pytest.raises(TransferTimeoutError, match="sent no answer") as caught,
    ):
        client.upload_file(noise(MIB, "lfs"), "x.bin", "alice/r", timeout=PROMISE)
    assert "127.0.0.1:" in str(caught.value)
    assert hub.stats().requests("hub", "commit") == 0


def test_completing_parts_may_be_silent_for_as_long(
    own_hub: Callable[..., Hub], cache_dir: Path
) -> None:
    """The request that ends an LFS object of several parts has its limit, too."""
    hub = own_hub(config={"lfs_part_size": 300_000})
    HfApi(endpoint=hub.endpoint, token=SECRET).create_repo("alice/r")
    hub.set_settings("alice/r", xet=False)
    hub.fault("storage", method="POST", stall_before=600)
    with (
        impatient(hub, cache_dir) as client,
        pytest.raises(TransferTimeoutError, match="sent no answer"),
    ):
        client.upload_file(noise(MIB, "lfs"), "x.bin", "alice/r", timeout=PROMISE)


def test_an_upload_does_without_the_chunks_of_others(
    hub: Hub, hf_api: HfApi, empty_repo: str, cache_dir: Path
) -> None:
    """Which chunks storage has already is good to know, and no more: its silence fails nothing."""
    hub.fault("chunks", stall_before=600)
    data = noise(MIB, "dedup")
    with impatient(hub, cache_dir) as client:
        commit = client.upload_file(data, "x.bin", empty_repo, timeout=PROMISE)
        assert hf_api.repo_info(empty_repo).sha == commit.oid
        assert commit.bytes_new == len(data)
        assert Path(client.download_file(empty_repo, "x.bin")).read_bytes() == data
    assert sum(rule["fired"] for rule in hub.faults()) >= 1


@pytest.mark.parametrize("looks_answered", [True, False])
def test_a_commit_without_an_answer_is_unknown(
    hub: Hub, hf_api: HfApi, empty_repo: str, cache_dir: Path, looks_answered: bool
) -> None:
    """It is asked for once, and looked for; then the error says that nobody knows."""
    hub.fault("commit", stall_before=600)
    if not looks_answered:
        hub.fault("commits", stall_before=600)
    with impatient(hub, cache_dir) as client, pytest.raises(TransferTimeoutError) as caught:
        client.upload_file(b"text\n", "a.txt", empty_repo, timeout=PROMISE)
    assert caught.value.kind == "commit_unknown"
    # Three times its 0.5 s, and some tenths where the line was slow to take it.
    waited = re.search(
        r"sent no answer to it for ([\d.]+)s", f"{caught.value} {caught.value.details}"
    )
    assert waited is not None
    assert 1.5 <= float(waited[1]) <= 3
    assert hub.stats().requests("hub", "commit") == 1
    assert hub.stats().requests("hub", "commits") >= 1
    hub.clear_faults()
    assert len(hf_api.list_repo_commits(empty_repo)) == 1


def test_a_commit_whose_answer_stalls_is_found(
    hub: Hub, hf_api: HfApi, empty_repo: str, cache_dir: Path
) -> None:
    """It was made; its answer breaks off, and the branch shows it."""
    hub.fault("commit", stall_after_bytes=3)
    with impatient(hub, cache_dir) as client:
        commit = client.upload_file(b"text\n", "a.txt", empty_repo, timeout=PROMISE)
    assert hf_api.repo_info(empty_repo).sha == commit.oid
    assert hub.stats().requests("hub", "commit") == 1


@pytest.mark.parametrize("kind", ["xet", "cas", "lfs", "commit"])
def test_a_wire_that_dies_in_the_middle(
    own_hub: Callable[..., Hub],
    toxiproxy: Toxiproxy,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Nothing more is taken, of content or of a commit: that ends, unless there is another way."""
    hub = own_hub()
    HfApi(endpoint=hub.endpoint, token=SECRET).create_repo("alice/r")
    hub.set_settings("alice/r", xet=kind in {"xet", "cas"})
    wires = toxiproxy.wires(hub)
    wire = wires[{"commit": "hub", "cas": "cas"}.get(kind, "storage")]
    if kind == "cas":
        monkeypatch.setenv("HF_XET_CLIENT_LEGACY_DIRECT_XORB_UPLOAD", "true")
    # Slow enough to be met while it is sent.
    wire.add("bandwidth", upstream=True, rate=4_000)
    dead = False

    def progress(now: Progress) -> None:
        nonlocal dead
        if now.bytes_network > 3 * MIB and not dead:
            dead = True
            wire.add("timeout", upstream=True, timeout=0)

    name = "x.txt" if kind == "commit" else "x.bin"
    data = noise(12 * MIB, "dies")
    if kind == "commit":
        data = data.hex().encode()[: 9 * MIB]
    with Client(
        wires["hub"].url,
        SECRET,
        cache_dir,
        connect_timeout=1,
        first_byte_timeout=1,
        read_timeout=1,
    ) as client:
        upload = functools.partial(
            client.upload_file, data, name, "alice/r", progress=progress, timeout=2 * PROMISE
        )
        if kind == "xet":
            assert upload().bytes_new == len(data)
        else:
            with pytest.raises(XetError) as caught:
                upload()
            assert isinstance(caught.value, TransferTimeoutError), caught.value
            assert "the call" not in str(caught.value)
    assert dead


@pytest.mark.parametrize("kind", ["xet", "lfs"])
def test_what_is_slow_but_moves_is_not_given_up(
    own_hub: Callable[..., Hub], toxiproxy: Toxiproxy, cache_dir: Path, kind: str
) -> None:
    """A line that takes longer than all limits together, without a single retry."""
    hub = own_hub()
    HfApi(endpoint=hub.endpoint, token=SECRET).create_repo("alice/r")
    hub.set_settings("alice/r", xet=kind == "xet")
    wires = toxiproxy.wires(hub)
    for wire in wires.values():
        wire.add("bandwidth", upstream=True, rate=2_000)
    data = noise(24 * MIB, "slow")
    with impatient(hub, cache_dir, 2) as client:
        commit = client.upload_file(data, "x.bin", "alice/r")
    assert (commit.retries, commit.bytes_new) == (0, len(data))


@pytest.mark.parametrize("lfs", [False, True], ids=["xet", "lfs"])
def test_a_disk_that_pauses_is_not_storage_that_does(
    hub: Hub, empty_repo: str, tmp_path: Path, lfs: bool
) -> None:
    """Content that comes late is late by our own disk: whoever has all that there is may wait."""
    hub.set_settings(empty_repo, xet=not lfs)
    disk = SlowDisk(tmp_path / "tools", tmp_path / "disk")
    path = disk.folder / "content"
    path.write_bytes(noise(MIB, f"pauses/{lfs}/1"))
    disk.run(UPLOAD, hub.endpoint, SECRET, empty_repo, str(path), "quick.bin")
    # The last time that it's opened, it is to be sent.
    opened = disk.count("open", path=path)
    disk.rule("open", match="content", skip=opened - 1, delay_ms=6_000)
    path.write_bytes(noise(MIB, f"pauses/{lfs}/2"))
    disk.run(UPLOAD, hub.endpoint, SECRET, empty_repo, str(path), "slow.bin")


def test_storage_may_take_its_time_to_check(
    hub: Hub, hf_api: HfApi, empty_repo: str, cache_dir: Path
) -> None:
    """The registration of a shard has all of the patience: it isn't asked for twice."""
    hub.fault("shard", times=1, stall_before=2)
    with impatient(hub, cache_dir, 1) as client:
        commit = client.upload_file(noise(MIB, "check"), "x.bin", empty_repo)
    assert hf_api.repo_info(empty_repo).sha == commit.oid
    assert (commit.retries, hub.stats().requests("cas", "shard")) == (0, 1)


def test_a_wait_for_a_commit_can_be_cancelled(hub: Hub, empty_repo: str, cache_dir: Path) -> None:
    """With an error that says that it may have been made."""
    hub.fault("commit", stall_before=600)
    with (
        Client(hub.endpoint, SECRET, cache_dir) as client,
        pytest.raises(CancelledError) as caught,
    ):
        client.upload_file(
            b"text\n",
            "a.txt",
            empty_repo,
            cancel=lambda: hub.faults()[0]["fired"] > 0,
        )
    assert caught.value.kind == "commit_unknown"
