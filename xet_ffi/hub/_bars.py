"""Progress as huggingface_hub shows it: of its own accord, or in bars of the caller's class."""

from __future__ import annotations

import sys

from xet_ffi._progress import Bar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    from xet_ffi._downloading import Transfer
    from xet_ffi._progress import Progress

_MODULE = "huggingface_hub.utils.tqdm"


class Shown:
    """The progress callback of one call, with its bars, which close with it.

    A bar appears when there is something to wait for: a call that finds everything shows none.

    Attributes:
        listed: Whether the Hub has said what the call is about.
    """

    def __init__(self) -> None:
        self.listed = False
        self._bar: Bar | None = None

    def __call__(self, progress: Progress) -> None:
        """Shows `progress`."""
        self.listed = self.listed or progress.files_total > 0
        waits = progress.bytes_network > 0 or progress.rate_limited_seconds > 0
        if self._bar is None and waits and not _switched_off():
            self._bar = Bar()
        if self._bar is not None:
            self._bar(progress)

    def finish(self, transfer: Transfer) -> None:
        """Shows a download that has ended well."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


class ShownByClass(Shown):
    """Progress in bars of a class of the caller's that is like `tqdm`.

    A file has a bar of bytes, made when its first byte comes. A snapshot has one for all its bytes
    and one for its files, made when the listing is known. Of a bar, `update` is called, and
    `update_transfer` if it has that: for bytes as they were sent. It is a context manager.

    Args:
        tqdm_class: What makes a bar; called as huggingface_hub calls it.
        filename: The file; None for a snapshot.
    """

    def __init__(self, tqdm_class: Any, filename: str | None) -> None:
        super().__init__()
        self._class = tqdm_class
        self._filename = filename
        self._bytes: Any = None
        self._files: Any = None
        self._done = [0, 0, 0]

    def __call__(self, progress: Progress) -> None:
        """Shows `progress`."""
        self.listed = self.listed or progress.files_total > 0
        if progress.bytes_network > 0 or (self._filename is None and progress.files_total > 0):
            self._make(progress.bytes_total, progress.files_total)
            self._move(progress.bytes_completed, progress.files_completed, progress.bytes_network)

    def finish(self, transfer: Transfer) -> None:
        """Completes the bars."""
        # What was in its place already has not been hashed, and nobody has waited for it.
        brought = any(file.verified for file in transfer.file_transfers)
        if brought or self._filename is None:
            self._make(transfer.bytes_total, transfer.files)
            self._move(transfer.bytes_total, transfer.files, transfer.bytes_network)

    def _make(self, total: int, files: int) -> None:
        if self._bytes is not None:
            return
        name = "snapshot_download" if self._filename is None else "http_get"
        desc = self._filename or "Downloading bytes"
        options = {"unit": "B", "unit_scale": True, "initial": 0}
        self._bytes = self._new(name, desc=desc, total=total, **options).__enter__()
        if self._filename is None:
            desc = f"Fetching {files} files"
            self._files = self._new(name, desc=desc, total=files).__enter__()

    def _new(self, name: str, **options: Any) -> Any:
        theirs = getattr(sys.modules.get(_MODULE), "tqdm", None)
        if theirs and isinstance(self._class, type) and issubclass(self._class, theirs):
            # Theirs alone takes a name, and leaves it to the caller to ask for a terminal.
            options |= {"name": f"huggingface_hub.{name}", "disable": None}
        return self._class(**options)

    def _move(self, *done: int) -> None:
        of_bytes, of_files, of_network = (
            new - old for new, old in zip(done, self._done, strict=True)
        )
        self._done = list(done)
        if of_bytes:
            self._bytes.update(of_bytes)
        if of_network and hasattr(self._bytes, "update_transfer"):
            self._bytes.update_transfer(of_network)
        if of_files and self._files is not None:
            self._files.update(of_files)

    def __exit__(self, *raised: object) -> None:
        for bar in (self._files, self._bytes):
            if bar is not None:
                bar.__exit__(*raised)


def shown(tqdm_class: Any = None, filename: str | None = None) -> Shown:
    """Returns the progress callback for a call."""
    return Shown() if tqdm_class is None else ShownByClass(tqdm_class, filename)


def _switched_off() -> bool:
    """Whether a program has called huggingface_hub's `disable_progress_bars`."""
    asked = getattr(sys.modules.get(_MODULE), "are_progress_bars_disabled", None)
    return asked is not None and bool(asked())
