"""A program compiled against the base interface alone works with today's library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from abi.toolchain import HERE, build, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from abi.conftest import Published

    Client = Callable[..., list[list[str]]]


@pytest.fixture(scope="module", params=["shared", "static"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base_client, linked with the shared and with the static library."""
    folder = tmp_path_factory.mktemp(request.param)
    static = request.param == "static"
    return build([HERE / "base_client.c"], folder / "base_client", static=static)


@pytest.fixture
def client(program: Path, published: Published, cache_dir: Path) -> Client:
    """Runs a command of base_client and returns the lines that it printed, split at tabs."""

    def call(
        *command: str, token: str = published.token, endpoint: str = published.hub.endpoint
    ) -> list[list[str]]:
        done = run([program, endpoint, token, str(cache_dir), *command], HOME=str(cache_dir))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert published.token not in done.stdout
        return [line.split("\t") for line in done.stdout.splitlines()]

    return call


def content(root: Path) -> dict[str, bytes]:
    """The files below a folder, without hidden folders."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".cache" not in path.relative_to(root).parts
    }


def test_it_lists_a_model(client: Client, published: Published) -> None:
    """Listing gives each file's path, tree oid and size; an empty revision means main."""
    for revision in ("-", "", "main", published.commit):
        rows = client("list", published.repo_id, revision)
        assert {row[0] for row in rows} == {"entry"}
        sizes = {path: int(size) for _, path, _, size in rows}
        assert sizes == {path: len(data) for path, data in published.files.items()}
        oids = {path: oid for _, path, oid, _ in rows}
        plain = set(published.files) - {"model.bin"}
        assert {p: oids[p] for p in plain} == {p: published.git_blob_id(p) for p in plain}
        assert len(oids["model.bin"]) == 40


@pytest.mark.parametrize("repo_type", ["-", "", "model", "models"])
def test_it_downloads_a_file_into_the_cache(
    client: Client, published: Published, cache_dir: Path, repo_type: str
) -> None:
    """The path is the file's place in the snapshot; the type may be singular or plural."""
    progress, (name, path) = client("file", published.repo_id, repo_type, "-", "model.bin", "-")
    folder = cache_dir / "models--alice--abi" / "snapshots" / published.commit
    assert (name, path) == ("path", str(folder / "model.bin"))
    assert (folder / "model.bin").read_bytes() == published.files["model.bin"]
    size = str(len(published.files["model.bin"]))
    assert progress == ["progress", "1", "2", size, size, "1", "1"]


def test_it_downloads_a_file_into_a_folder(
    client: Client, published: Published, tmp_path: Path
) -> None:
    """With a local_dir, the path is inside it, folders and unicode included."""
    name = "nested/caf\u00e9 \u96ea.json"
    target = tmp_path / "local"
    lines = client("file", published.repo_id, "model", "main", name, str(target))
    assert lines[-1] == ["path", str(target / name)]
    assert content(target) == {name: published.files[name]}


def test_it_downloads_a_snapshot(
    client: Client, published: Published, cache_dir: Path, tmp_path: Path
) -> None:
    """All files arrive, in the cache or in a folder; a second call finds them there."""
    total = sum(map(len, published.files.values()))
    count = str(len(published.files))
    for local in ("-", str(tmp_path / "local")):
        progress, path, again = client("snapshot", published.repo_id, "model", "", local)
        assert progress == ["progress", "1", "2", str(total), str(total), count, count]
        snapshots = cache_dir / "models--alice--abi" / "snapshots"
        folder = snapshots / published.commit if local == "-" else tmp_path / "local"
        assert path == ["path", str(folder)]
        assert again == ["again", str(folder)]
        assert content(folder) == published.files


def test_a_cancelled_call_leaves_no_file(
    client: Client, published: Published, cache_dir: Path
) -> None:
    """Cancelling in the middle of the bytes gives code 7, and nothing that looks finished."""
    # The bytes begin to come, and then no more do.
    published.hub.fault("storage", stall_after_bytes=1_000_000)
    try:
        error, asked = client("cancel", published.repo_id, "model.bin")
    finally:
        published.hub.clear_faults()
    assert error[:2] == ["error", "7"]
    assert json.loads(error[3])["kind"] == "cancelled"
    assert asked == ["asked", "1"]
    repo = cache_dir / "models--alice--abi"
    assert not list(repo.glob("snapshots/*/*"))
    assert not [path for path in repo.glob("blobs/*") if len(path.name) == 64]


ERRORS = {
    "a malformed repo id": (["list", "a/b/c", "-"], 1, "invalid_repo_id"),
    "a malformed type": (
        ["file", "alice/abi", "bucket", "-", "README.md", "-"],
        1,
        "invalid_argument",
    ),
    "a path that leaves the repo": (["file", "alice/abi", "-", "-", "../x", "-"], 1, "unsafe_path"),
    "an unknown repo": (["list", "alice/nothing", "-"], 4, "repo_not_found"),
    "an unknown revision": (["list", "alice/abi", "nothing"], 4, "revision_not_found"),
    "an unknown file": (["file", "alice/abi", "-", "-", "no.bin", "-"], 4, "entry_not_found"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_have_the_base_codes(client: Client, case: str) -> None:
    """What fails says so with its code, a sentence, and details that are JSON."""
    command, code, kind = ERRORS[case]
    [[name, number, message, details]] = client(*command)
    assert (name, number) == ("error", str(code))
    assert json.loads(details)["kind"] == kind
    assert message


def test_a_bad_token_is_an_authentication_error(client: Client, published: Published) -> None:
    """A token that the Hub doesn't know gives code 2, and isn't repeated."""
    [[name, number, message, details]] = client("list", published.repo_id, "-", token="hf_wrong")
    assert (name, number) == ("error", "2")
    assert "hf_wrong" not in message + details


def test_an_unreachable_endpoint_is_a_network_error(client: Client, published: Published) -> None:
    """An endpoint on which nobody listens gives code 3."""
    [[name, number, *_]] = client("list", published.repo_id, "-", endpoint="http://127.0.0.1:9")
    assert (name, number) == ("error", "3")


def test_a_client_without_an_endpoint_that_can_be_used_is_null(client: Client) -> None:
    """`xet_client_new` returns NULL for a configuration that can't work."""
    assert client("list", "a/b", "-", endpoint="not a url") == [["no client"]]


def test_rust_log_goes_to_stderr(program: Path, published: Published, cache_dir: Path) -> None:
    """With RUST_LOG set and no callback, logs go to stderr, at that level; otherwise none do."""
    command: list[str | Path] = [program, published.hub.endpoint, published.token, cache_dir]
    command += ["file", published.repo_id, "-", "-", "model.bin", "-"]
    silent = run(command, HOME=str(cache_dir))
    logged = run(command, HOME=str(cache_dir), RUST_LOG="trace")
    assert silent.returncode == logged.returncode == 0
    assert silent.stderr == ""
    assert "TRACE" in logged.stderr
    assert published.token not in logged.stderr
    errors_only = run(command, HOME=str(cache_dir), RUST_LOG="error")
    assert errors_only.stderr == ""
