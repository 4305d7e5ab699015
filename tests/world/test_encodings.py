"""Content codings that nobody asked for: decoded, or named, and never "damaged"."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from gateway import Gateway
from world.stage import TOKEN, Model
from xet_ffi import Client, CommitAdd, NetworkError

if TYPE_CHECKING:
    from hub import Hub


Transport = Literal["auto", "xet", "http"]
TRANSPORTS: tuple[Transport, ...] = ("auto", "xet", "http")


def check(
    hub: Hub, model: Model, folder: Path, transport: Transport, endpoint: str | None = None
) -> None:
    """Downloads all of a model, file by file and as a snapshot."""
    for kind in ("files", "snapshot"):
        with Client(
            endpoint or hub.endpoint,
            TOKEN.secret,
            folder / kind,
            transport=transport,
            max_attempts=3,
        ) as client:
            if kind == "snapshot":
                root = Path(client.download_snapshot(model.repo_id))
                found = {path: root / path for path in model.files}
            else:
                found = {p: Path(client.download_file(model.repo_id, p)) for p in model.files}
            for path, content in model.files.items():
                assert found[path].read_bytes() == content, (kind, path)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("label", [{"gzip": True}, "gzip", "x-gzip", "br", "zstd", "unheard-of"])
def test_codings_and_labels_are_survived(
    hub: Hub, model: Model, tmp_path: Path, transport: Transport, label: dict[str, Any] | str
) -> None:
    """On every route: what is gzip is decoded, and what only says so is taken as it is."""
    action = label if isinstance(label, dict) else {"headers": {"Content-Encoding": label}}
    hub.fault("any", method="GET", **action)
    check(hub, model, tmp_path, transport)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("route", ["reconstruction", "file-chunk-hashes"])
def test_the_cas_may_encode_its_json(
    hub: Hub, model: Model, tmp_path: Path, route: str, coding: str
) -> None:
    """As it's documented: files come over Xet all the same, at the first attempt."""
    action: dict[str, Any] = {coding: True}
    hub.fault(route, method="GET", **action)
    with Client(hub.endpoint, TOKEN.secret, tmp_path, transport="xet", max_attempts=1) as client:
        done = client.download_snapshot(model.repo_id)
    for path, content in model.files.items():
        assert (Path(done) / path).read_bytes() == content
    assert done.retries == 0
    if route == "reconstruction":
        assert hub.faults()[0]["fired"] >= 1


def test_uploads_read_encoded_answers(hub: Hub, model: Model, tmp_path: Path) -> None:
    """Of the Hub, and of LFS."""
    for route in (
        "preupload",
        "lfs-batch",
        "commit",
        "revision",
        "tree",
        "paths-info",
        "xet-token",
    ):
        hub.fault(route, gzip=True)
    hub.set_settings(model.repo_id, xet=False)
    content = b"new" * 400_000
    with Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        client.upload_file(content, "new.bin", model.repo_id)
        assert Path(client.download_file(model.repo_id, "new.bin")).read_bytes() == content


@pytest.mark.parametrize("coding", ["br", "zstd"])
@pytest.mark.parametrize("name", ["config.json", "large.bin"])
def test_a_coding_that_cannot_be_decoded_is_named(
    hub: Hub, model: Model, tmp_path: Path, coding: str, name: str
) -> None:
    """Content of another length than was published really is encoded."""
    answer: dict[str, Any] = {
        "status": 200,
        "body": "\x0b\x02\x80",
        "headers": {"Content-Encoding": coding},
    }
    hub.fault("storage", **answer)
    hub.fault("resolve-cache", method="GET", **answer)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client,
        pytest.raises(NetworkError, match=f'encoded as "{coding}"') as caught,
    ):
        client.download_file(model.repo_id, name)
    assert caught.value.kind == "invalid_response"
    assert caught.value.file == name


def test_a_file_that_is_compressed_stays_so(hub: Hub, model: Model, tmp_path: Path) -> None:
    """A server that knows .gz says so of it; the file is what was published."""
    content = gzip.compress(b"line\n" * 10_000)
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.upload_file(content, "lines.jsonl.gz", model.repo_id)
    for route in ("storage", "resolve-cache", "resolve"):
        hub.fault(route, method="GET", headers={"Content-Encoding": "gzip"})
    for transport in TRANSPORTS:
        with Client(
            hub.endpoint, TOKEN.secret, tmp_path / transport, transport=transport
        ) as client:
            found = Path(client.download_file(model.repo_id, "lines.jsonl.gz"))
            assert found.read_bytes() == content


#: Says that content is encoded, and not how long it is.
LABELLED = """
location / {
  proxy_pass {%s};
  proxy_set_header Accept-Encoding "";
  add_header Content-Encoding %s;
  sub_filter_types *;
  sub_filter "what is in no file" "";
}
"""


@pytest.mark.parametrize(
    ("coding", "origin", "transport"),
    [
        *(("gzip", origin, how) for origin in ("hub", "storage") for how in TRANSPORTS),
        # What isn't deflate doesn't show that at its beginning: JSON and xorbs can only be named.
        *(("deflate", "storage", how) for how in ("auto", "http")),
    ],
)
def test_a_label_without_a_length_is_not_believed_twice(
    hub: Hub, model: Model, tmp_path: Path, coding: str, origin: str, transport: Transport
) -> None:
    """What isn't right when it's decoded is taken as it is: it may be a .gz itself."""
    files = {
        f"{name}.gz": gzip.compress(os.urandom(size))
        for name, size in (("small", 3_000), ("large", 300_000), ("xet", 900_000))
    }
    with Client(hub.endpoint, TOKEN.secret) as client:
        client.create_commit(model.repo_id, [CommitAdd(*file) for file in files.items()])
    labelled = Model(model.repo_id, {**model.files, **files})
    with Gateway.start(hub, tmp_path / "gateway", LABELLED % (origin, coding)) as gateway:
        if origin == "storage":
            hub.announce(storage=gateway.endpoint)
        endpoint = hub.endpoint if origin == "storage" else gateway.endpoint
        try:
            check(hub, labelled, tmp_path, transport, endpoint)
        finally:
            hub.announce()


def test_content_that_is_wrong_either_way_names_the_coding(
    hub: Hub, model: Model, tmp_path: Path
) -> None:
    """And isn't called damaged."""
    for route in ("resolve-cache", "resolve"):
        hub.fault(route, method="GET", status=200, body="something else" * 9, gzip=True)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path / "cache") as client,
        pytest.raises(NetworkError, match='encoded as "gzip"') as caught,
    ):
        client.download_file(model.repo_id, "config.json")
    assert caught.value.kind == "invalid_response"
    assert "damaged" not in str(caught.value)
