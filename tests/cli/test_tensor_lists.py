"""The tensors of a repo, as the command lists them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save

from world.stage import publish
from xet_ffi.cli import main

if TYPE_CHECKING:
    from hub import Hub

FILES = {
    "config.json": b"{}",
    "a.safetensors": save({"layers.0.weight": np.zeros((300, 200), "f4")}, {"format": "np"}),
    "vae/b [1].safetensors": save({"b": np.zeros(7, "i8"), "scalar": np.array(1, "f2")}),
}

TABLE = """\
name             dtype  shape          size  file
layers.0.weight  F32    [300, 200]  240,000  a.safetensors
b                I64    [7]              56  vae/b [1].safetensors
scalar           F16    []                2  vae/b [1].safetensors
3 tensors in 2 files, 240 kB; elements: 60,000 F32, 7 I64, 1 F16
"""


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with tensors."""
    return publish(hub, FILES)[0]


def test_the_tensors_are_a_table(repo: str, capsys: pytest.CaptureFixture[str], hub: Hub) -> None:
    """Of all files, with a line for all of it; and no weights are read for that."""
    hub.reset_stats()
    assert main(["tensors", repo]) == 0
    assert capsys.readouterr().out == TABLE


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["{repo}", "layers.*", "scalar"], ["layers.0.weight", "scalar"]),
        (["{repo}", "--include", "vae/*"], ["b", "scalar"]),
        (["hf://{repo}@main/vae/"], ["b", "scalar"]),
        (["hf://{repo}/vae"], ["b", "scalar"]),
        (["hf://{repo}/vae/b [1].safetensors", "s*"], ["scalar"]),
    ],
)
def test_files_and_tensors_are_chosen(
    repo: str, words: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Files by a path or by patterns, tensors by names or by patterns."""
    assert main(["tensors", *(word.format(repo=repo) for word in words)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == names


def test_programs_have_it_as_json(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the commit, and where each tensor is."""
    assert main(["tensors", repo, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["commit"]) == 40
    assert found["metadata"] == {"a.safetensors": {"format": "np"}, "vae/b [1].safetensors": {}}
    assert found["totals"] == {
        "tensors": 3,
        "files": 2,
        "size": 240_058,
        "elements": {"F32": 60_000, "I64": 7, "F16": 1},
    }
    (first, *_) = found["tensors"]
    assert first == {
        "name": "layers.0.weight",
        "dtype": "F32",
        "shape": [300, 200],
        "file": "a.safetensors",
        "offset": len(FILES["a.safetensors"]) - 240_000,
        "size": 240_000,
    }


def test_what_is_not_there_is_said(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A tensor with the nearest one, a file with the pattern; a broken file by its name."""
    assert main(["tensors", repo, "layers.0.wieght"]) == 14
    assert "did you mean layers.0.weight?" in capsys.readouterr().err
    assert main(["tensors", repo, "--include", "*.sft"]) == 14
    assert "no file" in capsys.readouterr().err
    assert main(["tensors", repo, "--include", "*.json"]) == 1
    assert "config.json is not a valid safetensors file" in capsys.readouterr().err
    assert main(["tensors", f"hf://{repo}/vae/", "--include", "*"]) == 2
    assert "no use for --include" in capsys.readouterr().err


def test_the_cache_will_do(repo: str, capsys: pytest.CaptureFixture[str], hub: Hub) -> None:
    """Asking nobody."""
    assert main(["tensors", repo, "--local-files-only"]) == 14
    assert main(["download", repo, "-q"]) == 0
    capsys.readouterr()
    hub.reset_stats()
    assert main(["tensors", repo, "--local-files-only"]) == 0
    assert capsys.readouterr().out == TABLE
    assert hub.stats().requests("hub") == 0
