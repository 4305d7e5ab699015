"""Fixtures of the commands' tests: a hub, a clean environment, and the command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parent.parent))

from hub import Hub, Token
from published import noise
from world.stage import TOKEN, publish

FILES = {
    "config.json": b"{}",
    "model.safetensors": noise(3_000_000, "commands"),
    "onnx/model.onnx": b"onnx",
    "onnx/notes.txt": b"notes",
}

#: Who has a token, and no right to anything of alice's.
OTHER = Token("bob", "hf_bob_secret", "read")

Run = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture(scope="session")
def _session_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub.start(tmp_path_factory.mktemp("cli") / "data", [TOKEN, OTHER]) as hub:
        yield hub


@pytest.fixture
def hub(_session_hub: Hub) -> Iterator[Hub]:
    """The worker's hub, with counters at zero and no fault rules."""
    with _session_hub.for_a_test():
        yield _session_hub


@pytest.fixture(autouse=True)
def environment(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command takes from the environment, and a folder to be in."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "XET_FFI_T", "SSL_CERT")) or name == "NO_COLOR":
            monkeypatch.delenv(name)
        if name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN.secret)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def repo(hub: Hub) -> str:
    """A repo with the files, that no test has seen."""
    return publish(hub, FILES)[0]


@pytest.fixture
def xet() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, as a process."""

    def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xet_ffi", *arguments]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, **more}
        return subprocess.run(command, text=True, check=False, timeout=120, **streams)

    return run
