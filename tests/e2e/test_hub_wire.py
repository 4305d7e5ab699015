"""What xet-hub answers on the wire: the headers, redirects and refusals that clients build on."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

import raw
from published import noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub, Token

#: Content of the large file of `repo`.
LARGE = os.urandom(1_000_000)


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repository with a large file, d/x.bin, a plain one, d/x.txt, and an empty one."""
    hf_api.create_repo(repo_id)
    files = {"d/x.bin": LARGE, "d/x.txt": b"hello", "d/empty": b""}
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    hf_api.create_commit(repo_id, operations, commit_message="files")
    return repo_id


def head(hub: Hub, repo: str, path: str, **options: Any) -> raw.Answer:
    """Sends HEAD to resolve."""
    url = f"{hub.endpoint}/{repo}/resolve/main/{path}"
    return raw.request("HEAD", url, **options)


def test_a_xet_file_resolves_to_another_origin(hub: Hub, hf_api: HfApi, repo: str) -> None:
    """The redirect itself carries the metadata, and its length is that of its own text."""
    answer = head(hub, repo, "d/x.bin")
    sha256 = hashlib.sha256(LARGE).hexdigest()
    commit = hf_api.repo_info(repo).sha
    assert answer.status == 302
    assert answer["X-Linked-Etag"] == f'"{sha256}"'
    assert answer["X-Linked-Size"] == str(len(LARGE))
    assert answer["X-Repo-Commit"] == commit
    assert int(answer["Content-Length"]) < 1000
    token_url = f"{hub.endpoint}/api/models/{repo}/xet-read-token/{commit}"
    assert answer["X-Xet-Refresh-Route"] == token_url
    assert answer["Link"].startswith(f'<{token_url}>; rel="xet-auth", <{hub.cas}/v1/')
    assert answer["Location"].startswith(f"{hub.storage}/")
    assert urlsplit(hub.storage).port != urlsplit(hub.endpoint).port
    stored = raw.get(answer["Location"])
    assert (stored.status, stored.body) == (200, LARGE)
    assert stored["ETag"] != answer["X-Linked-Etag"]


def test_a_plain_file_resolves_through_the_cache(hub: Hub, repo: str) -> None:
    """A plain file is a relative redirect and then the bytes, with git's own id as its etag."""
    first = head(hub, repo, "d/x.txt")
    assert first.status == 307
    assert first["Location"].startswith(f"/api/resolve-cache/models/{repo}/")
    second = raw.get(hub.endpoint + first["Location"])
    assert (second.status, second.body) == (200, b"hello")
    assert second["ETag"] == '"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"'
    assert second["X-Repo-Commit"] == first["X-Repo-Commit"]
    assert "X-Xet-Hash" not in second.headers
    known = raw.get(hub.endpoint + first["Location"], headers={"If-None-Match": second["ETag"]})
    assert (known.status, known.body) == (304, b"")


def test_the_redirect_of_plain_files_can_be_switched_off(
    own_hub: Callable[..., Hub], tokens: dict[str, Token]
) -> None:
    """With the switch off, and with compression on, a plain file is one answer."""
    hub = own_hub(args=["--resolve-cache-redirect", "false"], config={"gzip": True})
    api = HfApi(endpoint=hub.endpoint, token=tokens["alice"].secret)
    api.create_repo("alice/r")
    api.upload_file(path_or_fileobj=b"hello " * 100, path_in_repo="x.txt", repo_id="alice/r")
    answer = head(hub, "alice/r", "x.txt")
    assert (answer.status, answer["Content-Length"]) == (200, "600")
    url = f"{hub.endpoint}/alice/r/resolve/main/x.txt"
    zipped = raw.get(url, headers={"Accept-Encoding": "gzip"})
    assert zipped["Content-Encoding"] == "gzip"
    assert zipped["ETag"].startswith('W/"')
    assert "Content-Length" not in zipped.headers


def test_empty_files_are_plain(hub: Hub, repo: str) -> None:
    """An empty file has git's id of nothing, and no Xet hash."""
    answer = raw.get(hub.endpoint + head(hub, repo, "d/empty")["Location"])
    assert answer["ETag"] == '"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"'
    assert (answer.status, answer["Content-Length"], answer.body) == (200, "0", b"")


