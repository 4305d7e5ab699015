"""Uploads where storage, or a place behind it, limits, refuses, or says what nobody understands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, Model
from xet_ffi import Client, XetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hub import Hub
    from xet_ffi import Progress

#: Each is a file, and a xorb, of its own upload.
SIZE = 300_000


@pytest.fixture
def client(hub: Hub, model: Model, tmp_path: Path) -> Iterator[Client]:
    """A client that has sent nothing yet."""
    del model  # Made before.
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        yield client


def upload(client: Client, model: Model, **options: object) -> None:
    """Uploads something that nobody has."""
    content = os.urandom(SIZE)
    commit = client.upload_file(content, "new.bin", model.repo_id, **options)  # type: ignore[arg-type]
    assert commit.bytes_new == SIZE


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("route", ["xorb", "shard"])
def test_a_limit_is_waited_out_as_long_as_it_says(
    hub: Hub, client: Client, model: Model, status: int, route: str
) -> None:
    """Visibly, and once."""
    hub.fault(route, method="POST", times=1, status=status, headers={"Retry-After": "3"})
    shown = set()

    def look(progress: Progress) -> None:
        shown.add(progress.rate_limited_seconds)

    upload(client, model, progress=look)
    assert max(shown) >= 2
    # A grant, a commit of it, or a shard.
    assert hub.stats().requests("cas", route) == {"xorb": 3, "shard": 2}[route]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500, 503])
def test_a_place_that_refuses_is_passed_by(
    hub: Hub, client: Client, model: Model, status: int
) -> None:
    """Content goes by way of the CAS, and the next content at once."""
    hub.fault("storage", method="PUT", status=status)
    upload(client, model)
    tried = hub.stats().requests("storage", "storage")
    assert 1 <= tried <= 6
    if status == 409:
        # That's somebody else who stores the same.
        return
    for _ in range(3):
        upload(client, model)
    assert hub.stats().requests("storage", "storage") == tried


@pytest.mark.parametrize(("route", "status"), [("xorb", 200), ("xorb", 201), ("shard", 200)])
def test_a_coding_that_nobody_asked_for_is_named(
    hub: Hub, client: Client, model: Model, route: str, status: int
) -> None:
    """And not asked for again and again."""
    coded = {"Content-Encoding": "br"}
    hub.fault(route, method="POST", status=status, headers=coded, body="what is it?")
    with pytest.raises(XetError, match=r"\bbr\b") as caught:
        upload(client, model)
    assert caught.value.kind == "invalid_response"
    assert hub.stats().requests("cas", route) <= 3


@pytest.mark.parametrize("route", ["xorb", "shard"])
def test_a_page_in_place_of_an_answer_is_none(
    hub: Hub, client: Client, model: Model, route: str
) -> None:
    """Of a login, say: nothing counts as stored then."""
    hub.fault(route, method="POST", status=200, body="<html>log in</html>")
    with pytest.raises(XetError, match="login page") as caught:
        upload(client, model)
    assert caught.value.kind == "invalid_response"


@pytest.mark.parametrize("what", ["xorb-grants", "xorb-commits", "/v1/xorbs", "/v2/", "/v1/shards"])
@pytest.mark.parametrize("body", ["<html>one moment</html>", "{", "?"])
def test_a_page_that_passes_is_survived(
    hub: Hub, client: Client, model: Model, what: str, body: str
) -> None:
    """Of a gateway that restarts, say: the same is asked again, in the same way."""
    if what == "/v1/xorbs":
        hub.fault("any", method="POST", path_regex="xorb-grants", status=404)
    elif what == "/v1/shards":
        hub.fault("shard", path_regex="^/v2/", status=404)
    hub.fault("any", method="POST", path_regex=what, status=200, body=body, times=1)
    upload(client, model)
    assert hub.faults()[-1]["fired"] == 1
    assert hub.stats().requests("storage", "storage") == (0 if what == "/v1/xorbs" else 1)


@pytest.mark.parametrize("what", ["xorb-grants", "/v1/xorbs", "shard"])
@pytest.mark.parametrize("status", [400, 402, 413, 422])
def test_a_refusal_says_why(hub: Hub, client: Client, model: Model, what: str, status: int) -> None:
    """In the server's words, and at once; no gateway is blamed for it."""
    if what == "xorb-grants":
        # It's asked for another way, and refuses that as well.
        what = "xorb"
    elif what == "/v1/xorbs":
        hub.fault("any", method="POST", path_regex="xorb-grants", status=404)
    said = '{"error": "quota of alice is exceeded"}'
    hub.fault("any", method="POST", path_regex=what, status=status, body=said)
    with pytest.raises(XetError, match="quota of alice is exceeded") as caught:
        upload(client, model)
    assert "login page" not in str(caught.value)
    assert caught.value.kind == ("forbidden" if status == 402 else "invalid_response")
    # A shard that is refused twice goes by two versions, each time.
    assert hub.stats().requests("cas", "xorb") + hub.stats().requests("cas", "shard") <= 6


