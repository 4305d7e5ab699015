"""How far a call is, in one line: on a terminal, or in a notebook; nowhere else.

What stands in the line is a function of the numbers and of the room, `line`. Where it stands is
the business of a screen: it shows a line in the place of the last one, and wipes it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, TextIO

    from xet_ffi._progress import Progress

    class Screen(Protocol):
        """A place for one line that changes."""

        def columns(self) -> int:
            """Returns how long the line may be."""

        def show(self, line: str) -> None:
            """Shows it instead of the last one."""

        def wipe(self) -> None:
            """Takes it away."""

        def end(self) -> None:
            """Leaves it, and begins a new one."""


BETWEEN_DRAWINGS = 0.1
"""Seconds between two drawings of what changes all the time."""

QUIET = 3.0
"""Seconds without a byte after which that is told."""

_NOTE = 8.0
"""Seconds that a note stays."""

_MOMENT = 0.5
"""Seconds that a speed is of at the least."""

_WINDOW = 4.0
"""Seconds that the speed is an average of."""

_BAR = 3
"""How much the bar itself matters, as `_parts` has it."""

_LEAST, _MOST = 10, 30
"""Columns of the bar itself. A shorter one tells nothing that the percentage doesn't."""

_HEAVY_AND_LIGHT = ("\N{BOX DRAWINGS HEAVY HORIZONTAL}", "\N{BOX DRAWINGS LIGHT HORIZONTAL}")
_ASCII = ("#", ".")

_PHASES = {
    "scanning": "Looking",
    "downloading": "Downloading",
    "finalizing": "Finishing",
    "hashing": "Reading",
    "uploading": "Uploading",
    "committing": "Committing",
}

_UNITS = ("", "k", "M", "G", "T", "P")


def size(number: float) -> str:
    """Returns a number with a unit of thousands, to put a "B" behind.

    >>> size(1_230_000), size(999)
    ('1.23 M', '999 ')
    """
    unit = 0
    while number >= 999.5 and unit + 1 < len(_UNITS):  # noqa: PLR2004 - would be shown as 1000
        number /= 1000
        unit += 1
    return f"{number:.3g} {_UNITS[unit]}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class State:
    """What the bar knows of a call: its last progress, and how that has moved.

    Attributes:
        progress: The last one.
        done: Bytes that count as done; of an upload, those that were sent.
        has_ended: Whether there is no more to come.
    """

    def __init__(self, now: float) -> None:
        self.progress: Progress | None = None
        self.done = 0
        self.has_ended = False
        self._samples = [(now, 0)]
        self._moved = now
        self._note, self._noted = "", now - _NOTE

    def take(self, progress: Progress, now: float) -> None:
        """Takes what the call says."""
        done = progress.bytes_completed
        if progress.phase == "uploading":
            # It's read much sooner than it's sent.
            done = min(done, progress.bytes_network + progress.bytes_reused)
        self.done = max(done, self.done)
        old = self.progress
        if old is None or (
            (old.phase, old.bytes_network, old.bytes_completed, old.files_completed)
            != (
                progress.phase,
                progress.bytes_network,
                progress.bytes_completed,
                progress.files_completed,
            )
        ):
            self._moved = now
            if old is not None and old.phase != progress.phase:
                self._note = ""
        self.progress = progress
        self._samples.append((now, progress.bytes_network))
        while now - self._samples[1][0] > _WINDOW:
            del self._samples[0]

    def note(self, text: str, now: float) -> None:
        """Takes what is to be said for a moment, in this phase."""
        self._note, self._noted = text, now

    def speed(self) -> float:
        """Bytes per second that the network brings, or takes. What is reused doesn't count."""
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        # Of less time than that it would say anything.
        return (after - before) / (last - first) if last - first >= _MOMENT else 0.0

    def trouble(self, now: float) -> str:
        """Returns why it doesn't get on; "" if it does."""
        progress = self.progress
        if progress is None:
            return ""
        if progress.rate_limited_seconds:
            return f"rate limited, {progress.rate_limited_seconds} s"
        said = self._note if now - self._noted < _NOTE else ""
        quiet = now - self._moved
        if quiet < QUIET:
            return said
        waits = {"downloading": "nothing has come", "uploading": "nothing was acknowledged"}
        what = waits.get(progress.phase, "no answer")
        return ", ".join([f"{what} for {quiet:.0f} s", *([said] if said else [])])


