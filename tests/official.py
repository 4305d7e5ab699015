"""Official clients of several times, each in a Python of its own: see tests/clients/.

old = Official("0.34", xet=True, home=tmp_path / "home")
[path] = old.call(hub, ["hf_hub_download", {"repo_id": "org/r", "filename": "x.bin"}])

With `face`, its hf_xet is xet_ffi.hf_xet. A version is also the name of any other file there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub import Hub

HERE = Path(__file__).parent
VENVS = HERE.parent / ".venv" / "clients"

#: huggingface_hub's versions, from old to new. The last one is that of constraints.txt.
VERSIONS = ("0.34", "0.36", "1.16", "2.4")

#: Seconds after which a client that still runs is a failure.
DEADLINE = 120.0


@dataclass(frozen=True)
class Official:
    """A client that keeps all it keeps in `home`, with hf_xet or without."""

    version: str
    xet: bool
    home: Path
    face: bool = False

    @property
    def python(self) -> Path:
        """The Python that has this version."""
        if self.version == VERSIONS[-1]:
            return Path(sys.executable)
        found = VENVS / self.version / "bin" / "python"
        assert found.exists(), f"no client {self.version}: run `make clients`"
        return found

    def call(self, hub: Hub, *calls: list[Any], token: str | bool = False) -> list[Any]:
        """What methods of HfApi return: each call is a name and its keyword arguments."""
        asked = {"endpoint": hub.endpoint, "token": token, "calls": calls}
        return self.run(hub, "call.py", asked)

    def run(self, hub: Hub, program: str, asked: object, **environment: str) -> list[Any]:
        """What a program of tests/clients/ answers."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": str(int(not self.xet)),
            **environment,
        }
        if self.face:
            environment |= {"XET_FFI_HF_XET": "1", "XET_FFI_SITE": sysconfig.get_path("purelib")}
        done = subprocess.run(
            [self.python, HERE / "clients" / program],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=environment,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return answers
