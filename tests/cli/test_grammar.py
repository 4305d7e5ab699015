"""One table of commands: how it's read, and what is made of it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import xet_ffi
from xet_ffi.cli import main
from xet_ffi.cli.grammar import SHELLS, parse
from xet_ffi.cli.manual import markdown, page
from xet_ffi.cli.output import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMANDS = [
    *(["list"], ["download"], ["plan"], ["tensors"], ["upload"], ["doctor"]),
    *(["completion"], ["man"], ["help"]),
    *([["cache", name] for name in ("ls", "usage", "rm", "verify", "prune", "index")]),
]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of wrong usage."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["downlod", "a/b"], "no command 'downlod'; did you mean download?"),
        (["rm", "a/b"], "no command 'rm'; did you mean cache rm?"),
        (["ls", "a/b"], "no command 'ls'; did you mean cache ls, or list?"),
        (["cache", "purne"], "no command 'purne'; did you mean prune?"),
        (["download", "a/b", "--inclde", "x"], "no option --inclde; did you mean --include?"),
        (["download", "a/b", "--local-dri=x"], "no option --local-dri; did you mean --local-dir?"),
        (["list", "a/b", "--repo-type", "modle"], "no 'modle'; did you mean model?"),
        (["list", "a/b", "c"], "what is 'c'?"),
        (["list", "a/b", "c"], "xet-ffi list hf://NAMESPACE/NAME/FOLDER"),
        (["version"], "no command 'version'; did you mean --version?"),
        (["list", "a/b/c"], "'a/b/c' is not NAMESPACE/NAME; did you mean hf://a/b/c?"),
        (
            ["download", "a/b", "-x.txt"],
            "a name that begins with a dash stands behind --: -- -x.txt",
        ),
        (["download", "a/b", "--max-workers", "0"], "'0' is not a number from 1 to 256"),
        (["download", "a/b", "--timeout", "0"], "'0' is no time to wait"),
        (["cache", "prune", "--older-than", "soon"], "'soon' is not an age such as"),
        (["cache", "prune", "--size", "10X"], "'10X' is not a size such as"),
    ],
)
def test_a_wrong_word_gets_the_nearest_right_one(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the usage of the command that it was meant for, in one line."""
    lines = refused(words, capsys).splitlines()
    assert said in lines[1]
    known = words[:1] if words[0] in {"download", "list", "cache"} else []
    assert " ".join(["xet_ffi", *known]) in lines[0]
    assert len(lines) == 3


def test_several_files_to_upload_are_told_how_it_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a shell makes them of a pattern."""
    said = refused(["upload", "a/b", "1.txt", "2.txt", "3.txt"], capsys)
    assert "name a folder, and choose with --include" in said


def test_a_plan_has_no_use_for_what_asks_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does its help say so."""
    assert "--local-files-only" in refused(["plan", "a/b", "--local-files-only"], capsys)
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "--local-files-only" not in capsys.readouterr().out


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Of everything, and of a command."""
    for words, usage in (([], "COMMAND"), (["cache", "rm"], "cache rm [options] REPO[@REVISION]")):
        with pytest.raises(SystemExit) as caught:
            main(["help", *words])
        assert caught.value.code == 0
        assert usage in capsys.readouterr().out.splitlines()[0]
    assert "did you mean download?" in refused(["help", "donwload"], capsys)


def test_the_version_has_a_short_name(capsys: pytest.CaptureFixture[str]) -> None:
    """As with uv and cargo."""
    assert main(["-V"]) == 0
    assert xet_ffi.__version__ in capsys.readouterr().out


def test_an_option_is_not_guessed_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that counts on that breaks with the next option."""
    assert "--rev" in refused(["list", "a/b", "--rev", "main"], capsys)


def test_common_options_may_stand_before_the_command() -> None:
    """And behind it, which counts more."""
    before = parse(["-v", "--endpoint", "http://a", "--timeout", "2m", "download", "a/b", "-v"])
    assert (before.endpoint, before.timeout, before.verbose) == ("http://a", 120.0, 1)
    both = parse(["--token", "one", "list", "a/b", "--token", "two"])
    assert both.token == "two"


