"""Servers that don't do ranges, each in its own way: what was begun is finished all the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import Gateway
from world.stage import TOKEN
from xet_ffi import Client, CommitAdd, XetError

if TYPE_CHECKING:
    from hub import Hub

#: What becomes of a request with a range, in nginx's language; those without are answered.
HABITS = {
    "416": "if ($http_range) { return 416; }",
    "416 with a size": """if ($http_range) { add_header Content-Range 'bytes */7' always;
        return 416; }""",
    "400": "if ($http_range) { return 400; }",
    "405": "if ($http_range) { return 405; }",
    "501": "if ($http_range) { return 501; }",
    "another part": """set $part ''; if ($http_range) { set $part 'bytes=0-99'; }
        proxy_set_header Range $part;""",
    "a part without its place": "proxy_hide_header Content-Range;",
    "a part of another file": """proxy_hide_header Content-Range; if ($http_range) {
        add_header Content-Range 'bytes 100-199/200'; }""",
    "all": "proxy_set_header Range '';",
}

#: A file of Git's, and one of LFS's; where a download of each breaks off, and on which route.
FILES = {
    "notes.txt": (b"line\n" * 20_000, 40_000, "resolve-cache"),
    "large.bin": (os.urandom(3_000_000), 1_500_000, "storage"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("habit", HABITS)
def test_a_file_that_was_begun_is_finished_without_ranges(
    hub: Hub, tmp_path: Path, habit: str, name: str
) -> None:
    """With one question more, and from the beginning."""
    content, cut, route = FILES[name]
    repo_id = f"alice/r-{os.urandom(6).hex()}"
    cache = tmp_path / "cache"
    with Client(hub.endpoint, TOKEN.secret, cache, transport="http", max_attempts=1) as client:
        client.create_repo(repo_id)
        client.create_commit(repo_id, [CommitAdd(name, content)])
        hub.fault(route, method="GET", cut_after_bytes=cut)
        with pytest.raises(XetError):
            client.download_file(repo_id, name)
        hub.clear_faults()
    (begun,) = cache.rglob("*.partial")
    assert 0 < begun.stat().st_size <= cut
    rule = HABITS[habit].replace("100-199/200", f"{begun.stat().st_size}-199999/200000")
    locations = f"""
        location /storage/ {{ {rule} proxy_pass {{storage}}/; proxy_set_header Authorization ''; }}
        location ~ /api/resolve-cache/ {{ {rule} proxy_pass {{hub}}; }}
        location / {{ proxy_pass {{hub}}; }}"""
    with Gateway.start(hub, tmp_path / "nginx", locations) as gateway:
        hub.announce(bridge=gateway.endpoint + "/storage")
        try:
            with Client(gateway.endpoint, TOKEN.secret, cache, transport="http") as client:
                transfer = client.download_file(repo_id, name)
        finally:
            hub.announce()
        assert Path(transfer).read_bytes() == content
        assert transfer.retries == 0
        asked = [
            method
            for method, uri, *_ in gateway.requests()
            if uri.startswith(("/storage/", "/api/resolve-cache/")) and method == "GET"
        ]
        assert len(asked) == (1 if habit == "all" else 2)
