"""Runs a script twice: as it stands, with huggingface_hub, and with its one import changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub import Hub

THEIRS, OURS = "huggingface_hub", "xet_ffi.hub"

#: What a script may use besides what it imports.
PRELUDE = """\
import json, os
from pathlib import Path

REPO = os.environ["REPO"]
FOLDER = Path(os.environ["FOLDER"])

def show(name, value):
    print(json.dumps([name, value], default=vars))

def attempt(name, call):
    "Shows what came of a call, or which classes catch what it raised."
    import huggingface_hub.errors as official
    try:
        show(name, call())
    except Exception as error:
        classes = [getattr(official, name) for name in dir(official)]
        caught = {cls.__name__ for cls in classes if isinstance(cls, type)
                  and cls.__module__ == official.__name__ and isinstance(error, cls)}
        if isinstance(error, (OSError, ValueError)):
            caught.add("OSError" if isinstance(error, OSError) else "ValueError")
        status = [error.response.status_code] if "HfHubHTTPError" in caught else []
        show(name, sorted(caught) + status or [type(error).__name__])
"""


def run(
    script: str,
    hub: Hub,
    folder: Path,
    module: str,
    *,
    repo: str,
    token: str | None = "hf_alice_secret",
    environment: Mapping[str, str | None] | None = None,
) -> list[Any]:
    """Returns what the script showed, each as [name, value]. A variable that is None is unset.

    Its own folder and the repo's name are replaced in it: they are all that may differ.
    """
    changed = script.replace(f"from {THEIRS} import", f"from {module} import")
    home = folder / module
    home.mkdir(parents=True, exist_ok=True)
    variables = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home / "hf"),
        "FOLDER": str(home),
        "REPO": repo,
        **({"HF_TOKEN": token} if token else {}),
        **(environment or {}),
    }
    inherited = {name: value for name, value in os.environ.items() if name != "HF_XET_CACHE"}
    given = {name: value for name, value in (inherited | variables).items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + changed],
        env=given,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.replace(str(home), "<folder>").replace(repo, "<repo>")
    said = said.replace(repo.replace("/", "--"), "<repo>")
    return [json.loads(line) for line in said.splitlines()]


def both(script: str, hub: Hub, folder: Path, *, repo: str, **options: Any) -> list[Any]:
    """Asserts that the script shows the same with either import, and returns that."""
    theirs = run(script, hub, folder, THEIRS, repo=repo, **options)
    ours = run(script, hub, folder, OURS, repo=repo, **options)
    return same(ours, theirs)


def both_write(script: str, hub: Hub, folder: Path, *, repo: str, **options: Any) -> list[Any]:
    """Is `both` for scripts that change a repo: each has its own, and commits have other ids."""
    said = {}
    for module in (THEIRS, OURS):
        own = f"{repo}-{module.partition('.')[0]}"
        shown = json.dumps(run(script, hub, folder, module, repo=own, **options))
        shown = re.sub(r"\b[0-9a-f]{40}\b", "<commit>", shown)
        # The one thing that says who has made a commit.
        said[module] = json.loads(re.sub(r"\b(huggingface_hub|xet_ffi)\b", "<client>", shown))
    return same(said[OURS], said[THEIRS])


def same(ours: list[Any], theirs: list[Any]) -> list[Any]:
    """Asserts that both have shown the same, and something at all; returns it."""
    assert theirs
    differences = [pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]]
    assert not differences, f"ours, theirs: {differences}"
    assert len(ours) == len(theirs)
    return theirs
