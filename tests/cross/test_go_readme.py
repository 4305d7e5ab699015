"""What the README shows of Go does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from abi.toolchain import ROOT, environment, run
from cross import golang
from hub import Hub, Token

if TYPE_CHECKING:
    from pathlib import Path

OWNER = Token("openai-community", "hf_owner_secret")
UPLOAD = """
import os, sys
from huggingface_hub import HfApi
api = HfApi(endpoint=sys.argv[1], token=sys.argv[2])
api.create_repo("openai-community/gpt2")
for name in ("config.json", "model.safetensors", "rust_model.ot"):
    api.upload_file(
        repo_id="openai-community/gpt2", path_in_repo=name, path_or_fileobj=os.urandom(1000)
    )
"""


def test_the_first_download_in_go_runs(tmp_path: Path) -> None:
    """The README's program builds, and downloads the files that its patterns name."""
    (program,) = re.findall(
        r"^```go\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    source = tmp_path / "main.go"
    source.write_text(program, encoding="utf-8")
    built = golang.build(source, tmp_path / "main")
    home = str(tmp_path / "home")
    with Hub.start(tmp_path / "hub", [OWNER]) as hub:
        missing = run([built], HF_ENDPOINT=hub.endpoint, HF_HOME=home)
        assert (missing.returncode, missing.stdout) == (1, "")
        assert "no such model" in missing.stderr
        subprocess.run(
            [sys.executable, "-c", UPLOAD, hub.endpoint, OWNER.secret],
            env=environment(HF_HOME=home, HF_HUB_DISABLE_PROGRESS_BARS="1"),
            check=True,
            timeout=120,
        )
        done = run([built], HF_ENDPOINT=hub.endpoint, HF_HOME=home)
    assert done.returncode == 0, done.stderr
    folder, received = done.stdout.split()
    assert int(received) >= 1000
    names = {path.name for path in (tmp_path / folder).iterdir()}
    assert names == {"config.json", "model.safetensors"}
