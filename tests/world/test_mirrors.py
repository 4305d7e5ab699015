"""Mirrors and gateways, each with habits of its own: files and snapshots take the same ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway import Gateway
from world.stage import TOKEN, Model
from xet_ffi import Client, NetworkError, NotFoundError

if TYPE_CHECKING:
    from hub import Hub

#: All of the hub, as it is.
REST = "location / { proxy_pass {hub}; }"

#: What a mirror may do to the Hub's answers, which then say less, or something else.
HABITS = {
    "redirects elsewhere": "location ~ /resolve/ { return 302 {other}$request_uri; }",
    "another redirect elsewhere": "location ~ /resolve/ { return 308 {other}$request_uri; }",
    "no commit": "location ~ /resolve { proxy_pass {hub}; proxy_hide_header X-Repo-Commit; }",
    "no description": """location ~ /resolve { proxy_pass {hub}; proxy_hide_header X-Repo-Commit;
        proxy_hide_header X-Linked-Etag; proxy_hide_header X-Linked-Size; }""",
    "no ETags": """location ~ /resolve { proxy_pass {hub}; proxy_hide_header ETag;
        proxy_hide_header X-Linked-Etag; }""",
    "foreign ETags": """location ~ /resolve { proxy_pass {hub}; proxy_hide_header ETag;
        proxy_hide_header X-Linked-Etag; add_header ETag '"65f1c0de-2a"' always; }""",
    "foreign ETags that look right": """location ~ /resolve { proxy_pass {hub};
        proxy_hide_header ETag; proxy_hide_header X-Linked-Etag;
        add_header X-Linked-Etag '"1111111111111111111111111111111111111111"' always; }""",
    "wrong lengths": """location ~ /resolve { proxy_pass {hub}; proxy_hide_header X-Linked-Size;
        add_header X-Linked-Size 3 always; }""",
    "no HEAD": """location ~ /resolve { if ($request_method = HEAD) { return 405; }
        proxy_pass {hub}; }""",
    "an empty HEAD": """location ~ /resolve { if ($request_method = HEAD) { return 200 ''; }
        proxy_pass {hub}; }""",
    "no HEAD, and forgets why": """location ~ /resolve { if ($request_method = HEAD) { return 404; }
        proxy_pass {hub}; }""",
    "no tree": "location ~ /tree/ { return 404; }",
    "a tree that is a bad request": "location ~ /tree/ { return 400; }",
    "a tree that is not allowed": "location ~ /tree/ { return 405; }",
    "a tree that is not implemented": "location ~ /tree/ { return 501; }",
}


def check(endpoint: str, model: Model, folder: Path, revision: str | None = None) -> None:
    """Downloads all of a model, file by file and as a snapshot, each into a cache of its own."""
    with Client(endpoint, TOKEN.secret, folder / "files") as client:
        for path, content in model.files.items():
            transfer = client.download_file(model.repo_id, path, revision=revision)
            assert Path(transfer).read_bytes() == content, path
    with Client(endpoint, TOKEN.secret, folder / "snapshot") as client:
        transfer = client.download_snapshot(model.repo_id, revision=revision)
        for path, content in model.files.items():
            assert (Path(transfer) / path).read_bytes() == content, path
        listed = {file.path: file.size for file in client.list_files(model.repo_id)}
        assert {path: listed[path] for path in model.files} == {
            path: len(content) for path, content in model.files.items()
        }


def commit_of(hub: Hub, model: Model) -> str:
    """What main stands for."""
    return str(hub.request("GET", f"/api/models/{model.repo_id}/revision/main")["sha"])


@pytest.mark.parametrize("by_commit", [False, True], ids=["main", "commit"])
@pytest.mark.parametrize("habit", HABITS)
def test_what_one_answer_lacks_another_has(
    hub: Hub, model: Model, tmp_path: Path, habit: str, by_commit: bool
) -> None:
    """Whatever the mirror leaves out, or replaces: nothing of it is "damaged"."""
    revision = commit_of(hub, model) if by_commit else None
    with Gateway.start(hub, tmp_path / "nginx", HABITS[habit] + REST) as gateway:
        check(gateway.endpoint, model, tmp_path, revision)
        # And a token goes to the gateway only.
        assert any(token for *_, token in gateway.requests())
        assert {token for *_, token in gateway.requests_to_other()} <= {"", "-"}


def test_storage_at_the_mirrors_own_origin(hub: Hub, model: Model, tmp_path: Path) -> None:
    """What storage says of its copy isn't taken for what the Hub says of the file."""
    locations = """location /storage/ { proxy_pass {storage}/; proxy_set_header Authorization ''; }
        location ~ /resolve { proxy_pass {hub}; proxy_hide_header X-Linked-Etag;
            proxy_hide_header X-Linked-Size; }"""
    with Gateway.start(hub, tmp_path / "nginx", locations + REST) as gateway:
        hub.announce(bridge=gateway.endpoint + "/storage")
        try:
            check(gateway.endpoint, model, tmp_path)
        finally:
            hub.announce()
        assert any(uri.startswith("/storage/") for _, uri, *_ in gateway.requests())


