"""Publishes a real model to a local Hub with the official client, and downloads it with ours.

    make demo                 # the models of the PyPI package silero-vad, as two revisions
    make demo DIR=my/model    # the files of a folder

Everything happens in a temporary directory and on loopback, and is gone afterwards. The uploader is
huggingface_hub + hf_xet, so what is downloaded was cut, compressed and stored by somebody else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xet_ffi import Client, Transfer, __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = "demo/model"
PACKAGE = "silero-vad"
RELEASES = ("5.1.2", "6.2.0")
MODEL_SUFFIXES = {".bin", ".gguf", ".jit", ".onnx", ".pt", ".safetensors", ".tflite"}


class Revision(NamedTuple):
    """A folder to publish as one commit, and what to call it."""

    name: str
    folder: Path


class Download(NamedTuple):
    """A finished download and its revision."""

    revision: Revision
    transfer: Transfer


def main() -> int:
    """Runs the demo; 0 if every byte arrived."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dir", type=Path, help="a folder to publish instead")
    folder: Path | None = parser.parse_args().dir
    if folder is not None and not any(path.is_file() for path in folder.rglob("*")):
        parser.error(f"{folder} is no folder with files")

    with tempfile.TemporaryDirectory(prefix="xet-demo-") as name:
        work = Path(name)
        # Nobody's own token, cache or endpoint has a part in this. huggingface_hub reads these
        # variables when it is imported, which is later.
        for variable in [variable for variable in os.environ if variable.startswith("HF_")]:
            del os.environ[variable]
        os.environ["HF_HOME"] = str(work / "hf")

        title(f"xet-ffi {__version__}: from a publisher's disk to yours, over the Xet protocol")
        step("Input")
        revisions = [Revision(folder.name, folder)] if folder else silero(work) or generated(work)
        for revision in revisions:
            note(f"{revision.name:<10} {describe(revision.folder)}")

        token = f"hf_{secrets.token_hex(16)}"
        with hub(work, token) as endpoint:
            step(f"Publish with huggingface_hub {version('huggingface_hub')} + hf_xet")
            commits = publish(endpoint, token, revisions)

            step("Download with xet_ffi.Client into an empty cache, and verify")
            with Client(endpoint, token, work / "cache") as client:
                downloads = [
                    Download(revision, fetch(client, revision, commit))
                    for revision, commit in zip(revisions, commits, strict=True)
                ]
        report(downloads)
    return 0


