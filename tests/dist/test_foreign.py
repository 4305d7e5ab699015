"""What was built for another machine runs in an emulated one.

`make dist-test DIST_MACHINE=aarch64` on x86_64. XET_ARM64 is a folder with what
`native/packaging/debian` unpacked: a kernel, busybox, glibc and Python. docs/install.md says what
is run here.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dist.conftest import ALICE, DIST, DOWNLOAD, MACHINE, MODEL, PLATFORM, ROOT, TOOLS, ZIG, run
from dist.golang import environment, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub

SYSTEM = Path(os.environ.get("XET_ARM64", "/nonexistent: see the Makefile"))
SYSTEM_LIB = SYSTEM / "lib" / f"{MACHINE}-linux-gnu"
#: What our program and libxet need of a system.
LIBRARIES: tuple[str, ...] = (
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
)
LIBRARIES += ("librt.so.1", "libutil.so.1", "libgcc_s.so.1")
#: In the order in which each finds there what it needs.
MODULES = ("failover", "net_failover", "virtio_net", "virtio_mmio")

INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
for module in {" ".join(MODULES)}; do insmod /modules/$module.ko; done
ip link set lo up; ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
sh /commands
poweroff -f
"""


class Machine:
    """A whole emulated one. What the commands in it print comes back; then it is switched off."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "root"
        self._archive = folder / "initramfs.gz"
        for name in ("bin", "lib", "usr/lib", "modules", "proc", "sys", "dev", "tmp"):
            (self._root / name).mkdir(parents=True)
        shutil.copy(SYSTEM / "bin/busybox", self._root / "bin")
        self.load(*(SYSTEM_LIB / name for name in LIBRARIES))
        for name in MODULES:
            (module,) = (SYSTEM / "lib/modules").rglob(f"{name}.ko")
            shutil.copy(module, self._root / "modules")
        (self._root / "init").write_text(INIT)
        (self._root / "init").chmod(0o755)

    def load(self, *libraries: Path) -> None:
        """Brings libraries to where programs look for them."""
        for library in libraries:
            shutil.copy(library, self._root / "lib")

    def add(self, file: Path, folder: str) -> None:
        """Brings a file or folder into one of the machine's."""
        if file.is_dir():
            shutil.copytree(file, self._root / folder / file.name)
        else:
            shutil.copy(file, self._root / folder)

    def add_python(self) -> str:
        """Brings Debian's, and returns its name."""
        self.load(SYSTEM_LIB / "libexpat.so.1", SYSTEM_LIB / "libz.so.1")
        (python,) = (SYSTEM / "usr/bin").glob("python3.*")
        self.add(python, "bin")
        self.add(SYSTEM / "usr/lib" / python.name, "usr/lib")
        return python.name

    def run(self, *commands: str) -> list[str]:
        """The lines that they print, the system's own left out."""
        (self._root / "commands").write_text("\n".join(commands))
        names = "\n".join(str(p.relative_to(self._root)) for p in self._root.rglob("*"))
        cpio = ["cpio", "--create", "--format=newc", "--quiet"]
        packed = subprocess.run(
            cpio, cwd=self._root, input=names.encode(), check=True, capture_output=True
        )
        self._archive.write_bytes(gzip.compress(packed.stdout, 1))
        (kernel,) = (SYSTEM / "boot").glob("vmlinuz-*")
        printed = run(
            *("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", "1024"),
            *("-nographic", "-no-reboot", "-kernel", kernel, "-initrd", self._archive),
            *("-append", "console=ttyAMA0 quiet panic=-1", "-netdev", "user,id=net"),
            *("-device", "virtio-net-device,netdev=net"),
        )
        return [line for line in printed.splitlines() if not line.startswith("[")]


@pytest.fixture
def endpoint(hub: Hub) -> Iterator[str]:
    """The Hub's, from there: the network's gateway is this machine's loopback."""
    with hub.for_a_test():
        yield hub.endpoint.replace("127.0.0.1", "10.0.2.2")


