"""`Client` against xet-hub: what the official client published arrives, verified."""

import gc
import hashlib
import io
import json
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import xet_ffi
from hub import Hub, Token
from published import publish
from xet_ffi import CancelledError, Client, Progress
from xet_ffi.__main__ import main

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES = {
    "config.json": b'{"layers": 2}',
    "empty.txt": b"",
    "größe 文.md": "# ½\n".encode(),
    "onnx/deep/er/model.onnx": random.Random(1).randbytes(300_000),
    "model.safetensors": random.Random(2).randbytes(3_000_000),
}


@pytest.fixture
def repo(hf_api: "HfApi", repo_id: str, tmp_path: Path) -> str:
    """A model with `FILES`, published by huggingface_hub."""
    folder = tmp_path / "source"
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    hf_api.create_repo(repo_id)
    hf_api.upload_folder(repo_id=repo_id, folder_path=folder)
    return repo_id


@pytest.fixture
def client(hub: Hub, tokens: dict[str, Token], cache_dir: Path) -> Iterator[Client]:
    """Alice's, with an empty cache."""
    with Client(hub.endpoint, tokens["alice"].secret, cache_dir) as client:
        yield client


def tree(folder: Path) -> dict[str, bytes]:
    """The files below `folder` by name, without the Hub's own .gitattributes and local metadata."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".gitattributes" and ".cache" not in path.parts
    }


def test_a_listing_has_all_files_with_their_hashes(client: Client, repo: str) -> None:
    """Sizes and SHA-256 are those of the content; the kind says how the Hub stores it."""
    files = {file.path: file for file in client.list_files(repo) if file.path in FILES}
    assert {path: file.size for path, file in files.items()} == {
        path: len(content) for path, content in FILES.items()
    }
    model = files["model.safetensors"]
    assert model.kind == "xet"
    assert model.sha256 == hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert len(model.xet_hash or "") == 64
    config = files["config.json"]
    assert (config.kind, config.sha256, config.xet_hash) == ("git", None, None)
    blob = b"blob %d\0" % config.size + FILES["config.json"]
    assert config.hash == hashlib.sha1(blob, usedforsecurity=False).hexdigest()


def test_a_snapshot_is_what_was_published(client: Client, repo: str, cache_dir: Path) -> None:
    """Byte for byte, in the cache, with a report that adds up."""
    transfer = client.download_snapshot(repo)
    assert tree(Path(transfer)) == FILES
    assert Path(transfer).is_relative_to(cache_dir)
    assert Path(transfer).name == transfer.commit
    assert transfer.files == len(client.list_files(repo))
    assert transfer.bytes_total >= sum(map(len, FILES.values()))
    assert transfer.bytes_network > 3_000_000
    assert transfer.bytes_reused == transfer.retries == transfer.fallbacks == 0
    assert transfer.seconds > 0


def test_a_second_snapshot_costs_nothing(client: Client, repo: str, hub: Hub) -> None:
    """Not a byte from storage; all that was there is counted as reused."""
    first = client.download_snapshot(repo)
    sent = hub.stats().bytes_sent("storage")
    second = client.download_snapshot(repo)
    assert (second.path, second.bytes_network) == (first.path, 0)
    assert second.bytes_reused == second.bytes_total == first.bytes_total
    assert hub.stats().bytes_sent("storage") == sent
    assert client.download_snapshot(repo, local_files_only=True).path == first.path


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_was_published(client: Client, repo: str, name: str) -> None:
    """Nested, empty, with a Unicode name, small or large; and the transfer opens."""
    transfer = client.download_file(repo, name)
    with open(transfer, "rb") as file:  # noqa: PTH123 - what the docs promise
        assert file.read() == FILES[name]
    assert (transfer.files, transfer.bytes_total) == (1, len(FILES[name]))


def test_a_local_dir_receives_real_files(client: Client, repo: str, tmp_path: Path) -> None:
    """Under their names in the repo, and no links into a cache."""
    target = tmp_path / "target"
    transfer = client.download_snapshot(repo, local_dir=target)
    assert Path(transfer) == target
    assert tree(target) == FILES
    assert not [path for path in target.rglob("*") if path.is_symlink()]
    file = client.download_file(repo, "config.json", local_dir=str(tmp_path / "other"))
    assert Path(file) == tmp_path / "other" / "config.json"


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"allow_patterns": "*.json"}, {"config.json"}),
        ({"allow_patterns": ["onnx/", "*.md"]}, {"onnx/deep/er/model.onnx", "größe 文.md"}),
        ({"allow_patterns": []}, set()),
        ({"allow_patterns": None, "ignore_patterns": ["*"]}, set()),
        ({"ignore_patterns": ["model*", ".git*", "onnx/*"]}, {*FILES} - {*list(FILES)[3:]}),
    ],
)
def test_patterns_choose_files(
    client: Client, repo: str, tmp_path: Path, patterns: dict[str, Any], expected: set[str]
) -> None:
    """As huggingface_hub's do, the empty list included."""
    client.download_snapshot(repo, local_dir=tmp_path / "x", **patterns)
    assert {*tree(tmp_path / "x")} == expected


