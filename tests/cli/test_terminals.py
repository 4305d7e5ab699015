"""What a person sees: on an emulated terminal, and in tmux, where windows change their size."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid
from fcntl import ioctl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyte
import pytest

from published import noise
from world.stage import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub import Hub

#: Seconds that anything may take to appear.
PATIENCE = 60.0
COMMAND = [sys.executable, "-m", "xet_ffi"]


class Terminal:
    """A terminal of so many columns in which a command runs."""

    def __init__(self, command: list[str], columns: int = 100, **variables: str) -> None:
        self.screen = pyte.Screen(columns, 24)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8", **variables}
        environment.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)

    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def step(self) -> bool:
        """Takes in what the command wrote; False at its end."""
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has it open any more
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Waits until what stands on the screen is right, and returns it."""
        end = time.monotonic() + PATIENCE
        while not condition(self.lines()):
            assert time.monotonic() < end, self.lines()
            assert self.step(), self.lines()
        return self.lines()

    def finish(self) -> tuple[int, list[str]]:
        """Waits for the end; the status, and what is left on the screen."""
        while self.step():
            pass
        return self.process.wait(PATIENCE), self.lines()

    def close(self) -> None:
        """Ends the command, if it hasn't ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Makes terminals, and takes them away."""
    made: list[Terminal] = []

    def start(*words: str, **how: Any) -> Terminal:
        made.append(Terminal([*COMMAND, *words], **how))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def large(hub: Hub) -> str:
    """A repo that takes some seconds, if storage drips."""
    return publish(hub, {"model.safetensors": noise(6_000_000, "terminals")})[0]


def test_in_the_end_there_is_one_line_and_the_path(
    repo: str, terminal: Callable[..., Terminal]
) -> None:
    """The bar has gone."""
    status, lines = terminal("download", repo, "--local-dir", "o").finish()
    assert status == 0
    summary, path = lines
    assert summary.startswith("5 files, 3 MB; 3 MB from the network; 0 B reused; ")
    assert summary.endswith("5 verified")
    assert path == str(Path("o").absolute())


def test_the_bar_moves_and_says_what_it_waits_for(
    hub: Hub, large: str, terminal: Callable[..., Terminal]
) -> None:
    """A stream that stalls is told while it does, and counted in the end."""
    hub.fault("storage", times=1, stall_after_bytes=1_000_000)
    shown = terminal("download", large, columns=120)
    shown.until(lambda lines: any("nothing has come for" in line for line in lines))
    (line,) = [line for line in shown.lines() if "Downloading" in line]
    assert "%" in line
    status, lines = shown.finish()
    assert status == 0
    assert not [line for line in lines if "Downloading" in line]
    assert any("1 stall" in line or "repeated" in line or "another way" in line for line in lines)


def test_who_waits_for_another_download_is_told(
    hub: Hub, large: str, terminal: Callable[..., Terminal]
) -> None:
    """Two processes fetch a file once: the second one has nothing to show but that."""
    hub.fault("storage", stall_after_bytes=1_000_000)
    first = terminal("download", large, "model.safetensors")
    first.until(lambda lines: any("kB of" in line or "MB of" in line for line in lines))
    shown = terminal("download", large, "model.safetensors", columns=120)
    shown.until(lambda lines: any("another download has it" in line for line in lines))
    hub.clear_faults()
    first.process.kill()
    status, lines = shown.finish()
    assert status == 0
    assert lines[0].startswith("1 file, ")


