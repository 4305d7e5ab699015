"""Listings of many pages: where the next one is, and pages that go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway import Gateway
from hub import Hub
from world.stage import TOKEN
from world.test_mirrors import REST
from xet_ffi import AuthError, Client, CommitAdd, NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPO = "alice/pages"
PATHS = [f"f{i:02}.json" for i in range(20)]
#: With .gitattributes, by three on each.
PAGES = 7


@pytest.fixture(scope="module")
def _paged_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    data = tmp_path_factory.mktemp("pages") / "data"
    with Hub.start(data, [TOKEN], args=["--page-size", "3"]) as hub:
        with Client(hub.endpoint, TOKEN.secret, data.parent / "cache") as client:
            client.create_repo(REPO, private=True)
            client.create_commit(REPO, [CommitAdd(path, path.encode()) for path in PATHS])
        yield hub


@pytest.fixture
def paged(_paged_hub: Hub) -> Iterator[Hub]:
    """A hub with short pages, and a private repo of several."""
    _paged_hub.reset_stats()
    yield _paged_hub
    _paged_hub.clear_faults()
    _paged_hub.announce()


def listed(endpoint: str, folder: Path) -> list[str]:
    """The paths of all files."""
    with Client(endpoint, TOKEN.secret, folder) as client:
        return [file.path for file in client.list_files(REPO) if file.path in PATHS]


@pytest.mark.parametrize(
    "name",
    [
        "https://hub.example",
        "http://127.0.0.1:1/below/here",
        "https://127.0.0.1:{port}",
        "http://localhost:{port}",
        "https://hub.example:99/hf",
    ],
)
@pytest.mark.parametrize("path", ["", "/hf"])
def test_the_next_page_is_where_the_first_one_was(
    paged: Hub, tmp_path: Path, name: str, path: str
) -> None:
    """Whatever the server behind the mirror calls itself."""
    locations = "location /hf/ { proxy_pass {hub}/; } location / { return 404; }" if path else REST
    with Gateway.start(paged, tmp_path / "nginx", locations) as gateway:
        port = gateway.endpoint.rpartition(":")[2]
        paged.announce(endpoint=name.replace("{port}", port))
        assert listed(gateway.endpoint + path, tmp_path / "cache") == PATHS
        trees = [uri for _, uri, *_ in gateway.requests() if "/tree/" in uri]
        assert len(trees) == PAGES


def test_a_token_does_not_follow_a_link(paged: Hub, tmp_path: Path) -> None:
    """Where the other place would answer, too."""
    with Gateway.start(paged, tmp_path / "nginx", REST) as gateway:
        paged.announce(endpoint=gateway.other)
        assert listed(gateway.endpoint, tmp_path / "cache") == PATHS
        assert not gateway.requests_to_other()


def tree(status: int, **action: Any) -> dict[str, Any]:
    """A bad answer."""
    return {"status": status, **action}


#: Answers that may be a hiccup in mid-listing.
BAD: dict[str, dict[str, Any]] = {
    **{str(status): tree(status) for status in (400, 401, 403, 404, 405, 410, 416, 422, 500, 501)},
    "an empty page": tree(200, body="[]"),
    "null": tree(200, body="null"),
    "an error": tree(200, body='{"error": "invalid cursor"}'),
    "a page of text": tree(200, body="<html>", headers={"Content-Type": "text/html"}),
    "half of it": {"cut_after_bytes": 40},
    "half a body": tree(200, body='[{"type": "file",'),
}


def requests(hub: Hub) -> tuple[int, int]:
    """How often the hub was asked for pages, and for files."""
    stats = hub.stats()
    return stats.requests("hub", "tree"), stats.raw["methods"]["hub"].get("HEAD", 0)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_page_is_asked_for_again(paged: Hub, tmp_path: Path, bad: str) -> None:
    """It, and no file."""
    paged.fault("tree", skip=3, times=1, **BAD[bad])
    assert listed(paged.endpoint, tmp_path) == PATHS
    assert requests(paged) == (PAGES + 1, 0)


@pytest.mark.parametrize("bad", ["400", "401", "404", "410", "an error"])
def test_a_cursor_that_has_expired_begins_anew(paged: Hub, tmp_path: Path, bad: str) -> None:
    """From the first page, and still nobody asks for single files."""
    paged.fault("tree", skip=3, times=2, **BAD[bad])
    assert listed(paged.endpoint, tmp_path) == PATHS
    assert requests(paged) == (PAGES + 5, 0)


def test_hiccups_of_several_kinds_are_no_lasting_nonsense(paged: Hub, tmp_path: Path) -> None:
    """One page that fails in three ways, one after the other."""
    for bad in ("500", "half of it", "a page of text"):
        paged.fault("tree", skip=3, times=1, **BAD[bad])
    assert listed(paged.endpoint, tmp_path) == PATHS
    assert requests(paged)[1] == 0


@pytest.mark.parametrize("bad", ["400", "404", "an error"])
def test_of_what_stays_out_of_reach_each_file_is_asked_for(
    paged: Hub, tmp_path: Path, bad: str
) -> None:
    """And of no other: three pages have come."""
    paged.fault("tree", skip=3, **BAD[bad])
    # The second time, it's the first page that is refused.
    assert sorted(listed(paged.endpoint, tmp_path)) == PATHS
    asked = paged.stats().raw["methods"]["hub"]["HEAD"]
    # It, and where it leads.
    assert asked == 2 * (len(PATHS) + 1 - 9)


def test_what_stays_is_said(paged: Hub, tmp_path: Path) -> None:
    """Where asking for files can't help."""
    paged.fault("tree", skip=3, **BAD["401"])
    with pytest.raises(AuthError):
        listed(paged.endpoint, tmp_path)
    paged.clear_faults()
    paged.fault("tree", skip=3, **BAD["a page of text"])
    with pytest.raises(NetworkError, match="text/html instead of JSON"):
        listed(paged.endpoint, tmp_path)


def test_an_empty_answer_is_asked_for_again(paged: Hub, tmp_path: Path) -> None:
    """The first page may go wrong, too."""
    paged.fault("tree", times=1, **BAD["an empty page"])
    assert listed(paged.endpoint, tmp_path) == PATHS
    assert requests(paged) == (PAGES + 1, 0)
