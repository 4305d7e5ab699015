"""All code in README and in docs/ does what it says: it is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi import toolchain
from abi.toolchain import ROOT
from cross import golang
from docs.pages import DOCS, PAGES, Block, blocks, name_of
from docs.stage import MODEL, Stage, stage

if TYPE_CHECKING:
    from collections.abc import Callable

#: Languages that nothing can be done with but read.
READ_ONLY = {"text", "json"}


def run_python(block: Block, on: Stage) -> str:
    """Runs a script, and returns what it printed."""
    return _passed(block, on.python(block.text))


def run_console(block: Block, on: Stage) -> str:
    """Runs each command, and looks for what is shown below it."""
    printed = ""
    for entry in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = entry.partition("\n")
        said = _passed(block, on.run(["bash", "-c", command]))
        assert shown in said, f"{block}: {command}"
        printed += said
    return printed


def run_sh(block: Block, _: Stage) -> str:
    """Commands for the clone: targets of the Makefile, which take too long to run here."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for line in block.text.splitlines():
        words = line.partition("#")[0].split()
        assert words[0] == "make", f"{block}: {line}"
        assert words[1] in targets, f"{block}: {line}"
    return ""


def run_c(block: Block, on: Stage) -> str:
    """Compiles a program with all warnings, and runs it."""
    source = on.folder.parent / "snippet.c"
    source.write_text(block.text, encoding="utf-8")
    return _passed(block, on.run([toolchain.build([source], source.with_suffix(""))]))


def run_go(block: Block, on: Stage) -> str:
    """Compiles a program, and runs it."""
    source = on.folder.parent / "main.go"
    source.write_text(block.text, encoding="utf-8")
    return _passed(block, on.run([golang.build(source, source.with_suffix(""))]))


RUNNERS: dict[str, Callable[[Block, Stage], str]] = {
    "python": run_python,
    "console": run_console,
    "sh": run_sh,
    "c": run_c,
    "go": run_go,
}


def _passed(block: Block, done: object) -> str:
    code, stdout, stderr = (getattr(done, name) for name in ("returncode", "stdout", "stderr"))
    assert code == 0, f"{block}: {stdout}{stderr}"
    return str(stdout)


def the(page: str, language: str, naming: str) -> Block:
    """The one block of a page in a language that has a word in it."""
    (found,) = (
        block
        for block in blocks(DOCS / page)
        if block.language == language and naming in block.text
    )
    return found


WITH_CODE = [page for page in PAGES if any(block.reason is None for block in blocks(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """One block after the other, as they stand, for a user who is called "me"."""
    with stage(tmp_path) as on:
        for block in blocks(page):
            if block.reason is None and block.language not in READ_ONLY:
                RUNNERS[block.language](block, on)


def test_the_first_download_takes_what_its_patterns_name(tmp_path: Path) -> None:
    """In Python and in Go: two of the model's files, into one cache."""
    with stage(tmp_path) as on:
        for run, language in ((run_python, "python"), (run_go, "go")):
            folder, received = run(the("first-download.md", language, "*.safetensors"), on).split()
            names = sorted(path.name for path in Path(folder).iterdir())
            assert names == ["config.json", "model.safetensors"]
            assert (int(received) > 200_000) is (language == "python")


def test_the_first_download_in_go_says_when_there_is_no_such_model(tmp_path: Path) -> None:
    """As its lines about `fs.ErrNotExist` have it."""
    block = the("first-download.md", "go", "ErrNotExist")
    with stage(tmp_path) as on:
        source = tmp_path / "main.go"
        source.write_text(block.text.replace(MODEL, "openai-community/gpt3"), encoding="utf-8")
        done = on.run([golang.build(source, tmp_path / "main")])
    assert (done.returncode, done.stdout) == (1, "")
    assert "no such model" in done.stderr


def test_the_upload_leaves_out_what_it_says(tmp_path: Path) -> None:
    """The folder's temporary files stay here, and the report counts the rest."""
    with stage(tmp_path) as on:
        url, sent, _, total = run_python(the("uploads.md", "python", "upload_folder"), on).split()
        assert url.startswith(f"{on.hub.endpoint}/me/model/commit/")
        assert set(on.api.list_repo_files("me/model")) == {".gitattributes", "model.safetensors"}
    assert int(sent) >= int(total) == 200_000


def test_the_other_import_does_the_same(tmp_path: Path) -> None:
    """The lines about it print the same with the import that they replace."""
    block = the("moving.md", "python", "from xet_ffi.hub import")
    theirs = block.text.replace("from xet_ffi.hub import", "from huggingface_hub import")
    with stage(tmp_path) as on:
        ours = run_python(block, on)
        assert on.python(theirs).stdout == ours
    config, folder = map(Path, ours.split())
    assert (folder / "config.json").samefile(config)


def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    """What they have uploaded is there, and a folder of a repo has come with its own folder."""
    with stage(tmp_path) as on:
        run_console(the("commands.md", "console", "xet-ffi upload"), on)
        assert set(on.api.list_repo_files("me/model")) == {".gitattributes", "model.safetensors"}
        assert "data/train.csv" in on.api.list_repo_files("me/corpus", repo_type="dataset")
        assert (on.folder / "gpt2" / "onnx" / "decoder.onnx").read_bytes() == b"{}"


def test_reasons_are_for_what_is_not_run() -> None:
    """Every language has somebody who runs it, or a reason stands before the block."""
    idle = [
        str(block)
        for page in PAGES
        for block in blocks(page)
        if block.reason is None and block.language not in {*RUNNERS, *READ_ONLY}
    ]
    assert idle == []
