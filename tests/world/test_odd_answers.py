"""Servers that give one answer that makes no sense, among many that do: it is asked for again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from published import noise
from world.stage import TOKEN, publish
from xet_ffi import Client, NotFoundError

if TYPE_CHECKING:
    from hub import Hub

FILES = {
    **{f"{number}.txt": b"%d\n" % number * 50 for number in range(4)},
    **{f"{number}.bin": noise(300_000, number) for number in range(4)},
}

#: What no server says of a file that it has.
ODD: dict[str, dict[str, Any]] = {
    **{f"HTTP {status}": {"status": status} for status in (204, 206, 300, 304, 305, 404, 410, 418)},
    "a redirect without a Location": {"status": 302},
    "a redirect to itself": {"redirect_loop": True},
}

#: What no server says to who asks for a token.
ODD_TOKENS: dict[str, dict[str, Any]] = {
    **{f"HTTP {status}": {"status": status} for status in (204, 400, 404, 410, 416)},
    "an error with status 200": {"status": 200, "body": '{"error": "x"}'},
    "a redirect without a Location": {"status": 302},
    "a redirect to itself": {"redirect_loop": True},
}


def check(transfer: Any) -> None:
    """Reads what has come."""
    assert {path: (Path(transfer) / path).read_bytes() for path in FILES} == FILES


@pytest.mark.parametrize("route", ["resolve", "resolve-cache", "storage"])
@pytest.mark.parametrize("answer", ODD)
def test_one_odd_answer_for_a_file_costs_a_question(
    hub: Hub, tmp_path: Path, route: str, answer: str
) -> None:
    """The Hub's own, or storage's, for a file that the Hub has listed."""
    repo_id, _ = publish(hub, FILES)
    hub.fault(route, method="GET", skip=2, times=1, **ODD[answer])
    with Client(hub.endpoint, TOKEN.secret, tmp_path, transport="http") as client:
        check(client.download_snapshot(repo_id, timeout=60))
    assert hub.faults()[0]["fired"] == 1


@pytest.mark.parametrize("answer", ODD_TOKENS)
def test_one_odd_answer_for_a_token_costs_a_question(hub: Hub, tmp_path: Path, answer: str) -> None:
    """And not Xet, for all files of the call."""
    repo_id, _ = publish(hub, FILES)
    hub.fault("xet-token", method="GET", times=1, **ODD_TOKENS[answer])
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        transfer = client.download_snapshot(repo_id, timeout=60)
    check(transfer)
    assert hub.faults()[0]["fired"] == 1
    assert transfer.fallbacks == 0


@pytest.mark.parametrize("answer", ODD_TOKENS)
def test_a_hub_that_gives_no_token_gives_files(hub: Hub, tmp_path: Path, answer: str) -> None:
    """Over plain HTTP, whatever it says to who asks for one, and however often it's asked."""
    repo_id, _ = publish(hub, FILES)
    hub.fault("xet-token", method="GET", **ODD_TOKENS[answer])
    with Client(hub.endpoint, TOKEN.secret, tmp_path) as client:
        transfer = client.download_snapshot(repo_id, timeout=60)
    check(transfer)
    assert transfer.fallbacks > 0


@pytest.mark.parametrize("route", ["resolve", "storage"])
def test_what_is_missing_is_named(
    hub: Hub, tmp_path: Path, route: Literal["resolve", "storage"]
) -> None:
    """The endpoint is blamed only for what it has said itself."""
    repo_id, _ = publish(hub, FILES)
    hub.fault(route, method="GET", path_regex="1.bin|/lfs/|/files/", status=404)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path, transport="http") as client,
        pytest.raises(NotFoundError, match=r'"1\.bin"') as caught,
    ):
        client.download_snapshot(repo_id, allow_patterns="1.bin")
    assert ("check the endpoint" in str(caught.value)) == (route == "resolve")
    assert ("storage at" in str(caught.value)) == (route == "storage")
