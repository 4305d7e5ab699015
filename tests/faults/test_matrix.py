"""Every fault, on everything that is fetched: a verified file or the error of the table.

The table is in matrix.py; cell.py says what else must hold: no hang, no wrong file, nothing leaked,
and the earlier version still there. After each failure the same call, without the fault, succeeds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cross import golang
from faults.cell import Caller, GoCaller, Outcome, Place, PythonCaller, arm, run_cell
from faults.matrix import COLUMNS, HTTP, TCP, TCP_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faults.stage import Stage

PYTHON = PythonCaller()

#: What Go tries: enough to show that deadlines, errors and clean ends don't depend on Python.
SAMPLE = (
    "silence before the answer",
    "reset in mid-body",
    "other bytes",
    "503",
    "broken JSON",
    "a lie: longer",
)


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoCaller]:
    """The Go program."""
    source = Path(__file__).parent / "driver.go"
    base = tmp_path_factory.mktemp("go")
    caller = GoCaller(golang.build(source, base / "driver"))
    # What Go's runtime itself opens at the first call is no leak.
    caller.call("http://127.0.0.1:9", base / "cache", [None], None, 5)
    yield caller
    caller.close()


def once(stage: Stage, caller: Caller, place: Place, fault: str, column: str) -> None:
    """Once in the life of a call; if that failed, again without."""
    row, hit = HTTP[fault], COLUMNS[column]
    arm(stage, hit, row, times=1)
    expected = row.passing.get(column, "ok")
    outcomes = run_cell(
        place, caller, stage.hub.endpoint, hit.file, expected, limit=row.limit, both=False
    )
    assert [rule["fired"] for rule in stage.hub.faults()] == [1] * len(row.actions)
    assert stage.hub.stats().statuses(599) == 0
    recovers(stage, caller, place, hit.file, outcomes)


def for_ever(stage: Stage, caller: Caller, place: Place, fault: str, column: str) -> None:
    """Whatever is tried meets it; if that failed, again without."""
    row, hit = HTTP[fault], COLUMNS[column]
    arm(stage, hit, row, times=None)
    expected = row.lasting.get(column, "ok")
    outcomes = run_cell(
        place, caller, stage.hub.endpoint, hit.file, expected, limit=row.limit, both=True
    )
    # What is asked again may be too little to lie about (599), but not the first time.
    assert stage.hub.faults()[0]["fired"] > stage.hub.stats().statuses(599)
    recovers(stage, caller, place, hit.file, outcomes)


def recovers(
    stage: Stage, caller: Caller, place: Place, file: str | None, outcomes: list[Outcome]
) -> None:
    """With everything in order again, what failed succeeds."""
    if all(outcome.kind == "ok" for outcome in outcomes):
        return
    stage.heal()
    run_cell(place, caller, stage.hub.endpoint, file, "ok", limit=25, both=True)


def cells(*, lasting: bool, rows: Iterable[str] = HTTP) -> list[tuple[str, str]]:
    """Fault and column."""
    chosen = [(name, HTTP[name]) for name in rows if HTTP[name].lasts or not lasting]
    return [(name, column) for name, row in chosen for column in row.columns]


@pytest.mark.parametrize(("fault", "column"), cells(lasting=False))
def test_a_fault_that_happens_once(stage: Stage, tmp_path: Path, fault: str, column: str) -> None:
    """Once in the life of a call."""
    once(stage, PYTHON, Place(stage, tmp_path), fault, column)


@pytest.mark.parametrize(("fault", "column"), cells(lasting=True))
def test_a_fault_that_does_not_stop(stage: Stage, tmp_path: Path, fault: str, column: str) -> None:
    """For ever; into the cache and into a folder."""
    for_ever(stage, PYTHON, Place(stage, tmp_path), fault, column)


@pytest.mark.parametrize(("fault", "column"), cells(lasting=False, rows=SAMPLE))
def test_go_meets_a_fault_once(
    stage: Stage, go: GoCaller, tmp_path: Path, fault: str, column: str
) -> None:
    """The same table holds for Go."""
    once(stage, go, Place(stage, tmp_path), fault, column)


@pytest.mark.parametrize(("fault", "column"), cells(lasting=True, rows=SAMPLE))
def test_go_meets_a_fault_that_does_not_stop(
    stage: Stage, go: GoCaller, tmp_path: Path, fault: str, column: str
) -> None:
    """The same table holds for Go."""
    for_ever(stage, go, Place(stage, tmp_path), fault, column)


@pytest.mark.parametrize("column", TCP_COLUMNS)
@pytest.mark.parametrize("fault", TCP)
def test_a_fault_of_tcp(stage: Stage, tmp_path: Path, fault: str, column: str) -> None:
    """The same below HTTP, between the client and the origin that it needs."""
    toxic, hit = TCP[fault], COLUMNS[column]
    place = Place(stage, tmp_path)
    stage.through_wires()
    wire = stage.wires[hit.wire]
    if toxic.name:
        wire.add(toxic.name, upstream=toxic.upstream, **toxic.attributes)
    else:
        wire.cut()
    endpoint = stage.wires["hub"].url
    expected = toxic.lasting.get(column, "ok")
    outcomes = run_cell(place, PYTHON, endpoint, hit.file, expected, limit=25, both=False)
    recovers(stage, PYTHON, place, hit.file, outcomes)
