"""What people type for sizes, ages and repos."""

from __future__ import annotations

import argparse
import doctest
from typing import Any

import pytest

from xet_ffi import _bar
from xet_ffi.cli import words
from xet_ffi.cli.words import Repo


@pytest.mark.parametrize("module", [words, _bar], ids=lambda module: module.__name__)
def test_the_examples_are_true(module: Any) -> None:
    """Those in the docstrings."""
    done = doctest.testmod(module)
    assert done.attempted
    assert done.failed == 0


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gpt2", Repo(repo_id="gpt2")),
        ("org/name", Repo(repo_id="org/name")),
        ("models/org/name", Repo(repo_id="org/name", repo_type="model")),
        ("dataset/org/name", Repo(repo_id="org/name", repo_type="dataset")),
        ("model/name", Repo(repo_id="model/name")),
        ("datasets/squad", Repo(repo_id="squad", repo_type="dataset")),
        ("hf://spaces/org/name", Repo(repo_id="org/name", repo_type="space")),
        ("hf://org/name@v1.0", Repo(repo_id="org/name", revision="v1.0")),
        ("org/name@v1.0", Repo(repo_id="org/name", revision="v1.0")),
        (
            "datasets/squad@refs/pr/3",
            Repo(repo_id="squad", repo_type="dataset", revision="refs/pr/3"),
        ),
        ("hf://org/name/a/b.txt", Repo(repo_id="org/name", path="a/b.txt")),
        ("hf://org/name@a%2Fb/c/d", Repo(repo_id="org/name", revision="a/b", path="c/d")),
        (
            "hf://datasets/org/name@refs/convert/parquet/x",
            Repo(
                repo_id="org/name", repo_type="dataset", revision="refs/convert/parquet", path="x"
            ),
        ),
    ],
)
def test_a_repo_has_several_names(typed: str, meant: Repo) -> None:
    """Those of huggingface_hub, with its meaning."""
    assert words.repo(typed) == meant


@pytest.mark.parametrize(
    ("typed", "uri"),
    [
        ("hf://datasets/org/name@refs/pr/7/a/b", "datasets/org/name"),
        ("hf://org/name@main/a b.txt", "org/name"),
        ("hf://spaces/org/name@a%2Fb", "spaces/org/name"),
    ],
)
def test_a_uri_means_what_it_means_to_huggingface_hub(typed: str, uri: str) -> None:
    """Part by part."""
    from huggingface_hub.utils._hf_uris import parse_hf_uri

    theirs, ours = parse_hf_uri(typed), words.repo(typed)
    assert uri.endswith(ours.repo_id)
    assert (theirs.id, theirs.revision, theirs.path_in_repo) == (
        ours.repo_id,
        ours.revision,
        ours.path,
    )
    assert theirs.type == (ours.repo_type or "model")


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        (words.repo, "hf://name"),
        (words.repo, "hf://org/name@"),
        (words.repo, "hf://buckets/org/name"),
        (words.repo, ""),
        (words.cached, "org/name@"),
        (words.size, "10 parsecs"),
        (words.size, "-1"),
        (words.age, "soon"),
        (words.duration, "1x"),
        (words.given, ""),
        (words.repo, "org/name@"),
        (words.repo, "./folder"),
        (words.cached, "hf://org/name/config.json"),
        (words.workers, "0"),
        (words.workers, "257"),
        (words.workers, "many"),
        (words.duration, "0"),
        (words.duration, "100y"),
        (words.age, "0"),
    ],
)
def test_what_means_nothing_is_refused_with_its_name(kind: Any, typed: str) -> None:
    """Rather than guessed at."""
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        kind(typed)
    assert typed.removeprefix("hf://") in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("org/name/a/b.txt", "hf://org/name/a/b.txt"),
        ("datasets/org/name/x@v1", "hf://datasets/org/name@v1/x"),
        ("https://huggingface.co/org/name", "org/name"),
        ("https://huggingface.co/datasets/org/name/", "datasets/org/name"),
        ("https://huggingface.co/org/name/tree/v1", "hf://org/name@v1"),
        ("http://127.0.0.1:80/org/name/blob/main/a/b?x#L1", "hf://org/name@main/a/b"),
        ("a b/c", None),
    ],
)
def test_what_is_no_name_of_a_repo_gets_what_may_have_been_meant(
    typed: str, meant: str | None
) -> None:
    """The address of a page, or a path behind a name."""
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        words.repo(typed)
    hint = f"; did you mean {meant}?" if meant else "NAMESPACE/NAME"
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize("typed", ["./m", "../m", "/m", "~", "~/folder/of/mine"])
def test_a_path_is_told_from_a_repo(typed: str) -> None:
    """In `upload ./checkpoint me/model` they stand the wrong way round."""
    with pytest.raises(argparse.ArgumentTypeError, match="a path, and the repo comes first"):
        words.repo(typed)


@pytest.mark.parametrize(
    ("typed", "meant"), [("MODEL.safetensor", "model.safetensors"), ("xyz", None)]
)
def test_the_nearest_word(typed: str, meant: str | None) -> None:
    """Whatever its case; none, if nothing is near."""
    assert words.nearest(typed, ["config.json", "model.safetensors"]) == meant
