"""What one node has fetched, others take from a cache that they share.

Whatever becomes of that, files are right.

A node is a client with a cache of its own. Bytes are counted where they come from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from published import MIB, commit, noise, publish
from redis_server import RedisServer
from xet_ffi import Client, InvalidConfigError, RepoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from huggingface_hub import HfApi

    from hub import Hub, Token
    from xet_ffi import Progress, Transfer

SIZE = 24 * MIB
#: Bytes in a second: what is fetched slower than it's shared is shared whole.
SPEED = 48 * MIB
NAME = "weights.bin"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """An empty Redis."""
    with RedisServer.start(tmp_path) as redis:
        yield redis


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str, weights: bytes) -> str:
    """A model of one file."""
    publish(hf_api, repo_id, {NAME: weights})
    return repo_id


@pytest.fixture
def node(
    hub: Hub, repo: str, weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Transfer]:
    """A new node downloads the file, which is right; with what it says of that."""
    count = 0

    def download(shared: str, progress: Any = None, **options: Any) -> Transfer:
        nonlocal count
        count += 1
        home = tmp_path / f"node{count}"
        monkeypatch.setenv("HF_XET_CACHE", str(home / "xet"))
        hub.reset_stats()
        options = {"max_bytes_per_second": SPEED, "token": False, **options}
        with Client(hub.endpoint, cache_dir=home / "hub", shared_cache=shared, **options) as client:
            done = client.download_file(repo, NAME, progress=progress)
            assert Path(done.path).read_bytes() == weights
        assert done.bytes_network == hub.stats().bytes_sent("storage")
        return done

    return download


@pytest.fixture(params=["redis", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where nodes share."""
    if request.param == "folder":
        (tmp_path / "shared").mkdir()
        return (tmp_path / "shared").as_uri()
    redis: RedisServer = request.getfixturevalue("redis")
    return redis.url


def test_what_one_node_has_fetched_others_take_from_it(
    node: Callable[..., Transfer], place: str
) -> None:
    """All of it, as the report says; who has another secret finds nothing."""
    alone, first, second = (node(shared) for shared in ("none", place, place))
    assert (alone.bytes_shared, first.bytes_shared, second.bytes_network) == (0, 0, 0)
    assert first.bytes_network == second.bytes_shared == alone.bytes_network
    ways = [done.file_transfers[0].way for done in (alone, first, second)]
    assert ways == ["xet", "xet", "shared"]
    assert second.file_transfers[0].bytes_shared == second.bytes_shared
    other = node(place, shared_cache_secret="another")
    assert other.bytes_shared == 0
    assert node(place, shared_cache_secret="another").bytes_network == 0
    assert {done.tier_errors for done in (alone, first, second, other)} == {0}