def silero(work: Path) -> list[Revision]:
    """Returns two releases of a real model, or nothing if PyPI is out of reach."""
    revisions = []
    for release in RELEASES:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        wheels = work / "wheels" / release
        finished = subprocess.run(
            [*pip, "--no-deps", "--dest", str(wheels), f"{PACKAGE}=={release}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode:
            reason = (finished.stderr.strip().splitlines() or ["pip failed"])[-1]
            note(f"PyPI is out of reach ({reason}),")
            note("so this is a generated model and not a real one.")
            return []
        folder = work / "input" / release
        folder.mkdir(parents=True)
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                path = Path(member)
                if path.suffix in MODEL_SUFFIXES or path.name == "LICENSE":
                    (folder / path.name).write_bytes(archive.read(member))
        revisions.append(Revision(release, folder))
    return revisions


def generated(work: Path) -> list[Revision]:
    """Makes a model of random weights, as safetensors: a JSON header, then the tensors."""
    folder = work / "input" / "generated"
    folder.mkdir(parents=True)
    size = 8 << 20
    tensors = {
        f"layers.{layer}.weight": {
            "dtype": "F16",
            "shape": [2048, 2048],
            "data_offsets": [layer * size, (layer + 1) * size],
        }
        for layer in range(4)
    }
    header = json.dumps(tensors).encode()
    numbers = random.Random(2048)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in tensors:
            file.write(numbers.randbytes(size))
    (folder / "config.json").write_text(json.dumps({"layers": len(tensors)}), encoding="utf-8")
    return [Revision("generated", folder)]


@contextmanager
def hub(work: Path, token: str) -> Iterator[str]:
    """Runs xet-hub on a free port and yields its address."""
    here = str(Path(sys.executable).parent)
    program = shutil.which("xet-hub", path=os.pathsep.join([here, os.environ.get("PATH", "")]))
    if program is None:
        sys.exit("xet-hub is not installed: run `make build`")
    log = work / "hub.log"
    command = [program, "serve", "--data", str(work / "data"), "--port", "0"]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [*command, "--token", f"demo:{token}"], stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        try:
            endpoint = (process.stdout or sys.exit("no output")).readline().strip()
            if not endpoint.startswith("http"):
                sys.exit(f"xet-hub didn't start:\n{log.read_text()}")
            step(f"xet-hub at {endpoint}")
            yield endpoint
        finally:
            process.terminate()


def publish(endpoint: str, token: str, revisions: list[Revision]) -> list[str]:
    """Uploads each revision with the official client and returns the commits."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(REPO)
    commits = []
    for revision in revisions:
        commit = api.upload_folder(
            repo_id=REPO,
            folder_path=revision.folder,
            delete_patterns="*",
            commit_message=f"Publish {revision.name}",
        )
        commits.append(commit.oid)
        note(f"{revision.name:<10} commit {commit.oid[:12]}")
    return commits


def fetch(client: Client, revision: Revision, commit: str) -> Transfer:
    """Downloads a revision and compares each file with its source."""
    note(f"{revision.name} at {commit[:12]}")
    kinds = {file.path: file.kind for file in client.list_files(REPO, revision=commit)}
    transfer = client.download_snapshot(REPO, revision=commit, progress=True)
    sources = [path for path in sorted(revision.folder.rglob("*")) if path.is_file()]
    for source in sources:
        name = source.relative_to(revision.folder)
        expected, found = sha256(source), sha256(Path(transfer, name))
        if found != expected:
            sys.exit(f"{name}: SHA-256 is {found}, but the source has {expected}")
        size = size_of(source.stat().st_size)
        note(f"  {good('✓')} {expected[:16]}…  {kinds[name.as_posix()]}  {size:>9}  {name}")
    return transfer


def report(downloads: list[Download]) -> None:
    """Prints what moved."""
    step("Report")
    columns = "{:<12}{:>7}{:>12}{:>12}{:>12}{:>11}"
    note(dim(columns.format("revision", "files", "size", "network", "reused", "seconds")))
    for revision, transfer in downloads:
        note(
            columns.format(
                revision.name,
                transfer.files,
                size_of(transfer.bytes_total),
                size_of(transfer.bytes_network),
                size_of(transfer.bytes_reused),
                f"{transfer.seconds:.2f}",
            )
        )
    step("Every file has the SHA-256 of its source")


def sha256(path: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe(folder: Path) -> str:
    """How much is in a folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} file{'s' * (len(sizes) != 1)}, {size_of(sum(sizes))}"


def size_of(count: float) -> str:
    """A size for people, in decimal units as the Hub shows them."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.2f} GB"


def paint(code: str, text: str) -> str:
    """Colours where somebody can see them."""
    return (
        f"\033[{code}m{text}\033[0m"
        if sys.stdout.isatty() and "NO_COLOR" not in os.environ
        else text
    )


def good(text: str) -> str:
    """Green."""
    return paint("32", text)


def dim(text: str) -> str:
    """Grey."""
    return paint("2", text)


def title(text: str) -> None:
    """Prints the headline."""
    print(f"\n{paint('1', text)}", flush=True)


def step(text: str) -> None:
    """Prints what happens next."""
    print(f"\n{paint('36', '▸')} {text}", flush=True)


def note(text: str) -> None:
    """Prints a detail."""
    print(f"    {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
