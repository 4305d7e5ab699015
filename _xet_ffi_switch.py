"""Makes `import hf_xet` mean xet_ffi.hf_xet, if XET_FFI_HF_XET says so.

It stands beside xet_ffi, not in it: an interpreter that starts with the variable set, and never
moves a file, doesn't load libxet. Nothing but `sys` and `os` is imported before it's needed.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.machinery import ModuleSpec
    from importlib.metadata import Distribution, DistributionFinder
    from types import ModuleType
    from typing import Any

VARIABLE = "XET_FFI_HF_XET"
VERSION = "1.8.0+xet.ffi"
"""What importlib.metadata says of hf_xet: that of the surface, and whose it is."""

_NAMES = ("hf_xet", "hf_xet.hf_xet")
"""The second is where the official package has what it is made of."""
_OURS = "xet_ffi.hf_xet"
_METADATA = f"""\
Metadata-Version: 2.1
Name: hf-xet
Version: {VERSION}
Summary: hf_xet's surface on libxet, by xet-ffi
"""


class _Loader:
    """Has xet_ffi.hf_xet itself be the module.

    It can't take the place of another one at the end: threads that import it meanwhile would have
    that other one.
    """

    def create_module(self, _: ModuleSpec) -> ModuleType:
        """Imports it."""
        from importlib import import_module

        module = import_module(_OURS)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Gives it back what the import system has given it another of."""
        module.__spec__ = self._spec


class _Finder:
    """Finds hf_xet before anybody else does, and says which version it is."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Is what the import system asks."""
        if name not in _NAMES:
            return None
        from importlib.machinery import ModuleSpec

        loader: Any = _Loader()
        return ModuleSpec(name, loader, origin=_OURS, is_package=name == _NAMES[0])

    @staticmethod
    def find_distributions(context: DistributionFinder.Context) -> Iterable[Distribution]:
        """Is what importlib.metadata asks. Who names folders himself, as pip does, isn't told."""
        name = context.name
        is_meant = name is None or name.lower().replace("_", "-").replace(".", "-") == "hf-xet"
        if not is_meant or "path" in vars(context):
            return ()
        return (_distribution(),)


def _distribution() -> Distribution:
    from importlib.metadata import Distribution
    from pathlib import Path

    texts = {"METADATA": _METADATA, "top_level.txt": "hf_xet\n", "INSTALLER": "xet-ffi\n"}

    class Ours(Distribution):
        def read_text(self, filename: str) -> str | None:
            return texts.get(filename)

        def locate_file(self, path: os.PathLike[str] | str) -> Path:
            return Path(__file__).parent / path

    return Ours()


def install() -> None:
    """Is `xet_ffi.hf_xet.install`."""
    imported = sys.modules.get(_NAMES[0])
    if imported is not None and imported is not sys.modules.get(_OURS):
        message = (
            f"hf_xet was imported already, from {getattr(imported, '__file__', 'elsewhere')}: call "
            f"xet_ffi.hf_xet.install() before that, or start the program with {VARIABLE}=1"
        )
        raise RuntimeError(message)
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def start() -> None:
    """Is called at the interpreter's start if the variable is set, to whatever."""
    if os.environ.get(VARIABLE, "").strip().lower() in {"1", "true", "yes", "on"}:
        install()
