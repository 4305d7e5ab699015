"""cat: bytes to stdout, all of a file or a part of it, and nothing beside them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cli.conftest import FILES
from xet_ffi.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MODEL = FILES["model.safetensors"]

Cat = "Callable[..., subprocess.CompletedProcess[bytes]]"


@pytest.fixture
def cat(repo: str) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """The command, about the repo unless another one is named."""

    def run(*arguments: str, name: str = repo, **more: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "xet_ffi", "cat", name, *arguments]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, **more}
        return subprocess.run(command, check=False, timeout=120, **streams)

    return run


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (None, MODEL),
        (":", MODEL),
        ("8:1KiB", MODEL[8:1024]),
        (":1MB", MODEL[:1_000_000]),
        ("2.5M:", MODEL[2_500_000:]),
        ("-8:", MODEL[-8:]),
        ("-1KiB:-8", MODEL[-1024:-8]),
        (":-2999990", MODEL[:-2_999_990]),
        ("5:5", b""),
        ("10:5", b""),
        ("1GB:", b""),
        ("-1GB:4", MODEL[:4]),
    ],
)
def test_the_bytes_of_a_part_are_those_of_pythons_slice(
    cat: Callable[..., subprocess.CompletedProcess[bytes]], part: str | None, expected: bytes
) -> None:
    """With sizes as people write them."""
    done = cat("model.safetensors", *(["--range", part] if part else []))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == expected


def test_files_come_in_their_order(
    cat: Callable[..., subprocess.CompletedProcess[bytes]], repo: str
) -> None:
    """One named in a URI, too; `--range` is of each."""
    assert cat("config.json", "onnx/notes.txt", "onnx/model.onnx").stdout == b"{}notesonnx"
    assert cat("onnx/notes.txt", "onnx/model.onnx", "--range", "-2:").stdout == b"esnx"
    assert cat(name=f"hf://{repo}@main/onnx/notes.txt").stdout == b"notes"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["confg.json"], 14, "did you mean config.json?"),
        (["onnx"], 14, "a folder has a slash at its end"),
        ([], 2, "which FILE?"),
        (["config.json", "--range", "5"], 2, "'5' is not a part such as :1MB"),
        (["config.json", "--range", "a:b"], 2, "'a:b' is not a part such as"),
        (["config.json", "--range", "1:2:3"], 2, "'1:2:3' is not a part such as"),
        (["config.json", "--json"], 2, "there is no option --json"),
        (["config.json", "--local-files-only"], 14, "isn't in the cache"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    repo: str, words: list[str], status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the way out."""
    try:
        ended = main(["cat", repo, *words])
    except SystemExit as end:
        ended = int(end.code or 0)
    shown = capfd.readouterr()
    assert (ended, shown.out) == (status, "")
    assert said in shown.err


def test_a_file_that_is_named_twice_is_refused(
    repo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Or it would be a guess which one is meant."""
    assert main(["cat", f"hf://{repo}/config.json", "onnx/notes.txt"]) == 2
    assert "REPO names config.json already" in capfd.readouterr().err


def test_who_stops_reading_hears_nothing(
    cat: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """As of any program that SIGPIPE ends."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as nobody:  # noqa: PTH123 - a descriptor
        done = cat("model.safetensors", capture_output=False, stdout=nobody, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_gets_no_binary_file(
    cat: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """It would beep, and be garbled; text is what it's for."""
    ours, terminal = pty.openpty()
    streams: dict[str, Any] = {
        "capture_output": False,
        "stdout": terminal,
        "stderr": subprocess.PIPE,
    }
    done = cat("model.safetensors", **streams)
    assert done.returncode == 2
    assert b"model.safetensors is no text" in done.stderr
    assert cat("onnx/notes.txt", **streams).returncode == 0
    os.close(terminal)
    assert os.read(ours, 100) == b"notes"
    os.close(ours)