def test_revisions_are_kept_apart(client: Client, repo: str, hf_api: "HfApi") -> None:
    """By branch, by commit, and for each type of repo."""
    old = client.download_file(repo, "config.json")
    hf_api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repo)
    new = client.download_file(repo, "config.json")
    assert (Path(old).read_bytes(), Path(new).read_bytes()) == (FILES["config.json"], b"{}")
    again = client.download_file(repo, "config.json", revision=old.commit)
    assert again.path == old.path
    hf_api.create_repo(repo, repo_type="dataset")
    hf_api.upload_file(
        path_or_fileobj=b"d", path_in_repo="data.txt", repo_id=repo, repo_type="dataset"
    )
    names = [file.path for file in client.list_files(repo, repo_type="dataset")]
    assert "data.txt" in names
    assert "config.json" not in names


def test_forcing_fetches_again(client: Client, repo: str) -> None:
    """What is present and intact, too."""
    client.download_file(repo, "model.safetensors")
    assert client.download_file(repo, "model.safetensors").bytes_network == 0
    forced = client.download_file(repo, "model.safetensors", force_download=True)
    assert forced.bytes_network > 2_000_000


def test_progress_grows_to_the_end(client: Client, repo: str) -> None:
    """On the calling thread; the last report is the sum of all."""
    seen: list[Progress] = []
    threads: set[int] = set()

    def progress(now: Progress) -> None:
        seen.append(now)
        threads.add(threading.get_ident())

    transfer = client.download_snapshot(repo, progress=progress)
    assert threads == {threading.get_ident()}
    for name in ("bytes_completed", "bytes_network", "files_completed", "files_total"):
        values = [getattr(now, name) for now in seen]
        assert values == sorted(values)
    last = seen[-1]
    assert last.bytes_completed == last.bytes_total == transfer.bytes_total
    assert last.files_completed == last.files_total == transfer.files
    assert last.bytes_network == transfer.bytes_network
    assert last.phase == "finalizing"


