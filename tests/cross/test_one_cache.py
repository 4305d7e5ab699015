"""C, Go and Python at the same moment, in one cache."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from abi.toolchain import environment
from picture import contents
from published import VARIETY, VARIETY_LFS

if TYPE_CHECKING:
    from pathlib import Path

    from cross.conftest import Driver, Published

MODEL = {**VARIETY, **VARIETY_LFS}


def test_each_byte_is_fetched_once(
    drivers: dict[str, Driver], published: Published, tmp_path: Path
) -> None:
    """All succeed with the whole snapshot, and together they fetch what one would have fetched."""
    hub, cache = published.hub, tmp_path / "cache"
    command = ("snapshot", "alice/model", "-", "-", "-")
    alone, *_ = drivers["C"](hub, tmp_path / "alone", *command)
    sent_to_one = hub.stats().bytes_sent("storage")
    hub.reset_stats()
    hub.fault("storage", drip=2_000_000)
    running = [
        subprocess.Popen(
            driver.arguments(hub, cache, *command),
            env=environment(HOME=str(tmp_path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for driver in drivers.values()
    ]
    hub.wait_for(lambda stats: stats.requests("hub", "revision") == len(running), "all of them")
    assert [process.poll() for process in running] == [None] * len(running), "they didn't meet"
    reports = []
    for process in running:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        assert (process.returncode, err) == (0, ""), out
        reports.append(out.splitlines()[0].split("\t"))
    assert {report[0] for report in reports} == {"done"}, reports
    assert {report[1] for report in reports} == {
        str(cache / "models--alice--model" / "snapshots" / published.model)
    }
    found = contents(cache / "models--alice--model" / "snapshots" / published.model)
    assert {path: data for path, data in found.items() if path in MODEL} == MODEL
    fetched = sum(int(report[5]) for report in reports)
    assert fetched == int(alone[5]), reports
    assert hub.stats().bytes_sent("storage") == sent_to_one