@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 410, 413, 418, 451, 500, 501, 503])
@pytest.mark.parametrize("route", ["xorb-grants", "xorb-commits"])
def test_a_cas_that_lets_nobody_past_it_takes_content_itself(
    hub: Hub, client: Client, model: Model, route: str, status: int
) -> None:
    """In whichever words it says so, its own or a gateway's; and it isn't asked each time."""
    hub.fault("any", method="POST", path_regex=route, status=status, body="<html>no</html>")
    upload(client, model)
    asked = [rule["fired"] for rule in hub.faults()]
    for _ in range(3):
        upload(client, model)
    assert asked == [rule["fired"] for rule in hub.faults()]
    if status < 500:
        # One that isn't there finds no content that was sent past it, with three grants.
        assert asked == [3 if (route, status) == ("xorb-commits", 404) else 1]


def test_a_token_that_is_refused_for_grants_is_not_another_way(
    hub: Hub, client: Client, model: Model
) -> None:
    """It's replaced, and the way stays."""
    hub.fault("any", method="POST", path_regex="xorb-grants", status=401, times=1)
    upload(client, model)
    assert hub.stats().requests("storage", "storage") == 1
    assert hub.stats().requests("cas", "xorb") == 3


def test_an_upload_that_is_refused_by_both_ways_names_both(
    hub: Hub, client: Client, model: Model
) -> None:
    """A gateway that passes no grants, and a CAS that has no room."""
    hub.fault("any", method="POST", path_regex="xorb-grants", status=451, body="blocked here")
    hub.fault("any", method="POST", path_regex="/v1/xorbs", status=413, body="too large")
    with pytest.raises(XetError, match=r"too large.*straight to storage.*blocked here"):
        upload(client, model)
    # Nor is it known then that the one way would do.
    hub.clear_faults()
    hub.reset_stats()
    upload(client, model)
    assert hub.stats().requests("storage", "storage") == 1


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 451, 501])
def test_shards_go_by_the_version_that_is_there(
    hub: Hub, client: Client, model: Model, status: int
) -> None:
    """However the newer one is refused, and once for a client."""
    hub.fault("shard", path_regex="^/v2/", status=status, body="<html>no</html>")
    for _ in range(3):
        upload(client, model)
    assert [rule["fired"] for rule in hub.faults()] == [1]
    assert hub.stats().shards_received == 3


@pytest.mark.parametrize("body", ["<html>log in</html>", '{"error": "no upstream"}'])
def test_a_page_in_place_of_a_xorb_that_was_found_is_none(
    hub: Hub, client: Client, model: Model, body: str
) -> None:
    """It doesn't count as stored, so the content goes the other way."""
    hub.fault("any", method="POST", path_regex="xorb-commits", status=200, body=body)
    upload(client, model)
    assert hub.stats().xorbs_received == 1


def test_an_answer_about_a_shard_that_drips_ends(hub: Hub, model: Model, tmp_path: Path) -> None:
    """Bytes without an end of line are no life."""
    hub.fault("shard", method="POST", drip=1)
    with (
        Client(
            hub.endpoint,
            TOKEN.secret,
            tmp_path / "dripping",
            max_attempts=1,
            first_byte_timeout=1.0,
            read_timeout=1.0,
        ) as client,
        pytest.raises(XetError, match="got no further"),
    ):
        upload(client, model, timeout=60)


def test_a_place_that_swallows_content_is_passed_by(hub: Hub, client: Client, model: Model) -> None:
    """It says that it has taken it, and the CAS finds nothing there."""
    hub.fault("storage", method="PUT", status=200)
    upload(client, model)
    tried = hub.stats().requests("storage", "storage")
    assert tried == 3
    upload(client, model)
    assert hub.stats().requests("storage", "storage") == tried