def test_a_c_program_lists_downloads_and_cancels_there(
    prefix: Path, hub: Hub, endpoint: str, tmp_path: Path
) -> None:
    """One that is linked against glibc 2.17."""
    program = tmp_path / "base_client"
    source = ROOT / "tests/abi/base_client.c"
    libraries: list[str | Path] = ["-L", prefix / "lib", "-lxet", "-lpthread"]
    run(*ZIG, "-I", ROOT / "xet_ffi", source, "-o", program, *libraries, cwd=tmp_path)
    machine = Machine(tmp_path)
    machine.load(prefix / "lib/libxet.so.0")
    machine.add(program, "bin")

    call = f"base_client {endpoint} {ALICE.secret} /tmp/cache"
    said = machine.run(
        "uname -m",
        f"{call} list alice/model main",
        f"{call} snapshot alice/model model main /tmp/model",
        "sha256sum </tmp/model/model.bin",
    )
    assert said[0] == MACHINE
    rows = [line.split("\t") for line in said]
    sizes = {row[1]: int(row[3]) for row in rows if row[0] == "entry"}
    assert sizes["model.bin"] == 3 << 20
    assert [row for row in rows if row[0] in {"error", "broken"}] == []
    assert ["path", "/tmp/model"] in rows
    assert ["again", "/tmp/model"] in rows
    assert hashlib.sha256(MODEL).hexdigest() in said[-1]

    # The bytes begin to come, and then no more do.
    hub.fault("storage", stall_after_bytes=1_000_000)
    said = machine.run(f"{call} cancel alice/model model.bin", "ls -l /tmp/cache/*/snapshots/*")
    assert said[0].startswith("error\t7\t")
    assert said[1] == "asked\t1"
    assert "model.bin" not in "".join(said[2:])


def test_a_go_program_downloads_there(endpoint: str, tmp_path: Path) -> None:
    """Which holds the archive of the module for that platform."""
    cross = {"GOOS": "linux", "GOARCH": PLATFORM.removeprefix("linux-"), "CGO_ENABLED": "1"}
    compiler = {"CC": shlex.join(map(str, ZIG))}
    program = service(tmp_path / "service", {**environment(tmp_path), **cross, **compiler})
    machine = Machine(tmp_path)
    machine.add(program, "bin")
    home = f"HF_ENDPOINT={endpoint} HF_TOKEN={ALICE.secret} HF_HOME=/tmp/home"
    said = machine.run(
        f"{home} service", "sha256sum $(find /tmp/home -path '*/snapshots/*/model.bin')"
    )
    assert said[1].split() == [hashlib.sha256(MODEL).hexdigest(), said[0]]


def test_the_wheel_downloads_and_verifies_there(endpoint: str, tmp_path: Path) -> None:
    """As pip installs it for that platform, in Debian's Python; and then without a network."""
    machine = Machine(tmp_path)
    python = machine.add_python()
    site = tmp_path / "site"
    (wheel,) = DIST.glob(f"xet_ffi-*{MACHINE}.whl")
    platform = ["--only-binary=:all:", "--platform", f"manylinux_2_17_{MACHINE}"]
    version = ["--python-version", python.removeprefix("python")]
    run(TOOLS / "pip", "install", "--quiet", "--target", site, *platform, *version, wheel)
    (site / "download.py").write_text(DOWNLOAD)
    machine.add(site, "")
    said = machine.run(
        f"export HF_ENDPOINT={endpoint} HF_TOKEN={ALICE.secret}",
        "export HF_HOME=/tmp/home PYTHONPATH=/site",
        f"{python} /site/download.py",
        "ip link set eth0 down",
        f"HF_HUB_OFFLINE=1 {python} /site/download.py",
        # Beside the bar, which a console gets.
        f"{python} /site/bin/xet-ffi cache verify alice/model --json 2>/tmp/bar",
        "sha256sum $(find /tmp/home -path '*/snapshots/*/model.bin')",
    )
    network, path = said[0].split()
    assert int(network) > 3 << 20
    assert said[1].split() == ["0", path]
    report = json.loads("".join(said[2:-1]))
    assert (report["files"], report["items"]) == (3, [])
    assert said[-1].split() == [hashlib.sha256(MODEL).hexdigest(), f"{path}/model.bin"]