def test_an_option_without_a_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Who gives one counts on it."""
    assert "upload has no use for --cache-dir" in refused(
        ["--cache-dir", "x", "upload", "a/b"], capsys
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, since it was asked for."""
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_help_and_the_manual_have_the_table_of_statuses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of it."""
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert main(["man"]) == 0
    manual = capsys.readouterr().out
    for status, meaning in STATUSES.items():
        assert f"{status:>3}  {meaning}\n" in f"{shown}\n"
        assert f".B {status}\n{meaning}\n" in manual


def test_the_statuses_are_the_codes_of_the_library() -> None:
    """Each error has one, 10 above its code; a code without one is an unknown error."""
    from xet_ffi._errors import BY_CODE
    from xet_ffi.cli.output import UNKNOWN, status_of

    for code, cls in BY_CODE.items():
        if cls not in {xet_ffi.UnknownError, xet_ffi.CancelledError}:
            assert status_of(cls("x")) == 10 + code
            assert 10 + code in STATUSES
    assert status_of(xet_ffi.UnknownError("x")) == UNKNOWN


def test_the_manual_is_what_man_can_show(tmp_path: Path) -> None:
    """With every command in it."""
    manual = tmp_path / "xet-ffi.1"
    manual.write_text(page())
    for command in COMMANDS:
        assert f".SS xet\\-ffi {' '.join(command)} " in manual.read_text()
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff here")
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", manual], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_the_manual_is_the_same_on_the_site() -> None:
    """Every command, and a row for each status, in Markdown."""
    manual = markdown()
    for command in COMMANDS:
        assert f"### `xet-ffi {' '.join(command)}`\n" in manual
    for status, meaning in STATUSES.items():
        assert f"| `{status}` | {meaning} |\n" in manual


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_the_commands(
    shell: str, xet: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In each shell that we name."""
    done = xet("completion", shell)
    assert done.returncode == 0
    assert "download" in done.stdout
    assert "--older-than" in done.stdout or "older-than" in done.stdout
    # What a list of commands has room for.
    assert "say what a download would do" in done.stdout or shell == "bash"
    assert "Which bytes are here" not in done.stdout


def test_bash_completes(
    tmp_path: Path, xet: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Commands, and options of the command at hand."""
    script = tmp_path / "completion"
    script.write_text(xet("completion", "bash").stdout)
    ask = (
        f". {script}; COMP_WORDS=(xet-ffi cache prune --o); COMP_CWORD=3; "
        '_shtab_xet_ffi xet-ffi --o prune; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "--older-than\n"
    ask = ask.replace("cache prune --o", "help cac").replace("COMP_CWORD=3", "COMP_CWORD=2")
    ask = ask.replace("xet-ffi --o prune", "xet-ffi cac help")
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "cache\n"


def test_without_shtab_completion_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It's an extra."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 18
    assert "pip install 'xet-ffi[completion]'" in capsys.readouterr().err


def test_serve_is_xet_hub(xet: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """If it's installed; with its own help, and what it's told."""
    done = xet("serve", "--", "--help")
    assert (done.returncode, done.stderr) in {(0, ""), (127, done.stderr)}
    assert "--data" in done.stdout or "pip install 'xet-ffi[hub]'" in done.stderr


def test_what_follows_serve_or_run_is_the_programs(
    tmp_path: Path, xet: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Options first, too, without a -- that nobody thinks of."""
    done = xet("serve", "--port", "x", "--data", str(tmp_path))
    assert "for '--port <PORT>'" in done.stderr or "pip install" in done.stderr
    told = "import sys; print(sys.argv[1:])"
    done = xet("run", sys.executable, "-c", told, "--verbose", "--", "--json", "-q")
    assert done.stdout == "['--verbose', '--', '--json', '-q']\n"
    assert "can't run --verbose" in xet("run", "--verbose").stderr


def test_a_port_that_is_taken_is_named(
    tmp_path: Path, xet: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Rather than that some address is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = xet("serve", "--data", str(tmp_path), "--port", str(port))
    if "pip install" in done.stderr:
        pytest.skip("no xet-hub here")
    assert f"can't listen on 127.0.0.1:{port}" in done.stderr


def test_a_folder_that_can_not_be_had_is_named(
    tmp_path: Path, xet: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Rather than that some file or folder isn't there."""
    (tmp_path / "file").touch()
    done = xet("serve", "--data", str(tmp_path / "file" / "data"))
    if "pip install" in done.stderr:
        pytest.skip("no xet-hub here")
    assert f"can't keep data in {tmp_path / 'file' / 'data'}: " in done.stderr
