"""The clients behind xet_ffi.hub: one for each identity and environment, whoever calls."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from both import OURS, run
from gateway import Gateway
from published import noise, publish
from xet_ffi import LocalEntryNotFoundError, TransferTimeoutError, XetError
from xet_ffi.hub import _clients, hf_hub_download, list_repo_files, snapshot_download

if TYPE_CHECKING:
    from collections.abc import Callable

    from huggingface_hub import HfApi

    from hub import Hub

SECRET = "hf_alice_secret"


@pytest.fixture
def repo(
    hub: Hub, hf_api: HfApi, repo_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A model, and an environment in which it is found."""
    publish(hf_api, repo_id, {"config.json": b"{}", "model.bin": noise(600_000)})
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return repo_id


@pytest.mark.usefixtures("repo")
def test_a_client_is_kept_for_what_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its connections are; and after a change of the environment and back it's there again."""
    first = _clients.client()
    assert _clients.client() is first
    monkeypatch.setenv("UNRELATED", "1")
    assert _clients.client() is first
    others = {
        _clients.client(SECRET),
        _clients.client(token=False),
        _clients.client(endpoint="http://127.0.0.1:9"),
        _clients.client(cache_dir=tmp_path),
        _clients.client(user_agent="mine/1"),
        _clients.client(headers={"User-Agent": "mine/2"}),
        _clients.client(max_concurrent_downloads=2),
    }
    assert len(others) == 7
    assert first not in others
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME", "NO_PROXY", "no_proxy", "XET_FFI_TRANSPORT"):
        with monkeypatch.context() as change:
            change.setenv(name, "http")
            assert _clients.client() is not first
        assert _clients.client() is first


@pytest.mark.usefixtures("repo")
def test_no_more_clients_are_kept_than_a_program_uses() -> None:
    """A server with a token for each of its users must not keep them all."""
    for number in range(40):
        _clients.client(f"hf_{number}")
    assert len(_clients._kept) == _clients._MOST  # noqa: SLF001 - that is what this is about
    last = _clients.client("hf_39")
    assert _clients.client("hf_39") is last


def test_a_changed_environment_is_another_hub_and_another_cache(
    hub: Hub,
    own_hub: Callable[..., Hub],
    repo: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As tests do it to programs under test."""
    from huggingface_hub import HfApi

    first = hf_hub_download(repo, "config.json")
    assert first.startswith(str(tmp_path / "home" / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "other"))
    second = hf_hub_download(repo, "config.json")
    assert second.startswith(str(tmp_path / "other"))
    other = own_hub()
    publish(HfApi(endpoint=other.endpoint, token=SECRET), repo, {"elsewhere.txt": b""})
    monkeypatch.setenv("HF_ENDPOINT", other.endpoint)
    assert "elsewhere.txt" in list_repo_files(repo)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert "elsewhere.txt" not in list_repo_files(repo)


def test_who_logs_in_meanwhile_is_asked_for(hub: Hub, repo: str, tmp_path: Path) -> None:
    """The saved token is read again when its file has changed."""
    hub.set_settings(repo, private=True)
    token = tmp_path / "home" / "token"
    token.parent.mkdir()
    before = _clients.client()
    assert before.info().token_source == "none"
    token.write_text(SECRET)
    assert _clients.client().info().token_source == str(token)
    assert "config.json" in list_repo_files(repo)
    token.unlink()
    assert _clients.client() is before


def test_threads_share_a_client(hub: Hub, repo: str) -> None:
    """They make one at the same time, and one is used; content comes once."""
    barrier = Barrier(16)

    def download(_: int) -> str:
        barrier.wait()
        return hf_hub_download(repo, "model.bin", token=SECRET)

    with ThreadPoolExecutor(16) as pool:
        paths = set(pool.map(download, range(16)))
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == noise(600_000)
    assert hub.stats().fetched_bytes("xorbs") < 2 * 600_000


def test_a_child_works_on(hub: Hub, repo: str, tmp_path: Path) -> None:
    """After a fork, with the parent's clients; what is in the background gets another thread."""
    said = run(
        """
from huggingface_hub import hf_hub_download, upload_file
hf_hub_download(REPO, "config.json")
def up(name):
    options = {"path_or_fileobj": b"x", "path_in_repo": name, "repo_id": REPO}
    return upload_file(run_as_future=True, **options).result(timeout=60).commit_message
show("parent", up("parent.txt"))
child = os.fork()
if not child:
    path = hf_hub_download(REPO, "model.bin")
    show("child", [os.path.getsize(path), up("child.txt")])
    import sys
    sys.stdout.flush()
    os._exit(0)
show("status", os.waitpid(child, 0)[1])
""",
        hub,
        tmp_path,
        OURS,
        repo=repo,
    )
    assert sorted(said) == [
        ["child", [600_000, "Upload child.txt with xet_ffi"]],
        ["parent", "Upload parent.txt with xet_ffi"],
        ["status", 0],
    ]


def test_the_program_names_itself(hub: Hub, repo: str, tmp_path: Path) -> None:
    """Before our own User-Agent, or as the header that it gives; a gateway insists on it."""
    wanted = 'if ($http_user_agent !~ "^(lib/1.2; a/b; c/d; |mine/3; )?xet-ffi/") { return 418; }'
    named = 'if ($http_user_agent ~ "^xet-ffi/") { return 418; }'
    locations = f"location / {{ {wanted} {named} proxy_pass {{hub}}; }}"
    with Gateway.start(hub, tmp_path / "gateway", locations) as gateway:

        def get(number: int, **options: Any) -> None:
            cache = tmp_path / str(number)
            hf_hub_download(
                repo, "config.json", endpoint=gateway.endpoint, cache_dir=cache, **options
            )

        get(1, library_name="lib", library_version="1.2", user_agent={"a": "b", "c": "d"})
        get(2, library_name="lib", library_version="1.2", user_agent="a/b; c/d")
        get(3, user_agent="other/1", headers={"User-Agent": "mine/3"})
        with pytest.raises(XetError) as refused:
            get(4)
        assert refused.value.http_status == 418


def test_the_wait_for_an_answer_is_the_caller_s(
    hub: Hub, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`etag_timeout`; but a variable comes first."""
    hub.delay(1.5, "hub")
    with pytest.raises(LocalEntryNotFoundError) as late:
        hf_hub_download(repo, "config.json", etag_timeout=0.3)
    assert isinstance(late.value.__cause__, TransferTimeoutError)
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "20")
    assert hf_hub_download(repo, "config.json", etag_timeout=0.3)


def test_a_link_in_the_way_of_the_cache_changes_nothing_of_a_snapshot(
    repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are found below the folder that is returned."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "link"))
    folder = snapshot_download(repo, allow_patterns="*.json")
    assert folder == os.path.realpath(folder)
    assert Path(hf_hub_download(repo, "config.json")).parent == Path(folder)