def test_the_environment_says_where(
    node: Callable[..., Transfer], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all languages alike; what a client is given comes first."""
    monkeypatch.setenv("XET_FFI_SHARED_CACHE", redis.url)
    monkeypatch.setenv("XET_FFI_SHARED_CACHE_SECRET", "of all nodes")
    monkeypatch.setenv("XET_FFI_SHARED_CACHE_SECONDS", "1000")
    assert node(None).bytes_shared == 0
    keys = redis.names()
    assert keys
    assert all(0 < redis.ask("TTL", key) <= 1000 for key in keys)
    assert node(None).bytes_network == 0
    assert node("none").bytes_shared == 0


def test_what_is_stored_tells_nothing(
    node: Callable[..., Transfer], hub: Hub, redis: RedisServer, repo: str, weights: bytes
) -> None:
    """Neither names nor values of the store have hashes, or content."""
    node(redis.url)
    terms = hub.describe(repo, NAME)["terms"]
    for key in redis.names():
        assert not any(term["xorb"].encode() in key for term in terms)
        value = redis.get(key)
        samples = [weights[at : at + 32] for at in range(0, SIZE, 64 << 10)]
        assert not any(sample in value for sample in samples)


def flipped(value: bytes, at: int) -> bytes:
    """With one bit changed."""
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


SPOILED: dict[str, Callable[[bytes, int], bytes]] = {
    "flipped head": lambda value, _: flipped(value, 10),
    "flipped": lambda value, number: flipped(value, 100 + number * 7919 % (len(value) - 200)),
    "flipped end": lambda value, _: flipped(value, len(value) - 1),
    "cut": lambda value, number: value[: len(value) // (number + 2)],
    "empty": lambda _value, _number: b"",
    "longer": lambda value, _: value + b"more",
    "foreign": lambda _value, _number: b"what another program keeps under such a name",
    "of another version": lambda value, _: value[:4] + b"\x02" + value[5:],
}


@pytest.mark.parametrize("how", SPOILED)
def test_spoiled_pieces_cost_bytes_and_go(
    node: Callable[..., Transfer], redis: RedisServer, how: str
) -> None:
    """The file is right, each is counted, and what replaces it is good."""
    first = node(redis.url)
    keys = redis.names()
    for number, key in enumerate(keys):
        redis.ask("SET", key, SPOILED[how](redis.get(key), number))
    second = node(redis.url)
    assert (second.bytes_network, second.bytes_shared) == (first.bytes_network, 0)
    assert second.tier_errors == len(keys)
    third = node(redis.url)
    assert (third.bytes_network, third.tier_errors) == (0, 0)


def test_pieces_under_each_others_names_are_damaged(
    node: Callable[..., Transfer], redis: RedisServer
) -> None:
    """A good piece of another place is none."""
    node(redis.url)
    keys = redis.names()
    values = [redis.get(key) for key in keys]
    for key, value in zip(keys, values[1:] + values[:1], strict=True):
        redis.ask("SET", key, value)
    second = node(redis.url)
    assert (second.bytes_shared, second.tier_errors) == (0, len(keys))


def test_some_that_are_missing_come_from_storage(
    node: Callable[..., Transfer], redis: RedisServer
) -> None:
    """Each byte comes once, from there or from here."""
    first = node(redis.url)
    for key in redis.names()[::2]:
        redis.ask("DEL", key)
    second = node(redis.url)
    assert second.bytes_network + second.bytes_shared == first.bytes_network
    assert 0 < second.bytes_network < first.bytes_network
    assert node(redis.url).bytes_network == 0


def derive(secret: bytes, purpose: bytes, xorb: bytes, *parts: bytes) -> bytes:
    """As the library derives names and keys."""
    mac = HMAC(secret, SHA256())
    for part in (b"xet-ffi/v1/", purpose, b"\0", xorb, *parts):
        mac.update(part)
    return mac.finalize()


def forged(value: bytes, key: bytes, xorb: bytes, change: Callable[[bytearray], None]) -> bytes:
    """A piece that was sealed as it should be by somebody who lies."""
    start, end = (struct.pack("<I", int(n)) for n in key.rsplit(b":", 1)[1].split(b"-"))
    head, seal = value[:24], AESGCM(derive(b"", b"seal", xorb, start, end, value[8:24]))
    body = bytearray(seal.decrypt(bytes(12), value[24:], head))
    change(body)
    return head + seal.encrypt(bytes(12), bytes(body), head)


def garble(body: bytearray) -> None:
    """Other content, of the same lengths."""
    body[-1] ^= 1


def move(body: bytearray) -> None:
    """From elsewhere in the xorb."""
    struct.pack_into("<Q", body, 8, struct.unpack_from("<Q", body, 8)[0] + 8)


def far(body: bytearray) -> None:
    """From behind the end of the xorb."""
    struct.pack_into("<Q", body, 8, 1 << 62)


@pytest.mark.parametrize("lie", [garble, move, far])
def test_who_knows_the_secret_and_lies_harms_nobody(
    node: Callable[..., Transfer],
    hub: Hub,
    redis: RedisServer,
    repo: str,
    lie: Callable[[bytearray], None],
) -> None:
    """Each chunk that comes from others is as little believed as one of storage."""
    node(redis.url)
    xorbs = {
        derive(b"", b"name", native(term["xorb"])).hex(): native(term["xorb"])
        for term in hub.describe(repo, NAME)["terms"]
    }
    for key in redis.names():
        xorb = xorbs[key.split(b":")[2].decode()]
        redis.ask("SET", key, forged(redis.get(key), key, xorb, lie))
    done = node(redis.url)
    assert done.fallbacks == 0
    assert (done.bytes_shared > 0) == (lie is not far)
    assert (done.tier_errors > 0) == (lie is not garble)


def native(hexadecimal: str) -> bytes:
    """The bytes of a hash that is written as Xet's are: four little-endian words."""
    words = [int(hexadecimal[at : at + 16], 16) for at in range(0, 64, 16)]
    return struct.pack("<4Q", *words)


class AtTheMiddle:
    """Does something once, when half of the file is there."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self.is_done = False

    def __call__(self, progress: Progress) -> None:
        """Looks at the progress."""
        if not self.is_done and progress.bytes_completed > SIZE // 2:
            self.is_done = True
            self._act()


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("how", ["killed", "frozen", "wiped", "full", "read-only"])
def test_a_cache_that_fails_in_mid_run_is_done_without(
    node: Callable[..., Transfer], redis: RedisServer, how: str, *, filled: bool
) -> None:
    """The file comes all the same, over Xet."""
    if filled:
        node(redis.url)
        for name in redis.names()[1::2]:
            redis.ask("DEL", name)
    acts: dict[str, Callable[[], object]] = {
        "killed": redis.kill,
        "frozen": redis.freeze,
        "wiped": lambda: redis.ask("FLUSHALL"),
        "full": lambda: redis.ask("CONFIG", "SET", "maxmemory", 1),
        "read-only": lambda: redis.ask("CONFIG", "SET", "min-replicas-to-write", 1),
    }
    middle = AtTheMiddle(acts[how])
    done = node(redis.url, middle, max_bytes_per_second=SPEED // 4)
    assert middle.is_done
    assert done.file_transfers[0].way in {"xet", "shared"}
    assert done.fallbacks == done.retries == 0


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_dead_cache_is_told_once(
    hub: Hub,
    hf_api: HfApi,
    repo_id: str,
    redis: RedisServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    """And asked seldom: a hundred files don't wait for it a hundred times."""
    publish(hf_api, repo_id, {f"{n}.bin": noise(MIB, f"{repo_id}/{n}") for n in range(40)})
    redis.kill() if how == "killed" else redis.freeze()
    with (
        caplog.at_level(logging.WARNING, "xet_ffi"),
        Client(hub.endpoint, token=False, cache_dir=tmp_path, shared_cache=redis.url) as client,
    ):
        done = client.download_snapshot(repo_id)
        first = done.tier_errors
        again = client.download_snapshot(repo_id, force_download=True)
    assert done.bytes_network > 40 * MIB
    # Those that had asked before it was known, and whoever looks again.
    assert 1 <= first <= 24
    assert again.tier_errors <= 2
    # Clients of tests before this one may still have something to say of theirs.
    records = [record.getMessage() for record in caplog.records]
    [told] = [one for one in records if f"127.0.0.1:{redis.port}" in one]
    assert "the shared cache is out of reach; going on without it" in told


#: What a node of its own process does.
NODE = """
import json, sys
from xet_ffi import Client
endpoint, cache, shared, *what = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=cache, shared_cache=shared) as client:
    sys.stdin.readline()
    done = client.download_file(*what)
names = ("path", "bytes_shared", "tier_errors", "fallbacks", "retries")
print(json.dumps({name: getattr(done, name) for name in names}))
"""


class Together:
    """New nodes, each a process, that begin to download the file at the same moment."""

    def __init__(self, endpoint: str, repo: str, folder: Path, shared: str, count: int) -> None:
        self.nodes = []
        for number in range(count):
            home = folder / f"process{number}"
            arguments = [endpoint, str(home / "hub"), shared, repo, NAME]
            node = subprocess.Popen(
                [sys.executable, "-c", NODE, *arguments],
                env=os.environ | {"HF_XET_CACHE": str(home / "xet")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.nodes.append(node)

    def begin(self) -> None:
        """Lets them begin."""
        for node in self.nodes:
            assert node.stdin is not None
            node.stdin.write("\n")
            node.stdin.flush()

    def end(self, weights: bytes) -> list[dict[str, Any]]:
        """What they say; the file of each is right."""
        said = [json.loads(node.communicate()[0]) for node in self.nodes]
        assert all(Path(one["path"]).read_bytes() == weights for one in said)
        return said


@pytest.fixture
def together(hub: Hub, repo: str, tmp_path: Path) -> Iterator[Callable[[str, int], Together]]:
    """Makes nodes that share; storage sends half of the file in a second, to all of them."""
    hub.line(SIZE // 2)
    made: list[Together] = []

    def make(shared: str, count: int) -> Together:
        made.append(Together(hub.endpoint, repo, tmp_path / str(len(made)), shared, count))
        return made[-1]

    yield make
    hub.line()
    for node in (node for one in made for node in one.nodes):
        node.kill()
        node.communicate()


def test_nodes_that_come_together_fetch_once(
    together: Callable[[str, int], Together], hub: Hub, place: str, weights: bytes
) -> None:
    """One fetches; the others follow, and wait for it."""
    nodes = together(place, 4)
    nodes.begin()
    said = nodes.end(weights)
    assert hub.stats().bytes_sent("storage") <= 1.3 * SIZE
    assert sum(one["bytes_shared"] > 0.8 * SIZE for one in said) >= 3


@pytest.mark.parametrize("how", ["killed", "frozen", "wiped"])
def test_nodes_that_follow_go_on_alone(
    together: Callable[[str, int], Together],
    hub: Hub,
    redis: RedisServer,
    weights: bytes,
    how: str,
) -> None:
    """Where the cache fails in the middle, each fetches what it lacks."""
    acts: dict[str, Callable[[], object]] = {
        "killed": redis.kill,
        "frozen": redis.freeze,
        "wiped": lambda: redis.ask("FLUSHALL"),
    }
    nodes = together(redis.url, 3)
    nodes.begin()
    hub.wait_for(lambda stats: stats.bytes_sent("storage") > SIZE // 3, "a third of the file")
    acts[how]()
    assert all(one["fallbacks"] == one["retries"] == 0 for one in nodes.end(weights))


def test_who_fetches_for_others_may_die(
    together: Callable[[str, int], Together], redis: RedisServer, hub: Hub, weights: bytes
) -> None:
    """Another one goes on where nobody does any more."""
    first = together(redis.url, 1)
    first.begin()
    hub.wait_for(lambda _: redis.names(), "a piece of the first node's")
    [node] = first.nodes
    node.kill()
    second = together(redis.url, 1)
    second.begin()
    [said] = second.end(weights)
    assert said["bytes_shared"] > 0
    assert said["tier_errors"] == 0


def test_what_is_full_still_gives(node: Callable[..., Transfer], redis: RedisServer) -> None:
    """A cache that takes nothing more is read all the same."""
    first = node(redis.url)
    gone = redis.names()[0]
    redis.ask("DEL", gone)
    redis.ask("CONFIG", "SET", "maxmemory", 1)
    for _ in range(2):
        second = node(redis.url)
        assert second.bytes_shared > 0.5 * first.bytes_network
        assert second.bytes_network + second.bytes_shared == first.bytes_network
    assert gone not in redis.names()


def test_who_has_no_access_asks_for_nothing(
    hub: Hub, hf_api: HfApi, tokens: dict[str, Token], redis: RedisServer, tmp_path: Path
) -> None:
    """The error is the Hub's, as without a cache; the cache isn't even asked."""
    repo = "alice/private-and-shared"
    hf_api.create_repo(repo, private=True)
    commit(hf_api, repo, {NAME: hashlib.shake_256(b"private").digest(MIB)})

    def client(token: str, shared: str) -> Client:
        return Client(hub.endpoint, token, tmp_path / token / "hub", shared_cache=shared)

    with client(tokens["alice"].secret, redis.url) as alice:
        alice.download_file(repo, NAME)
    assert redis.names()
    asked = redis.calls("exists"), redis.calls("get")
    errors = []
    for shared in ("none", redis.url):
        with client(tokens["carol"].secret, shared) as carol:
            with pytest.raises(RepoNotFoundError) as caught:
                carol.download_file(repo, NAME)
            errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert asked == (redis.calls("exists"), redis.calls("get"))


def test_passwords_stay_secret(
    node: Callable[..., Transfer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The right one opens the cache; of a wrong one the log says so, and not which."""
    with RedisServer.start(tmp_path, "--requirepass", "right-pa55word") as redis:
        caplog.set_level(5, "xet_ffi")
        for password in ("wrong-pa55word", "right-pa55word"):
            done = node(f"redis://:{password}@127.0.0.1:{redis.port}/3")
            assert (done.tier_errors > 0) == (password == "wrong-pa55word")
        assert node(f"redis://:right-pa55word@127.0.0.1:{redis.port}/3").bytes_network == 0
    text = caplog.text
    assert "pa55word" not in text
    assert f"redis://127.0.0.1:{redis.port}/3" in text


@pytest.mark.parametrize("place", ["localhost:6379", "https://user:pa55word@host", "file://x/y"])
def test_what_is_no_place_is_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """By the client that is given it; from the environment, by the first that needs it."""
    with pytest.raises(InvalidConfigError) as caught:
        Client(hub.endpoint, cache_dir=tmp_path, shared_cache=place)
    assert "shared_cache" in str(caught.value)
    assert "pa55word" not in str(caught.value)
    monkeypatch.setenv("XET_FFI_SHARED_CACHE", place)
    with Client(hub.endpoint, token=False, cache_dir=tmp_path) as client:
        with pytest.raises(InvalidConfigError) as caught:
            client.list_files("alice/model")
        assert "XET_FFI_SHARED_CACHE" in str(caught.value)
        assert "pa55word" not in str(caught.value)