def test_a_hub_below_a_path(hub: Hub, model: Model, tmp_path: Path) -> None:
    """The Hub's redirects and links begin at its own root, which is a path of the gateway's."""
    locations = "location /mirrors/hf/ { proxy_pass {hub}/; } location / { return 404; }"
    with Gateway.start(hub, tmp_path / "nginx", locations) as gateway:
        check(gateway.endpoint + "/mirrors/hf", model, tmp_path)
        assert all(uri.startswith("/mirrors/hf/") for _, uri, *_ in gateway.requests())


def test_what_stands_in_for_a_tree_is_not_kept(hub: Hub, model: Model, tmp_path: Path) -> None:
    """It lists odd names, too; and the next client, at the Hub itself, asks the Hub."""
    hub.plant(model.repo_id, [{"path": "/abs", "content": "x"}])
    with (
        Gateway.start(hub, tmp_path / "nginx", HABITS["no tree"] + REST) as gateway,
        Client(gateway.endpoint, TOKEN.secret, tmp_path / "cache") as client,
    ):
        assert "/abs" in {file.path for file in client.list_files(model.repo_id)}
        assert client.download_snapshot(model.repo_id, allow_patterns="*.json").files == 1
    assert not list((tmp_path / "cache").glob("models--*/trees/*"))
    hub.reset_stats()
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        assert client.download_snapshot(model.repo_id, allow_patterns="*.json").files == 1
    assert hub.stats().requests("hub", "tree") == 1


def test_a_mirror_without_any_listing_says_so(hub: Hub, model: Model, tmp_path: Path) -> None:
    """Files come one by one, and a snapshot's error names both that it lacks."""
    locations = "location ~ /api/models/.*/(tree|revision)/ { return 405; }"
    with (
        Gateway.start(hub, tmp_path / "nginx", locations + REST) as gateway,
        Client(gateway.endpoint, TOKEN.secret, tmp_path / "cache") as client,
    ):
        for path, content in model.files.items():
            assert Path(client.download_file(model.repo_id, path)).read_bytes() == content
        with pytest.raises(NetworkError, match=r"tree.*siblings") as caught:
            client.download_snapshot(model.repo_id, revision=commit_of(hub, model))
        assert caught.value.kind == "invalid_response"
        assert caught.value.repo == model.repo_id


def test_a_file_that_is_not_there_is_not_found(hub: Hub, model: Model, tmp_path: Path) -> None:
    """Also where only the listing can tell."""
    habit = HABITS["no HEAD, and forgets why"]
    with (
        Gateway.start(hub, tmp_path / "nginx", habit + REST) as gateway,
        Client(gateway.endpoint, TOKEN.secret, tmp_path / "cache") as client,
    ):
        with pytest.raises(NotFoundError) as caught:
            client.download_file(model.repo_id, "no such file")
        assert caught.value.kind == "entry_not_found"
        assert caught.value.file == "no such file"


@pytest.mark.parametrize("route", ["tree", "revision"])
@pytest.mark.parametrize(
    "answer",
    [{"status": 200, "body": "<html>Back soon</html>"}, {"truncate": 40}, {"garbage_json": True}],
    ids=["a page", "cut", "broken"],
)
def test_what_is_no_answer_is_asked_for_again(
    hub: Hub, model: Model, tmp_path: Path, route: str, answer: dict[str, Any]
) -> None:
    """Twice; what makes no sense a third time is an error."""
    hub.fault(route, times=2, **answer)
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        transfer = client.download_snapshot(model.repo_id)
        assert transfer.files == len(model.files) + 1
        hub.clear_faults()
        hub.fault(route, **answer)
        hub.reset_stats()
        with pytest.raises(NetworkError) as caught:
            client.list_files(model.repo_id)
        assert caught.value.kind == "invalid_response"
        assert hub.stats().requests("hub", route) == 3
