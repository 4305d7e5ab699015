"""A connection that is reset costs what was lost, however often the file repeats itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import HfApi

from published import MIB, noise, publish
from xet_ffi import CancelledError, Client, Progress

if TYPE_CHECKING:
    from hub import Hub

REPO = "alice/resets"

#: Every chunk of it is the same one.
ZEROS = bytes(64 * MIB)
#: Some chunks, again and again.
REPEATS = noise(MIB, "resets/repeats") * 32
#: What is lost of a body that is cut here is more than half of it.
CUT = 400_000

CONTENT = {"zeros.bin": ZEROS, "repeats.bin": REPEATS}


@pytest.fixture(scope="module")
def repo(_session_hub: Hub) -> str:
    """A repo with both files."""
    publish(HfApi(endpoint=_session_hub.endpoint, token="hf_alice_secret"), REPO, CONTENT)
    return REPO


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("zeros.bin", {"cut_after_bytes": 100}),
        ("zeros.bin", {"status": 403}),
        ("zeros.bin", {"corrupt_byte": 1}),
        ("repeats.bin", {"cut_after_bytes": CUT}),
        ("repeats.bin", {"close_after_bytes": CUT}),
        ("repeats.bin", {"status": 503}),
        ("repeats.bin", {"truncate": CUT}),
    ],
)
def test_one_reset_costs_one_question_and_one_request(
    hub: Hub, repo: str, cache_dir: Path, name: str, fault: dict[str, Any]
) -> None:
    """What is missing in all the places of a chunk is asked about once, and fetched once."""
    hub.fault("storage", path_regex="^/xorbs/", times=1, **fault)
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        transfer = client.download_file(repo, name)
    assert Path(transfer).read_bytes() == CONTENT[name]
    (rule,) = hub.faults()
    assert rule["fired"] == 1
    stats = hub.stats()
    assert stats.requests("cas", "reconstruction") == 2
    assert stats.fetched("xorbs") == 2
    assert stats.fetched("files") == 0
    assert transfer.bytes_network < 2.5 * MIB


def test_an_interrupted_file_of_repeats_costs_what_was_missing(
    hub: Hub, repo: str, cache_dir: Path
) -> None:
    """What an earlier attempt lacks in many places is asked about once, and fetched once."""
    hub.fault("storage", path_regex="^/xorbs/", stall_after_bytes=CUT)
    done = 0

    def look(progress: Progress) -> None:
        nonlocal done
        done = progress.bytes_completed

    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        with pytest.raises(CancelledError):
            client.download_file(repo, "repeats.bin", progress=look, cancel=lambda: done > MIB)
        hub.clear_faults()
        hub.reset_stats()
        transfer = client.download_file(repo, "repeats.bin")
    assert Path(transfer).read_bytes() == REPEATS
    stats = hub.stats()
    # About all of it, about that part of a term, and about what was there, to remember it.
    assert stats.requests("cas", "reconstruction") <= 5
    # The last repeat ends with the file, so its last chunk is another one.
    assert stats.fetched("xorbs") <= 3
    assert transfer.bytes_network < 1.5 * MIB
