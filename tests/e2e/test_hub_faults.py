"""Faults that tests ask for happen as asked, as often as asked, and nowhere else."""

from __future__ import annotations

import gzip
import http.client
import os
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi, hf_hub_download

import raw
from hub import Hub, HubError

TEXT = b"0123456789" * 10_000


@pytest.fixture
def url(hub: Hub, hf_api: HfApi, repo_id: str) -> str:
    """Where storage serves TEXT, as the LFS-like large file t.bin of a new repository."""
    hf_api.create_repo(repo_id)
    hf_api.upload_file(path_or_fileobj=TEXT, path_in_repo="t.bin", repo_id=repo_id)
    answer = raw.request("HEAD", f"{hub.endpoint}/{repo_id}/resolve/main/t.bin")
    hub.reset_stats()
    return answer["Location"]


def test_a_status_comes_as_often_as_asked(hub: Hub, url: str) -> None:
    """After `skip` requests the fault fires `times` times, with its headers and body."""
    hub.fault("storage", skip=1, times=2, status=429, headers={"Retry-After": "7"}, body="slow")
    answers = [raw.get(url) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 429, 429, 200]
    assert (answers[1]["Retry-After"], answers[1].body) == ("7", b"slow")
    [rule] = hub.faults()
    assert (rule["seen"], rule["fired"]) == (4, 2)
    hub.clear_faults()
    assert hub.faults() == []


def test_a_fault_hits_only_what_it_names(hub: Hub, url: str, repo_id: str) -> None:
    """Method and path narrow a rule, and other routes don't notice it."""
    hub.fault("resolve", method="HEAD", path_regex=r"t\.bin$", status=500)
    resolve = f"{hub.endpoint}/{repo_id}/resolve/main/t.bin"
    statuses = [
        raw.request("HEAD", resolve).status,
        raw.get(resolve).status,
        raw.request("HEAD", resolve.replace("t.bin", ".gitattributes")).status,
        raw.get(url).status,
    ]
    assert statuses == [500, 302, 307, 200]


def test_a_cut_is_a_connection_reset(hub: Hub, url: str) -> None:
    """The peer is gone in the middle of the body, as after a crash."""
    hub.fault("storage", cut_after_bytes=1000)
    with pytest.raises(ConnectionResetError):
        raw.get(url)


def test_a_close_ends_the_body_early(hub: Hub, url: str) -> None:
    """The connection ends in order, but before the announced length."""
    hub.fault("storage", close_after_bytes=1000)
    with pytest.raises(http.client.IncompleteRead) as error:
        raw.get(url)
    assert error.value.partial == TEXT[:1000]


def test_a_truncated_answer_looks_whole(hub: Hub, url: str) -> None:
    """The framing says that nothing is missing: only the client's own check can tell."""
    hub.fault("storage", truncate=1000)
    answer = raw.get(url)
    assert (answer.status, answer.body) == (200, TEXT[:1000])


def test_a_corrupt_answer_has_the_right_length(hub: Hub, url: str) -> None:
    """Exactly one byte is another one."""
    hub.fault("storage", corrupt_byte=4321)
    body = raw.get(url).body
    assert len(body) == len(TEXT)
    assert [n for n in range(len(TEXT)) if body[n] != TEXT[n]] == [4321]


def test_a_stall_is_silence_in_the_middle(hub: Hub, url: str) -> None:
    """Some bytes come, and then none for longer than the client waits."""
    hub.fault("storage", stall_after_bytes=1000)
    with pytest.raises(TimeoutError):
        raw.get(url, timeout=0.5)
    hub.clear_faults()
    hub.fault("storage", stall_after_bytes=1000, secs=0.3)
    begun = time.monotonic()
    assert raw.get(url).body == TEXT
    assert time.monotonic() - begun >= 0.3


def test_an_answer_can_come_late_or_slowly(hub: Hub, url: str) -> None:
    """A stall before the answer and a drip both take the time that they were given."""
    hub.fault("storage", times=1, stall_before=0.3, status=503)
    begun = time.monotonic()
    assert raw.get(url).status == 503
    assert time.monotonic() - begun >= 0.3
    hub.fault("storage", drip=200_000)
    begun = time.monotonic()
    assert raw.get(url).body == TEXT
    assert time.monotonic() - begun >= 0.45


