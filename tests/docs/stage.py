"""Where the code of a page runs: a hub with the model that the pages name, and a user's folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from huggingface_hub import HfApi
from safetensors.numpy import save

from abi.toolchain import ROOT, environment
from hub import Hub, Token, find_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OWNER = Token("openai-community", "hf_owner_secret")
ME = Token("me", "hf_me_secret")
MODEL = "openai-community/gpt2"
FILES = ("config.json", "model.safetensors", "rust_model.ot", "onnx/decoder.onnx")


@dataclass(frozen=True)
class Stage:
    """A hub, and what a user who is called "me" has: a folder with files, settings, commands."""

    hub: Hub
    folder: Path
    variables: dict[str, str]

    @property
    def api(self) -> HfApi:
        """The official client, as "me"."""
        return HfApi(endpoint=self.hub.endpoint, token=ME.secret)

    def run(self, command: Sequence[str | Path], **more: str) -> subprocess.CompletedProcess[str]:
        """Runs a program in the user's folder."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env={**self.variables, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def python(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs lines of Python."""
        return self.run([sys.executable, "-c", script], **more)


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Sets it up below a folder, and takes it down."""
    work, commands = folder / "work", folder / "bin"
    for made in (work / "checkpoint", work / "folder", commands):
        made.mkdir(parents=True)
    (work / "checkpoint" / "model.safetensors").write_bytes(os.urandom(200_000))
    (work / "checkpoint" / "notes.tmp").touch()
    (work / "train.csv").write_text("a,b")
    _command(commands / "xet-ffi", sys.executable, "-m", "xet_ffi")
    _command(commands / "hf", sys.executable, "-m", "huggingface_hub.cli.hf")
    (commands / "xet-hub").symlink_to(find_binary())
    with Hub.start(folder / "hub", [OWNER, ME]) as hub:
        api = HfApi(endpoint=hub.endpoint, token=OWNER.secret)
        api.create_repo(MODEL)
        for name in FILES:
            content = save(tensors()) if name.startswith("model") else b"{}"
            api.upload_file(repo_id=MODEL, path_in_repo=name, path_or_fileobj=content)
        found = {name: os.environ[name] for name in os.environ if name.startswith("PYTHON")}
        variables = environment(
            PATH=f"{commands}{os.pathsep}{os.environ['PATH']}",
            HF_ENDPOINT=hub.endpoint,
            HF_HOME=str(folder / "home"),
            HF_TOKEN=ME.secret,
            **found,
        )
        yield Stage(hub, work, variables)


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    """Weights by the names that the model has, and of its layout, but smaller."""
    shapes = {
        "wte.weight": (200, 96),
        "h.0.ln_1.weight": (96,),
        "h.0.attn.c_attn.weight": (96, 288),
        "h.0.attn.c_proj.weight": (96, 96),
    }
    noise = np.random.default_rng()
    return {name: noise.standard_normal(shape, dtype="f4") for name, shape in shapes.items()}


#: How large they are in their file.
MODEL_SIZE = len(save(tensors()))


def _command(path: Path, *words: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)


#: For what the tests of this folder name.
EXAMPLES = ROOT / "examples"
