"""Storage whose deduplication leads astray: shards that are damaged, or name what it has lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hub import Hub
from published import noise
from world.stage import TOKEN
from xet_ffi import Client, CommitAdd

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 900_000
REPO = "alice/false"
AGAIN = "uploading again"


def part(name: str) -> bytes:
    """Content that another machine has published, in the same xorb as all others of it."""
    return noise(SIZE, f"false/{name}")


@pytest.fixture
def lossy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub to which another machine has published three files, and whose clients know nothing."""
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "elsewhere"))
    with Hub.start(tmp_path / "lossy", [TOKEN]) as hub:
        with Client(hub.endpoint, TOKEN.secret) as client:
            client.create_repo(REPO)
            files = [CommitAdd(f"{name}.bin", part(name)) for name in "abc"]
            client.create_commit(REPO, files)
        monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
        hub.reset_stats()
        yield hub


def upload(hub: Hub, client: Client, name: str, caplog: pytest.LogCaptureFixture) -> bool:
    """Uploads something new behind what was published; returns whether that took two attempts."""
    caplog.clear()
    content = part(name) + os.urandom(SIZE)
    client.upload_file(content, f"new-{name}.bin", REPO)
    hub.clear_faults()
    place = Path(client.download_file(REPO, f"new-{name}.bin"))
    assert place.read_bytes() == content
    return AGAIN in caplog.text


def test_what_storage_has_lost_misleads_once(
    lossy: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on to say that it has it, which neither this client nor the next one believes."""
    [xorb] = (path for path in (lossy.data / "cas" / "xorbs").iterdir() if not path.suffixes[1:])
    xorb.unlink()
    with Client(lossy.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        assert upload(lossy, client, "a", caplog)
        assert not upload(lossy, client, "b", caplog)
    with Client(lossy.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        assert not upload(lossy, client, "c", caplog)


@pytest.mark.parametrize(
    "damage",
    [
        {"corrupt_byte": 100},  # The hash of a xorb.
        {"corrupt_byte": 128},  # How many chunks it has.
        {"corrupt_byte": 150},  # The hash of a chunk,
        {"corrupt_byte": 180},  # and its length.
        {"truncate": 400},
        {"invert": True},
        {"rotate": 96},
        {"empty": True},
        {"status": 200, "body": "<html>log in</html>"},
    ],
    ids=str,
)
def test_a_shard_that_is_none_misleads_nobody(
    lossy: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: dict[str, Any]
) -> None:
    """It's looked at from its first byte to its last before anyone goes by it."""
    with Client(lossy.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        lossy.fault("chunks", **damage)
        assert not upload(lossy, client, "a", caplog)
        # Nor is anything left of it.
        lossy.fault("chunks", status=404)
        assert not upload(lossy, client, "a", caplog)
        lossy.reset_stats()
        assert not upload(lossy, client, "b", caplog)
        assert lossy.stats().xorbs_received == 1
