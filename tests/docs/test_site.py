"""The documentation builds, holds what the code has, and asks nobody for anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

import xet_ffi
from abi.toolchain import ROOT, constants, functions
from xet_ffi import cache, hub
from xet_ffi.cli.manual import markdown

MKDOCS = ROOT / ".venv" / "docs" / "bin" / "mkdocs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [MKDOCS, "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "XET_PYTHON": sys.executable, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr
    return folder


def words(page: Path) -> set[str]:
    """All names that stand in a page."""
    return set(re.findall(r"\w+", unescape(re.sub(r"<[^>]+>", " ", page.read_text("utf-8")))))


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    """Pages load scripts, styles, fonts and pictures from their own folder alone."""
    loaded = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(https?:|//)[^>]*>
        | <link\b[^>]*\brel=["']?(?:stylesheet|preconnect|icon|preload)\b
          [^>]*\bhref=["']?(https?:|//)[^>]*>
        | @import\s+["']?(https?:|//) | url\(["']?(https?:|//)""",
        re.VERBOSE,
    )
    found = [
        (file.name, match[0])
        for file in site.rglob("*")
        if file.suffix in {".html", ".css"}
        for match in loaded.finditer(file.read_text(encoding="utf-8"))
    ]
    assert found == []
    # With it, a script would ask GitHub about the repository.
    assert not any(
        "data-md-component=source" in page.read_text("utf-8") for page in site.rglob("*.html")
    )


def test_a_wide_window_shows_all_columns_of_the_interface(site: Path, tmp_path: Path) -> None:
    """Its table is the widest that is there: names of three languages, and what they do."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    measure = (
        "<script>addEventListener('load', () => {"
        "const table = document.querySelector('article table');"
        "const room = table.closest('.md-typeset__scrollwrap');"
        "document.title = `${room.scrollWidth} of ${room.clientWidth}`;"
        "})</script></body>"
    )
    page = site / "measured.html"
    text = (site / "interface.html").read_text("utf-8")
    page.write_text(text.replace("</body>", measure), "utf-8")
    # Bare of all that would ask somebody, or write elsewhere.
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += [f"--user-data-dir={tmp_path}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run(
        [chromium, *options, page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    page.unlink()
    found = re.search(r"<title>(\d+) of (\d+)</title>", done.stdout)
    assert found is not None
    assert int(found[1]) <= int(found[2])


def test_the_c_reference_has_all_of_the_header(site: Path) -> None:
    """Every function and every number that xet.h declares."""
    assert functions() | constants() <= words(site / "reference" / "c.html")


def test_the_python_reference_has_all_that_is_public(site: Path) -> None:
    """Every public name, and every method of a client."""
    page = words(site / "reference" / "python.html")
    methods = {name for name in vars(xet_ffi.Client) if not name.startswith("_")}
    public = {*xet_ffi.__all__, "AsyncClient", *cache.__all__} - {"__version__"}
    assert public | methods <= page
    assert {name for name in hub.__all__ if name.startswith("hf_")} <= page | words(
        site / "moving.html"
    )


def test_the_go_reference_has_all_that_is_public(site: Path) -> None:
    """Every exported function, method and type."""
    declared: set[str] = set()
    for file in (ROOT / "go").glob("*.go"):
        if not file.name.endswith("_test.go"):
            text = file.read_text(encoding="utf-8")
            declared |= set(re.findall(r"^type ([A-Z]\w*)", text, re.MULTILINE))
            declared |= set(
                re.findall(r"^func (?:\(\w+ \*?[A-Z]\w*\) )?([A-Z]\w*)", text, re.MULTILINE)
            )
    assert declared <= words(site / "reference" / "go.html")


def test_the_page_of_commands_has_every_option(site: Path) -> None:
    """What the command's own table has."""
    options = set(re.findall(r"--[a-z][a-z-]+", markdown()))
    shown = unescape(re.sub(r"<[^>]+>", "", (site / "commands.html").read_text("utf-8")))
    assert len(options) > 20
    assert {option for option in options if option not in shown} == set()


def test_no_page_shows_a_letter_that_only_escapes_another(site: Path) -> None:
    """What means something to Markdown is escaped where it stands, and read as it was written."""
    contract = unescape(re.sub(r"<[^>]+>", "", (site / "abi.html").read_text("utf-8")))
    assert "xet_client_<verb>(client, options, callbacks, out)" in contract
    commands = unescape(re.sub(r"<[^>]+>", "", (site / "commands.html").read_text("utf-8")))
    assert "--repo-type, --type model|dataset|space" in commands
    assert "'*.json' or 'folder/*'" in commands


def test_what_the_readme_links_to_is_there() -> None:
    """Every file and folder."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(targets) > 10
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_chart_is_what_was_measured() -> None:
    """It is committed, and drawn from bench/RESULTS.md: `make chart`."""
    script = "import chart, sys; print(chart.picture(sys.stdin.read()), end='')"
    drawn = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "docs" / "hooks")},
        input=(ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert drawn.stdout == (ROOT / "docs" / "img" / "figures.svg").read_text(encoding="utf-8")
