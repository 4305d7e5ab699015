"""Uploads to Xet storage in whose place something else answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from world.stage import TOKEN, Model
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from hub import Hub

PAGE = "<!DOCTYPE html><html><body>Please log in</body></html>" + "x" * 2000

#: Bytes of content: more than a server that refuses them at once, and closes the connection, reads.
SIZE = 3_000_000

#: What is answered, and which words have to be in the error.
ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "a page": ({"status": 200, "headers": {"Content-Type": "text/html"}, "body": PAGE}, ""),
    "nothing": ({"status": 204}, ""),
    "broken JSON": ({"garbage_json": True}, ""),
    "a moved page": (
        {"status": 302, "headers": {"Location": "http://login.example/?secret=1"}},
        "",
    ),
    "a redirect": ({"status": 307, "headers": {"Location": "http://login.example/?secret=1"}}, ""),
    "HTTP 400": ({"status": 400, "body": PAGE}, "400"),
    "HTTP 404": ({"status": 404, "body": PAGE}, "404"),
    "HTTP 407": ({"status": 407, "body": PAGE}, "407"),
    "HTTP 413": ({"status": 413, "body": PAGE}, "413"),
    "HTTP 451": ({"status": 451, "body": PAGE}, "451"),
    "HTTP 511": ({"status": 511, "body": PAGE}, "511"),
}


@pytest.mark.parametrize("route", ["xorb", "shard", "any"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_it_is_a_failure_of_the_network_that_names_the_host(
    hub: Hub, model: Model, tmp_path: Path, route: str, answer: str
) -> None:
    """And not one of the caller's files, nor of what the caller has asked for."""
    action, words = ANSWERS[answer]
    if route == "any":
        # All of storage's host, and nothing of the Hub's.
        for at in ("xorb", "shard", "chunks", "unknown"):
            hub.fault(at, **action)
    else:
        hub.fault(route, **action)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path / "cache", max_attempts=1) as client,
        pytest.raises(XetError, match=hub.cas.partition("://")[2]) as caught,
    ):
        client.upload_file(os.urandom(SIZE), "new.safetensors", model.repo_id)
    error = caught.value
    assert error.kind in {"invalid_response", "server_error"}, error
    assert words in str(error)
    if "redirect" in answer:
        assert "login.example" in str(error) or route == "shard"
    assert "secret" not in str(error)
    assert "cache" not in str(error)
    assert len(str(error)) < 1200


def test_a_refusal_is_the_reason_whatever_comes_of_another_try(
    hub: Hub, model: Model, tmp_path: Path
) -> None:
    """An upload that goes by earlier ones is tried again without; that one breaks on its way."""
    hub.fault("shard", method="POST", times=1, status=400, body=PAGE)
    hub.fault("shard", method="POST", stall_before=600)
    with (
        Client(
            hub.endpoint,
            TOKEN.secret,
            tmp_path / "cache",
            max_attempts=1,
            connect_timeout=1.0,
            first_byte_timeout=1.0,
            read_timeout=1.0,
        ) as client,
        pytest.raises(XetError, match="400") as caught,
    ):
        client.upload_file(os.urandom(SIZE), "new.safetensors", model.repo_id)
    # By the older version, and then by the newer one without what is known.
    assert hub.faults()[1]["fired"] == 2
    assert caught.value.kind == "invalid_response"
    assert "going by nothing but what it had sent itself" in str(caught.value)


@pytest.mark.parametrize("words", [True, False])
def test_what_storage_says_twice_is_not_tried_a_third_time(
    hub: Hub, model: Model, tmp_path: Path, words: bool
) -> None:
    """Of a status alone nobody knows whether it says the same. Only what was tried is told."""
    hub.fault("shard", method="POST", status=400, body='{"error": "no"}' if words else PAGE)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path / "cache", max_attempts=1) as client,
        pytest.raises(XetError, match="400") as caught,
    ):
        client.upload_file(os.urandom(SIZE), "new.safetensors", model.repo_id)
    # Each attempt by both versions of the question.
    assert hub.faults()[0]["fired"] == 2 * (2 if words else 3)
    told = f"{caught.value} {caught.value.details}"
    assert ("without what is known of earlier uploads" in told) <= (not words)


def test_what_storage_has_of_others_may_be_nonsense(hub: Hub, model: Model, tmp_path: Path) -> None:
    """The upload does without."""
    hub.fault("chunks", status=200, headers={"Content-Type": "text/html"}, body=PAGE)
    content = os.urandom(9_000_000)
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        client.upload_file(content, "new.safetensors", model.repo_id)
        again = client.download_file(model.repo_id, "new.safetensors", local_dir=tmp_path / "d")
        assert Path(again).read_bytes() == content
