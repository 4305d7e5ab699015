"""Who one is, on the Hub and on this machine: tokens, and accounts without a home."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from world.stage import TOKEN, Model
from xet_ffi import AuthError, Client, InvalidConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub

#: An account that no machine has.
NOBODY = 54321


@pytest.mark.parametrize("token", [f" {TOKEN.secret}", f"{TOKEN.secret}\r\n"])
def test_blanks_around_a_token_do_not_matter(hub: Hub, model: Model, token: str) -> None:
    """It may come from a file or a terminal."""
    with Client(hub.endpoint, token) as client:
        client.upload_file(b"new", "new.txt", model.repo_id)


@pytest.mark.parametrize("source", ["options.token", "HF_TOKEN", "token file"])
def test_a_refused_token_is_told_by_its_source(
    hub: Hub, model: Model, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of several it was is what one has to know then."""
    wrong = "hf_wrong_secret"
    if source == "HF_TOKEN":
        monkeypatch.setenv("HF_TOKEN", wrong)
    elif source == "token file":
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / "token").write_text(wrong)
        source = f"token file {tmp_path / 'home' / 'token'}"
    with (
        Client(hub.endpoint, wrong if source == "options.token" else None) as client,
        pytest.raises(AuthError) as caught,
    ):
        client.list_files(model.repo_id)
    assert f"refused the token ({source})" in str(caught.value)
    assert wrong not in str(caught.value)


@pytest.mark.parametrize("path", ["note.txt", "model.safetensors"])
def test_an_upload_without_a_token_says_that_one_is_missing(
    hub: Hub, model: Model, path: str
) -> None:
    """Also to a repo that everybody may read."""
    with Client(hub.endpoint, token=False) as client:
        assert client.list_files(model.repo_id)
        with pytest.raises(AuthError, match=r"wants a token .* there is none"):
            client.upload_file(b"x" * 700_000, path, model.repo_id)


def test_a_tilde_is_the_home_folder_in_every_path(
    hub: Hub, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in huggingface_hub."""
    home = tmp_path / "ada"
    (home / "folder").mkdir(parents=True)
    (home / "folder" / "a.txt").write_bytes(b"a")
    monkeypatch.setenv("HOME", str(home))
    with Client(hub.endpoint, TOKEN.secret, "~/cache") as client:
        client.upload_file("~/folder/a.txt", "b.txt", model.repo_id)
        client.upload_folder("~/folder", model.repo_id)
        path = Path(client.download_file(model.repo_id, "b.txt"))
        assert path.is_relative_to(home / "cache")
        copy = Path(client.download_file(model.repo_id, "a.txt", local_dir="~/out"))
        assert copy == home / "out" / "a.txt"
        assert copy.read_bytes() == b"a"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may write to, and reach."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


#: Loads all of the package first, which the account may not be able to read.
BECOME_NOBODY = f"""
import importlib, io, os, pkgutil
import dataclasses, json, pathlib, threading, traceback
import xet_ffi
for module in pkgutil.iter_modules(xet_ffi.__path__):
    # asyncio brings logging along, which then has the logs that RUST_LOG would show.
    if module.name not in ("__main__", "_threads", "aio", "fs", "libxet", "safetensors"):
        importlib.import_module(f"xet_ffi.{{module.name}}")
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
from xet_ffi import Client
"""


def as_nobody(code: str, *modules: str) -> subprocess.CompletedProcess[str]:
    """Runs Python as an account that has no home, and no entry anywhere.

    `modules` are imported before.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    for name in ("HF_HOME", "HF_XET_CACHE", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", "".join(f"import {m}\n" for m in modules) + BECOME_NOBODY + code],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_local_folder_needs_no_cache(hub: Hub, model: Model, open_folder: Path) -> None:
    """It may be somebody else's, who lets nobody look. The log says so once."""
    cache = open_folder / "cache"
    (cache / "hub").mkdir(parents=True)
    cache.chmod(0o700)
    done = as_nobody(
        f"""
logging.basicConfig(level="WARNING")
with Client({hub.endpoint!r}, {TOKEN.secret!r}, {str(cache / "hub")!r}) as client:
    client.plan_snapshot({model.repo_id!r}, local_dir={str(open_folder / "a")!r})
    client.download_snapshot({model.repo_id!r}, local_dir={str(open_folder / "a")!r})
    client.download_file({model.repo_id!r}, "config.json", local_dir={str(open_folder / "b")!r})
""",
        "logging",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the cache can't be read") == 1, done.stderr
    for name, content in model.files.items():
        assert (open_folder / "a" / name).read_bytes() == content


def test_no_home_is_needed(hub: Hub, model: Model, open_folder: Path) -> None:
    """If the cache and the token are given; for uploads as for downloads."""
    cache = open_folder / "hub"
    done = as_nobody(
        f"""
with Client({hub.endpoint!r}, {TOKEN.secret!r}, {str(cache)!r}) as client:
    print(open(client.download_file({model.repo_id!r}, "config.json")).read())
    client.upload_file(b"new" * 300_000, "new.bin", {model.repo_id!r})
"""
    )
    assert (done.stdout, done.returncode) == ("{}\n", 0), done.stderr


def test_the_way_out_is_named_where_there_is_no_home() -> None:
    """Nothing says where the cache could be."""
    error = as_nobody("Client('http://127.0.0.1:9', token=False)").stderr
    assert InvalidConfigError.__name__ in error
    assert "HF_HOME" in error
    assert "cache_dir" in error


@pytest.mark.parametrize("home", ["/sys", "/proc", "/dev/null", "/nonexistent", "{read_only}"])
def test_the_way_out_is_named_where_the_home_cannot_be_written_to(
    hub: Hub, model: Model, open_folder: Path, home: str
) -> None:
    """Beside the reason, for a file and for all of them."""
    (open_folder / "read_only").mkdir(mode=0o755)
    home = home.format(read_only=open_folder / "read_only")
    done = as_nobody(
        f"""
os.environ["HOME"] = {home!r}
with Client({hub.endpoint!r}, token=False) as client:
    for call in (client.download_snapshot, lambda repo: client.download_file(repo, "config.json")):
        try:
            call({model.repo_id!r})
        except OSError as error:
            print(error)
"""
    )
    said = done.stdout.splitlines()
    assert len(said) == 2, done.stderr
    for line in said:
        assert home in line
        assert "cache_dir, HF_HUB_CACHE or HF_HOME" in line