def test_progress_true_draws_a_bar(
    client: Client, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, to the end, and leaves the line."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    transfer = client.download_snapshot(repo, progress=True)
    shown = terminal.getvalue()
    assert shown.endswith("\n")
    assert f"{transfer.files}/{transfer.files} files" in shown
    assert "100%" in shown


@pytest.mark.parametrize("how", ["event", "callable", "exception"])
def test_a_cancelled_download_leaves_no_file_and_no_lock(
    client: Client, repo: str, hub: Hub, cache_dir: Path, how: str
) -> None:
    """Whichever way it is cancelled: a download of the same file afterwards is complete."""
    hub.fault("storage", stall_after_bytes=500_000)
    event = threading.Event()

    def progress(now: Progress) -> None:
        if now.bytes_network:
            event.set()
            if how == "exception":
                raise LookupError

    ways: dict[str, Any] = {"event": event, "callable": event.is_set, "exception": None}
    with pytest.raises(LookupError if how == "exception" else CancelledError):
        client.download_file(repo, "model.safetensors", progress=progress, cancel=ways[how])
    assert event.is_set()
    assert not [path for path in cache_dir.rglob("model.safetensors") if path.exists()]
    hub.clear_faults()
    transfer = client.download_file(repo, "model.safetensors", timeout=30)
    assert Path(transfer).read_bytes() == FILES["model.safetensors"]


def test_missing_things_are_told_apart(client: Client, repo: str) -> None:
    """Repo, revision, file: each its own class, with what is missing in the message."""
    with pytest.raises(xet_ffi.RepoNotFoundError, match="alice/nothing"):
        client.list_files("alice/nothing")
    with pytest.raises(xet_ffi.RevisionNotFoundError, match="v9"):
        client.download_snapshot(repo, revision="v9")
    with pytest.raises(xet_ffi.EntryNotFoundError, match=r"nothing\.bin") as caught:
        client.download_file(repo, "nothing.bin")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.repo == repo
    with pytest.raises(xet_ffi.LocalEntryNotFoundError):
        client.download_file(repo, "config.json", local_files_only=True)


def test_a_flipped_byte_is_never_a_file(
    client: Client, repo: str, hub: Hub, cache_dir: Path
) -> None:
    """The error names the file, and nothing by its name is left."""
    hub.corrupt(repo, "model.safetensors", offset=1_000_000)
    with pytest.raises(xet_ffi.ChecksumMismatchError, match=r"model\.safetensors") as caught:
        client.download_file(repo, "model.safetensors")
    assert caught.value.file == "model.safetensors"
    assert not [path for path in cache_dir.rglob("model.safetensors") if path.exists()]
    hub.corrupt(repo, "model.safetensors", offset=1_000_000)
    assert Path(client.download_file(repo, "model.safetensors")).stat().st_size == 3_000_000


def test_tokens_decide_and_are_never_shown(
    hub: Hub,
    repo: str,
    tokens: dict[str, Token],
    cache_dir: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in errors, not in logs at their most talkative, not in repr, not on another host."""
    hub.set_settings(repo, private=True)
    caplog.set_level(5, "xet_ffi")
    wrong = Token("mallory", "hf_mallory_secret")
    shown: list[str] = []
    refused = ((tokens["carol"], xet_ffi.RepoNotFoundError), (wrong, xet_ffi.AuthError))
    for token, expected in refused:
        with Client(hub.endpoint, token.secret, cache_dir) as client:
            shown.append(repr(client))
            with pytest.raises(expected) as caught:
                client.download_snapshot(repo)
            shown += [repr(caught.value), str(caught.value), json.dumps(caught.value.details)]
    with Client(hub.endpoint, tokens["alice"].secret, cache_dir) as client:
        client.download_snapshot(repo)
        shown.append(repr(client))
    records = [record.getMessage() for record in caplog.records if record.name == "xet_ffi"]
    assert records
    everything = "\n".join([*shown, *records, *capfd.readouterr()])
    for secret in (tokens["alice"].secret, tokens["carol"].secret, wrong.secret):
        assert secret not in everything
    assert hub.stats().leaked_authorization == 0


def test_anonymous_means_without_the_token_of_the_environment(
    hub: Hub,
    repo: str,
    tokens: dict[str, Token],
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`token=False` sends none; None takes HF_TOKEN."""
    hub.set_settings(repo, private=True)
    monkeypatch.setenv("HF_TOKEN", tokens["alice"].secret)
    with Client(hub.endpoint, cache_dir=cache_dir) as client:
        assert client.list_files(repo)
    with (
        Client(hub.endpoint, token=False, cache_dir=cache_dir) as client,
        pytest.raises((xet_ffi.AuthError, xet_ffi.RepoNotFoundError)),
    ):
        client.list_files(repo)


def test_many_threads_share_a_client(client: Client, repo: str) -> None:
    """Each gets its own report and progress; the files are whole."""
    results: dict[int, bytes] = {}
    calls: dict[int, set[int]] = {index: set() for index in range(8)}
    # So that no thread has ended, and given its identity away, before the last one begins.
    all_begun = threading.Barrier(8)

    def work(index: int, name: str) -> None:
        all_begun.wait()

        def progress(_: Progress) -> None:
            calls[index].add(threading.get_ident())

        results[index] = Path(client.download_file(repo, name, progress=progress)).read_bytes()

    names = [*FILES, *FILES][:8]
    threads = [threading.Thread(target=work, args=item) for item in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {index: FILES[name] for index, name in enumerate(names)}
    assert len(set.union(*calls.values())) == 8


def test_nothing_of_a_client_outlives_it(
    hub: Hub, repo: str, tokens: dict[str, Token], tmp_path: Path
) -> None:
    """No open file, no socket, however many clients a service goes through."""

    def use(index: int) -> None:
        with Client(hub.endpoint, tokens["alice"].secret, tmp_path / f"cache{index}") as client:
            client.download_snapshot(repo)

    use(0)
    gc.collect()
    before = sorted(os.listdir("/dev/fd"))  # noqa: PTH208
    for index in range(1, 6):
        use(index)
    gc.collect()
    hub.stats()
    assert len(os.listdir("/dev/fd")) <= len(before) + 1  # noqa: PTH208


@pytest.fixture
def command(
    hub: Hub, tokens: dict[str, Token], cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """`python -m xet_ffi`, as alice."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", tokens["alice"].secret)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache_dir))
    logging.getLogger("xet_ffi").setLevel(logging.NOTSET)
    return lambda *arguments: main([*arguments])


def test_the_command_lists_and_downloads(
    command: Callable[..., int], repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The path, or JSON, is all that goes to stdout."""
    assert command("list", repo, "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert {*FILES} <= {file["path"] for file in listed}

    assert command("download", repo, "config.json") == 0
    path = Path(capsys.readouterr().out.removesuffix("\n"))
    assert path.read_bytes() == FILES["config.json"]

    assert command("download", repo, "--include", "*.onnx", "--quiet", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["bytes_total"]) == (1, 300_000)

    assert command("download", repo, "--include", "*.nothing") == 14
    assert "fits the patterns" in capsys.readouterr().err

    assert command("download", "alice/nothing") == 14
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "alice/nothing" in captured.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_the_command_shows_any_name_on_any_terminal(
    hub: Hub, hf_api: "HfApi", repo_id: str, tmp_path: Path, encoding: str
) -> None:
    """A file that came is no failure because its name can't be shown."""
    name = "\N{GREEK SMALL LETTER OMEGA}\N{SNOWMAN}.txt"
    publish(hf_api, repo_id, {name: b"x"})
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "HF_ENDPOINT": hub.endpoint}

    def run(*arguments: str) -> bytes:
        command = [sys.executable, "-m", "xet_ffi", *arguments]
        return subprocess.run(
            command, env=environment, cwd=sys.prefix, capture_output=True, check=True
        ).stdout

    shown = name.encode(encoding, "backslashreplace")
    came = run("download", repo_id, name, "--cache-dir", str(tmp_path))
    assert came.removesuffix(b"\n").endswith(shown)
    assert shown in run("list", repo_id)
    (path,) = tmp_path.rglob(name)
    assert path.read_bytes() == b"x"
