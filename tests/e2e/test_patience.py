"""What never answers is given up in good time, over all ways together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from published import MIB, noise, publish
from xet_ffi import Client, TransferTimeoutError

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub

KIB = MIB >> 10


def impatient(hub: Hub, cache_dir: Path) -> Client:
    """A client of which a file's whole escalation may be silent for three times 0.4 s."""
    return Client(
        hub.endpoint,
        token=False,
        cache_dir=cache_dir,
        connect_timeout=0.4,
        first_byte_timeout=0.4,
        read_timeout=0.4,
    )


@pytest.mark.parametrize("kind", ["xet", "lfs"])
def test_storage_that_never_answers_is_asked_three_times_in_all(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, kind: str
) -> None:
    """Two silences over Xet leave one for plain HTTP; without Xet there are three."""
    publish(hf_api, repo_id, {"a.bin": noise(700 * KIB, f"patience/{kind}")}, lfs=kind == "lfs")
    hub.reset_stats()
    hub.fault("storage", method="GET", stall_before=60)
    with (
        impatient(hub, cache_dir) as client,
        pytest.raises(TransferTimeoutError, match="sent no answer for 400ms") as caught,
    ):
        client.download_file(repo_id, "a.bin")
    assert hub.stats().requests("storage") == 3
    assert [tried.split(":")[0] for tried in caught.value.tried] == ["Xet"] * (kind == "xet")


def test_what_moves_now_and_then_is_not_given_up(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path
) -> None:
    """What gets on between its silences may have as many as it likes."""
    content = noise(21 * MIB, "patience/moves")
    publish(hf_api, repo_id, {"a.bin": content}, lfs=True)
    hub.fault("storage", method="GET", times=4, stall_after_bytes=5 * MIB)
    with impatient(hub, cache_dir) as client:
        transfer = client.download_file(repo_id, "a.bin")
    assert transfer.stalls == 4
