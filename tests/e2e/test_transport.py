"""Which way files come: how it is chosen, and what the report says of each file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from interpreter import python
from published import VARIETY, VARIETY_LFS, publish
from xet_ffi import Client, FileTransfer, InvalidConfigError, NetworkError, Transfer
from xet_ffi.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from huggingface_hub import HfApi

    from hub import Hub

MODEL = {**VARIETY, **VARIETY_LFS}


@pytest.fixture
def repo(hf_api: HfApi, hub: Hub, repo_id: str) -> str:
    """A repo with everything that one can hold."""
    publish(hf_api, repo_id)
    hub.reset_stats()
    return repo_id


@pytest.fixture
def make(hub: Hub, cache_dir: Path) -> Callable[..., Client]:
    """Makes clients of little patience, with the test's cache."""

    def make(**options: Any) -> Client:
        return Client(hub.endpoint, token=False, cache_dir=cache_dir, max_attempts=2, **options)

    return make


def ways(transfer: Transfer) -> dict[str, str]:
    """The way of each file, by path."""
    assert len(transfer.file_transfers) == transfer.files
    return {file.path: file.way for file in transfer.file_transfers}


def by_kind(client: Client, repo: str, **ways: str) -> dict[str, str]:
    """The way that each file should have come, by what the Hub says of how it stores it.

    Empty files, and those whose content another one brought in, come no way at all.
    """
    expected, brought = {}, set()
    for file in client.list_files(repo):
        known = file.size == 0 or file.hash in brought
        expected[file.path] = "local" if known else ways[file.kind]
        brought.add(file.hash)
    return expected


def test_each_file_tells_its_way(make: Callable[..., Client], repo: str, hub: Hub) -> None:
    """Xet files came through Xet, all others over plain HTTP, and the numbers add up."""
    with make() as client:
        transfer = client.download_snapshot(repo)
        assert ways(transfer) == by_kind(client, repo, xet="xet", git="http", lfs="http")
        listed = [file.path for file in client.list_files(repo)]
        again = client.download_snapshot(repo)
    files = transfer.file_transfers
    assert [file.path for file in files] == listed
    assert {*ways(again).values()} == {"local"}
    for report in (transfer, again):
        for name in ("bytes_total", "bytes_network", "bytes_reused", "retries", "fallbacks"):
            parts = [getattr(file, name) for file in report.file_transfers]
            assert sum(parts) == getattr(report, name), name
    sizes = {path: len(content) for path, content in MODEL.items()}
    assert {f.path: f.bytes_total for f in files if f.path in sizes} == sizes
    assert hub.stats().requests("cas", "reconstruction") > 0


def test_http_asks_nothing_of_xet(make: Callable[..., Client], repo: str, hub: Hub) -> None:
    """Every file comes over plain HTTP, and none falls back to it."""
    with make(transport="http") as client:
        transfer = client.download_snapshot(repo)
        assert ways(transfer) == by_kind(client, repo, xet="http", git="http", lfs="http")
    assert transfer.fallbacks == 0
    assert {path: (Path(transfer) / path).read_bytes() for path in MODEL} == MODEL
    assert hub.stats().requests("cas", "reconstruction") == 0
    assert hub.stats().requests("hub", "xet-token") == 0


def test_auto_falls_back_and_says_so(make: Callable[..., Client], repo: str, hub: Hub) -> None:
    """The file tells that Xet was tried, and how often."""
    hub.fault("reconstruction", status=500)
    with make(transport="auto") as client:
        transfer = client.download_file(repo, "model.safetensors")
        [listed] = [one for one in client.list_files(repo) if one.path == "model.safetensors"]
    [file] = transfer.file_transfers
    size = len(MODEL["model.safetensors"])
    assert file == FileTransfer(
        path="model.safetensors",
        way="xet+http",
        bytes_total=size,
        bytes_network=size,
        bytes_reused=0,
        retries=1,
        fallbacks=1,
        local_path=transfer.path,
        hash=file.hash,
        hash_kind=file.hash_kind,
        verified=True,
        bytes_shared=0,
    )
    assert file.hash in {listed.xet_hash, listed.sha256}
    assert (transfer.retries, transfer.fallbacks) == (1, 1)


@pytest.mark.parametrize("route", ["xet-token", "reconstruction", "storage"])
def test_xet_alone_does_not_fall_back(
    make: Callable[..., Client], repo: str, hub: Hub, route: str
) -> None:
    """What Xet says is what the caller gets, and nothing is left under the file's name."""
    hub.fault(route, status=503)
    with make(transport="xet") as client:
        with pytest.raises(NetworkError) as caught:
            client.download_file(repo, "model.safetensors")
        assert caught.value.details["http_status"] == 503
        assert caught.value.details["file"] == "model.safetensors"
        assert hub.stats().requests("hub", "resolve") == 1, "only the question about the file"
        if route != "storage":
            # What isn't a Xet file doesn't come through Xet, and doesn't mind.
            assert ways(client.download_file(repo, "legacy/old.bin")) == {"legacy/old.bin": "http"}


