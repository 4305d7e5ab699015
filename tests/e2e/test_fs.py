"""The file system: what it asks for, what becomes a commit, and where it may be used."""

# ruff: noqa: SLF001 - fsspec's coroutines have an underscore
# ruff: noqa: PT012, PT031, SIM117 - what is raised ends a block that has begun

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from published import commit, noise, publish
from xet_ffi import OfflineError
from xet_ffi.fs import XetFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub, Token

FILES = {
    "a.txt": b"a",
    "data/1.bin": noise(300_000, 1),
    "data/2.bin": noise(200_000, 2),
    "data/deep/3.txt": b"three",
}


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A repo with a few files."""
    publish(hf_api, repo_id, FILES)
    return repo_id


@pytest.fixture
def commits(hf_api: HfApi, repo: str) -> Callable[[], list[str]]:
    """Titles of the commits that were made since the repo was published, the first one first."""
    before = len(hf_api.list_repo_commits(repo))

    def titles() -> list[str]:
        return [c.title for c in hf_api.list_repo_commits(repo)[::-1]][before:]

    return titles


def content(api: HfApi, repo: str, path: str, **options: Any) -> bytes:
    """What the official client finds."""
    from pathlib import Path

    return Path(api.hf_hub_download(repo, path, **options)).read_bytes()


# What it asks for.


def test_a_revision_is_listed_once(
    hub: Hub, new_fs: Callable[..., XetFileSystem], repo: str
) -> None:
    """By whichever calls, threads and instances of the same options."""
    fs = new_fs()
    fs.ls(repo)
    fs.find(repo)
    fs.glob(f"{repo}/**/*.bin")
    fs.info(f"{repo}/data/1.bin")
    list(fs.walk(repo))
    others = [threading.Thread(target=lambda: new_fs().ls(repo)) for _ in range(8)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert hub.stats().requests("hub", "tree") == 1


def test_who_reads_or_writes_one_file_lists_nothing(
    hub: Hub, fs: XetFileSystem, repo: str, tmp_path: Path
) -> None:
    """A repo may have a million of them."""
    path = f"{repo}/data/1.bin"
    assert fs.cat_file(path) == FILES["data/1.bin"]
    fs.get_file(path, str(tmp_path / "got"))
    with fs.open(path) as file:
        file.read(10)
    fs.pipe_file(path, b"new")
    fs.put_file(str(tmp_path / "got"), path)
    with fs.open(f"{repo}/b.txt", "xb") as file:
        file.write(b"b")
    with fs.open(f"{repo}/b.txt", "ab") as file:
        file.write(b"c")
    with pytest.raises(FileExistsError):
        fs.open(f"{repo}/b.txt", "xb")
    with pytest.raises(FileExistsError):
        fs.pipe_file(f"{repo}/b.txt", b"", mode="create")
    fs.rm_file(f"{repo}/a.txt")
    assert fs.cat_file(f"{repo}/b.txt") == b"bc"
    assert hub.stats().requests("hub", "tree") == 0
    with pytest.raises(IsADirectoryError):
        fs.rm_file(f"{repo}/data")
    fs.invalidate_cache()
    fs.get_file(f"{repo}/data", str(tmp_path / "folder"))
    assert (tmp_path / "folder").is_dir()
    assert not list(tmp_path.glob(".xet-ffi-*"))


def test_many_threads_that_begin_together_list_once(
    hub: Hub, new_fs: Callable[..., XetFileSystem], repo: str
) -> None:
    """One lists, the others wait for it."""
    fs = new_fs()
    hub.delay(0.2, "hub")
    found = asyncio.run(_gather(new_fs(asynchronous=True), repo))
    hub.delay()
    assert found == [fs.ls(repo)] * 100
    assert hub.stats().requests("hub", "tree") == 1


async def _gather(fs: XetFileSystem, repo: str) -> list[Any]:
    return list(await asyncio.gather(*(fs._ls(repo) for _ in range(100))))


def test_what_others_write_is_seen_when_it_is_asked_for(
    fs: XetFileSystem, hf_api: HfApi, repo: str
) -> None:
    """Until then all that is read is of one commit."""
    assert fs.cat_file(f"{repo}/a.txt") == b"a"
    fs.ls(repo)
    commit(hf_api, repo, {"a.txt": b"changed", "new.txt": b"new"})
    assert fs.cat_file(f"{repo}/a.txt") == b"a"
    with fs.open(f"{repo}/a.txt") as file:
        assert file.read() == b"a"
    assert not fs.exists(f"{repo}/new.txt")
    assert fs.exists(f"{repo}/new.txt", refresh=True)
    fs.invalidate_cache(f"{repo}/whatever")
    assert fs.cat_file(f"{repo}/a.txt") == b"changed"
    commit(hf_api, repo, {"a.txt": b"again"})
    fs.invalidate_cache()
    assert fs.cat_file(f"{repo}/a.txt") == b"again"


def test_what_is_read_again_opens_nothing(hub: Hub, fs: XetFileSystem, repo: str) -> None:
    """Parts of a file, one after the other: the Hub is asked once."""
    path = f"{repo}/data/1.bin"
    for start in range(0, 300_000, 50_000):
        right = FILES["data/1.bin"][start : start + 100]
        assert fs.cat_file(path, start=start, end=start + 100) == right
    assert hub.stats().requests("hub", "resolve") == 1


def test_ranges_of_many_files(fs: XetFileSystem, repo: str) -> None:
    """Each file is opened once; what can't be had is in its place, or raised."""
    names = ["data/1.bin", "data/2.bin", "data/1.bin", "a.txt", "data/2.bin"]
    paths = [f"{repo}/{name}" for name in names]
    starts: list[int | None] = [0, 10, -100, None, 100_000]
    ends: list[int | None] = [10, 20, None, None, 150_000]
    right = [FILES[name][s:e] for name, s, e in zip(names, starts, ends, strict=True)]
    assert fs.cat_ranges(paths, starts, ends) == right
    assert fs.cat_ranges(paths, 0, 1) == [FILES[name][:1] for name in names]
    assert fs.cat_ranges([], [], []) == []
    wrong = [*paths, f"{repo}/nothing"]
    found = fs.cat_ranges(wrong, 0, 1)
    assert isinstance(found.pop(), FileNotFoundError)
    assert found == [FILES[name][:1] for name in names]
    with pytest.raises(FileNotFoundError, match="nothing"):
        fs.cat_ranges(wrong, 0, 1, on_error="raise")
    with pytest.raises(ValueError, match="as many"):
        fs.cat_ranges(paths, [1], [2])


