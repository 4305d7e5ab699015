"""Streams: what hf_xet does where its own tests don't look, and ours.

Each test with `hf` runs with both modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from xet_ffi import AuthError

if TYPE_CHECKING:
    from hf_xet_face.conftest import Stored
    from hub import Hub

ABSENT = "ab" * 32


def info(hf: Any, stored: Stored) -> Any:
    """What is there, as the module calls it."""
    return hf.XetFileInfo(stored.hash, stored.size)


RANGES = [(None, None), (5, 100_000), (2_999_999, None), (None, 7), (5, 5), (0, 0), (5, 10**9)]


@pytest.mark.parametrize("bounds", RANGES, ids=str)
@pytest.mark.parametrize("known", [True, False], ids=["size", "no size"])
def test_streams_have_the_bytes_of_their_range(
    hf: Any, stored: Stored, bounds: tuple[int | None, int | None], known: bool
) -> None:
    """Whether the size is known or not; unordered ones say where each piece is in the range."""
    what = info(hf, stored) if known else hf.XetFileInfo(stored.hash)
    group = hf.XetSession().new_download_stream_group(**stored.read)
    wanted = stored.content[slice(*bounds)]
    stream = group.download_stream(what, *bounds)
    assert b"".join(stream) == wanted
    found = bytearray(len(wanted))
    for offset, data in group.download_unordered_stream(what, *bounds):
        found[offset : offset + len(data)] = data
    assert found == wanted
    progress = stream.progress()
    assert (progress.item_name, progress.bytes_completed) == ("stream", len(wanted))


def test_ranges_that_can_not_be_are_value_errors(hf: Any, stored: Stored) -> None:
    """Before anything is asked for."""
    session = hf.XetSession()
    for bounds in ((7, 5), (stored.size, None), (10**9, 10**10)):
        with pytest.raises(ValueError, match="range"):
            session.new_download_stream_group(**stored.read).download_stream(
                info(hf, stored), *bounds
            )
    with pytest.raises(OverflowError):
        session.new_download_stream_group(**stored.read).download_stream(info(hf, stored), -1)
    around: tuple[int | None, int | None]
    for around in ((None, None), (1, 2), (0, 0), (1, 1)):
        with pytest.raises(RuntimeError, match="hash"):
            session.new_download_stream_group(**stored.read).download_stream(
                hf.XetFileInfo("xx", 3), *around
            )


def test_a_finished_group_opens_no_more(hf: Any, stored: Stored) -> None:
    """What it has opened goes on."""
    for name in ("download_stream", "download_unordered_stream"):
        group = hf.XetSession().new_download_stream_group(**stored.read)
        stream = group.download_stream(info(hf, stored))
        group.finish()
        with pytest.raises(ValueError, match="already finalized"):
            getattr(group, name)(info(hf, stored))
        assert b"".join(stream) == stored.content


def test_a_streams_error_has_its_class(ours: Any, hub: Hub, stored: Stored) -> None:
    """A ConnectionError for every status, which is also caught as what it is.

    hf_xet's streams of what isn't there are empty at times.
    """
    session = ours.XetSession()
    absent = session.new_download_stream_group(**stored.read).download_stream(
        ours.XetFileInfo(ABSENT, 3)
    )
    with pytest.raises(ConnectionError) as missing:
        list(absent)
    refused = session.new_download_stream_group(endpoint=hub.cas).download_stream(
        info(ours, stored)
    )
    with pytest.raises(ConnectionError) as unknown:
        list(refused)
    assert isinstance(missing.value, ours.XetObjectNotFoundError)
    assert isinstance(unknown.value, ours.XetAuthenticationError)
    assert isinstance(unknown.value.__cause__, AuthError)


def test_cancelled_streams_are_at_their_end(hf: Any, stored: Stored) -> None:
    """By themselves, and with their group."""
    group = hf.XetSession().new_download_stream_group(**stored.read)
    stream = group.download_stream(info(hf, stored))
    stream.cancel()
    assert list(stream) == []
    begun = group.download_stream(info(hf, stored))
    next(begun)
    group.abort()
    assert b"".join(begun) != stored.content
    with pytest.raises(RuntimeError, match="cancelled"):
        group.download_stream(info(hf, stored))
