"""Pipes, sockets and devices where files are expected: nobody waits for them; they are named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interpreter import python
from published import noise
from world.stage import TOKEN, publish
from xet_ffi import Client, InvalidConfigError, IoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub

FILES = {
    "config.json": b"{}",
    "large.bin": noise(300_000, "no files"),
    "c/model.safetensors": noise(900_000, "no files"),
}


def pipe(path: Path) -> None:
    """Whoever reads from it waits for a writer, who isn't there."""
    os.mkfifo(path)


def listening(path: Path) -> None:
    """A socket that somebody has left; its path may be longer than addresses are."""
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{folder}/s")
            (path.parent / "s").rename(path)
        finally:
            os.close(folder)


def endless(path: Path) -> None:
    """A device that never ends."""
    path.symlink_to("/dev/zero")


KINDS = [pipe, listening, endless]


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with a file of each storage."""
    return publish(hub, FILES)[0]


#: Downloads to the cache or to a folder, with a Hub or without, and looks after the cache.
PROGRAM = """
import sys
from xet_ffi import Client, cache
endpoint, repo, hub_cache, local, *what = sys.argv[1:]
with Client(endpoint, token=False, cache_dir=hub_cache) as client:
    if "care" in what:
        cache.usage(cache_dir=hub_cache)
        cache.verify(cache_dir=hub_cache)
        cache.index(cache_dir=hub_cache, endpoint=endpoint, token=False)
        cache.prune(cache_dir=hub_cache, dry_run=True, unreferenced=True)
    else:
        print(client.download_snapshot(repo, local_dir=local or None).path)
        print(client.download_file(repo, "config.json", local_dir=local or None).path)
        client.download_snapshot(repo, local_dir=local or None, local_files_only=True)
"""


def run(hub: Hub, repo: str, folder: Path, *what: str, local: bool = False) -> str:
    """What the program says, which must not hang, with all its folders in `folder`."""
    out = str(folder / "out") if local else ""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, hub.endpoint, repo, str(folder / "hub"), out, *what],
        env={**os.environ, "HF_XET_CACHE": str(folder / "xet")},
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def replace(folder: Path, make: Callable[[Path], None], pattern: str = "*") -> list[str]:
    """Puts something else in the place of each file, but for locks. Returns their names."""
    found = [path for path in folder.rglob(pattern) if path.is_file() and not path.is_symlink()]
    found = [path for path in found if path.suffix != ".lock"]
    for path in found:
        path.unlink()
        make(path)
    return [path.name for path in found]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    ("where", "pattern"),
    [
        ("hub", "models--*/refs/*"),
        ("hub", "models--*/trees/*.json"),
        ("hub", "models--*/blobs/*"),
        ("hub", "blobs/*/*"),
        ("hub", "blobs/.*"),
        ("hub", "*"),
        ("xet", "*"),
        ("out", "*.metadata"),
        ("out", "*.verified"),
        ("out", "trees/*.json"),
        ("out", "refs/*/*"),
        ("out", "*"),
    ],
)
def test_nothing_of_ours_is_waited_for(
    hub: Hub,
    repo: str,
    tmp_path: Path,
    where: str,
    pattern: str,
    make: Callable[[Path], None],
) -> None:
    """What was noted, or kept, is so no more, and is made anew in its place."""
    local = where == "out"
    run(hub, repo, tmp_path, local=local)
    assert replace(tmp_path / where, make, pattern)
    if where == "hub":
        run(hub, repo, tmp_path, "care")
    for _ in range(2):
        path = tmp_path / run(hub, repo, tmp_path, local=local).split("\n")[0]
        assert {name: (path / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("local", [False, True], ids=["cache", "local"])
def test_no_remains_are_waited_for(
    hub: Hub, repo: str, tmp_path: Path, local: bool, make: Callable[[Path], None]
) -> None:
    """Of a download that was broken off: the partial file and its journal."""
    hub.fault("storage", drip=400_000)
    with (
        Client(hub.endpoint, TOKEN.secret, tmp_path / "hub") as client,
        pytest.raises(TimeoutError),
    ):
        client.download_file(
            repo,
            "c/model.safetensors",
            local_dir=tmp_path / "out" if local else None,
            timeout=1.5,
        )
    hub.clear_faults()
    assert replace(tmp_path, make, "*.partial*")
    path = tmp_path / run(hub, repo, tmp_path, local=local).split("\n")[0]
    assert {name: (path / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("make", KINDS)
def test_a_token_file_that_is_none_is_named(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, as a pipe may yet be written to."""
    path = tmp_path / "token"
    make(path)
    monkeypatch.setenv("HF_TOKEN_PATH", str(path))
    with (
        Client("http://127.0.0.1:9", cache_dir=tmp_path / "hub") as client,
        pytest.raises((IoError, OSError), match=str(path)),
    ):
        client.list_files("alice/none")


def test_a_token_may_come_from_a_shell(tmp_path: Path) -> None:
    """`<(...)` is a pipe, whose writer may take its time; and `/dev/null` is no token."""
    program = """
from xet_ffi import Client
with Client("http://127.0.0.1:9") as client:
    print(client.info().anonymous, client.info().token_source)
"""
    script = f"HF_TOKEN_PATH=<(sleep 0.3; echo hf_abc) {sys.executable} -c '{program}'"
    environment = {**os.environ, "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment,
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.startswith("False /"), done.stderr
    done = python(program, HF_TOKEN_PATH="/dev/null", HF_HOME=str(tmp_path))
    assert done.stdout.startswith("True"), done.stderr


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_certificates_that_is_none_is_named(
    tmp_path: Path,
    variable: str,
    make: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the variable that names it."""
    path = tmp_path / "bundle.pem"
    make(path)
    monkeypatch.setenv(variable, str(path))
    with (
        Client("https://127.0.0.1:9", token=False, cache_dir=tmp_path / "hub") as client,
        pytest.raises(InvalidConfigError, match=rf"{variable}.*{path}"),
    ):
        client.list_files("alice/none")


@pytest.mark.parametrize("make", KINDS)
def test_a_folder_of_certificates_may_hold_anything(
    tmp_path: Path,
    bundle: str,
    make: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is no file isn't read, and the others count."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    make(folder / "a.pem")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    client = Client("https://127.0.0.1:9", token=False, cache_dir=tmp_path / "h", max_attempts=1)
    with client, pytest.raises(InvalidConfigError, match=rf"SSL_CERT_DIR.*{folder}"):
        client.list_files("alice/none")
    (folder / "b.pem").write_bytes(Path(bundle).read_bytes())
    client = Client("https://127.0.0.1:9", token=False, cache_dir=tmp_path / "h", max_attempts=1)
    with client, pytest.raises(ConnectionError):
        client.list_files("alice/none")


@pytest.mark.parametrize("make", KINDS)
def test_a_folder_that_is_none_is_named(
    hub: Hub, repo: str, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """A cache or a local folder that can't be one."""
    path = tmp_path / "place"
    make(path)
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "hub") as client:
        with pytest.raises(OSError, match=f"{path}|/dev/zero"):
            client.download_snapshot(repo, local_dir=path)
        with pytest.raises(OSError, match="not a regular file"):
            client.upload_file(path, "x", repo)
    with (
        Client(hub.endpoint, token=False, cache_dir=path) as client,
        pytest.raises(OSError, match=str(path)),
    ):
        client.download_snapshot(repo)
