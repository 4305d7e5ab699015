"""`progress=True` shows a bar where somebody can see it."""

import io
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from xet_ffi import Client, Progress
from xet_ffi._bar import State, line, size, width
from xet_ffi._progress import Bar


class Terminal(io.StringIO):
    """A stderr that a person looks at."""

    def isatty(self) -> bool:
        """Is what the bar asks."""
        return True


def progress(completed: int, files: int) -> Progress:
    """Half-way through a snapshot of two files."""
    return Progress(
        phase="downloading",
        bytes_total=4_000_000,
        bytes_completed=completed,
        bytes_network=completed,
        bytes_reused=0,
        files_total=2,
        files_completed=files,
        file="onnx/model.onnx",
        file_bytes_completed=completed,
        file_bytes_total=3_000_000,
    )


@pytest.fixture(autouse=True)
def no_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests start without huggingface_hub's switch, whatever the environment says."""
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)


def draw(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO) -> str:
    """Returns what a short download puts on `stderr`."""
    monkeypatch.setattr(sys, "stderr", stderr)
    bar = Bar()
    bar(progress(1_000_000, 0))
    bar(progress(4_000_000, 2))
    bar.close()
    return stderr.getvalue()


def last(terminal: str) -> str:
    """What stands on the line in the end."""
    return terminal.rstrip("\n").rpartition("\x1b[J")[2]


def test_the_bar_shows_bytes_files_and_the_current_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """With units, complete at the end, and on a line that stays."""
    monkeypatch.setenv("COLUMNS", "120")
    drawn = draw(monkeypatch, Terminal())
    assert drawn.count("\n") == 1
    assert drawn.endswith("\n")
    shown = last(drawn)
    assert shown.startswith("Done  ####")
    assert "100%  4 MB of 4 MB" in shown
    assert shown.endswith("2/2 files  model.onnx")


def test_the_bar_shows_a_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing else moves meanwhile; and no longer than it lasts."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar()
    bar(replace(progress(0, 0), file=None, rate_limited_seconds=90))
    bar(replace(progress(0, 0), rate_limited_seconds=89))
    assert "rate limited, 90 s" in terminal.getvalue()
    assert "rate limited, 89 s" in terminal.getvalue()
    bar(progress(4_000_000, 2))
    bar.close()
    assert "rate limited" not in last(terminal.getvalue())


def test_the_bar_of_an_upload_shows_what_was_sent() -> None:
    """It's read long before, and what the Hub has isn't sent."""
    state = State(0)
    read = replace(progress(4_000_000, 0), phase="uploading", bytes_reused=1_000_000)
    shown = []
    for sent in (0, 1_500_000, 3_500_000):
        state.take(replace(read, bytes_network=sent), 1)
        shown.append(state.done)
    state.take(replace(progress(4_000_000, 2), phase="committing"), 2)
    shown.append(state.done)
    assert shown == [1_000_000, 2_500_000, 4_000_000, 4_000_000]


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("scanning", "Looking"),
        ("downloading", "Downloading"),
        ("finalizing", "Finishing"),
        ("hashing", "Reading"),
        ("uploading", "Uploading"),
        ("committing", "Committing"),
    ],
)
def test_the_bar_says_what_the_call_does(phase: str, said: str) -> None:
    """In every phase, and for how long nothing has been heard."""
    state = State(0)
    state.take(replace(progress(1_000_000, 0), phase=phase), 10)
    assert line(state, 100, 11).startswith(said)
    state.take(replace(progress(1_000_000, 0), phase=phase), 18)
    assert " for 8 s" in line(state, 100, 18)


def test_a_note_stays_for_a_moment() -> None:
    """Beside how long nothing has come."""
    state = State(0)
    state.take(progress(1_000_000, 0), 1)
    state.note("trying another connection", 5)
    assert "nothing has come for 8 s, trying another connection" in line(state, 100, 9)
    assert "trying" not in line(state, 100, 20)


def test_a_note_is_of_its_phase() -> None:
    """What a download waited for is no news when it's finished."""
    state = State(0)
    state.take(progress(1_000_000, 0), 1)
    state.note("another download has it", 2)
    state.take(replace(progress(4_000_000, 2), phase="finalizing"), 3)
    assert "another download" not in line(state, 100, 3)


def test_what_is_reused_is_no_speed() -> None:
    """The network's is what came over it."""
    state = State(0)
    for second in range(4):
        here = replace(progress(1_000_000 * second, 0), bytes_network=1_000 * second)
        state.take(replace(here, bytes_reused=999_000 * second), second)
    shown = line(state, 150, 3)
    assert "  1 kB/s  " in shown
    assert "3 MB reused" in shown


@pytest.mark.parametrize("columns", range(130))
@pytest.mark.parametrize("name", ["model.onnx", "\N{CJK UNIFIED IDEOGRAPH-6A21}" * 9, "a\x1b[2Jb"])
def test_the_line_fits_whatever_the_width(columns: int, name: str) -> None:
    """And has no bar of a few characters, nor what moves the cursor."""
    state = State(0)
    for second in range(3):
        now = replace(progress(1_000_000 * second, 0), bytes_reused=500_000, file=name)
        state.take(now, second)
    shown = line(state, columns, 2)
    assert width(shown) <= columns
    assert not shown or shown.split()[0] in {"Downloading", "50%"}
    assert shown.isprintable()
    drawn = sum(
        map(shown.count, "\N{BOX DRAWINGS HEAVY HORIZONTAL}\N{BOX DRAWINGS LIGHT HORIZONTAL}")
    )
    assert drawn == 0 or drawn >= 10
    if columns >= 40:
        assert "50%" in shown


def test_a_terminal_that_is_gone_ends_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar goes, and the download goes on."""

    class Gone(Terminal):
        def write(self, _: str) -> int:
            raise OSError

    assert draw(monkeypatch, Gone()) == ""


def test_a_notebook_needs_no_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One output of the cell, that changes."""
    published: list[tuple[Any, Any]] = []

    class Publisher:
        def publish(self, data: object, **how: object) -> None:
            published.append((data, how))

    shell = SimpleNamespace(kernel=object(), display_pub=Publisher())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert draw(monkeypatch, io.StringIO()) == ""
    names = {how["transient"]["display_id"] for _, how in published}
    assert len(names) == 1
    assert [how["update"] for _, how in published] == [False, *[True] * (len(published) - 1)]
    assert "100%" in published[-1][0]["text/plain"]


def test_without_stderr_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that was started without one."""
    monkeypatch.setattr(sys, "stderr", None)
    bar = Bar()
    bar(progress(1_000_000, 0))
    bar.close()


def test_nothing_is_drawn_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log files are no terminals."""
    assert draw(monkeypatch, io.StringIO()) == ""


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_the_switch_of_huggingface_hub_is_obeyed(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """One variable silences both."""
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", value)
    assert draw(monkeypatch, Terminal()) == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 "), (999, "999 "), (999.7, "1 k"), (1_234_567, "1.23 M"), (5e15, "5 P")],
)
def test_sizes_have_units(number: float, text: str) -> None:
    """Of thousands."""
    assert size(number) == text


def test_progress_must_be_callable_or_bool() -> None:
    """Noticed before the call, by name."""
    with Client(token=False) as client, pytest.raises(TypeError, match="progress: expected"):
        client.download_file("a/b", "c", progress="yes")  # type: ignore[arg-type]
