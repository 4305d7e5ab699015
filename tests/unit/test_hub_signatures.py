"""The functions of xet_ffi.hub are called as those of the installed huggingface_hub."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import fields
from typing import Any

import huggingface_hub
import pytest

from interpreter import python
from xet_ffi import hub

FUNCTIONS = [name for name in hub.__all__ if name.islower()]
OPERATIONS = [name for name in hub.__all__ if name.startswith("CommitOperation")]

#: What is returned, with plain fields.
RESULTS = ["BlobLfsInfo", "CommitInfo", "DryRunFileInfo", "RepoFile", "RepoFolder"]

#: Fields in which huggingface_hub keeps what it has found out; nobody passes them.
ITS_OWN = {"_src_oid", "_dest_oid", "_is_duplicated"}


def parameters(function: Any) -> list[tuple[str, object, object]]:
    """Name, kind and default of each, in their order."""
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in ITS_OWN
    ]


@pytest.mark.parametrize("name", [*FUNCTIONS, *OPERATIONS, "DryRunFileInfo", "RepoUrl"])
def test_the_parameters_are_the_official_ones(name: str) -> None:
    """All of them, in the same order, with the same defaults: there is no exception."""
    ours, theirs = getattr(hub, name), getattr(huggingface_hub, name, None)
    if theirs is None:
        theirs = getattr(huggingface_hub.file_download, name)
    assert parameters(ours) == parameters(theirs)


@pytest.mark.parametrize("name", [*RESULTS, *OPERATIONS])
def test_the_fields_are_the_official_ones(name: str) -> None:
    """Of what is returned and of what is passed; those that it keeps for itself aside."""
    places = (huggingface_hub, huggingface_hub.file_download, huggingface_hub.hf_api)
    theirs = next(getattr(place, name) for place in places if hasattr(place, name))
    official = [f.name for f in fields(theirs) if f.init or not f.name.startswith("_")]
    official = [name for name in official if name not in {*ITS_OWN, "upload_info"}]
    assert sorted(f.name for f in fields(getattr(hub, name))) == sorted(official)


def test_everything_public_says_that_it_is() -> None:
    """help() and pickles name what a user can import, and the package gives it on demand."""
    for name in hub.__all__:
        value = getattr(hub, name)
        assert not isinstance(value, type) or value.__module__ == "xet_ffi.hub"
    finished = python("import xet_ffi; print(xet_ffi.hub.hf_hub_download.__name__)")
    assert finished.stdout == "hf_hub_download\n"


def test_it_needs_neither_huggingface_hub_nor_tqdm() -> None:
    """Nor do its results."""
    code = (
        "import sys; from xet_ffi.hub import *; "
        "CommitInfo('http://h/a/b/commit/c', 'm', '', 'c', 'http://h', 'http://h/a/b/x/7'); "
        "print([name for name in sys.modules if name.startswith(('huggingface_hub', 'tqdm'))])"
    )
    finished = python(code)
    assert finished.stdout == "[]\n", finished.stderr


@pytest.mark.parametrize("kind", ["", "datasets/", "spaces/"])
def test_results_are_what_theirs_are(kind: str) -> None:
    """The same fields of the same URL, also after a copy or a pickle."""
    url = f"http://h:80/{kind}org/name"
    made = [
        module.CommitInfo(
            commit_url=f"{url}/commit/{'c' * 40}",
            commit_message="m",
            commit_description="",
            oid="c" * 40,
            _endpoint="http://h:80",
            pr_url=f"{url}/discussions/7",
        )
        for module in (hub, huggingface_hub)
    ]
    for ours in (made[0], pickle.loads(pickle.dumps(made[0])), copy.copy(made[0])):
        assert vars(ours) == vars(made[1])
        assert repr(ours) == repr(made[1])
        assert str(ours) == str(made[1])
        for name in ("endpoint", "namespace", "repo_name", "repo_id", "repo_type", "url"):
            assert getattr(ours.repo_url, name) == getattr(made[1].repo_url, name)
