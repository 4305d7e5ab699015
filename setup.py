"""Builds libxet and xet-hub with cargo and puts them into one wheel for every Python.

The metadata is in pyproject.toml. What stands here is what setuptools can't be told there: which
cargo builds to run, what their results are called, and the wheel's tag.
"""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools_rust import Binding, RustBin, RustExtension
from setuptools_rust.build import build_rust


class BuildRust(build_rust):
    """Names the library `libxet.so`: it is loaded by dlopen and is no Python extension module."""

    def get_dylib_ext_path(self, ext: RustExtension, target_fname: str) -> str:
        """Drops the `.cpython-311-x86_64-linux-gnu` that an extension module would have."""
        suffix = ".dylib" if sys.platform == "darwin" else ".so"
        path = Path(super().get_dylib_ext_path(ext, target_fname))
        return str(path.with_name(target_fname.rpartition(".")[2] + suffix))


class PlatformWheel(bdist_wheel):
    """Tags the wheel `py3-none-<platform>`: it holds native code, but none that knows of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Keeps the platform and drops the interpreter."""
        return ("py3", "none", super().get_tag()[2])


setup(
    cffi_modules=["build_ffi.py:ffi"],
    cmdclass={"bdist_wheel": PlatformWheel, "build_rust": BuildRust},
    # Two cargo runs, so that the features of one package don't reach the other. Both use the
    # release profile (editable installs, too) and native/target, so that what
    # `cargo build --release` has built is not built again.
    rust_extensions=[
        RustExtension(
            "xet_ffi.libxet",
            path="native/Cargo.toml",
            binding=Binding.NoBinding,
            debug=False,
            # What Cargo.toml says. Without it setuptools-rust asks for a cdylib alone, which cargo
            # takes for another build: the wheel's library would not be the one of `cargo build`.
            args=["--package=xet-ffi", "--crate-type", "cdylib,staticlib"],
        ),
        RustBin("xet-hub", path="native/xet-hub/Cargo.toml", debug=False),
    ],
    zip_safe=False,
)
