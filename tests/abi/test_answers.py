"""What C is told of a client, a revision, each file of a transfer, and a struct it got wrong."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from abi.toolchain import ffi, shared_library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from abi.conftest import Published

FFI = ffi()
HASHES = {0: None, 1: "git", 2: "sha256", 3: "xet"}


class FailedError(Exception):
    """A function of the library returned an error."""

    def __init__(self, code: int, message: str, details: dict[str, Any]) -> None:
        """Keeps the three parts of a XetError."""
        super().__init__(message)
        self.code = code
        self.details = details


def text(pointer: Any) -> str | None:
    """A string of the library's; None for NULL."""
    return None if pointer == FFI.NULL else FFI.string(pointer).decode()


class Library:
    """The library, called as C calls it."""

    def __init__(self) -> None:
        """Opens it."""
        self.lib = FFI.dlopen(str(shared_library()))
        self._kept: list[Any] = []

    def fill(self, kind: str, **fields: Any) -> Any:
        """A struct with these fields; strings live as long as the library."""
        struct = FFI.new(f"{kind} *")
        if FFI.typeof(kind).fields[0][0] == "struct_size":
            struct.struct_size = FFI.sizeof(kind)
        for name, value in fields.items():
            is_text = isinstance(value, (str, os.PathLike))
            kept = FFI.new("char[]", os.fsencode(value)) if is_text else value
            self._kept.append(kept)
            setattr(struct, name, kept)
        return struct

    def call(self, name: str, kind: str, *arguments: Any) -> Any:
        """Calls a function whose last parameter is an out-parameter, and returns what it gives."""
        out = FFI.new(f"{kind} *")
        error = getattr(self.lib, name)(*arguments, out)
        if error == FFI.NULL:
            return out[0]
        failed = FailedError(
            error.code, text(error.message) or "", json.loads(text(error.details) or "")
        )
        self.lib.xet_free_error(error)
        raise failed

    def client(self, **fields: Any) -> Any:
        """A client."""
        options = self.fill("XetClientOptions", **fields)
        return self.call("xet_client_create", "XetClient *", options)

    def info(self, client: Any) -> dict[str, Any]:
        """What a client works with."""
        info = self.call("xet_client_info", "XetClientInfo *", client)
        assert info.struct_size == FFI.sizeof("XetClientInfo")
        values = {name: getattr(info, name) for name, _ in FFI.typeof("XetClientInfo").fields}
        shown = {
            name: value if isinstance(value, int) else text(value) for name, value in values.items()
        }
        self.lib.xet_client_info_free(info)
        return shown

    def download(self, client: Any, repo_id: str, **fields: Any) -> dict[str, dict[str, Any]]:
        """Downloads; the files of the report, by their paths."""
        options = self.fill("XetDownloadOptions", repo_id=repo_id, **fields)
        report = self.call("xet_client_download", "XetTransfer *", client, options, FFI.NULL)
        files = {}
        for index in range(report.files):
            file = report.file_transfers[index]
            files[text(file.path) or ""] = {
                "local_path": text(file.local_path),
                "hash": (HASHES[file.hash_kind], text(file.hash)),
                "verified": file.verified,
            }
        self.lib.xet_transfer_free(report)
        return files


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    """The library, in an environment without anything of the user's."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "XET_FFI_TRANSPORT", "TRANSFORMERS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return Library()


@pytest.fixture
def client(library: Library, published: Published, cache_dir: Path) -> Iterator[Any]:
    """A client of the hub."""
    client = library.client(
        endpoint=published.hub.endpoint, token=published.token, cache_dir=cache_dir
    )
    yield client
    library.lib.xet_client_free(client)


# ---- a client ----


def test_a_client_says_what_it_was_told(library: Library, tmp_path: Path) -> None:
    """Endpoint, folders, transport, and that the token was an argument, but not which."""
    client = library.client(
        endpoint="https://hub.example/mirror/",
        token="hf_never_shown",
        cache_dir=tmp_path / "cache",
        transport=library.lib.XET_TRANSPORT_HTTP,
        max_concurrent_downloads=3,
        flags=library.lib.XET_CLIENT_OFFLINE,
    )
    info = library.info(client)
    assert info == {
        "struct_size": FFI.sizeof("XetClientInfo"),
        "flags": library.lib.XET_CLIENT_OFFLINE,
        "endpoint": "https://hub.example/mirror",
        "cache_dir": str(tmp_path / "cache"),
        "xet_cache_dir": str(tmp_path / "home" / "xet"),
        "token_source": "argument",
        "transport": library.lib.XET_TRANSPORT_HTTP,
        "max_concurrent_downloads": 3,
    }
    assert "hf_never_shown" not in repr(info)
    library.lib.xet_client_free(client)


def test_a_client_says_what_the_environment_told_it(
    library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Variables of huggingface_hub count, and afterwards their changes don't."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    client = library.client()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:10")
    info = library.info(client)
    assert info["endpoint"] == "http://127.0.0.1:9"
    assert (info["cache_dir"], info["xet_cache_dir"]) == (f"{tmp_path}/hub", f"{tmp_path}/xet")
    flags = library.lib.XET_CLIENT_OFFLINE | library.lib.XET_CLIENT_ANONYMOUS
    assert (info["flags"], info["transport"]) == (flags, library.lib.XET_TRANSPORT_HTTP)
    library.lib.xet_client_free(client)


def test_a_client_says_whose_token_it_has(
    library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The variable, or the file, that the token was found in; "none" where there is none."""

    def source(**fields: Any) -> tuple[Any, bool]:
        client = library.client(**fields)
        info = library.info(client)
        library.lib.xet_client_free(client)
        return info["token_source"], bool(info["flags"] & library.lib.XET_CLIENT_ANONYMOUS)

    assert source() == ("none", True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("hf_of_the_file\n")
    assert source() == (str(tmp_path / "home" / "token"), False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN_PATH", "home/token")
    assert source() == (str(tmp_path / "home" / "token"), False)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_of_the_older_variable")
    assert source() == ("HUGGING_FACE_HUB_TOKEN", False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_variable")
    assert source() == ("HF_TOKEN", False)
    assert source(token="hf_of_the_caller") == ("argument", False)
    assert source(flags=library.lib.XET_CLIENT_ANONYMOUS) == ("none", True)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert source() == ("none", True)


# ---- a revision ----


def test_a_revision_alone_can_be_resolved(
    library: Library, client: Any, published: Published
) -> None:
    """A branch costs one request, a commit none; nothing is listed."""
    published.hub.reset_stats()
    for revision in ("main", "", published.commit):
        options = library.fill("XetListOptions", repo_id=published.repo_id, revision=revision)
        commit = library.call("xet_client_resolve", "char *", client, options, FFI.NULL)
        assert text(commit) == published.commit
        library.lib.xet_free_string(commit)
    assert published.hub.stats().requests("hub") == 2


def test_a_revision_that_is_not_there_is_an_error(
    library: Library, client: Any, published: Published
) -> None:
    """It has the code and the kind of a listing of it."""
    options = library.fill("XetListOptions", repo_id=published.repo_id, revision="nothing")
    with pytest.raises(FailedError) as failed:
        library.call("xet_client_resolve", "char *", client, options, FFI.NULL)
    assert failed.value.code == library.lib.XET_CODE_NOT_FOUND
    assert failed.value.details["kind"] == "revision_not_found"


# ---- the files of a transfer ----


def etags(published: Published) -> dict[str, tuple[str, str]]:
    """The hash by which the cache knows each file."""
    content = published.files["model.bin"]
    plain = {path: ("git", published.git_blob_id(path)) for path in published.files}
    return plain | {"model.bin": ("sha256", hashlib.sha256(content).hexdigest())}


@pytest.mark.parametrize("transport", ["xet", "http"])
def test_a_file_says_where_it_is_and_what_it_was_checked_by(
    library: Library, published: Published, cache_dir: Path, transport: str
) -> None:
    """A Xet file by its Merkle hash either way; again, nothing is hashed, and that is said."""
    client = library.client(
        endpoint=published.hub.endpoint,
        cache_dir=cache_dir,
        transport=getattr(library.lib, f"XET_TRANSPORT_{transport.upper()}"),
    )
    snapshot = cache_dir / "models--alice--abi" / "snapshots" / published.commit
    known = etags(published)
    files = library.download(client, published.repo_id)
    assert files.keys() == published.files.keys()
    for path, file in files.items():
        assert file["local_path"] == str(snapshot / path)
        assert file["verified"] == 1, path
        if path == "model.bin":
            kind, digits = file["hash"]
            assert (kind, len(digits)) == ("xet", 64)
            assert file["hash"] != known[path]
        else:
            assert file["hash"] == known[path]
    flag = library.lib.XET_DOWNLOAD_LOCAL_FILES_ONLY
    for again in ({}, {"flags": flag}):
        present = library.download(client, published.repo_id, **again)
        assert present == {
            path: {"local_path": str(snapshot / path), "hash": known[path], "verified": 0}
            for path in published.files
        }
    one = library.download(client, published.repo_id, filename="README.md")
    assert one == {"README.md": present["README.md"]}
    library.lib.xet_client_free(client)


def test_the_xet_hash_of_a_file_is_the_listed_one(
    library: Library, client: Any, published: Published
) -> None:
    """What a file was checked by is what the Hub had published for it."""
    options = library.fill("XetListOptions", repo_id=published.repo_id)
    listing = library.call("xet_client_list_files", "XetEntryList *", client, options, FFI.NULL)
    entries = [listing.entries[index] for index in range(listing.count)]
    hashes = {text(entry.path): text(entry.xet_hash) for entry in entries}
    assert text(listing.commit) == published.commit
    library.lib.xet_entry_list_free(listing)
    files = library.download(client, published.repo_id, filename="model.bin")
    assert files["model.bin"]["hash"] == ("xet", hashes["model.bin"])


def test_a_file_in_a_folder_says_where_it_is(
    library: Library, client: Any, published: Published, tmp_path: Path
) -> None:
    """With a local_dir, in it: fetched, then present, then without the Hub."""
    folder = tmp_path / "local"
    fetched = library.download(client, published.repo_id, local_dir=folder)
    assert {file["local_path"] for file in fetched.values()} == {
        str(folder / path) for path in published.files
    }
    assert {file["verified"] for file in fetched.values()} == {1}
    present = library.download(client, published.repo_id, local_dir=folder)
    assert {path: file["hash"] for path, file in present.items()} == etags(published)
    assert {file["verified"] for file in present.values()} == {0}
    offline = library.download(
        client,
        published.repo_id,
        local_dir=folder,
        filename="README.md",
        flags=library.lib.XET_DOWNLOAD_LOCAL_FILES_ONLY,
    )
    assert offline == {
        "README.md": {
            "local_path": str(folder / "README.md"),
            "hash": (None, None),
            "verified": 0,
        }
    }


# ---- a struct that is wrong ----


def test_the_size_of_a_pointer_is_not_taken_for_defaults(library: Library) -> None:
    """Nobody loses endpoint and token by writing sizeof of the wrong thing."""
    options = library.fill("XetClientOptions", endpoint="http://127.0.0.1:9", token="hf_x")
    options.struct_size = FFI.sizeof("void *")
    with pytest.raises(
        FailedError, match=r"is 8, which no version of XetClientOptions has"
    ) as failed:
        library.call("xet_client_create", "XetClient *", options)
    assert failed.value.code == library.lib.XET_CODE_INVALID_CONFIG
    assert failed.value.details["field"] == "options.struct_size"
