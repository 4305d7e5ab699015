"""What the README tells a newcomer to type does what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from huggingface_hub import HfApi

from hub import Hub, Token

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_commands_are_targets_of_the_makefile() -> None:
    """Every `make` command of the README names a target that the Makefile has."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    commands = re.findall(r"\bmake ([a-z]+)", "\n".join(blocks("sh")))
    assert {"demo", "test", "build"} <= set(commands)
    assert set(commands) <= targets


def test_the_first_download_runs(tmp_path: Path) -> None:
    """The Python lines run as they stand, on a Hub that has the model they name."""
    lines, _, _, _ = blocks("python")
    owner = Token("openai-community", "hf_owner_secret")
    with Hub.start(tmp_path / "hub", [owner]) as hub:
        api = HfApi(endpoint=hub.endpoint, token=owner.secret)
        api.create_repo("openai-community/gpt2")
        for name in ("config.json", "model.safetensors", "rust_model.ot"):
            content = os.urandom(200_000) if name.startswith("model") else b"{}"
            api.upload_file(
                repo_id="openai-community/gpt2", path_in_repo=name, path_or_fileobj=content
            )
        done = subprocess.run(
            [sys.executable, "-c", lines],
            env=os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    path, network = done.stdout.split()
    assert sorted(p.name for p in Path(path).iterdir()) == ["config.json", "model.safetensors"]
    assert int(network) > 200_000


def test_the_upload_runs(tmp_path: Path) -> None:
    """The Python lines about uploads run as they stand, for a user called "me"."""
    _, lines, _, _ = blocks("python")
    me = Token("me", "hf_me_secret")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(200_000))
    (folder / "notes.tmp").touch()
    with Hub.start(tmp_path / "hub", [me]) as hub:
        done = subprocess.run(
            [sys.executable, "-c", lines],
            cwd=tmp_path,
            env=os.environ
            | {
                "HF_ENDPOINT": hub.endpoint,
                "HF_TOKEN": me.secret,
                "HF_HOME": str(tmp_path / "home"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        api = HfApi(endpoint=hub.endpoint, token=me.secret)
        assert set(api.list_repo_files("me/model")) == {".gitattributes", "model.safetensors"}
    url, sent, _, total = done.stdout.split()
    assert url.startswith(f"{hub.endpoint}/me/model/commit/")
    assert int(sent) >= int(total) == 200_000


def test_the_other_import_runs(tmp_path: Path) -> None:
    """The Python lines about it run as they stand, and also with the import that they replace."""
    _, _, _, lines = blocks("python")
    owner = Token("openai-community", "hf_owner_secret")
    said: list[str] = []
    with Hub.start(tmp_path / "hub", [owner]) as hub:
        api = HfApi(endpoint=hub.endpoint, token=owner.secret)
        api.create_repo("openai-community/gpt2")
        api.upload_file(
            repo_id="openai-community/gpt2", path_in_repo="config.json", path_or_fileobj=b"{}"
        )
        for script in (
            lines,
            lines.replace("from xet_ffi.hub import", "from huggingface_hub import"),
        ):
            done = subprocess.run(
                [sys.executable, "-c", script],
                env=os.environ
                | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / f"home{len(said)}")},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            said.append(done.stdout.replace(f"home{len(said)}", "home"))
    assert said[0] == said[1]
    config, folder = map(Path, said[0].replace("/home/", "/home0/").split())
    assert (folder / "config.json").samefile(config)


def a_model(hub: Hub, owner: Token) -> None:
    """The model that README names."""
    api = HfApi(endpoint=hub.endpoint, token=owner.secret)
    api.create_repo("openai-community/gpt2")
    for name in ("config.json", "model.safetensors", "onnx/decoder.onnx"):
        content = os.urandom(200_000) if name.startswith("model") else b"{}"
        api.upload_file(repo_id="openai-community/gpt2", path_in_repo=name, path_or_fileobj=content)


def test_threads_and_asyncio_run(tmp_path: Path) -> None:
    """The Python lines about them run as they stand."""
    _, _, lines, _ = blocks("python")
    owner = Token("openai-community", "hf_owner_secret")
    with Hub.start(tmp_path / "hub", [owner]) as hub:
        a_model(hub, owner)
        done = subprocess.run(
            [sys.executable, "-c", lines],
            env=os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_of_the_terminal_run(tmp_path: Path) -> None:
    """One after the other, as they stand, for a user called "me"."""
    (commands,) = blocks("console")
    owner, me = Token("openai-community", "hf_owner_secret"), Token("me", "hf_me_secret")
    folder = tmp_path / "work"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "model.safetensors").write_bytes(os.urandom(200_000))
    (folder / "checkpoint" / "notes.tmp").touch()
    (folder / "train.csv").write_text("a,b")
    with Hub.start(tmp_path / "hub", [owner, me]) as hub:
        a_model(hub, owner)
        variables = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": me.secret,
        }
        for command in commands.splitlines():
            words = shlex.split(command.removeprefix("$ "))
            assert words[0] == "xet-ffi"
            done = subprocess.run(
                [sys.executable, "-m", "xet_ffi", *words[1:]],
                env=os.environ | variables,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
        api = HfApi(endpoint=hub.endpoint, token=me.secret)
        assert set(api.list_repo_files("me/model")) == {".gitattributes", "model.safetensors"}
        assert "data/train.csv" in api.list_repo_files("me/corpus", repo_type="dataset")
    assert (folder / "gpt2" / "onnx" / "decoder.onnx").read_bytes() == b"{}"