def line(state: State, columns: int, now: float, *, ascii_only: bool = False) -> str:
    """Returns the line, no longer than `columns`; what matters least is left out first."""
    progress = state.progress
    if progress is None:
        return ""
    total = progress.bytes_total
    percent = min(100 * state.done // total, 100) if total else 0
    parts = _parts(state, progress, percent, state.trouble(now))
    # The bar itself comes before what is only good to know.
    while len(parts) > 1 and _length(parts) > columns - (_LEAST + 2) and max(parts)[0] > _BAR:
        parts.remove(max(parts))
    while len(parts) > 1 and _length(parts) > columns:
        parts.remove(max(parts))
    room = min(columns - _length(parts) - 2, _MOST)
    texts = [text for _, text in parts]
    if total and room >= _LEAST:
        full, empty = _ASCII if ascii_only else _HEAVY_AND_LIGHT
        filled = room * percent // 100
        texts.insert(1, full * filled + empty * (room - filled))
    whole = "  ".join(texts)
    # A piece of a word tells nothing.
    return whole if width(whole) <= columns else ""


def _parts(state: State, progress: Progress, percent: int, trouble: str) -> list[tuple[int, str]]:
    """Returns what there is to say, in its order, each with how much it matters: 0 most."""
    total = progress.bytes_total
    is_moving = progress.phase in {"downloading", "uploading"}
    speed = state.speed() if is_moving else 0.0
    is_complete = progress.files_completed == progress.files_total > 0
    what = _PHASES.get(progress.phase, progress.phase)
    parts = [(0, "Done" if state.has_ended and is_complete else what)]
    if total:
        parts += [(0, f"{percent:3}%"), (2, f"{size(state.done)}B of {size(total)}B")]
    if speed:
        parts.append((3, f"{size(speed)}B/s"))
        if total > state.done:
            parts.append((6, f"{_span((total - state.done) / speed)} left"))
    if progress.bytes_reused:
        kept = "on the Hub" if progress.phase in {"hashing", "uploading"} else "reused"
        parts.append((5, f"{size(progress.bytes_reused)}B {kept}"))
    if progress.files_total:
        parts.append((4, f"{progress.files_completed}/{progress.files_total} files"))
    if trouble:
        parts.append((1, trouble))
    elif progress.file:
        # What would move the cursor or ring a bell is for nobody to choose who names a file.
        name = progress.file.rpartition("/")[2]
        parts.append((7, "".join([c if c.isprintable() else "?" for c in name])))
    return parts


def _length(parts: list[tuple[int, str]]) -> int:
    return sum(width(text) + 2 for _, text in parts) - 2


def width(text: str) -> int:
    """Returns how many columns a text takes.

    >>> width("model"), width("\N{CJK UNIFIED IDEOGRAPH-6A21}")
    (5, 2)
    """
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


class Terminal:
    """A terminal: the line is drawn over again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = 0

    def columns(self) -> int:
        """Returns one less than there are: after the last one, some begin a new line."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns - 1
        except (OSError, ValueError):
            return shutil.get_terminal_size().columns - 1

    def show(self, line: str) -> None:
        """Draws the line over the last one."""
        self._write(f"{self._back()}{line}")
        self._shown = width(line)

    def wipe(self) -> None:
        """Takes the line away."""
        if self._shown:
            self._write(self._back())
            self._shown = 0

    def end(self) -> None:
        """Leaves the line."""
        if self._shown:
            self._write("\n")
            self._shown = 0

    def _back(self) -> str:
        """Moves to where the line began, and clears what follows.

        A terminal that has become narrower has broken the line into several.
        """
        above = (self._shown - 1) // (self.columns() + 1) if self._shown and _reflows() else 0
        up = f"\x1b[{above}A" if above > 0 else ""
        return f"\r{up}\x1b[J"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _reflows() -> bool:
    """Whether the terminal breaks lines anew when its width changes. xterm and screen cut them."""
    environment = os.environ
    return "TMUX" in environment or not ("XTERM_VERSION" in environment or "STY" in environment)


class Notebook:
    """A cell of a notebook. Needs no ipywidgets: it's text that IPython lets us change."""

    def __init__(self, shell: Any) -> None:
        self._publish = shell.display_pub.publish
        # Any name that no other has.
        self._name = f"xet_ffi-{os.getpid()}-{id(self)}"
        self._is_there = False

    def columns(self) -> int:
        """Returns what fits beside most prompts."""
        return 100

    def show(self, line: str) -> None:
        """Puts the line into the cell's output."""
        transient = {"display_id": self._name}
        self._publish({"text/plain": line}, transient=transient, update=self._is_there)
        self._is_there = True

    def wipe(self) -> None:
        """Empties it. Its place stays."""
        if self._is_there:
            self.show("")

    def end(self) -> None:
        """Leaves it; the next one is another."""
        self._is_there = False


def screen() -> Screen | None:
    """Returns where a person can see a line, if that is anywhere."""
    stream = sys.stderr
    if stream is None:
        return None
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and hasattr(shell, "kernel"):
        return Notebook(shell)
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    return Terminal(stream)


def is_ascii(stream: TextIO | None) -> bool:
    """Whether the encoding of a stream has no lines to draw a bar with."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        _HEAVY_AND_LIGHT[0].encode(encoding)
    except (UnicodeError, LookupError):
        return True
    return False


def clock() -> float:
    """Returns the time that states are told, in seconds."""
    return time.monotonic()
