"""Headers that a program adds to what goes to the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway import Gateway
from published import VARIETY, VARIETY_LFS, noise, publish
from xet_ffi import Client, CommitAdd, InvalidConfigError
from xet_ffi.hub import hf_hub_download, snapshot_download

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub, Token

HEADERS = {"X-Custom": "mine"}
ALL = "location / { proxy_pass {%s}; }"


def test_the_hub_gets_them_and_nobody_else(
    hub: Hub, hf_api: HfApi, repo_id: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """With each request of downloads and uploads; neither the CAS nor storage gets them."""
    publish(hf_api, repo_id)
    with (
        Gateway.start(hub, tmp_path / "hub", ALL % "hub") as front,
        Gateway.start(hub, tmp_path / "cas", ALL % "cas") as cas,
        Gateway.start(hub, tmp_path / "storage", ALL % "storage") as storage,
        Client(
            front.endpoint, tokens["alice"].secret, tmp_path / "cache", headers=HEADERS
        ) as client,
    ):
        hub.announce(endpoint=front.endpoint, cas=cas.endpoint, storage=storage.endpoint)
        transfer = client.download_snapshot(repo_id)
        add = [CommitAdd("new.bin", noise(600_000, "headers")), CommitAdd("new.txt", b"new")]
        client.create_commit(repo_id, add)
        hub.announce()
        assert transfer.files == len({".gitattributes", *VARIETY, *VARIETY_LFS})
        assert front.custom_headers() == {"mine"}
        assert cas.custom_headers() == storage.custom_headers() == {"-"}


def test_functions_that_are_huggingface_hub_s_take_them(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path
) -> None:
    """As the `headers` of huggingface_hub."""
    publish(hf_api, repo_id)
    with Gateway.start(hub, tmp_path / "hub", ALL % "hub") as front:
        options: dict[str, Any] = {"endpoint": front.endpoint, "cache_dir": tmp_path / "cache"}
        hf_hub_download(repo_id, "config.json", headers=HEADERS, **options)
        snapshot_download(repo_id, headers=HEADERS, **options)
        assert front.custom_headers() == {"mine"}
        snapshot_download(repo_id, **options)
        assert front.custom_headers() == {"mine", "-"}, "another client, without them"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("Authorization", "Bearer hf_secret", "`token` is for it"),
        ("user-agent", "hf_secret", "`user_agent` is for it"),
        ("Range", "hf_secret", "of their own"),
        ("Host", "hf_secret", "of their own"),
        ("a b", "hf_secret", "no name of a header"),
        ("x-a", "hf_\x01_secret", "no header can have"),
    ],
)
def test_what_requests_have_of_their_own_is_refused(name: str, value: str, why: str) -> None:
    """And so is what can't be sent. No error shows a value, which may be a secret."""
    with pytest.raises(InvalidConfigError, match=why) as refused:
        Client("http://127.0.0.1:9", token=False, headers={name: value})
    assert "secret" not in str(refused.value)
    assert refused.value.field is not None
    assert refused.value.field.startswith("headers")
