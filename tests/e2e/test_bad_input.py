"""Bad arguments fail by the name of the argument, before any request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from xet_ffi import Client, InvalidConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hub import Hub

REPO_IDS = [
    "",
    " ",
    "a/b/c",
    "/a",
    "a/",
    "a//b",
    "a b",
    "a--b/c",
    "a/b..c",
    "../a",
    "a/..",
    ".",
    "-a/b",
    "a/b.",
    "a/b.git",
    "ä/b",
    "a/b\n",
    "a/b?x=1",
    "a/b#c",
    "a%2Fb",
    "http://host/a/b",
    "a" * 97,
    "a/" + "b" * 97,
    "a" * 1_000_000,
]
REVISIONS = ["../main", "a/../b", "/main", "main/", "a//b", ".", "a\\b", "a\nb", "a" * 1025]
REPO_TYPES = ["Model", "bucket", "model ", "model/x", "x" * 1_000_000]
FILENAMES = [
    "",
    "../x",
    "/x",
    "a/../x",
    "a//x",
    "a/",
    ".",
    "./x",
    "..",
    "a\\..\\x",
    "C:\\x",
    "\\\\host\\share",
    "x" * 5000,
]

BAD = [
    *({"repo_id": value} for value in REPO_IDS),
    *({"revision": value} for value in REVISIONS),
    *({"repo_type": value} for value in REPO_TYPES),
]


@pytest.fixture
def client(hub: Hub, cache_dir: Path) -> Iterator[Client]:
    """A client that must send nothing and write nothing."""
    with Client(hub.endpoint, token=False, cache_dir=cache_dir) as client:
        yield client
    assert hub.stats().raw["requests"] == {}
    assert not cache_dir.exists()


def short(arguments: dict[str, str]) -> str:
    """A test id."""
    return " ".join(f"{name}={value[:20]!r}" for name, value in arguments.items())


@pytest.mark.parametrize("method", ["list_files", "download_file", "download_snapshot"])
@pytest.mark.parametrize("bad", BAD, ids=short)
def test_every_entry_point_names_the_bad_argument(
    client: Client, method: str, bad: dict[str, str]
) -> None:
    """Repo ids, revisions and types that can't be are refused by name, in few words."""
    arguments: dict[str, Any] = {"repo_id": "alice/repo", **bad}
    if method == "download_file":
        arguments["filename"] = "x"
    with pytest.raises(InvalidConfigError) as caught:
        getattr(client, method)(**arguments)
    (field,) = bad
    assert caught.value.field == field
    assert field in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("local", [False, True], ids=["cache", "local_dir"])
@pytest.mark.parametrize("filename", FILENAMES, ids=lambda name: repr(name[:20]))
def test_a_bad_file_name_is_refused(
    client: Client, tmp_path: Path, filename: str, local: bool
) -> None:
    """A file name that can't be one in a repo is refused by name, wherever it would go."""
    folder = tmp_path / "local" if local else None
    with pytest.raises(InvalidConfigError) as caught:
        client.download_file("alice/repo", filename, local_dir=folder)
    assert caught.value.field == "filename"
    assert not (tmp_path / "local").exists()


@pytest.mark.parametrize("name", ["repo_id", "revision", "repo_type", "filename", "local_dir"])
def test_text_that_c_cannot_carry_is_refused(client: Client, name: str) -> None:
    """A NUL inside and an unpaired surrogate have no form in C; the error names the argument."""
    for text in ("a\0b", "a\udc80b"):
        arguments: dict[str, Any] = {"repo_id": "alice/repo", "filename": "x", name: text}
        if name == "local_dir" and "\udc80" in text:
            continue  # a path of bytes, as the operating system hands them out
        with pytest.raises(ValueError, match=name):
            client.download_file(**arguments)


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), float("inf")])
def test_a_timeout_that_is_none_is_refused(client: Client, timeout: float) -> None:
    """Negative and endless limits are mistakes, not defaults."""
    with pytest.raises(ValueError, match="timeout"):
        client.download_snapshot("alice/repo", timeout=timeout)
