"""What looks after the cache, as far as an empty one shows it; tests/e2e has full ones."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from xet_ffi import CancelledError, InvalidConfigError, Progress, cache

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


def test_every_call_can_be_cancelled(call: Callable[..., Any]) -> None:
    """As downloads can."""
    with pytest.raises(CancelledError):
        call(cancel=lambda: True)


def test_every_call_takes_a_timeout(call: Callable[..., Any]) -> None:
    """One that is too short to be a time is refused, and a long one is no hindrance."""
    call(timeout=60)
    with pytest.raises(InvalidConfigError, match="timeout"):
        call(timeout=0)


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
