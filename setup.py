"""Builds libxet with cargo and puts it into one wheel for every Python.

The metadata is in pyproject.toml. What stands here is what setuptools can't be told there: what
cargo builds and what the result is called, and the wheel's tag.

Releases bring the library along, since it's built for more machines than this one (`make dist`):

    XET_FFI_PREBUILT=path/of/libxet.so XET_FFI_PLATFORM=manylinux_2_17_x86_64 pip wheel .
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools_rust import Binding, RustExtension
from setuptools_rust.build import build_rust

PREBUILT = os.environ.get("XET_FFI_PREBUILT")


class BuildRust(build_rust):
    """Names the library `libxet.so`: it is loaded by dlopen and is no Python extension module."""

    def get_dylib_ext_path(self, ext: RustExtension, target_fname: str) -> str:
        """Drops the `.cpython-311-x86_64-linux-gnu` that an extension module would have."""
        suffix = ".dylib" if sys.platform == "darwin" else ".so"
        path = Path(super().get_dylib_ext_path(ext, target_fname))
        return str(path.with_name(target_fname.rpartition(".")[2] + suffix))


class BuildPython(build_py):
    """Puts a library that is built already beside the modules."""

    def run(self) -> None:
        """Copies the modules, and then the library."""
        super().run()
        if PREBUILT:
            shutil.copyfile(PREBUILT, Path(self.build_lib, "xet_ffi", Path(PREBUILT).name))


class NativeDistribution(Distribution):
    """Is for one platform, also where no extension says so."""

    def has_ext_modules(self) -> bool:
        """Whatever is built, and whatever is brought along."""
        return True


class PlatformWheel(bdist_wheel):
    """Tags the wheel `py3-none-<platform>`: it holds native code, but none that knows of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Keeps the platform and drops the interpreter."""
        platform = super().get_tag()[2]
        if PREBUILT:
            platform = os.environ.get("XET_FFI_PLATFORM", platform)
        return ("py3", "none", platform)


# It uses the release profile (editable installs, too) and native/target, so that what
# `cargo build --release` has built is not built again.
LIBXET = RustExtension(
    "xet_ffi.libxet",
    path="native/Cargo.toml",
    binding=Binding.NoBinding,
    debug=False,
    # The crate types are those of Cargo.toml. Without them setuptools-rust asks for a cdylib, which
    # cargo takes for another build: the library would not be the one of `cargo build`.
    args=["--locked", "--package=xet-ffi", "--crate-type", "cdylib,staticlib"],
)

setup(
    cffi_modules=["build_ffi.py:ffi"],
    distclass=NativeDistribution,
    cmdclass={"bdist_wheel": PlatformWheel, "build_py": BuildPython, "build_rust": BuildRust},
    rust_extensions=[] if PREBUILT else [LIBXET],
    zip_safe=False,
)