def test_an_upload_has_a_bar_and_a_line_too(
    hub: Hub, repo: str, terminal: Callable[..., Terminal]
) -> None:
    """With its phases."""
    Path("big.bin").write_bytes(noise(4_000_000, "uploaded"))
    hub.delay(0.4, "cas", "hub")
    try:
        shown = terminal("upload", repo, "big.bin")
        shown.until(lambda lines: any("Uploading" in line for line in lines))
        status, lines = shown.finish()
    finally:
        hub.delay()
    assert status == 0
    assert lines[0].startswith("1 file, 4 MB; 1 changed; 4 MB sent; 0 B on the Hub before; ")
    assert lines[1].startswith("http")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("variables", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_no_color_is_obeyed(
    terminal: Callable[..., Terminal], variables: dict[str, str], colored: bool
) -> None:
    """As no-color.org has it: any value but an empty one."""
    shown = terminal("list", "alice/nothing", **variables)
    status, lines = shown.finish()
    assert status == 14
    assert lines[0].startswith("error: ")
    assert (b"\x1b[1;31m" in shown.raw) == colored


def test_a_dumb_terminal_has_no_bar(repo: str, terminal: Callable[..., Terminal]) -> None:
    """It can't move back; the summary is for it, too."""
    shown = terminal("download", repo, TERM="dumb")
    status, lines = shown.finish()
    assert status == 0
    assert b"\x1b" not in shown.raw
    assert b"Downloading" not in shown.raw
    assert len(lines) >= 2


def test_names_do_nothing_to_a_terminal(
    hub: Hub, terminal: Callable[..., Terminal], xet: Callable[..., Any]
) -> None:
    """Whoever publishes a file chooses its name; in a pipe it stays as it is."""
    name = "a\x1b[31mred\x07\u202egnp.exe"
    repo, _ = publish(hub, {name: b"1", "b.txt": b"2"})
    for command in (["list"], ["plan"], ["download"], ["download", "-v"]):
        shown = terminal(*command[:1], repo, *command[1:], columns=200)
        assert shown.finish()[0] == 0
        for odd in (b"\x1b[31m", b"\x07", "\u202e".encode()):
            assert odd not in shown.raw
    shown = terminal("download", repo, name.replace("gnp", "gmp"), columns=200)
    assert shown.finish()[0] == 14
    assert b"\x07" not in shown.raw
    assert name in xet("list", repo).stdout


def test_ctrl_c_before_anything_has_begun_leaves_no_traceback(tmp_path: Path) -> None:
    """The interrupt comes while the package is still being read; in the background it's ignored."""
    (tmp_path / "difflib.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    told = "import sys; from _xet_ffi_command import main; sys.exit(main())"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    # `trap "" INT` is what a shell does to jobs in the background.
    for trap, status in (("trap - INT", -signal.SIGINT), ('trap "" INT', 0)):
        done = subprocess.run(
            ["sh", "-c", f'{trap}; exec "$@"', "sh", sys.executable, "-c", told, "--version"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": path},
        )
        assert (done.returncode, done.stderr) == (status, "")


def test_rm_asks_a_person(repo: str, terminal: Callable[..., Terminal]) -> None:
    """And takes no answer for no."""
    assert terminal("download", repo, "-q").finish()[0] == 0
    shown = terminal("cache", "rm", repo)
    shown.until(lambda lines: any("Remove these? [y/N]" in line for line in lines))
    os.write(shown._master, b"\n")  # noqa: SLF001 - what a person types
    assert shown.finish()[0] == 130
    shown = terminal("cache", "rm", repo)
    shown.until(lambda lines: any("Remove these? [y/N]" in line for line in lines))
    os.write(shown._master, b"y\n")  # noqa: SLF001 - the same
    status, lines = shown.finish()
    assert status == 0
    assert lines[-1].startswith(f"removed {repo}: ")


class Tmux:
    """A server of tmux with one window, in which a shell runs."""

    def __init__(self, columns: int) -> None:
        self._server = f"xet-{uuid.uuid4().hex[:8]}"
        size = ["-x", str(columns), "-y", "20"]
        self("-f", os.devnull, "new-session", "-d", "-s", "t", *size, "bash --norc --noprofile")

    def __call__(self, *words: str) -> str:
        """Runs a command of tmux's, and returns what it says."""
        done = subprocess.run(
            ["tmux", "-L", self._server, *words],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"LANG": "C.UTF-8"},
            timeout=PATIENCE,
        )
        return done.stdout

    def lines(self) -> list[str]:
        """What stands in the window."""
        return [line for line in self("capture-pane", "-p", "-t", "t").splitlines() if line]

    def until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Waits until what stands there is right, and returns it."""
        end = time.monotonic() + PATIENCE
        while not condition(lines := self.lines()):
            assert time.monotonic() < end, lines
            time.sleep(0.05)
        return lines


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    """tmux, in which lines are broken anew when a window becomes narrower, as in most terminals."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux here")
    server = Tmux(130)
    yield server
    server("kill-server")


def test_a_narrower_window_leaves_no_rests(
    hub: Hub, large: str, tmux: Tmux, tmp_path: Path
) -> None:
    """However often its size changes: one line, that fits."""
    hub.fault("storage", drip=300_000)
    script = tmp_path / "command"
    script.write_text(f"clear; exec {' '.join(COMMAND)} download {large} --local-dir o\n")
    tmux("send-keys", "-t", "t", f". {script}", "Enter")
    tmux.until(lambda lines: any("kB/s" in line for line in lines))
    for columns in (70, 40, 24, 100):
        tmux("resize-window", "-t", "t", "-x", str(columns))

        def is_right(lines: list[str], columns: int = columns) -> bool:
            one = len(lines) == 1 and lines[0].startswith("Downloading")
            return one and (len(lines[0]) > 40 if columns == 100 else len(lines[0]) < columns)

        tmux.until(is_right)
