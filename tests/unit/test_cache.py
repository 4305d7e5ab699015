"""What looks after the cache, as far as an empty one shows it; tests/e2e has full ones."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from xet_ffi import InvalidConfigError, Progress, cache

CALLS: dict[str, Callable[..., Any]] = {
    "usage": cache.usage,
    "verify": cache.verify,
    "prune": partial(cache.prune, unreferenced=True),
    "index": partial(cache.index, offline=True),
}


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Each function of the module, on an empty cache."""
    return partial(CALLS[request.param], cache_dir=tmp_path)


def test_every_call_reports_its_progress(call: Callable[..., Any]) -> None:
    """A large cache takes minutes to look at."""
    seen: list[Progress] = []
    call(progress=seen.append)
    assert {type(progress) for progress in seen} == {Progress}


def test_every_call_can_be_ended(call: Callable[..., Any]) -> None:
    """By what its callback raises, and by `cancel`, which an empty cache is too quick for."""

    def fail(_: Progress) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        call(progress=fail)
    call(cancel=lambda: False)
    with pytest.raises(TypeError, match="cancel: expected an Event"):
        call(cancel=True)


def test_every_call_takes_a_timeout(call: Callable[..., Any]) -> None:
    """One that is too short to be a time is refused, and a long one is no hindrance."""
    call(timeout=60)
    with pytest.raises(InvalidConfigError, match="timeout"):
        call(timeout=0)


def test_every_call_takes_deadlines(call: Callable[..., Any]) -> None:
    """Those of a download; another name is a mistake."""
    call(connect_timeout=5, first_byte_timeout=5, read_timeout=5, min_speed=0)
    with pytest.raises(InvalidConfigError, match="read_timeout"):
        call(read_timeout=-1)
    with pytest.raises(TypeError, match="reed_timeout"):
        call(reed_timeout=5)


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"size": -1}, "size"),
        ({"size": 2**64}, "size"),
        ({"older_than": 0}, "older_than"),
        ({"older_than": float("nan")}, "older_than"),
        ({"older_than": float("inf")}, "older_than"),
        ({"older_than": 1e30}, "older_than"),
        ({"older_than": timedelta(milliseconds=5)}, "older_than"),
        ({}, "unreferenced"),
    ],
)
def test_a_limit_that_makes_no_sense_is_named(
    tmp_path: Path, limits: dict[str, Any], field: str
) -> None:
    """Before anything is looked at."""
    with pytest.raises(InvalidConfigError) as caught:
        cache.prune(**limits, cache_dir=tmp_path)
    assert caught.value.field == field
