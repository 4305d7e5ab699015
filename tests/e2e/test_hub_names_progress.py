"""Progress of xet_ffi.hub: a bar of its own, or `tqdm_class`, used as huggingface_hub uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from both import OURS, both, run
from published import noise, publish

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hub import Hub

BARS = """
from tqdm import tqdm
made = []
class Bar(tqdm):
    def __init__(self, *args, **options):
        self.options = {name: options.get(name) for name in ("total", "unit", "initial")}
        made.append(self)
        super().__init__(*args, **options)
    def shown(self):
        return {**self.options, "n": self.n, "closed": self.disable}
def bars():
    "Those of a call, whose bytes are there."
    shown = [bar.shown() for bar in made]
    made.clear()
    return shown
"""


@pytest.fixture
def repo(hf_api: HfApi, repo_id: str) -> str:
    """A model with a git file that is worth a bar, and a Xet file."""
    files = {"config.json": b"{}" * 50_000, "model.bin": noise(2_000_000), "empty.txt": b""}
    publish(hf_api, repo_id, files)
    return repo_id


def test_a_class_of_the_caller_s_shows_a_file(hub: Hub, repo: str, tmp_path: Path) -> None:
    """One bar with the name and the size, complete in the end; none if the file is there."""
    said = both(
        BARS
        + """
from huggingface_hub import hf_hub_download
hf_hub_download(REPO, "config.json", tqdm_class=Bar)
show("fetched", bars())
hf_hub_download(REPO, "config.json", tqdm_class=Bar)
show("cached", bars())
hf_hub_download(REPO, "config.json", tqdm_class=Bar, dry_run=True)
show("dry run", bars())
""",
        hub,
        tmp_path,
        repo=repo,
    )
    (bar,) = dict(said)["fetched"]
    assert bar["total"] == bar["n"] == 100_000
    assert bar["closed"]


def test_a_class_of_the_caller_s_shows_a_snapshot(hub: Hub, repo: str, tmp_path: Path) -> None:
    """The bar of files is theirs; that of bytes counts what is there now."""
    script = (
        BARS
        + """
from huggingface_hub import snapshot_download
for name in ("fetched", "cached"):
    snapshot_download(REPO, tqdm_class=Bar)
    shown = bars()
    show(name, [bar for bar in shown if bar["unit"] is None])
    if OURS:
        show(name, [[bar["total"], bar["n"]] for bar in shown if bar["unit"] == "B"])
"""
    )
    both(script.replace("OURS", "False"), hub, tmp_path, repo=repo)
    said = run(script.replace("OURS", "True"), hub, tmp_path / "again", OURS, repo=repo)
    (total, done), *others = said[1][1]
    assert total == done > 2_000_000
    assert not others


def test_other_sorts_of_classes_work(hub: Hub, repo: str, tmp_path: Path) -> None:
    """One that is silent, one that does the least, huggingface_hub's own, and one that raises."""
    both(
        """
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.utils import tqdm as official
from tqdm import tqdm
class Silent(tqdm):
    def __init__(self, *args, **options):
        super().__init__(*args, **options, disable=True)
class Least:
    moved = sent = 0
    def __init__(self, **options): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def update(self, n): Least.moved += n
    def update_transfer(self, n): Least.sent += n
class Broken(tqdm):
    def update(self, n=1): raise RuntimeError("no terminal")
for number, cls in enumerate((Silent, Least, official)):
    show(cls.__name__, hf_hub_download(REPO, "model.bin", tqdm_class=cls, cache_dir=str(number)))
show("moved", [Least.moved, Least.sent > 1_900_000])
show("snapshot", snapshot_download(REPO, tqdm_class=Silent))
def broken():
    try:
        hf_hub_download(REPO, "config.json", tqdm_class=Broken, cache_dir="4")
    except RuntimeError as error:
        return str(error)
show("broken", broken())
""".replace("from huggingface_hub.utils import", "from huggingface_hub.utils.tqdm import"),
        hub,
        tmp_path,
        repo=repo,
    )


@pytest.mark.parametrize("tqdm", [True, False], ids=["tqdm", "no tqdm"])
def test_without_a_class_there_is_a_bar_where_there_is_something_to_see(
    hub: Hub, repo: str, tmp_path: Path, *, tqdm: bool
) -> None:
    """On a terminal, for what is fetched or sent; not if a program has switched bars off."""
    said = run(
        f"""
import io, sys
if not {tqdm}:
    sys.modules["tqdm"] = sys.modules["tqdm.auto"] = None
class Terminal(io.StringIO):
    def isatty(self): return True
def drawn(call):
    stderr, sys.stderr = sys.stderr, Terminal()
    try:
        call()
        return sys.stderr.getvalue()
    finally:
        stderr, sys.stderr = sys.stderr, stderr
from huggingface_hub import hf_hub_download, snapshot_download, upload_file
def get(): hf_hub_download(REPO, "model.bin")
show("fetched", drawn(get))
show("cached", drawn(get))
show("snapshot", drawn(lambda: snapshot_download(REPO, cache_dir="other")))
show("sent", drawn(lambda: upload_file(path_or_fileobj=os.urandom(2_000_000),
    path_in_repo="new.bin", repo_id=REPO)))
if {tqdm}:
    from huggingface_hub.utils.tqdm import disable_progress_bars
    disable_progress_bars()
    show("off", drawn(lambda: hf_hub_download(REPO, "model.bin", force_download=True)))
""",
        hub,
        tmp_path,
        OURS,
        repo=repo,
        environment={"HF_HUB_DISABLE_PROGRESS_BARS": None},
    )
    shown = dict(said)
    assert "1/1 files" in shown["fetched"]
    assert "100%" in shown["fetched"]
    assert "3/3 files" in shown["snapshot"] or "4/4 files" in shown["snapshot"]
    assert "1/1 files" in shown["sent"]
    assert shown["cached"] == ""
    assert shown.get("off", "") == ""
