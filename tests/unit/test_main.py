"""`python -m xet_ffi`, as far as it goes without a server."""

import subprocess
import sys
from pathlib import Path

import pytest

import xet_ffi
from xet_ffi.__main__ import main
from xet_ffi._lib import LIBRARY_PATH


def test_it_says_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    """Package, library, ABI version, path: what a bug report needs."""
    assert main(["--version"]) == 0
    shown = capsys.readouterr().out
    assert f"xet_ffi {xet_ffi.__version__}" in shown
    assert "ABI version" in shown
    assert LIBRARY_PATH in shown


def test_it_is_installed_as_a_command() -> None:
    """`xet-ffi` calls itself by that name, and is the same."""
    script = Path(sys.executable).with_name("xet-ffi")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: xet-ffi ")
    assert subprocess.run([script, "dance"], capture_output=True, check=False).returncode == 2


def test_errors_have_exit_statuses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script can tell a wrong name from a wrong network; stdout stays empty."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["list", "no!repo/id"]) == 11
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")


@pytest.mark.parametrize("arguments", [["list"], ["download", "a/b", "--nonsense"], ["dance"]])
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As for every command."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_patterns_and_names_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Silently ignoring one of them would download the wrong files."""
    assert main(["download", "a/b", "c.bin", "--include", "*.json"]) == 2
    assert "--include" in capsys.readouterr().err
