"""The client without a server: arguments, identity, lifetime."""

import doctest
import gc
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import xet_ffi
from interpreter import python
from xet_ffi import (
    Client,
    ClosedError,
    CommitAdd,
    CommitCopy,
    CommitDelete,
    InvalidConfigError,
    XetError,
)

TOKEN = "hf_SecretSecretSecretSecret"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings, the token or the cache of the person who runs it."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def test_the_examples_in_the_docstrings_are_true() -> None:
    """They are run."""
    results = doctest.testmod(xet_ffi)
    assert results.attempted
    assert not results.failed


def test_info_says_what_the_arguments_have_set(tmp_path: Path) -> None:
    """As the library understood them."""
    with Client(
        "http://127.0.0.1:9/",
        TOKEN,
        tmp_path / "cache",
        3,
        transport="http",
        offline=True,
    ) as client:
        info = client.info()
    assert (info.endpoint, info.cache_dir) == ("http://127.0.0.1:9", str(tmp_path / "cache"))
    assert (info.token_source, info.anonymous, info.offline) == ("argument", False, True)
    assert (info.transport, info.max_concurrent_downloads) == ("http", 3)


def test_info_says_what_the_environment_has_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where nobody has set anything, it is the default."""
    home = tmp_path / "hf"
    info = Client().info()
    assert (info.endpoint, info.transport) == ("https://huggingface.co", "auto")
    assert (info.cache_dir, info.xet_cache_dir) == (str(home / "hub"), str(home / "xet"))
    assert not info.offline
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "b"))
    monkeypatch.setenv("XET_FFI_TRANSPORT", "xet")
    info = Client().info()
    assert (info.endpoint, info.transport) == ("http://127.0.0.1:9", "xet")
    assert (info.cache_dir, info.xet_cache_dir) == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert info.offline


def test_info_says_whose_the_token_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its source, and never itself."""
    assert Client().info().token_source == "none"
    home = tmp_path / "hf"
    home.mkdir()
    (home / "token").write_text(TOKEN)
    assert Client().info().token_source == str(home / "token")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert Client().info().token_source == "HF_TOKEN"
    anonymous = Client(token=False).info()
    assert (anonymous.token_source, anonymous.anonymous) == ("none", True)
    assert TOKEN not in repr(Client(token=TOKEN).info())


def test_repr_shows_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The given one, else that of the environment, else the public one."""
    assert repr(Client()) == "<xet_ffi.Client endpoint='https://huggingface.co'>"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "'http://127.0.0.1:9'" in repr(Client())
    assert "'http://localhost:1'" in repr(Client("http://localhost:1"))


def test_an_endpoint_with_a_password_is_refused_without_repeating_it() -> None:
    """It would end up in logs; a token is the way to say who one is."""
    with pytest.raises(InvalidConfigError, match="endpoint") as caught:
        Client("http://user:password@localhost:1")
    assert "password@" not in repr(caught.value) + str(caught.value.details)


def test_the_token_is_nowhere_to_be_seen() -> None:
    """Neither in repr nor in attributes nor in an error about it."""
    client = Client("http://127.0.0.1:9", token=TOKEN)
    assert TOKEN not in repr(client)
    assert not [name for name in dir(client) if TOKEN in repr(getattr(client, name))]
    with pytest.raises(XetError) as caught:
        Client("not a url", token=TOKEN)
    assert TOKEN not in repr(caught.value) + str(caught.value.details)
    with pytest.raises(InvalidConfigError) as refused:
        Client(token=TOKEN + "\0")
    assert TOKEN not in repr(refused.value)


def test_a_client_cannot_be_pickled() -> None:
    """It would carry its token along."""
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(Client(token=TOKEN))


def test_a_closed_client_refuses_calls() -> None:
    """Each method, with an error that is a ValueError, as for a closed file."""
    client = Client()
    assert not client.closed
    with client:
        pass
    client.close()
    assert client.closed
    for call in (
        client.info,
        lambda: client.list_files("a/b"),
        lambda: client.resolve("a/b"),
        lambda: client.download_file("a/b", "c"),
        lambda: client.download_snapshot("a/b"),
        client.__enter__,
    ):
        with pytest.raises(ClosedError, match="closed client"):
            call()


def count_open_files() -> int:
    """Of this process."""
    return len(list(Path("/dev/fd").iterdir()))


def test_clients_are_freed_with_their_last_reference() -> None:
    """A service that makes one per request keeps no threads and no sockets."""
    before = count_open_files()
    for _ in range(50):
        Client("http://127.0.0.1:9", token=False)
    gc.collect()
    assert count_open_files() <= before


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"endpoint": "not a url"}, "endpoint"),
        ({"endpoint": "ftp://host"}, "endpoint"),
        ({"endpoint": "http://a\0b"}, "endpoint"),
        ({"max_concurrent_downloads": 0}, "max_concurrent_downloads"),
        ({"max_concurrent_downloads": 257}, "max_concurrent_downloads"),
        ({"max_attempts": 21}, "max_attempts"),
        ({"connect_timeout": -1}, "connect_timeout"),
        ({"read_timeout": 0}, "read_timeout"),
        ({"user_agent": "line\nbreak"}, "user_agent"),
        ({"token": "line\nbreak"}, "token"),
    ],
)
def test_a_bad_setting_is_named(arguments: dict[str, Any], field: str) -> None:
    """When the client is made, not at its first call."""
    with pytest.raises(InvalidConfigError, match=field) as caught:
        Client(**arguments)
    assert (caught.value.field or "").endswith(field)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"endpoint": 5}, "endpoint: expected str, not int"),
        ({"token": True}, "token: expected str, not bool"),
        ({"cache_dir": b"x"}, "cache_dir: expected str, not bytes"),
        ({"max_attempts": "3"}, "max_attempts: expected int, not str"),
        ({"max_concurrent_downloads": 2.5}, "max_concurrent_downloads: expected int, not float"),
        ({"min_speed": "fast"}, "min_speed: expected int, not str"),
        ({"read_timeout": "1"}, "read_timeout: expected a number of seconds, not str"),
        ({"transport": ["xet"]}, "transport: expected str, not list"),
    ],
)
def test_a_setting_of_the_wrong_type_is_a_type_error(
    arguments: dict[str, Any], expected: str
) -> None:
    """As everywhere in Python, and it names the argument."""
    with pytest.raises(TypeError, match=f"^{expected}$"):
        Client(**arguments)


@pytest.mark.parametrize("repo_id", ["", "a/b/c", "-a", "a..b", "x" * 100, "a b", "../../etc"])
def test_a_bad_repo_id_is_refused_before_any_request(repo_id: str) -> None:
    """The endpoint doesn't exist, so a request would be a NetworkError."""
    with Client("http://127.0.0.1:9", token=False) as client:
        for call in (client.list_files, client.download_snapshot):
            with pytest.raises(InvalidConfigError, match="repo_id") as caught:
                call(repo_id)
            assert isinstance(caught.value, ValueError)