def test_a_redirect_loop_and_garbage(hub: Hub, url: str, repo_id: str) -> None:
    """A server can send a client in circles, or talk nonsense."""
    tree = f"{hub.endpoint}/api/models/{repo_id}/tree/main?recursive=true"
    hub.fault("tree", times=1, redirect_loop=True)
    answer = raw.get(tree)
    assert (answer.status, hub.endpoint + answer["Location"]) == (307, tree)
    hub.fault("tree", times=1, garbage_json=True)
    with pytest.raises(ValueError, match="Expecting"):
        raw.get(tree).json()
    assert raw.get(tree).status == 200
    assert raw.get(url).status == 200


def test_huge_json_is_sound_and_long(hub: Hub, repo_id: str, url: str) -> None:
    """An answer can go on for long without saying anything, and without saying how long."""
    assert url
    hub.fault("tree", times=1, huge_json=1_000_000)
    answer = raw.get(f"{hub.endpoint}/api/models/{repo_id}/tree/main")
    assert len(answer.body) > 1_000_000
    assert set(answer.json()) == {0}
    assert answer.headers["Content-Length"] is None


def test_wrong_content_has_the_right_length(hub: Hub, url: str) -> None:
    """Other bytes, and bytes of another place, look like the right ones until they are hashed."""
    part = {"Range": "bytes=1003-1999"}
    for fault, expected in (
        ({"invert": True}, bytes(0xFF - byte for byte in TEXT[1003:2000])),
        ({"rotate": 5}, TEXT[1008:2000] + TEXT[1003:1008]),
    ):
        hub.fault("storage", times=1, **fault)
        answer = raw.get(url, headers=part)
        assert (answer.status, answer["Content-Range"]) == (206, f"bytes 1003-1999/{len(TEXT)}")
        assert answer.body == expected


def test_a_range_can_be_ignored(hub: Hub, url: str) -> None:
    """A proxy that knows no ranges sends all of it, as 200."""
    hub.fault("storage", times=1, ignore_range=True)
    answer = raw.get(url, headers={"Range": "bytes=5-9"})
    assert (answer.status, answer.body) == (200, TEXT)


def test_codings_come_unasked_or_are_only_claimed(hub: Hub, url: str) -> None:
    """A body can be compressed for a client that doesn't take that, and not be what it claims."""
    hub.fault("storage", times=1, gzip=True)
    answer = raw.get(url)
    assert (answer["Content-Encoding"], gzip.decompress(answer.body)) == ("gzip", TEXT)
    hub.fault("storage", times=1, headers={"Content-Encoding": "br"})
    answer = raw.get(url)
    assert (answer["Content-Encoding"], answer.body) == ("br", TEXT)


def test_a_reconstruction_can_lie(hub: Hub, url: str, repo_id: str) -> None:
    """One number of a sound answer is another one; where a lie can't be told, that is seen."""
    assert url
    head = raw.request("HEAD", f"{hub.endpoint}/{repo_id}/resolve/main/t.bin")
    token = raw.get(f"{hub.endpoint}/api/models/{repo_id}/xet-read-token/main").json()
    where = f"{hub.cas}/v2/reconstructions/{head['X-Xet-Hash']}"
    truth = raw.get(where, token=token["accessToken"]).json()
    hub.fault("reconstruction", times=1, lie="longer")
    lie = raw.get(where, token=token["accessToken"]).json()
    assert lie["terms"][0]["unpacked_length"] == truth["terms"][0]["unpacked_length"] + 1
    hub.fault("reconstruction", times=1, lie="swap_terms")
    assert raw.get(where, token=token["accessToken"]).status == 599
    with pytest.raises(HubError, match="unknown variant"):
        hub.fault("reconstruction", lie="white")


def test_clients_can_be_sent_elsewhere(hub: Hub, url: str, repo_id: str) -> None:
    """The URLs that the hub gives out are those that a test announces, for as long as it does."""
    assert url
    resolve = f"{hub.endpoint}/{repo_id}/resolve/main/t.bin"
    hub.announce(cas="http://cas.test", storage="http://storage.test:81")
    answer = raw.request("HEAD", resolve)
    assert answer["Location"].startswith("http://storage.test:81/files/")
    assert "<http://cas.test/v1/reconstructions/" in answer["Link"]
    assert f"<{hub.endpoint}/api/" in answer["Link"]
    hub.announce()
    assert raw.request("HEAD", resolve)["Location"].startswith(hub.storage)


