"""list, download and plan: what is meant, what is said, and what is not."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.conftest import FILES
from published import noise
from small_disk import small_file_system
from world.stage import TOKEN, publish
from xet_ffi import Client
from xet_ffi.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["confg.json"], "did you mean config.json?"),
        (["config.json", "model.safetensor"], "did you mean model.safetensors?"),
        (["model.onnx"], "did you mean onnx/model.onnx?"),
        (["onnx"], "a folder has a slash at its end: onnx/"),
        (["onx/"], "did you mean onnx/?"),
        (["*.json"], "patterns are for --include '*.json'"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--dry-run"]], ids=["download", "plan"])
def test_a_name_that_is_not_there_is_an_error_with_the_nearest(
    repo: str, names: list[str], hint: str, how: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A name is no pattern, one or several of them."""
    assert main(["download", repo, *names, *how]) == 14
    said = capsys.readouterr().err
    assert names[-1] in said
    assert hint in said


def test_no_path_is_printed_that_is_not_there(
    repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor one that what was asked for isn't in."""
    for asked in (["nothing"], ["--include", "nothing", "--local-dir", "x"], ["no", "nor"]):
        assert main(["download", repo, *asked]) == 14
        assert capsys.readouterr().out == "" or asked == ["no", "nor"]
    assert main(["download", repo, "onnx/", "nor"]) == 14
    folder = Path(capsys.readouterr().out.rstrip("\n"))
    assert (folder / "onnx" / "model.onnx").read_bytes() == b"onnx"


def test_who_has_mistyped_a_name_hears_so_before_the_others_have_come(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may take hours; and nothing of them is sent for twice."""
    repo, _ = publish(hub, {"a.bin": noise(3_000_000, "a"), "b.bin": noise(3_000_000, "b")})
    hub.fault("storage", drip=100_000)
    assert main(["download", repo, "a.bin", "b.bin", "c.bim"]) == 14
    said = capsys.readouterr()
    assert (said.out, "has no c.bim at main" in said.err) == ("", True)
    assert hub.stats().bytes_sent("storage") < 3_000_000
    hub.clear_faults()
    # The same name twice is one file.
    assert main(["download", repo, "a.bin", "a.bin", "b.bin", "-q"]) == 0


def test_what_nothing_fits_is_an_error(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One, not a warning beside it, and with where to look."""
    assert main(["download", repo, "--include", "*.bin"]) == 14
    assert capsys.readouterr().err.splitlines() == [
        f"error: no file of {repo} at main fits the patterns; `xet-ffi list` shows what there is"
    ]


def test_a_uri_names_repo_revision_and_file(
    hub: Hub, repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And contradicts no option."""
    _, commit = publish(hub, {"config.json": b'{"new": 1}'}, repo)
    assert main(["download", f"hf://{repo}@{commit}/config.json"]) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == b'{"new": 1}'
    assert main(["download", f"hf://{repo}/onnx/", "--local-dir", "here", "-q"]) == 0
    assert sorted(os.listdir("here/onnx")) == ["model.onnx", "notes.txt"]  # noqa: PTH208 - as a script has it
    capsys.readouterr()
    assert main(["list", f"hf://{repo}/onnx"]) == 0
    assert capsys.readouterr().out.count("\n") == 2
    for words, said in (
        ([f"hf://{repo}@main", "--revision", "other"], "--revision other"),
        ([f"datasets/{repo}", "--repo-type", "model"], "REPO says dataset"),
        ([f"hf://{repo}/config.json", "onnx/"], "name no FILE besides"),
    ):
        assert main(["download", *words]) == 2
        assert said in capsys.readouterr().err


def test_options_of_the_client_reach_it(
    hub: Hub, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint, the time, the number of workers, and that nobody is to be asked."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["--endpoint", hub.endpoint, "list", repo]) == 0
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert main(["download", repo, "config.json", "--local-files-only"]) == 14
    hub.fault("tree", stall_before=60)
    assert main(["list", repo, "--timeout", "1s"]) == 19
    hub.clear_faults()
    assert main(["download", repo, "config.json", "--max-workers", "1"]) == 0
    assert main(["download", repo, "config.json", "--local-files-only"]) == 0


def test_the_closing_line_is_for_who_asks(
    repo: str, xet: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Files, bytes, from the network, reused, seconds, verified; nothing in a pipe unless asked."""
    quiet = xet("download", repo)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    told = xet("download", repo, "-v", "--force-download")
    total = sum(map(len, FILES.values()))
    line = told.stderr.splitlines()[-1]
    assert line.startswith(f"5 files, {total / 1e6:.3g} MB; ")
    assert " from the network; " in line
    assert " reused; " in line
    assert "5 verified" in line
    again = xet("download", repo, "-v")
    assert "0 verified, 5 from before" in again.stderr.splitlines()[-1]


def test_that_the_cache_answered_is_told(
    repo: str,
    xet: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Since it may be older than what the Hub has. Both on stderr, and once."""
    assert xet("download", repo).returncode == 0
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = xet("download", repo)
    assert done.returncode == 0
    assert done.stderr.count("warning: can't ask the Hub; using what is on this machine") == 1


def test_troubles_that_pass_are_told_by_names_that_stay(
    hub: Hub, repo: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of `xet.h`, which the bar has words for; what went wrong stands behind a colon."""
    hub.fault("storage", times=1, stall_after_bytes=100_000)
    with (
        caplog.at_level(logging.INFO, "xet_ffi"),
        Client(hub.endpoint, TOKEN.secret, read_timeout=1) as client,
    ):
        client.download_file(repo, "model.safetensors")
        client.download_snapshot(repo, allow_patterns="nothing")
    told = [tuple(map(str, record.args)) for record in caplog.records if record.args]
    names = {target.removeprefix("xet_ffi_core::told::") for target, _ in told}
    assert names & {"stalled", "broke"}
    assert "none_fits" in names
    assert not [message for _, message in told if " error=" in message]


def test_that_the_cache_answers_is_no_news_to_who_is_offline(
    repo: str,
    xet: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has switched the network off is told so where that is why something isn't there."""
    assert xet("download", repo, "config.json").returncode == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = xet("download", repo, "config.json")
    assert (done.returncode, done.stderr) == (0, "")
    done = xet("download", repo, "model.safetensors")
    assert done.returncode == 14
    assert "HF_HUB_OFFLINE" in done.stderr


def test_a_file_that_is_wanted_anew_is_not_the_old_one(
    repo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with `hf download --force-download`; and nobody can be asked by asking nobody."""
    assert main(["download", repo, "config.json", "-q"]) == 0
    assert main(["download", repo, "--force-download", "--local-files-only"]) == 2
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    capsys.readouterr()
    assert main(["download", repo, "config.json", "--force-download"]) == 13
    said = capsys.readouterr()
    assert (said.out, "force_download" in said.err) == ("", True)


def test_a_plan_says_that_it_does_not_fit(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the download does; and shows no empty table of what nothing fits."""
    with small_file_system(1) as folder:
        assert main(["plan", repo, "--local-dir", str(folder / "x")]) == 0
    assert "it doesn't fit: " in capsys.readouterr().err
    assert main(["plan", repo, "--include", "nothing"]) == 14
    assert capsys.readouterr().out == ""


def test_a_plan_is_a_command(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as a dry run, and nothing is changed."""
    assert main(["plan", repo, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert main(["download", repo, "--json", "--dry-run"]) == 0
    dry = json.loads(capsys.readouterr().out)
    assert plan["bytes_remote"] == dry["bytes_remote"] > 3_000_000
    assert main(["download", repo, "--dry-run", "--local-files-only"]) == 2
    assert main(["cache", "ls", "--json"]) == 0
    (left,) = json.loads(capsys.readouterr().out)
    assert left["size"] == 0


@pytest.mark.parametrize("command", [["list"], ["download", "--json"], ["plan"]])
def test_a_reader_that_leaves_is_no_failure_to_talk_of(
    repo: str, xet: Callable[..., subprocess.CompletedProcess[str]], command: list[str]
) -> None:
    """As with `| head`."""
    reading, writing = os.pipe()
    os.close(reading)
    done = xet(*command, repo, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