def test_none_is_no_name() -> None:
    """Where a name is required. For a file it would mean the whole snapshot to the library."""
    none: Any = None
    with Client("http://127.0.0.1:9", token=False) as client:
        calls: list[tuple[str, Callable[[], object]]] = [
            ("filename", lambda: client.download_file("a/b", none)),
            ("repo_id", lambda: client.list_files(none)),
            ("folder_path", lambda: client.upload_folder(none, "a/b")),
        ]
        calls += [
            ("path_in_repo", partial(client.create_commit, "a/b", [change]))
            for change in (CommitAdd(none, b""), CommitDelete(none), CommitCopy("x", none))
        ]
        for name, call in calls:
            with pytest.raises(TypeError, match=f"^{name}: expected str, not NoneType$"):
                call()


def test_offline_means_no_network() -> None:
    """Neither for listings nor for downloads; what is missing is said."""
    with Client("http://127.0.0.1:9", token=False, offline=True) as client:
        with pytest.raises(xet_ffi.OfflineError):
            client.list_files("a/b")
        with pytest.raises(xet_ffi.LocalEntryNotFoundError):
            client.download_file("a/b", "config.json")


def test_an_endpoint_without_a_server_is_a_network_error() -> None:
    """And a ConnectionError, which names the endpoint."""
    with (
        Client("http://127.0.0.1:9", token=TOKEN, max_attempts=1) as client,
        pytest.raises(xet_ffi.NetworkError, match=r"127\.0\.0\.1:9") as caught,
    ):
        client.list_files("a/b")
    assert isinstance(caught.value, ConnectionError)
    assert TOKEN not in repr(caught.value) + str(caught.value.details)


@pytest.mark.parametrize(
    "ending",
    [
        "pass",
        "sys.exit(0)",
        "client.close()",
        "del client",
        "keep = [client]; keep.append(keep)",
        "sys.modules['xet_ffi._lib'].__dict__.clear()",
        "os.fork() or os._exit(0)",
        "os.fork(); del client",
    ],
)
def test_the_interpreter_ends_quietly_whatever_became_of_the_client(ending: str) -> None:
    """Modules are torn down around an open client; nothing is printed, nothing crashes."""
    code = f"import os, sys, xet_ffi; client = xet_ffi.Client('http://127.0.0.1:9'); {ending}"
    finished = python(code)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