def test_a_commit_can_succeed_and_its_answer_be_lost(
    hub: Hub, url: str, hf_api: HfApi, repo_id: str
) -> None:
    """The client sees a failure although the commit was made."""
    assert url
    hub.fault("commit", cut_after_bytes=0)
    with pytest.raises(Exception, match=r"reset|disconnected|closed"):
        hf_api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo_id)
    assert hf_api.file_exists(repo_id, "x.txt")


def test_rules_that_make_no_sense_are_refused(hub: Hub) -> None:
    """A typing mistake in a test must not make it pass."""
    with pytest.raises(HubError, match="unknown variant"):
        hub.fault("tre", status=500)
    with pytest.raises(HubError, match="unknown field"):
        hub.fault("tree", stauts=500)
    with pytest.raises(HubError, match="does nothing"):
        hub.fault("tree")


def test_the_official_client_retries_a_busy_hub(
    hub: Hub, url: str, hf_api: HfApi, repo_id: str
) -> None:
    """It asks again after a 503, as it does with the real Hub."""
    assert url
    hub.fault("tree", times=1, status=503)
    assert [entry.path for entry in hf_api.list_repo_tree(repo_id)] == [".gitattributes", "t.bin"]
    assert hub.stats().requests("hub", "tree") == 2


def test_the_official_client_believes_a_corrupt_xorb(
    hub: Hub, hf_api: HfApi, repo_id: str, cache_dir: Path, tmp_path: Path
) -> None:
    """A byte that went bad in storage reaches the file: hf_xet doesn't check what it gets.

    Recorded because it is what libxet does differently. If this fails, hf_xet has learnt to check.
    """
    data = os.urandom(500_000)
    hf_api.create_repo(repo_id)
    hf_api.upload_file(path_or_fileobj=data, path_in_repo="x.bin", repo_id=repo_id)

    def download(cache: Path) -> bytes:
        path = hf_hub_download(
            repo_id, "x.bin", endpoint=hub.endpoint, cache_dir=cache, token=False
        )
        return Path(path).read_bytes()

    done = hub.corrupt(repo_id, "x.bin", offset=123_456)
    assert len(done["xorb"]) == 64
    wrong = download(cache_dir)
    assert [n for n in range(len(data)) if wrong[n] != data[n]] == [123_456]
    hub.corrupt(repo_id, "x.bin", offset=123_456)
    assert download(tmp_path / "other cache") == data


def test_plain_and_lfs_content_can_be_corrupted_too(hub: Hub, hf_api: HfApi, repo_id: str) -> None:
    """The byte of a plain file changes in place; a place outside of it is refused."""
    hf_api.create_repo(repo_id)
    hf_api.upload_file(path_or_fileobj=b"hello", path_in_repo="x.txt", repo_id=repo_id)
    hub.corrupt(repo_id, "x.txt", offset=1)
    cached = raw.get(f"{hub.endpoint}/{repo_id}/resolve/main/x.txt")["Location"]
    assert raw.get(hub.endpoint + cached).body == b"h" + bytes([0xFF - ord("e")]) + b"llo"
    with pytest.raises(HubError, match="has 5 bytes"):
        hub.corrupt(repo_id, "x.txt", offset=5)


def test_requests_can_be_awaited(hub: Hub, url: str) -> None:
    """A test can wait for a request to arrive instead of sleeping."""
    hub.fault("storage", stall_before=0.2, times=1)
    getter = threading.Thread(target=raw.get, args=(url,))
    getter.start()
    hub.wait_for(lambda stats: stats.requests("storage") == 1, "the request")
    assert getter.is_alive()
    getter.join()


def test_latency_comes_before_every_answer_and_beside_faults(
    hub: Hub, url: str, repo_id: str
) -> None:
    """Each request waits that long, made-up answers too, and only at the origins that are named."""
    resolve = f"{hub.endpoint}/{repo_id}/resolve/main/t.bin"
    hub.delay(0.2)
    hub.fault("resolve", times=1, status=503)
    for address, status in ((resolve, 503), (resolve, 302), (url, 200), (hub.cas, 404)):
        begun = time.monotonic()
        assert raw.get(address).status == status
        assert time.monotonic() - begun >= 0.2
    hub.delay(30, "cas")
    assert raw.get(url, timeout=10).body == TEXT
    with pytest.raises(TimeoutError):
        raw.get(hub.cas, timeout=0.3)
    hub.delay()
    assert raw.get(hub.cas, timeout=10).status == 404
    with pytest.raises(HubError, match="between 0 and 60"):
        hub.delay(-1)