def test_a_hub_that_cant_be_asked_is_an_error(
    new_fs: Callable[..., XetFileSystem], repo: str
) -> None:
    """Whether a file is there isn't known then; HfFileSystem would say that it isn't."""
    fs = new_fs(offline=True)
    for call in (fs.exists, fs.isdir, fs.isfile):
        with pytest.raises(OfflineError):
            call(f"{repo}/a.txt")


def test_files_that_are_got_are_the_files(fs: XetFileSystem, repo: str, tmp_path: Path) -> None:
    """One or a folder of them; nothing else is left beside them, and the callback hears of it."""
    callback = fsspec.callbacks.Callback()
    fs.get_file(f"{repo}/data/1.bin", str(tmp_path / "new" / "1.bin"), callback=callback)
    assert (tmp_path / "new" / "1.bin").read_bytes() == FILES["data/1.bin"]
    assert (callback.size, callback.value) == (300_000, 300_000)
    fs.get(repo, str(tmp_path / "all"), recursive=True)
    found = {
        path.relative_to(tmp_path / "all").as_posix(): path.read_bytes()
        for path in (tmp_path / "all").rglob("*")
        if path.is_file() and path.name != ".gitattributes"
    }
    assert found == FILES
    with (tmp_path / "stream").open("wb") as target:
        fs.get_file(f"{repo}/data/2.bin", target)
    assert (tmp_path / "stream").read_bytes() == FILES["data/2.bin"]
    with pytest.raises(FileNotFoundError):
        fs.get_file(f"{repo}/nothing", str(tmp_path / "nothing"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


# What becomes a commit.


def test_each_call_is_one_commit(
    fs: XetFileSystem, hf_api: HfApi, repo: str, commits: Callable[[], list[str]], tmp_path: Path
) -> None:
    """However many files it's about, and whatever it says of itself."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("x", "y", "sub/z"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    fs.put(str(tmp_path / "in"), f"{repo}/put", recursive=True, commit_message="Put")
    fs.pipe({f"{repo}/pipe/{i}": b"%d" % i for i in range(5)}, commit_message="Pipe")
    fs.copy(f"{repo}/data/", f"{repo}/copy/", recursive=True, commit_message="Copy")
    fs.mv(f"{repo}/put/", f"{repo}/moved/", recursive=True, commit_message="Move")
    fs.rm(f"{repo}/pipe", recursive=True, commit_message="Remove")
    fs.rm([f"{repo}/copy/1.bin", f"{repo}/copy/2.bin"], commit_message="Remove two")
    fs.mv(f"{repo}/a.txt", f"{repo}/b.txt", commit_message="Move one")
    with fs.open(f"{repo}/written.txt", "wb", commit_message="Write") as file:
        file.write(b"written")
    assert commits() == [
        "Put", "Pipe", "Copy", "Move", "Remove", "Remove two", "Move one", "Write",
    ]  # fmt: skip
    right = {
        **{path: data for path, data in FILES.items() if path != "a.txt"},
        "b.txt": b"a",
        "copy/deep/3.txt": b"three",
        "moved/x": b"x",
        "moved/y": b"y",
        "moved/sub/z": b"sub/z",
        "written.txt": b"written",
    }
    assert {p: content(hf_api, repo, p) for p in right} == right
    found = {path.removeprefix(f"{repo}/") for path in fs.find(repo)}
    assert found == {*right, ".gitattributes"}
    assert fs.cat(f"{repo}/moved", recursive=True) == {
        f"{repo}/moved/{name}": name.encode() for name in ("x", "y", "sub/z")
    }


def test_what_is_written_is_read(fs: XetFileSystem, repo: str) -> None:
    """By all calls, at once."""
    path = f"{repo}/a.txt"
    assert fs.cat_file(path) == b"a"
    assert fs.info(path)["size"] == 1
    fs.pipe_file(path, b"other")
    assert (fs.cat_file(path), fs.info(path)["size"]) == (b"other", 5)
    fs.rm(path)
    assert not fs.exists(path)
    with pytest.raises(FileNotFoundError):
        fs.cat_file(path)
    for wrong in (path, f"{repo}/no/folder"):
        with pytest.raises(FileNotFoundError):
            fs.rm(wrong)
        with pytest.raises(FileNotFoundError):
            fs.cp_file(wrong, f"{repo}/copy")
    with pytest.raises(IsADirectoryError):
        fs.rm(f"{repo}/data")
    with pytest.raises(IsADirectoryError):
        fs.open(f"{repo}/data", "wb")


def test_appending(fs: XetFileSystem, hf_api: HfApi, repo: str) -> None:
    """Goes behind what is there, or begins; text and lines work as everywhere."""
    with fs.open(f"{repo}/data/1.bin", "ab") as file:
        assert file.tell() == 300_000
        file.write(b"more")
    assert content(hf_api, repo, "data/1.bin") == FILES["data/1.bin"] + b"more"
    with fs.open(f"{repo}/log.txt", "a") as text:
        text.write("one\n")
    with fs.open(f"{repo}/log.txt", "a") as text:
        text.write("two\n")
    with fs.open(f"{repo}/log.txt", "r") as text:
        assert list(text) == ["one\n", "two\n"]
    with fs.open(f"{repo}/zipped.txt.gz", "wt", compression="infer") as text:
        text.write("zipped")
    with fs.open(f"{repo}/zipped.txt.gz", "rt", compression="infer") as text:
        assert text.read() == "zipped"
    for mode in ("r+b", "w+b", "a+b"):
        with pytest.raises(ValueError, match="mode"):
            fs.open(f"{repo}/a.txt", mode)


class OwnError(Exception):
    """A test's."""


def test_half_a_file_is_no_commit(
    fs: XetFileSystem,
    repo: str,
    commits: Callable[[], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One whose `with` an exception has left, or that nobody has closed; nothing is left of it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OwnError), fs.open(f"{repo}/half", "wb") as file:
        file.write(b"half")
        raise OwnError
    left = fs.open(f"{repo}/half", "wb")
    left.write(b"half")
    with pytest.warns(ResourceWarning, match="no commit was made"):
        del left
        gc.collect()
    assert commits() == []
    assert not fs.exists(f"{repo}/half")
    assert list(tmp_path.glob("xet-ffi-*")) == []


@pytest.mark.parametrize("how", [("w", None), ("wt", "gzip"), ("wb", "gzip")])
def test_what_is_around_a_file_knows_when_it_is_half(
    fs: XetFileSystem,
    repo: str,
    commits: Callable[[], list[str]],
    how: tuple[str, str | None],
) -> None:
    """Text and what is compressed, too."""
    mode, compression = how
    data: Any = b"whole" if "b" in mode else "whole"
    with pytest.raises(OwnError), fs.open(f"{repo}/half", mode, compression=compression) as file:
        file.write(data)
        raise OwnError
    assert commits() == []
    with fs.open(f"{repo}/whole", mode, compression=compression) as file:
        file.write(data)
    assert len(commits()) == 1
    with fs.open(f"{repo}/whole", mode.replace("w", "r"), compression=compression) as file:
        assert file.read() == data


def test_a_commit_that_fails_is_an_error_of_close(
    new_fs: Callable[..., XetFileSystem], tokens: dict[str, Token], repo: str
) -> None:
    """And the file is closed then."""
    fs = new_fs(token=tokens["bob"].secret)
    file = fs.open(f"{repo}/a.txt", "wb")
    file.write(b"mine")
    with pytest.raises(PermissionError):
        file.close()
    assert file.closed
    with pytest.raises(PermissionError):
        fs.pipe_file(f"{repo}/a.txt", b"mine")
    assert fs.cat_file(f"{repo}/a.txt") == b"a"


def test_a_transaction_is_one_commit(
    fs: XetFileSystem, hf_api: HfApi, repo: str, commits: Callable[[], list[str]], tmp_path: Path
) -> None:
    """Of all that is written in it, in order; what it has written counts within it, too."""
    (tmp_path / "file").write_bytes(b"from here")
    with fs.transaction as transaction:
        transaction.commit_message = "All of it"
        with fs.open(f"{repo}/new/1", "wb") as file:
            file.write(b"one")
        open_still = fs.open(f"{repo}/new/2", "wb")
        open_still.write(b"two")
        fs.pipe_file(f"{repo}/new/3", b"three")
        fs.put_file(str(tmp_path / "file"), f"{repo}/new/4")
        fs.rm(f"{repo}/data/1.bin")
        fs.cp_file(f"{repo}/new/3", f"{repo}/new/5")
        fs.rm(f"{repo}/new/3")
        fs.mv(f"{repo}/data/2.bin", f"{repo}/new/6")
        fs.rm(f"{repo}/a.txt")
        fs.pipe_file(f"{repo}/a.txt", b"anew")
        with pytest.raises(FileNotFoundError):
            fs.rm(f"{repo}/new/3")
        assert not fs.exists(f"{repo}/new/1")
    assert commits() == ["All of it"]
    right = {
        "new/1": b"one",
        "new/2": b"two",
        "new/4": b"from here",
        "new/5": b"three",
        "new/6": FILES["data/2.bin"],
        "a.txt": b"anew",
        "data/deep/3.txt": b"three",
    }
    assert {path.removeprefix(f"{repo}/") for path in fs.find(repo)} == {*right, ".gitattributes"}
    assert {p: content(hf_api, repo, p) for p in right} == right
    fs.pipe_file(f"{repo}/after", b"")
    assert len(commits()) == 2


def test_a_transaction_that_fails_changes_nothing(
    fs: XetFileSystem,
    repo: str,
    commits: Callable[[], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By an exception in it, or since the commit is refused; the next one is a new one."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OwnError), fs.transaction:
        with fs.open(f"{repo}/one", "wb") as file:
            file.write(b"one")
        fs.rm(f"{repo}/a.txt")
        raise OwnError
    with pytest.raises(FileNotFoundError), fs.transaction:
        with fs.open(f"{repo}@nothing/one", "wb") as file:
            file.write(b"one")
    assert commits() == []
    assert list(tmp_path.glob("xet-ffi-*")) == []
    with fs.transaction:
        fs.pipe_file(f"{repo}/two", b"two")
    assert len(commits()) == 1
    assert fs.exists(f"{repo}/a.txt")


def test_copies_between_repos_and_revisions(
    fs: XetFileSystem, hf_api: HfApi, repo: str, hub: Hub
) -> None:
    """Content that the Hub has isn't sent again."""
    other = f"{repo}-other"
    hf_api.create_repo(other, repo_type="dataset")
    hf_api.create_branch(repo, branch="next")
    fs.cp(f"{repo}/data/1.bin", f"{repo}@next/copied.bin")
    assert content(hf_api, repo, "copied.bin", revision="next") == FILES["data/1.bin"]
    xorbs = hub.stats().xorbs_received
    fs.cp(f"{repo}/data/", f"datasets/{other}/data/", recursive=True)
    assert hub.stats().xorbs_received == xorbs
    assert content(hf_api, other, "data/2.bin", repo_type="dataset") == FILES["data/2.bin"]
    assert len(hf_api.list_repo_commits(other, repo_type="dataset")) == 2
    fs.mv(f"{repo}@next/copied.bin", f"datasets/{other}/moved.bin")
    assert not fs.exists(f"{repo}@next/copied.bin")
    assert fs.cat_file(f"datasets/{other}/moved.bin") == FILES["data/1.bin"]


# Where it may be used.


def test_fsspec_knows_it(hub: Hub, repo: str, tokens: dict[str, Token]) -> None:
    """By its protocol, as the entry point says; instances of the same options are the same."""
    options = {"endpoint": hub.endpoint, "token": tokens["alice"].secret}
    fs, path = fsspec.url_to_fs(f"xet://{repo}/a.txt", **options)
    assert (type(fs), path) == (XetFileSystem, f"{repo}/a.txt")
    assert fs is fsspec.filesystem("xet", **options)
    assert fs.unstrip_protocol(path) == f"xet://{path}"
    with fsspec.open(f"xet://{repo}/a.txt", "r", **options) as file:
        assert file.read() == "a"
    assert fs.url(f"{repo}/a.txt") == f"{hub.endpoint}/{repo}/resolve/main/a.txt"
    assert fs.url(f"{repo}/data") == f"{hub.endpoint}/{repo}/tree/main/data"


def test_pickles_find_their_way(fs: XetFileSystem, repo: str) -> None:
    """The file system, and a file that is open: at its commit, where it was."""
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat_file(f"{repo}/a.txt") == b"a"
    assert pickle.loads(pickle.dumps(again)) is again
    with fs.open(f"{repo}/data/1.bin") as file:
        file.seek(1_000)
        stored = pickle.dumps(file)
        assert (file.name, file.full_name) == (f"{repo}/data/1.bin", f"xet://{repo}/data/1.bin")
    fs.pipe_file(f"{repo}/data/1.bin", b"changed")
    with pickle.loads(stored) as file:
        assert file.read(100) == FILES["data/1.bin"][1_000:1_100]


def test_a_forked_process_goes_on(fs: XetFileSystem, repo: str) -> None:
    """With what its parent had made; fsspec's own would refuse."""
    assert fs.cat_file(f"{repo}/a.txt") == b"a"
    file = fs.open(f"{repo}/data/1.bin")
    child = os.fork()
    if child == 0:
        try:
            right = [
                fs.cat_file(f"{repo}/a.txt") == b"a",
                fs.cat_ranges([f"{repo}/a.txt"], [0], [1]) == [b"a"],
                len(fs.find(f"{repo}/data")) == 3,
                file.read(9) == FILES["data/1.bin"][:9],
            ]
            os._exit(0 if all(right) else 1)
        except BaseException:  # noqa: BLE001 - the parent hears of it
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert fs.cat_file(f"{repo}/a.txt") == b"a"


def test_coroutines_of_any_loop(new_fs: Callable[..., XetFileSystem], repo: str) -> None:
    """An asynchronous one is called from a running loop, and from the next one."""
    fs = new_fs(asynchronous=True)

    async def use(number: int) -> None:
        await fs._pipe_file(f"{repo}/async/{number}", b"%d" % number)
        names = await fs._find(f"{repo}/data")
        found = await asyncio.gather(*(fs._cat_file(name) for name in names))
        assert found == [FILES[name.removeprefix(f"{repo}/")] for name in names]
        assert [name async for name in fs._walk(f"{repo}/async")]

    for number in range(2):
        asyncio.run(use(number))


@pytest.mark.parametrize("call", ["get_file(path, target)", "cat_ranges([path], [0], [200_000])"])
def test_ctrl_c_ends_the_process(
    hub: Hub, repo: str, tokens: dict[str, Token], tmp_path: Path, call: str
) -> None:
    """Though fsspec lets the coroutine of an interrupted call go on: nobody waits for it."""
    hub.fault("storage", drip=1_000)
    program = f"""if True:
        from xet_ffi.fs import XetFileSystem
        fs = XetFileSystem(cache_dir={str(tmp_path / "cache")!r})
        path, target = {f"{repo}/data/1.bin"!r}, {str(tmp_path / "target")!r}
        print("ready", flush=True)
        fs.{call}"""
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": tokens["alice"].secret}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | variables, **streams
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    hub.wait_for(lambda stats: stats.in_flight("storage") > 0, "bytes to be on their way")
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)
    assert running.returncode == -signal.SIGINT
    assert said.rstrip().endswith(b"KeyboardInterrupt")
    assert not (tmp_path / "target").exists()
    assert not list(tmp_path.glob(".xet-ffi-*"))


def test_a_cancelled_coroutine_ends_its_call(
    hub: Hub, new_fs: Callable[..., XetFileSystem], repo: str
) -> None:
    """In the library, too."""
    hub.fault("storage", drip=1_000)
    fs = new_fs(asynchronous=True)

    async def use() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(fs._cat_file(f"{repo}/data/1.bin"), 0.5)

    asyncio.run(use())
    hub.wait_for(lambda stats: stats.in_flight("storage") == 0, "no request to be left")
