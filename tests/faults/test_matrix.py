"""Every fault, on everything that is fetched: a verified file or the error of the table.

The table is in matrix.py; cell.py says what else must hold: no hang, no wrong file, nothing leaked,
and the earlier version still there. After each failure the same call, without the fault, succeeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.cell import Place, PythonCaller, arm, run_cell
from faults.matrix import COLUMNS, HTTP, TCP, TCP_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from faults.conftest import Stage

CALLER = PythonCaller()


def recovers(stage: Stage, place: Place, file: str | None) -> None:
    """With everything in order again, what failed succeeds."""
    stage.heal()
    run_cell(place, CALLER, stage.hub.endpoint, file, "ok", limit=25, both=True)


@pytest.mark.parametrize(
    ("fault", "column"), [(name, column) for name, row in HTTP.items() for column in row.columns]
)
def test_a_fault_that_happens_once(stage: Stage, tmp_path: Path, fault: str, column: str) -> None:
    """Once in the life of a call."""
    row, hit = HTTP[fault], COLUMNS[column]
    place = Place(stage, tmp_path)
    arm(stage, hit, row, lasting=False)
    expected = row.passing.get(column, "ok")
    run_cell(place, CALLER, stage.hub.endpoint, hit.file, expected, limit=row.limit, both=False)
    assert [rule["fired"] for rule in stage.hub.faults()] == [1] * len(row.actions)
    assert stage.hub.stats().statuses(599) == 0
    recovers(stage, place, hit.file)


@pytest.mark.parametrize(
    ("fault", "column"),
    [(name, column) for name, row in HTTP.items() if row.lasts for column in row.columns],
)
def test_a_fault_that_does_not_stop(stage: Stage, tmp_path: Path, fault: str, column: str) -> None:
    """Whatever is tried meets it; into the cache and into a folder."""
    row, hit = HTTP[fault], COLUMNS[column]
    place = Place(stage, tmp_path)
    arm(stage, hit, row, lasting=True)
    expected = row.lasting.get(column, "ok")
    run_cell(place, CALLER, stage.hub.endpoint, hit.file, expected, limit=row.limit, both=True)
    # What is asked again may be too little to lie about (599), but not the first time.
    assert stage.hub.faults()[0]["fired"] > stage.hub.stats().statuses(599)
    recovers(stage, place, hit.file)


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
    run_cell(place, CALLER, endpoint, hit.file, expected, limit=25, both=False)
    recovers(stage, place, hit.file)
