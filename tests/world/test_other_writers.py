"""Other programs write into files that are still being downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from published import MIB, noise
from world.stage import TOKEN, publish
from xet_ffi import Client, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub

SIZE = 6_000_000


def scribble(partial: Path) -> None:
    """Writes over all that is there, in place."""
    held = partial.stat().st_size
    with partial.open("r+b") as file:
        file.write(b"x" * held)


def overwrite_start(partial: Path) -> None:
    """Writes a few bytes through another name of the file."""
    other = partial.with_name("another-name")
    other.hardlink_to(partial)
    with other.open("r+b") as file:
        file.write(b"xyz")
    other.unlink()


def cut_off(partial: Path) -> None:
    """Takes most of it away."""
    os.truncate(partial, 4000)


def scribble_at_end(partial: Path) -> None:
    """Writes over what has just come."""
    with partial.open("r+b") as file:
        file.seek(-5000, os.SEEK_END)
        file.write(b"x" * 600)


@pytest.mark.parametrize(("transport", "xet"), [("auto", True), ("http", True), ("http", False)])
@pytest.mark.parametrize("write", [scribble, overwrite_start, cut_off, scribble_at_end])
def test_what_another_program_wrote_to_a_large_file_is_not_blamed_on_the_server(
    hub: Hub,
    tmp_path: Path,
    write: Callable[[Path], None],
    transport: Literal["auto", "http"],
    xet: bool,
) -> None:
    """Its parts are read again where they stand, while others come. It comes again."""
    content = noise(40 * MIB, "others")
    repo, _ = publish(hub, {"large.bin": content})
    hub.set_settings(repo, xet=xet)
    hub.fault("storage", drip=8 * MIB)
    written: list[Path] = []

    def on_progress(progress: Progress) -> None:
        partials = list(tmp_path.rglob("*.partial"))
        if not written and progress.bytes_completed > len(content) // 3 and partials:
            write(partials[0])
            written.append(partials[0])
            hub.clear_faults()

    with Client(hub.endpoint, TOKEN.secret, tmp_path, transport=transport) as client:
        got = client.download_snapshot(repo, progress=on_progress, timeout=60)
    assert written
    assert (Path(got.path) / "large.bin").read_bytes() == content


@pytest.mark.parametrize("transport", ["auto", "http"])
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("write", [scribble, overwrite_start])
def test_what_another_program_wrote_is_not_taken_for_content(
    hub: Hub,
    tmp_path: Path,
    write: Callable[[Path], None],
    local: bool,
    transport: Literal["xet", "http"],
) -> None:
    """The bytes were right when they came. What is wrong by the end comes again."""
    files = {"model.safetensors": noise(SIZE, "others")}
    repo, _ = publish(hub, files)
    written: list[Path] = []

    def on_progress(progress: Progress) -> None:
        partials = list(tmp_path.rglob("*.partial"))
        if not written and progress.bytes_completed > SIZE // 3 and partials:
            write(partials[0])
            written.append(partials[0])

    with Client(
        hub.endpoint,
        TOKEN.secret,
        cache_dir=tmp_path / "cache",
        transport=transport,
        max_bytes_per_second=SIZE // 2,
    ) as client:
        folder = tmp_path / "local" if local else None
        got = client.download_snapshot(repo, local_dir=folder, progress=on_progress, timeout=60)
    assert written
    assert (Path(got.path) / "model.safetensors").read_bytes() == files["model.safetensors"]
