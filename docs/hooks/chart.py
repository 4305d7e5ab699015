"""Draws img/figures.svg from bench/RESULTS.md: `python docs/hooks/chart.py` writes it.

README shows it, so it is committed; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "img" / "figures.svg"

#: Pixels.
WIDTH, ROW, LEFT, LONGEST = 760, 64, 250, 390


class Row(NamedTuple):
    """A figure: what it is of, ours and the official client's, and its unit."""

    title: str
    ours: float
    official: float
    unit: str


def rows(results: str) -> list[Row]:
    """Returns what the chart shows, from the first table with such a case."""
    file = _cells(results, "cold file, whole process")
    many = _cells(results, "cold snapshot of 520 files, download")
    again = _cells(results, "no-op snapshot, whole process")
    revision = _cells(results, "new revision, 10 % of 512 MiB changed in one region")
    return [
        Row("1 GiB, cold", _number(file[1]), _number(file[2]), "s"),
        Row("… its memory", _number(file[6]), _number(file[7]), "MiB"),
        Row("520 small files, cold", _number(many[1]), _number(many[2]), "s"),
        Row("the same, nothing new", _number(again[1]), _number(again[2]), "s"),
        Row("512 MiB, a tenth changed", _number(revision[2]), _number(revision[3]), "MB received"),
    ]


def _cells(results: str, case: str) -> list[str]:
    found = re.search(rf"^\| {re.escape(case)} \|.*$", results, re.MULTILINE)
    if found is None:
        message = f"bench/RESULTS.md has no case {case!r}"
        raise ValueError(message)
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def _number(cell: str) -> float:
    return float(cell.split(maxsplit=1)[0])


def picture(results: str) -> str:
    """Returns the chart: each pair of bars in its own unit, the longer one as long as can be."""
    figures = rows(results)
    height = 56 + ROW * len(figures)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>xet-ffi beside huggingface_hub with hf_xet; shorter is better</title>",
        "<style>",
        "text { font: 15px system-ui, sans-serif; fill: #1f2328 }",
        ".about { fill: #59636e; font-size: 13px }",
        ".ours { fill: #00897b } .official { fill: #b6bfc9 }",
        "@media (prefers-color-scheme: dark) {",
        "text { fill: #e6edf3 } .about { fill: #9198a1 }",
        ".ours { fill: #26a69a } .official { fill: #545d68 }",
        "}",
        "</style>",
        f'<rect class="ours" x="{LEFT}" y="10" width="14" height="14" rx="2"/>',
        f'<text x="{LEFT + 22}" y="22">xet-ffi</text>',
        f'<rect class="official" x="{LEFT + 100}" y="10" width="14" height="14" rx="2"/>',
        f'<text x="{LEFT + 122}" y="22">huggingface_hub + hf_xet</text>',
        '<text class="about" x="0" y="22">shorter is better</text>',
    ]
    for at, row in enumerate(figures):
        top = 44 + ROW * at
        longest = max(row.ours, row.official)
        lines.append(f'<text x="{LEFT - 14}" y="{top + 27}" text-anchor="end">{row.title}</text>')
        for name, value, y in (("ours", row.ours, top), ("official", row.official, top + 22)):
            length = max(2, round(LONGEST * value / longest))
            end, said = LEFT + length + 8, f"{value:.3g} {row.unit}"
            lines += [
                f'<rect class="{name}" x="{LEFT}" y="{y}" width="{length}" height="18" rx="3"/>',
                f'<text class="about" x="{end}" y="{y + 14}">{said}</text>',
            ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    drawn = picture((ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8"))
    PICTURE.write_text(drawn, encoding="utf-8")