@pytest.mark.parametrize("name", ["d/x.bin", "d/x.txt"])
def test_ranges(hub: Hub, repo: str, name: str) -> None:
    """Parts of a file, its end, and a start behind its end, from storage and from the Hub."""
    location = head(hub, repo, name)["Location"]
    url = location if location.startswith("http") else hub.endpoint + location
    whole = LARGE if name == "d/x.bin" else b"hello"
    total = len(whole)
    for asked, expected in {"1-3": whole[1:4], "2-": whole[2:], "-2": whole[-2:]}.items():
        answer = raw.get(url, headers={"Range": f"bytes={asked}"})
        assert (answer.status, answer.body) == (206, expected)
        assert answer["Content-Range"].endswith(f"/{total}")
    behind = raw.get(url, headers={"Range": f"bytes={total}-"})
    assert (behind.status, behind["Content-Range"]) == (416, f"bytes */{total}")


def test_several_ranges_are_one_multipart_answer(hub: Hub, repo: str) -> None:
    """Storage answers several ranges in the order asked for, each with its place."""
    url = head(hub, repo, "d/x.bin")["Location"]
    answer = raw.get(url, headers={"Range": "bytes=10-19,500-509"})
    assert answer.status == 206
    kind, _, boundary = answer["Content-Type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert len(answer.body) == int(answer["Content-Length"])
    parts = answer.body.split(f"--{boundary}".encode())[1:-1]
    assert [part.partition(b"\r\n\r\n")[2][:-2] for part in parts] == [LARGE[10:20], LARGE[500:510]]
    assert b"Content-Range: bytes 500-509/1000000" in parts[1]


def test_storage_wants_a_signature_and_nothing_else(hub: Hub, repo: str) -> None:
    """A changed or missing signature, another path, or a token beside it is refused."""
    url = head(hub, repo, "d/x.bin")["Location"]
    bare, _, query = url.partition("?")
    assert raw.get(bare).status == 403
    other = f"{bare[:-1]}{'1' if bare.endswith('0') else '0'}"
    assert raw.get(f"{other}?{query}").status == 403
    assert raw.get(url.replace("Expires=1", "Expires=2")).status == 403
    assert hub.stats().leaked_authorization == 0
    assert raw.get(url, token="hf_alice_secret").status == 400
    assert hub.stats().leaked_authorization == 1


def test_storage_urls_expire(own_hub: Callable[..., Hub], tokens: dict[str, Token]) -> None:
    """A URL whose time is over is refused."""
    hub = own_hub(args=["--url-ttl", "0"], config={"xorb_grants": False})
    api = HfApi(endpoint=hub.endpoint, token=tokens["alice"].secret)
    api.create_repo("alice/r")
    api.upload_file(path_or_fileobj=LARGE, path_in_repo="x.bin", repo_id="alice/r")
    answer = raw.get(head(hub, "alice/r", "x.bin")["Location"])
    assert (answer.status, answer["X-Error-Message"]) == (403, "This URL has expired")


def xet_token(
    hub: Hub, repo: str, scope: str, token: str | None = None, revision: str = "main"
) -> raw.Answer:
    """Asks for a Xet token."""
    url = f"{hub.endpoint}/api/models/{repo}/xet-{scope}-token/{revision}"
    return raw.get(url, token=token)


def test_xet_tokens_are_checked_by_the_cas(hub: Hub, repo: str, tokens: dict[str, Token]) -> None:
    """Headers and JSON name one token, which reads but doesn't write."""
    answer = xet_token(hub, repo, "read")
    assert answer["X-Xet-Cas-Url"] == answer.json()["casUrl"] == hub.cas
    assert answer["X-Xet-Access-Token"] == answer.json()["accessToken"]
    assert int(answer["X-Xet-Token-Expiration"]) == answer.json()["exp"]
    reading = answer.json()["accessToken"]
    writing = xet_token(hub, repo, "write", tokens["alice"].secret).json()["accessToken"]

    file = head(hub, repo, "d/x.bin")["X-Xet-Hash"]
    for version in ("v1", "v2"):
        url = f"{hub.cas}/{version}/reconstructions/{file}"
        assert raw.get(url).status == 401
        assert raw.get(url, token=tokens["alice"].secret).status == 401
        assert raw.get(url, token=reading).status == 200
        assert raw.get(url, token=writing).status == 200
    shard = f"{hub.cas}/v1/shards"
    assert raw.request("POST", shard, token=reading, body=b"x").status == 403
    assert raw.request("POST", shard, token=writing, body=b"x").status == 400
    assert xet_token(hub, repo, "write").status == 401
    assert xet_token(hub, repo, "write", tokens["bob"].secret).status == 403


def test_xet_tokens_are_good_for_one_repo_and_ref(
    hub: Hub, hf_api: HfApi, repo: str, tokens: dict[str, Token]
) -> None:
    """As hub-protocol.md 10 says: what another repo has, or another revision, is refused with 403.

    With the right to write, also what was uploaded to the repo can be read before a commit has it.
    """
    other, alice = f"{repo}-other", tokens["alice"].secret
    hf_api.create_repo(other)
    first = hf_api.repo_info(repo).sha
    hf_api.upload_file(path_or_fileobj=noise(150_000, repo), path_in_repo="y.bin", repo_id=repo)
    y = head(hub, repo, "y.bin")["X-Xet-Hash"]
    x = head(hub, repo, "d/x.bin")["X-Xet-Hash"]
    hf_api.delete_file("d/x.bin", repo)

    def statuses(file: str, token: str) -> set[int]:
        """Of each way to ask for a file."""
        ways = [
            raw.get(f"{hub.cas}/{version}/reconstructions/{file}", token=token)
            for version in ("v1", "v2")
        ]
        ways.append(raw.get(f"{hub.cas}/v1/reconstructions?file_id={file}", token=token))
        ways.append(raw.request("HEAD", f"{hub.cas}/v1/files/{file}", token=token))
        url = f"{hub.cas}/v2/file-chunk-hashes/{file}"
        ways.append(raw.get(url, token=token, headers={"X-Range-Dirty": "bytes=0-1"}))
        return {answer.status for answer in ways}

    def token(repo: str, scope: str = "read", revision: str = "main") -> str:
        secret: str = xet_token(hub, repo, scope, alice, revision).json()["accessToken"]
        return secret

    assert (statuses(x, token(repo)), statuses(y, token(repo))) == ({403}, {200})
    at_first = token(repo, revision=str(first))
    assert (statuses(x, at_first), statuses(y, at_first)) == ({200}, {403})
    assert statuses(y, token(other)) == statuses(y, token(other, "write")) == {403}
    assert statuses("0" * 63 + "1", token(repo)) == {404}
    addition = CommitOperationAdd("y.bin", noise(150_000, repo))
    hf_api.preupload_lfs_files(other, [addition])
    assert (statuses(y, token(other)), statuses(y, token(other, "write"))) == ({403}, {200})
    hf_api.create_commit(other, [addition], commit_message="y")
    assert statuses(y, token(other)) == {200}


def test_a_gate_holds_back_xet_tokens_too(
    hub: Hub, hf_api: HfApi, repo: str, tokens: dict[str, Token]
) -> None:
    """Whoever may not read the content gets no way to the CAS either."""
    hf_api.update_repo_settings(repo, gated="manual")
    for user, status in ((None, 401), ("carol", 403)):
        answer = xet_token(hub, repo, "read", tokens[user].secret if user else None)
        assert (answer.status, answer["X-Error-Code"]) == (status, "GatedRepo")
    assert xet_token(hub, repo, "read", tokens["alice"].secret).status == 200


def test_xet_tokens_expire(own_hub: Callable[..., Hub], tokens: dict[str, Token]) -> None:
    """The CAS refuses a token whose time is over."""
    hub = own_hub(args=["--token-ttl", "0"])
    alice = tokens["alice"].secret
    HfApi(endpoint=hub.endpoint, token=alice).create_repo("alice/r")
    token = xet_token(hub, "alice/r", "read").json()["accessToken"]
    answer = raw.get(f"{hub.cas}/v1/reconstructions/{'0' * 64}", token=token)
    assert (answer.status, answer["X-Error-Message"]) == (401, "Expired Xet token")


def test_reconstructions_point_to_storage(hub: Hub, repo: str) -> None:
    """Both versions give the same terms, whose signed ranges hold the chunks."""
    file = head(hub, repo, "d/x.bin")["X-Xet-Hash"]
    token = xet_token(hub, repo, "read").json()["accessToken"]
    v1 = raw.get(f"{hub.cas}/v1/reconstructions/{file}", token=token).json()
    v2 = raw.get(f"{hub.cas}/v2/reconstructions/{file}", token=token).json()
    assert v1["terms"] == v2["terms"]
    assert sum(term["unpacked_length"] for term in v1["terms"]) == len(LARGE)
    [xorb] = v2["xorbs"]
    [fetch] = v2["xorbs"][xorb]
    assert fetch["url"].startswith(f"{hub.storage}/xorbs/{xorb}?")
    [part] = fetch["ranges"]
    asked = f"bytes={part['bytes']['start']}-{part['bytes']['end']}"
    stored = raw.get(fetch["url"], headers={"Range": asked})
    assert stored.status == 206
    assert stored.body[8 : 8 + 100] == LARGE[:100]  # random data isn't compressed
    [old] = v1["fetch_info"][xorb]
    assert old["url_range"] == part["bytes"]

    headers = {"Range": f"bytes={len(LARGE)}-"}
    behind = raw.get(f"{hub.cas}/v2/reconstructions/{file}", token=token, headers=headers)
    unknown = raw.get(f"{hub.cas}/v2/reconstructions/{'1' * 64}", token=token)
    malformed = raw.get(f"{hub.cas}/v2/reconstructions/xyz", token=token)
    assert (behind.status, unknown.status, malformed.status) == (416, 404, 400)


def test_storage_urls_are_good_for_their_ranges_alone(hub: Hub, repo: str) -> None:
    """As a CDN's policy has it: a part of a signed range is served, what is outside is a 403."""
    content = noise(12 * 20_000)
    hub.publish(repo, "part.bin", content, [20_000])
    part = hub.publish(repo, "part.bin", content[20_000:60_000] + content[-20_000:], [20_000])
    token = xet_token(hub, repo, "read").json()["accessToken"]
    v1 = raw.get(f"{hub.cas}/v1/reconstructions/{part['xet_hash']}", token=token).json()
    v2 = raw.get(f"{hub.cas}/v2/reconstructions/{part['xet_hash']}", token=token).json()
    [old] = v1["fetch_info"].values()
    [[fetch]] = v2["xorbs"].values()
    assert [entry["url_range"] for entry in old] == [entry["bytes"] for entry in fetch["ranges"]]
    # Older clients take two answers of one URL for the same bytes.
    assert len({entry["url"] for entry in old}) == len(old) == 2

    def status(url: str, ranges: str | None) -> int:
        headers = {"Range": f"bytes={ranges}"} if ranges else {}
        return raw.get(url, headers=headers).status

    (a, b), (c, d) = [(r["bytes"]["start"], r["bytes"]["end"]) for r in fetch["ranges"]]
    for served in (f"{a}-{b}", f"{a + 1}-{b - 1}", f"{c}-{c}", f"{a}-{b},{c}-{d}"):
        assert status(fetch["url"], served) == 206
    for outside in (f"{a - 1}-{b}", f"{b}-{c}", f"{c}-{d + 1}", f"{c}-", f"{a}-{b},0-0", None):
        assert status(fetch["url"], outside) == 403
    assert status(old[0]["url"], f"{a}-{b}") == status(old[1]["url"], f"{c}-{d}") == 206
    assert status(old[0]["url"], f"{c}-{d}") == 403


def test_windows_of_chunks_are_told_with_what_lies_between(hub: Hub, repo: str) -> None:
    """Windows hold the ranges asked for and end at chunks; the gaps are subtrees of the file."""
    made = hub.publish(repo, "many.bin", noise(40 * 20_000), [20_000])
    url = f"{hub.cas}/v2/file-chunk-hashes/{made['xet_hash']}"
    token = xet_token(hub, repo, "read").json()["accessToken"]

    def ask(ranges: str) -> raw.Answer:
        return raw.get(url, token=token, headers={"X-Range-Dirty": ranges})

    answer = ask("bytes=130000-130000,500000-559999").json()
    assert (answer["totalChunks"], answer["fileSize"]) == (40, 800_000)
    # Each goes on for two chunks of ordinary length behind what was asked for.
    windows = [window["dirtyByteRange"] for window in answer["windows"]]
    assert windows == [[120_000, 180_000], [500_000, 600_000]]
    assert len(answer["hashRanges"]) == 3
    assert None not in answer["hashRanges"]
    assert answer["gapVerification"] == []  # the one term isn't wholly in a gap
    whole = ask("bytes=0-799999").json()
    assert [window["dirtyByteRange"] for window in whole["windows"]] == [[0, 800_000]]
    assert whole["hashRanges"] == [None, None]
    assert hub.stats().requests("cas", "file-chunk-hashes") == 2

    assert (ask("bytes=799999-900000").status, ask("bytes=800000-900000").status) == (200, 416)
    assert [ask(wrong).status for wrong in ("0-1", "bytes=5-4", "bytes=9-9,0-0")] == [400] * 3
    assert raw.get(url, token=token).status == 400
    assert raw.get(url, headers={"X-Range-Dirty": "bytes=0-0"}).status == 401
    unknown = f"{hub.cas}/v2/file-chunk-hashes/{'1' * 64}"
    headers = {"X-Range-Dirty": "bytes=0-0"}
    assert raw.get(unknown, token=token, headers=headers).status == 404


def test_chunk_queries_take_both_prefixes(hub: Hub, repo: str) -> None:
    """An unknown chunk is a normal 404 under both prefixes, and another prefix an error."""
    token = xet_token(hub, repo, "read").json()["accessToken"]
    prefixes = ("default", "default-merkledb", "other")
    urls = [f"{hub.cas}/v1/chunks/{prefix}/{'1' * 64}" for prefix in prefixes]
    assert [raw.get(url, token=token).status for url in urls] == [404, 404, 400]


def test_an_object_that_was_never_uploaded_is_refused(
    hub: Hub, hf_api: HfApi, repo: str, tokens: dict[str, Token]
) -> None:
    """A commit can't name content that neither the CAS nor the LFS store has."""
    lines = [
        {"key": "header", "value": {"summary": "s", "description": ""}},
        {"key": "lfsFile", "value": {"path": "y", "algo": "sha256", "oid": "0" * 64, "size": 1}},
    ]
    url = f"{hub.endpoint}/api/models/{repo}/commit/main"
    body = "".join(json.dumps(line) + "\n" for line in lines)
    before = hf_api.repo_info(repo).sha
    answer = raw.request("POST", url, token=tokens["alice"].secret, body=body)
    assert answer.status == 400
    assert hf_api.repo_info(repo).sha == before


@pytest.mark.parametrize("path", ["../x", "/x", "a//x", "a/../../x", ".git/config", "a\\x", ""])
def test_hostile_paths_are_not_committed(
    hub: Hub, repo: str, tokens: dict[str, Token], path: str
) -> None:
    """The Hub itself refuses paths that would leave a repository."""
    lines = [
        {"key": "header", "value": {"summary": "s", "description": ""}},
        {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines)
    url = f"{hub.endpoint}/api/models/{repo}/commit/main"
    assert raw.request("POST", url, token=tokens["alice"].secret, body=body).status == 400


def test_hostile_paths_can_be_planted(hub: Hub, repo: str) -> None:
    """The test API puts into listings what a hostile Hub could, and serves it."""
    hub.plant(
        repo,
        [
            {"path": "../evil", "content": "boo"},
            {"path": "/abs", "like": "d/x.bin"},
            {"path": "a/../../b", "content": "boo", "size": 7, "oid": "0" * 40},
        ],
    )
    url = f"{hub.endpoint}/api/models/{repo}/tree/main?recursive=true"
    entries = {entry["path"]: entry for entry in raw.get(url).json()}
    assert entries["../evil"]["size"] == 3
    assert entries["/abs"]["xetHash"] == entries["d/x.bin"]["xetHash"]
    assert (entries["a/../../b"]["size"], entries["a/../../b"]["oid"]) == (7, "0" * 40)
    siblings = raw.get(f"{hub.endpoint}/api/models/{repo}").json()["siblings"]
    assert "../evil" in [sibling["rfilename"] for sibling in siblings]
    served = head(hub, repo, "%2E%2E/evil")
    assert raw.get(hub.endpoint + served["Location"]).body == b"boo"


def test_every_answer_has_a_request_id_and_errors_a_code(hub: Hub, repo: str) -> None:
    """Errors are classified in headers, so that HEAD can be understood too."""
    good = head(hub, repo, "d/x.bin")
    missing = head(hub, repo, "missing")
    assert good["X-Request-Id"] != missing["X-Request-Id"]
    assert (missing.status, missing["X-Error-Code"]) == (404, "EntryNotFound")
    assert missing["X-Error-Message"] == "Entry not found"
    body = raw.get(f"{hub.endpoint}/{repo}/resolve/nowhere/x").json()
    assert body == {"error": "Invalid rev id: nowhere"}


def test_links_keep_the_host_that_the_client_used(hub: Hub, repo: str) -> None:
    """A client that says localhost gets links to localhost, on every origin."""
    port = urlsplit(hub.endpoint).port
    url = f"http://localhost:{port}/{repo}/resolve/main/d/x.bin"
    answer = raw.request("HEAD", url)
    assert answer["Location"].startswith("http://localhost:")
    assert f"<http://localhost:{port}/api/" in answer["Link"]
