"""What the real Hub does, as captured in 2026: hub-protocol.md 10, "Gated repos" and "Answers"."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, RepoFile
from huggingface_hub.errors import HfHubHTTPError

import raw
from published import noise
from xet_ffi import Client, GatedRepoError, RepoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub, Token

LARGE = noise(200_000, "real ways")


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repository with a Xet file, x.bin, and a plain one, x.txt."""
    hf_api.create_repo(repo_id)
    files = {"x.bin": LARGE, "x.txt": b"hello"}
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    hf_api.create_commit(repo_id, operations, commit_message="files")
    return repo_id


def test_a_gate_hides_the_hashes_of_files(
    hub: Hub, hf_api: HfApi, repo: str, tokens: dict[str, Token], cache_dir: Path
) -> None:
    """Listings answer 200 to anybody, with 64 stars for each Xet hash, until there is access."""
    hf_api.update_repo_settings(repo, gated="manual")
    carol = HfApi(endpoint=hub.endpoint, token=tokens["carol"].secret)

    def hashes(api: HfApi) -> set[str | None]:
        found = [*api.list_repo_tree(repo), *api.get_paths_info(repo, ["x.bin"])]
        return {entry.xet_hash for entry in found if isinstance(entry, RepoFile) and entry.lfs}

    assert hashes(carol) == hashes(HfApi(endpoint=hub.endpoint, token=False)) == {"*" * 64}
    secret = tokens["carol"].secret
    with Client(hub.endpoint, secret, cache_dir) as client:
        assert {file.path for file in client.list_files(repo)} >= {"x.bin", "x.txt"}
        with pytest.raises(GatedRepoError):
            client.download_file(repo, "x.bin")
        hub.set_access(repo, ["carol"])
        assert hashes(carol) == hashes(hf_api) != {"*" * 64}
        assert Path(client.download_file(repo, "x.bin")).read_bytes() == LARGE


def test_a_missing_repo_is_a_401_without_a_code(
    own_hub: Callable[..., Hub], tokens: dict[str, Token], cache_dir: Path
) -> None:
    """Anonymous callers are asked to sign in; whoever has is told that there is none."""
    hub = own_hub(config={"coded_401": False})
    url = f"{hub.endpoint}/api/models/alice/none"
    answer = raw.get(url)
    assert answer.status == 401
    assert "X-Error-Code" not in answer.headers
    challenge = 'Bearer realm="Authentication required", charset="UTF-8"'
    assert answer["WWW-Authenticate"] == challenge
    signed_in = raw.get(url, token=tokens["alice"].secret)
    assert (signed_in.status, signed_in["X-Error-Code"]) == (404, "RepoNotFound")
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        with pytest.raises(RepoNotFoundError):
            client.list_files("alice/none")
        with pytest.raises(RepoNotFoundError):
            client.download_file("alice/none", "x.bin")


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_plain_file_is_a_redirect_that_says_what_is_behind_it(
    hub: Hub, repo: str, method: str
) -> None:
    """Its etag belongs to the file; the 200 behind it has one of its own, a 302 to storage none."""
    url = f"{hub.endpoint}/{repo}/resolve/main"
    first = raw.request(method, f"{url}/x.txt")
    assert (first.status, first["Accept-Ranges"]) == (307, "bytes")
    assert "ETag" not in first.headers
    assert first["Content-Type"].startswith("text/plain")
    assert int(first["Content-Length"]) > len(b"hello")
    second = raw.request(method, hub.endpoint + first["Location"])
    assert (second.status, second["ETag"]) == (200, first["X-Linked-Etag"])
    assert "ETag" not in raw.request(method, f"{url}/x.bin").headers


def test_a_missing_file_is_a_text(hub: Hub, repo: str) -> None:
    """Resolve's error is plain text, that of a listing JSON; both have the code."""
    missing = raw.get(f"{hub.endpoint}/{repo}/resolve/main/none")
    assert (missing.status, missing["X-Error-Code"]) == (404, "EntryNotFound")
    assert missing["Content-Type"].startswith("text/plain")
    assert missing.body == b"Entry not found"
    listing = raw.get(f"{hub.endpoint}/api/models/{repo}/tree/main/none")
    assert (listing.status, listing["X-Error-Code"]) == (404, "EntryNotFound")
    assert listing.json() == {"error": "Entry not found"}


def test_a_repo_is_found_in_another_case(
    hub: Hub, hf_api: HfApi, repo: str, cache_dir: Path
) -> None:
    """The API and resolve answer with a relative 307 to its own name, of which there is one."""
    other = repo.replace("alice", "Alice").upper()
    for path in (f"/api/models/{other}", f"/{other}/resolve/main/x.txt"):
        answer = raw.get(hub.endpoint + path)
        assert (answer.status, answer["Location"]) == (307, path.replace(other, repo))
    assert hf_api.repo_info(other).id == repo
    with pytest.raises(HfHubHTTPError, match="409"):
        hf_api.create_repo(repo.replace("alice/r", "alice/R"))
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        assert Path(client.download_file(other, "x.bin")).read_bytes() == LARGE
        assert {file.path for file in client.list_files(other)} >= {"x.bin", "x.txt"}


