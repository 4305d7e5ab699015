"""What was built for another machine runs in an emulated one.

`make dist-test DIST_MACHINE=aarch64` on x86_64. XET_ARM64 is a folder with what
`native/packaging/debian` unpacked: a kernel, busybox and glibc.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from dist.conftest import ALICE, MACHINE, MODEL, ROOT, TOOLS, run

if TYPE_CHECKING:
    from hub import Hub

SYSTEM = Path(os.environ.get("XET_ARM64", "/nonexistent: see the Makefile"))
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

    def __init__(self, folder: Path, prefix: Path) -> None:
        self._root = folder / "root"
        self._archive = folder / "initramfs.gz"
        for name in ("bin", "lib", "modules", "proc", "sys", "dev", "tmp"):
            (self._root / name).mkdir(parents=True)
        shutil.copy(SYSTEM / "bin/busybox", self._root / "bin")
        for name in LIBRARIES:
            shutil.copy(SYSTEM / "lib/aarch64-linux-gnu" / name, self._root / "lib")
        for name in MODULES:
            (module,) = (SYSTEM / "lib/modules").rglob(f"{name}.ko")
            shutil.copy(module, self._root / "modules")
        (self._root / "init").write_text(INIT)
        (self._root / "init").chmod(0o755)
        shutil.copytree(prefix / "lib", self._root / "libxet", symlinks=True)
        (self._root / "libxet" / "libxet.a").unlink()

    def add(self, program: Path) -> None:
        """Brings a program, as /bin/NAME."""
        shutil.copy(program, self._root / "bin")

    def run(self, *commands: str) -> list[str]:
        """The lines that they print, the system's own left out."""
        (self._root / "commands").write_text(
            "export LD_LIBRARY_PATH=/libxet\n" + "\n".join(commands)
        )
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


def test_it_lists_downloads_and_cancels_there(prefix: Path, hub: Hub, tmp_path: Path) -> None:
    """A C program, linked against glibc 2.17; the network's gateway is this machine's loopback."""
    program = tmp_path / "base_client"
    zig: list[str | Path] = [
        TOOLS / "python",
        "-m",
        "ziglang",
        "cc",
        "-target",
        f"{MACHINE}-linux-gnu.2.17",
    ]
    source = ROOT / "tests/abi/base_client.c"
    libraries: list[str | Path] = ["-L", prefix / "lib", "-lxet", "-lpthread"]
    run(*zig, "-I", ROOT / "xet_ffi", source, "-o", program, *libraries, cwd=tmp_path)
    machine = Machine(tmp_path, prefix)
    machine.add(program)

    endpoint = hub.endpoint.replace("127.0.0.1", "10.0.2.2")
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