def test_requests_in_flight_are_counted_until_their_last_byte(hub: Hub, url: str) -> None:
    """Those that wait for an answer, those whose body is stuck, and the most at once."""
    hub.fault("storage", times=2, stall_before=1000)
    hub.fault("storage", times=1, stall_after_bytes=1000)
    address = urlsplit(url)
    connections = [http.client.HTTPConnection(str(address.netloc), timeout=20) for _ in range(3)]
    for count, connection in enumerate(connections, 1):
        connection.request("GET", f"{address.path}?{address.query}")
        hub.wait_for(lambda stats, count=count: stats.in_flight("storage") == count, "a request")
    assert raw.get(url).body == TEXT
    for connection in connections:
        connection.close()
    hub.wait_for(lambda stats: stats.in_flight("storage") == 0, "the end of all")
    assert hub.stats().peak("storage") == 4
    assert (hub.stats().peak("hub"), hub.stats().peak("cas")) == (0, 0)
    hub.reset_stats()
    assert hub.stats().peak("storage") == 0


def test_storage_counts_apart_what_it_serves(
    hub: Hub, url: str, repo_id: str, tmp_path: Path
) -> None:
    """Plain bytes aren't mixed up with xorbs, which are what the official client fetches."""
    assert raw.get(url).body == TEXT
    assert (hub.stats().fetched("files"), hub.stats().fetched_bytes("files")) == (1, len(TEXT))
    hf_hub_download(repo_id, "t.bin", endpoint=hub.endpoint, token=False, cache_dir=tmp_path)
    stats = hub.stats()
    assert (stats.fetched("files"), stats.fetched("xorbs"), stats.fetched("lfs")) == (1, 1, 0)
    assert stats.fetched_bytes("xorbs") + len(TEXT) == stats.bytes_sent("storage")


def test_plain_bytes_can_be_announced_elsewhere(hub: Hub, url: str, repo_id: str) -> None:
    """Resolve then redirects to where nobody is; xorbs stay where they are."""
    hub.announce(bridge="http://cdn.invalid")
    location = raw.get(f"{hub.endpoint}/{repo_id}/resolve/main/t.bin")["Location"]
    assert location.startswith(f"http://cdn.invalid{urlsplit(url).path}?")
    token = raw.get(f"{hub.endpoint}/api/models/{repo_id}/xet-read-token/main").json()
    file = hub.describe(repo_id, "t.bin")["xet_hash"]
    answer = raw.get(f"{hub.cas}/v2/reconstructions/{file}", token=token["accessToken"]).json()
    assert all(
        fetch["url"].startswith(hub.storage) for xorb in answer["xorbs"].values() for fetch in xorb
    )
    hub.announce()
    location = raw.get(f"{hub.endpoint}/{repo_id}/resolve/main/t.bin")["Location"]
    assert location.startswith(hub.storage)


def test_a_xorb_can_be_cut_once_in_its_middle(hub: Hub, empty_repo: str) -> None:
    """The file's description names the xorb; the next request for it is answered in full."""
    made = hub.publish(empty_repo, "zeros.bin", bytes(1 << 20), "before-2025-09")
    [xorb] = {term["xorb"] for term in made["terms"]}
    hub.fault("storage", path_regex=f"^/xorbs/{xorb}$", times=1, cut_after_bytes=100)
    token = raw.get(f"{hub.endpoint}/api/models/{empty_repo}/xet-read-token/main").json()
    address = f"{hub.cas}/v2/reconstructions/{made['xet_hash']}"
    [fetch] = raw.get(address, token=token["accessToken"]).json()["xorbs"][xorb]
    [part] = fetch["ranges"]
    asked = {"Range": f"bytes={part['bytes']['start']}-{part['bytes']['end']}"}
    with pytest.raises(ConnectionResetError):
        raw.get(fetch["url"], headers=asked)
    assert raw.get(fetch["url"], headers=asked).status == 206
    assert [rule["fired"] for rule in hub.faults()] == [1]
