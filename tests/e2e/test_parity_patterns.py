"""Patterns select what they select in huggingface_hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.utils._paths import filter_repo_objects
from hypothesis import given, settings
from hypothesis import strategies as st

from picture import contents
from published import publish
from xet_ffi import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub

REPO = "alice/patterns"

#: Sizes are powers of two, so that a sum of sizes says which files were taken.
PATHS = (
    "config.json",
    "Config.JSON",
    "model.safetensors",
    "model-00001-of-2.safetensors",
    "NOTES.md",
    ".hidden",
    "a/config.json",
    "a/b/config.json",
    "a/b/c.bin",
    "ab/c.bin",
    "a[1].txt",
    "a1.txt",
    "ünï.txt",
    "x y.txt",
)
FILES = {path: b"x" * (1 << i) for i, path in enumerate(PATHS)}

Patterns = list[str] | str | None


class Case(NamedTuple):
    """Arguments of both tools."""

    allow: Patterns
    ignore: Patterns = None


CASES = [
    Case(None),
    Case("*.json"),
    Case(["*.json", "*.md"]),
    Case(["*.JSON"]),
    Case("a/"),
    Case("a"),
    Case(["a/*"], ["*.bin"]),
    Case(None, ["*.safetensors", "a/b/"]),
    Case("*", "*"),
    Case([]),
    Case(None, []),
    Case(["[ab]/*"]),
    Case(["[!ac]*"]),
    Case(["a[[]1].txt"]),
    Case(["a[1].txt"]),
    Case(["?.txt", "??.txt"]),
    Case(["ünï*", "x y.*"]),
    Case(["**/config.json"]),
    Case(["./config.json", "/config.json"]),
    Case([".*"]),
    Case(["config.json", "config.json"]),
    Case(["no such file"]),
    Case(["[", "[]", "[]]", "*[!]"]),
]


@pytest.fixture(scope="module")
def head(_session_hub: Hub) -> str:
    """The commit of `REPO`."""
    return publish(HfApi(endpoint=_session_hub.endpoint, token="hf_alice_secret"), REPO, FILES)


@pytest.fixture(scope="module")
def full(
    head: str, _session_hub: Hub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A client whose cache holds all of `REPO`, so that nothing needs the network."""
    cache = tmp_path_factory.mktemp("patterns")
    with Client(_session_hub.endpoint, token=False, cache_dir=cache) as client:
        client.download_snapshot(REPO, revision=head)
        yield client


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_download_the_same_files(hub: Hub, head: str, tmp_path: Path, case: Case) -> None:
    """For a table of patterns, the same files arrive."""
    with Client(hub.endpoint, token=False, cache_dir=tmp_path / "ours") as client:
        mine = client.download_snapshot(
            REPO, revision=head, allow_patterns=case.allow, ignore_patterns=case.ignore
        )
    official = snapshot_download(
        REPO,
        revision=head,
        endpoint=hub.endpoint,
        token=False,
        cache_dir=tmp_path / "theirs",
        allow_patterns=case.allow,
        ignore_patterns=case.ignore,
    )
    assert contents(Path(mine.path)).keys() == contents(Path(official)).keys()
    assert mine.files == len(contents(Path(official)))


#: Pieces that make every part of fnmatch's syntax likely, right and wrong.
pieces = st.sampled_from(
    ["*", "?", "[", "]", "!", "-", "/", ".", "\\", "a", "b", "c", "1", "config", "json", "A", "ü"]
)
patterns = st.one_of(st.none(), st.lists(st.lists(pieces, max_size=6).map("".join), max_size=3))


@settings(max_examples=300, deadline=None)
@given(allow=patterns, ignore=patterns)
def test_any_patterns_select_what_they_select_there(
    full: Client, head: str, allow: list[str] | None, ignore: list[str] | None
) -> None:
    """For any patterns, the selection is that of `filter_repo_objects`, file by file."""
    expected = list(filter_repo_objects(PATHS, allow_patterns=allow, ignore_patterns=ignore))
    found = full.download_snapshot(
        REPO,
        revision=head,
        allow_patterns=allow,
        # Not one of the files of the test.
        ignore_patterns=[*(ignore or []), ".gitattributes"],
        local_files_only=True,
    )
    assert found.files == len(expected)
    assert found.bytes_total == sum(len(FILES[path]) for path in expected)
