"""`progress=True` shows a bar where somebody can see it."""

import io
import sys
from dataclasses import replace

import pytest

from xet_ffi import Client, Progress
from xet_ffi._bar import size
from xet_ffi._progress import Bar


class Terminal(io.StringIO):
    """A stderr that a person looks at."""

    def isatty(self) -> bool:
        """Is what tqdm asks."""
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


def test_the_bar_shows_bytes_files_and_the_current_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """With units, and complete at the end."""
    last = draw(monkeypatch, Terminal()).splitlines()[-1]
    assert "2/2 files" in last
    assert "4.00M/4.00M" in last
    assert "model.onnx" in last


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
    assert "rate limited" not in terminal.getvalue().splitlines()[-1].split("\r")[-1]


def test_the_bar_of_an_upload_shows_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It's read long before, and what the Hub has isn't sent."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = Bar()
    read = replace(progress(4_000_000, 0), phase="uploading", bytes_reused=1_000_000)
    shown = []
    for sent in (0, 1_500_000, 3_500_000):
        bar(replace(read, bytes_network=sent))
        shown.append(bar._bar.n)  # noqa: SLF001 - what is drawn
    bar(replace(progress(4_000_000, 2), phase="committing"))
    shown.append(bar._bar.n)  # noqa: SLF001 - what is drawn
    bar.close()
    assert shown == [1_000_000, 2_500_000, 4_000_000, 4_000_000]


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


@pytest.fixture
def no_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it weren't installed."""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)


@pytest.mark.usefixtures("no_tqdm")
def test_without_tqdm_a_plain_bar_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that is drawn again and again, and left complete."""
    drawn = draw(monkeypatch, Terminal())
    assert drawn.count("\n") == 1
    assert drawn.endswith("\n")
    last = drawn.rstrip().rpartition("\r")[2]
    assert last.startswith("2/2 files  100% 4MB/4MB [")
    assert last.endswith("B/s]  model.onnx")


@pytest.mark.usefixtures("no_tqdm")
def test_the_plain_bar_fits_the_terminal_and_leaves_no_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line that wraps would be drawn anew below; one that is shorter has to cover the last."""
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar()
    bar(replace(progress(1_000_000, 0), rate_limited_seconds=9000))
    bar(replace(progress(1_000_000, 0), file="x", bytes_total=0))
    bar.close()
    lines = terminal.getvalue().rstrip("\n").split("\r")[1:]
    assert all(len(line) < 40 for line in lines)
    assert len(lines[-1]) == max(map(len, lines))


@pytest.mark.usefixtures("no_tqdm")
def test_the_plain_bar_keeps_away_where_tqdm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """From pipes, from a stderr that isn't there, and from where it's switched off."""
    assert draw(monkeypatch, io.StringIO()) == ""
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    assert draw(monkeypatch, Terminal()) == ""
    monkeypatch.setattr(sys, "stderr", None)
    bar = Bar()
    bar(progress(1_000_000, 0))
    bar.close()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (999.7, "1k"), (1_234_567, "1.23M"), (5e15, "5e+03T")],
)
def test_sizes_have_units(number: float, text: str) -> None:
    """Of thousands, as tqdm's have."""
    assert size(number) == text


def test_progress_must_be_callable_or_bool() -> None:
    """Noticed before the call, by name."""
    with Client(token=False) as client, pytest.raises(TypeError, match="progress: expected"):
        client.download_file("a/b", "c", progress="yes")  # type: ignore[arg-type]
