"""The commands of Go and Python: the same results, the same exit statuses, progress for people."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from abi.toolchain import ROOT, environment, run
from cross import golang
from cross.conftest import ALICE, BOB

if TYPE_CHECKING:
    from pathlib import Path

    from cross.conftest import Published


@pytest.fixture(scope="module")
def go_command(tmp_path_factory: pytest.TempPathFactory) -> str:
    """go/examples/xet, built."""
    program = tmp_path_factory.mktemp("command") / "xet"
    return str(golang.build(ROOT / "go" / "examples" / "xet", program))


def environ(published: Published, home: Path, token: str = ALICE.secret) -> dict[str, str]:
    """What both commands see."""
    return {
        "HF_ENDPOINT": published.hub.endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": token,
        "HOME": str(home),
    }


#: What follows `xet`, and what follows `python -m xet_ffi`, to ask for the same.
LIST = (["-repo", "alice/model", "-list"], ["list", "alice/model"])
FILE = (
    ["-repo", "alice/model", "-file", "model.safetensors"],
    ["download", "alice/model", "model.safetensors"],
)
CHOICE = (
    ["-repo", "alice/data", "-type", "dataset", "-snapshot", "-include", "*.csv"],
    ["download", "alice/data", "--repo-type", "dataset", "--include", "*.csv"],
)


def test_listings_are_the_same(go_command: str, published: Published, tmp_path: Path) -> None:
    """As JSON, but for what Go leaves out where there is nothing."""
    variables = environ(published, tmp_path)
    in_go = run([go_command, *LIST[0], "-json"], timeout=120, **variables)
    in_python = run([sys.executable, "-m", "xet_ffi", *LIST[1], "--json"], timeout=120, **variables)
    assert in_go.returncode == in_python.returncode == 0, in_go.stderr + in_python.stderr
    known = [
        {k: v for k, v in file.items() if v is not None} for file in json.loads(in_python.stdout)
    ]
    assert json.loads(in_go.stdout) == known


@pytest.mark.parametrize("asked", [FILE, CHOICE], ids=["file", "choice"])
@pytest.mark.parametrize("transport", ["auto", "http"])
def test_reports_are_the_same(
    go_command: str, published: Published, tmp_path: Path, asked: Any, transport: str
) -> None:
    """As JSON, with each file's way."""
    reports = []
    for command, language in (
        ([go_command, *asked[0], "-json", "-transport", transport], "go"),
        (
            [sys.executable, "-m", "xet_ffi", *asked[1], "--json", "--transport", transport],
            "python",
        ),
    ):
        home = tmp_path / language
        done = run(command, timeout=120, **environ(published, home))
        assert (done.returncode, done.stderr) == (0, "")
        report = json.loads(done.stdout.replace(str(home), "HOME"))
        assert report.pop("seconds") > 0
        reports.append(report)
    assert reports[0] == reports[1]
    ways = {file["path"]: file["way"] for file in reports[0]["file_transfers"]}
    by_xet = "xet" if transport == "auto" else "http"
    assert ways == {"model.safetensors": by_xet} if asked is FILE else {"train.csv": "http"}


#: What is asked for, the variables that differ, and the exit status.
FAILURES: dict[str, tuple[Any, dict[str, str], int]] = {
    "wrong usage": ((["-nonsense"], ["--nonsense"]), {}, 2),
    "an unknown transport": (LIST, {"XET_FFI_TRANSPORT": "ftp"}, 11),
    "a wrong token": (LIST, {"HF_TOKEN": "hf_wrong"}, 12),
    "nobody listens": (FILE, {"HF_ENDPOINT": "http://127.0.0.1:9"}, 13),
    "an unknown repo": ((["-repo", "alice/no", "-list"], ["list", "alice/no"]), {}, 14),
    "a gated repo": (
        (
            ["-repo", "alice/gated", "-file", "secret.txt"],
            ["download", "alice/gated", "secret.txt"],
        ),
        {"HF_TOKEN": BOB.secret},
        15,
    ),
    "no network": (LIST, {"HF_HUB_OFFLINE": "1"}, 23),
}


@pytest.mark.parametrize("case", FAILURES)
def test_exit_statuses_are_the_same(
    go_command: str, published: Published, tmp_path: Path, case: str
) -> None:
    """A script needn't know which of the two it calls; stdout stays empty."""
    asked, variables, status = FAILURES[case]
    for command in ([go_command, *asked[0]], [sys.executable, "-m", "xet_ffi", *asked[1]]):
        done = run(command, timeout=120, **{**environ(published, tmp_path), **variables})
        assert (done.returncode, done.stdout) == (status, ""), command
        assert "error: " in done.stderr or status == 2


def read_terminal(terminal: int) -> str:
    """What was written to a terminal until nobody holds its other side any more, which is EIO."""
    shown = b""
    with contextlib.suppress(OSError):
        while True:
            shown += os.read(terminal, 1 << 16)
    return shown.decode()


@pytest.mark.parametrize("quiet", [False, True])
def test_go_shows_progress_on_a_terminal(
    go_command: str, published: Published, tmp_path: Path, *, quiet: bool
) -> None:
    """A line that is wiped away at the end; with -quiet, and into a pipe, nothing."""
    ours, its = pty.openpty()
    try:
        started = subprocess.Popen(
            [go_command, *FILE[0], *(["-quiet"] if quiet else [])],
            env=environment(**environ(published, tmp_path)),
            stdout=subprocess.PIPE,
            stderr=its,
        )
        os.close(its)
        shown = read_terminal(ours)
        path, _ = started.communicate(timeout=60)
    finally:
        os.close(ours)
    assert started.returncode == 0
    assert path.decode().rstrip().endswith("model.safetensors")
    if quiet:
        assert shown == ""
    else:
        assert "1 of 1 files" in shown
        assert "100 %" in shown
        assert shown.endswith("\r\x1b[K")