def pages(hub: Hub, path: str) -> list[raw.Answer]:
    """An answer, and those that its links lead to."""
    answers = [raw.get(hub.endpoint + path)]
    while "Link" in answers[-1].headers:
        found = re.fullmatch(r'<(.+)>; rel="next"', answers[-1]["Link"])
        assert found is not None
        answers.append(raw.get(found[1]))
    return answers


def test_pages_of_a_tree_have_opaque_cursors(hub: Hub, repo: str) -> None:
    """Links say a limit and a cursor in base64; no other one is understood."""
    url = f"/api/models/{repo}/tree/main"
    found = pages(hub, f"{url}?recursive=true&limit=2")
    names = [entry["path"] for page in found for entry in page.json()]
    assert (len(found), names) == (2, [".gitattributes", "x.bin", "x.txt"])
    query = parse_qs(urlsplit(found[0]["Link"].strip("<").partition(">")[0]).query)
    assert (query["limit"], query["recursive"]) == (["2"], ["true"])
    assert base64.b64decode(query["cursor"][0], validate=True)
    for wrong in ("2", "x", "MTAw"):
        assert raw.get(f"{hub.endpoint}{url}?cursor={wrong}").status == 400


def test_pages_of_commits_are_numbered(hub: Hub, hf_api: HfApi, repo: str) -> None:
    """By p, from 0; each says how many commits there are."""
    for n in range(3):
        operation = CommitOperationAdd("x.txt", f"{n}".encode())
        hf_api.create_commit(repo, [operation], commit_message=f"{n}")
    found = pages(hub, f"/api/models/{repo}/commits/main?limit=2")
    commits = [commit["id"] for page in found for commit in page.json()]
    assert commits == [commit.commit_id for commit in hf_api.list_repo_commits(repo)]
    assert [len(page.json()) for page in found] == [2, 2, 1]
    assert {page["X-Total-Count"] for page in found} == {"5"}
    assert "limit=2&p=1>" in found[0]["Link"]


def test_requests_have_the_limits_of_the_real_hub(
    hub: Hub, hf_api: HfApi, repo: str, tokens: dict[str, Token]
) -> None:
    """1,000 files to a preupload, 2,000 paths to a paths-info, 1,000 characters to a path."""
    url = f"{hub.endpoint}/api/models/{repo}"

    def post(call: str, body: object) -> raw.Answer:
        body, secret = json.dumps(body), tokens["alice"].secret
        return raw.request("POST", f"{url}/{call}/main", token=secret, body=body)

    def preupload(count: int) -> int:
        files = [{"path": f"{n}", "size": 1, "sample": "eA=="} for n in range(count)]
        return post("preupload", {"files": files}).status

    def paths_info(count: int) -> int:
        return post("paths-info", {"paths": ["x.txt"] * count}).status

    assert (preupload(1000), preupload(1001)) == (200, 400)
    assert (paths_info(2000), paths_info(2001)) == (200, 413)
    longest = "/".join(["ü" * 99] * 10)
    hf_api.create_commit(repo, [CommitOperationAdd(longest + "x", b"x")], commit_message="long")
    with pytest.raises(HfHubHTTPError, match="Invalid path"):
        hf_api.create_commit(repo, [CommitOperationAdd(longest + "xy", b"x")], commit_message="l")


def test_the_cas_answers_batches_and_heads(hub: Hub, repo: str, tokens: dict[str, Token]) -> None:
    """Several files by POST; whether a xorb is there, and how long a file is, by HEAD."""
    url = f"{hub.endpoint}/api/models/{repo}/xet-read-token/main"
    token: str = raw.get(url, token=tokens["alice"].secret).json()["accessToken"]
    made = hub.describe(repo, "x.bin")
    file, xorb = made["xet_hash"], made["terms"][0]["xorb"]

    def ask(method: str, path: str, **options: Any) -> raw.Answer:
        return raw.request(method, f"{hub.cas}/v1/{path}", **{"token": token} | options)

    headers = {"Content-Type": "application/json"}
    body = json.dumps([{"prefix": "default", "hash": file}])
    posted = ask("POST", "reconstructions", headers=headers, body=body).json()
    got = ask("GET", f"reconstructions?file_id={file}").json()
    assert [*posted["files"]] == [file]
    assert posted["files"] == got["files"]
    assert [*posted["fetch_info"]] == [*got["fetch_info"]] == [xorb]
    assert ask("HEAD", f"xorbs/default/{xorb}").status == 200
    assert ask("HEAD", f"xorbs/default/{file}").status == 404
    length = ask("HEAD", f"files/{file}")
    assert (length.status, length["Content-Length"], length.body) == (200, str(len(LARGE)), b"")
    assert ask("HEAD", f"files/{xorb}").status == 404
    for method, path in (("HEAD", f"xorbs/default/{xorb}"), ("HEAD", f"files/{file}")):
        assert ask(method, path, token=None).status == 401