def test_a_retry_belongs_to_its_file(make: Callable[..., Client], repo: str, hub: Hub) -> None:
    """A request that is made again for the listing is no file's; one for a file is that file's."""
    hub.fault("tree", times=1, status=503)
    hub.fault("resolve", times=1, status=503, path_regex="README")
    with make() as client:
        transfer = client.download_snapshot(repo, allow_patterns=["README.md", "config.json"])
    assert transfer.retries == 2
    assert {file.path: file.retries for file in transfer.file_transfers} == {
        "README.md": 1,
        "config.json": 0,
    }


def test_what_is_only_here_is_local(make: Callable[..., Client], repo: str) -> None:
    """A call that uses no network reports its files, too."""
    with make() as client:
        first = client.download_snapshot(repo)
        offline = client.download_snapshot(repo, local_files_only=True)
        one = client.download_file(repo, "model.safetensors", local_files_only=True)
    assert [file.path for file in offline.file_transfers] == [
        file.path for file in first.file_transfers
    ]
    assert {*ways(offline).values()} == {"local"}
    [file] = one.file_transfers
    assert (file.path, file.way) == ("model.safetensors", "local")
    assert file.bytes_reused == file.bytes_total == len(MODEL["model.safetensors"])


#: The variables of a process, and the way that a Xet file comes in it.
SWITCHES = [
    ({}, "xet"),
    ({"XET_FFI_TRANSPORT": "auto"}, "xet"),
    ({"XET_FFI_TRANSPORT": "xet"}, "xet"),
    ({"XET_FFI_TRANSPORT": "http"}, "http"),
    ({"XET_FFI_TRANSPORT": ""}, "xet"),
    ({"HF_HUB_DISABLE_XET": "1"}, "http"),
    ({"HF_HUB_DISABLE_XET": "1", "XET_FFI_TRANSPORT": "xet"}, "xet"),
    ({"HF_HUB_DISABLE_XET": "1", "XET_FFI_TRANSPORT": "auto"}, "xet"),
]


@pytest.mark.parametrize(("variables", "way"), SWITCHES, ids=str)
def test_the_environment_switches(
    make: Callable[..., Client],
    repo: str,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    way: str,
) -> None:
    """Without a change of code; what names this library beats what is huggingface_hub's."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with make() as client:
        transfer = client.download_file(repo, "model.safetensors")
    assert ways(transfer) == {"model.safetensors": way}


def test_an_argument_beats_the_environment(
    make: Callable[..., Client], repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every argument does."""
    monkeypatch.setenv("XET_FFI_TRANSPORT", "xet")
    with make(transport="http") as client:
        assert ways(client.download_file(repo, "model.safetensors")) == {
            "model.safetensors": "http"
        }


def test_an_unknown_transport_is_refused_by_name(
    make: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typo doesn't silently mean the default."""
    with pytest.raises(InvalidConfigError, match="must be one of auto, xet, http") as caught:
        make(transport="https")
    assert caught.value.field == "transport"
    monkeypatch.setenv("XET_FFI_TRANSPORT", "no")
    with pytest.raises(
        InvalidConfigError, match=r"XET_FFI_TRANSPORT.*auto, xet and http"
    ) as caught:
        make()
    assert caught.value.field == "XET_FFI_TRANSPORT"


def test_a_client_is_switched_when_it_is_made(
    make: Callable[..., Client], repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the environment is for the clients that are made after it."""
    with make() as client:
        monkeypatch.setenv("XET_FFI_TRANSPORT", "http")
        assert ways(client.download_file(repo, "model.safetensors")) == {"model.safetensors": "xet"}


def test_the_command_has_the_switch(
    repo: str,
    hub: Hub,
    cache_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`--transport` chooses, and `--json` shows each file."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    command = ["download", repo, "model.safetensors", "--transport", "http", "--json", "--quiet"]
    assert main([*command, "--cache-dir", str(cache_dir)]) == 0
    report = json.loads(capsys.readouterr().out)
    [file] = report["file_transfers"]
    assert (file["path"], file["way"]) == ("model.safetensors", "http")
    assert file["bytes_network"] == report["bytes_network"] == len(MODEL["model.safetensors"])


def test_a_variable_is_enough_for_the_command(repo: str, hub: Hub, cache_dir: Path) -> None:
    """The way an operator switches a process: from outside."""
    code = (
        "import sys; from xet_ffi.__main__ import main; "
        f"sys.exit(main(['download', {repo!r}, 'model.safetensors', '--json', '--quiet']))"
    )
    environ = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": os.fspath(cache_dir)}
    finished = python(code, **environ, XET_FFI_TRANSPORT="http")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["file_transfers"][0]["way"] == "http"
