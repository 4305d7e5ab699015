"""XetConfig: all that hf_xet 1.8 can be configured with, and what of it means something here.

Each value can be read, and set by `with_config` or by its environment variable, as hf_xet's can:
the path "group.field" is HF_XET_GROUP_FIELD. These have an effect, if they aren't at hf_xet's
default; at that, libxet's own counts (see `xet_ffi.Client`):

| path | effect |
| --- | --- |
| client.connect_timeout | `connect_timeout` |
| client.read_timeout | `read_timeout` |
| client.retry_max_attempts | `max_attempts`: one more, at most 20 |
| data.max_concurrent_file_downloads | `max_concurrent_downloads`, at most 256 |
| data.default_cas_endpoint | where a group goes that has no endpoint |
| data.local_cas_scheme | the beginning of an endpoint that is a folder |
| data.progress_update_interval | how often deprecated functions report |
| data.progress_update_speed_sampling_window | over which time rates are taken |
| data.progress_update_speed_min_observations | how many reports a rate needs |

The others tell hf_xet's engine how to do what libxet does in its own way (buffers, concurrency,
staging, compression), or are about what it hasn't got (a chunk cache, log files, telemetry: none is
ever sent). They are kept, and nothing more.
"""

from __future__ import annotations

import os

from xet_ffi.hf_xet import _config_table as table
from xet_ffi.hf_xet._config_values import from_python, from_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    from xet_ffi.hf_xet._config_values import Value

    Pairs: TypeAlias = list[tuple[str, Value]]

_KINDS = {path: kind for path, kind, _ in table.FIELDS}
_GROUPS = {path.partition(".")[0] for path in _KINDS}
_TRUE = {"1", "true", "yes", "y", "on"}

#: What of the memory each buffer takes at most, in normal and in high performance; the least and
#: the most bytes; what is taken if it isn't known how much memory there is.
_BUFFERS = {
    "size": ((16, 8), 64_000_000, 16_000_000_000, (2_000_000_000, 16_000_000_000)),
    "perfile_size": ((64, 32), 16_000_000, 2_000_000_000, (512_000_000, 2_000_000_000)),
    "limit": ((4, 2), 264_000_000, 64_000_000_000, (8_000_000_000, 64_000_000_000)),
}
_ROUND_TO = 8_000_000
_NOT_DERIVED = "HF_XET_DISABLE_MEMORY_DERIVED_DOWNLOAD_BUFFERS"
_TELEMETRY_OFF = ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class XetConfig:
    """Settings of a XetSession. Immutable; `with_config` returns a changed copy.

    A new one has hf_xet's defaults, changed by the environment. The module's docstring says which
    of them have an effect.
    """

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values = _with_environment(_defaults())

    def with_config(self, name_or_dict: str | dict[str, Any], value: Any = None) -> XetConfig:
        """Returns a config with one value changed, or with those of a dictionary.

        Args:
            name_or_dict: A path, such as "data.max_concurrent_file_ingestion", or paths and values.
            value: The value for one path.

        Raises:
            ValueError: There is no such path, or it can't have such a value.
            TypeError: The value is of a wrong type.
        """
        changed = dict(self._values)
        if isinstance(name_or_dict, dict):
            if value is not None:
                message = "with_config(dict) does not accept a second argument"
                raise TypeError(message)
            for path, each in name_or_dict.items():
                changed[path] = _checked(path, each)
        else:
            path = _text(name_or_dict)
            if value is None:
                message = "with_config(name, value) requires a value argument"
                raise TypeError(message)
            changed[path] = _checked(path, value)
        config = object.__new__(XetConfig)
        config._values = changed
        return config

    def get(self, path: str) -> Value:
        """Returns a value. A path that isn't there is a ValueError."""
        return self._values[_known(_text(path))]

    def __getitem__(self, key: str) -> Value:
        try:
            return self._values[_text(key)]
        except KeyError:
            raise KeyError(key) from None

    def items(self) -> Pairs:
        """Returns all paths and values."""
        return list(self._values.items())

    def keys(self) -> list[str]:
        """Returns all paths."""
        return list(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> PyXetConfigIter:
        return PyXetConfigIter(iter(self.items()))

    def __repr__(self) -> str:
        return (
            f"XetConfig({', '.join(f'{path}={value!r}' for path, value in self._values.items())})"
        )

    def changed(self, path: str) -> Any:
        """Returns a value that isn't hf_xet's default; else None. Not of hf_xet."""
        value = self._values[path]
        return None if value == _defaults()[path] else value


class PyXetConfigIter:
    """The paths and values of a XetConfig, as its iteration yields them."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterator[tuple[str, Value]]) -> None:
        self._items = items

    def __iter__(self) -> PyXetConfigIter:
        return self

    def __next__(self) -> tuple[str, Value]:
        return next(self._items)


def _text(path: Any) -> str:
    if not isinstance(path, str):
        message = f"{type(path).__name__!r} object is not an instance of 'str'"
        raise TypeError(message)
    return path


def _known(path: str) -> str:
    """Returns a path that there is."""
    if path in _KINDS:
        return path
    group, dot, field = path.partition(".")
    if not dot:
        message = f"Invalid config path {path!r}: expected 'group.field' format"
    elif group not in _GROUPS:
        message = f"Unknown config group: {group!r}"
    else:
        message = f"Unknown config field: {field!r}"
    raise ValueError(message)


def _checked(path: Any, value: object) -> Value:
    kind = _KINDS[_known(_text(path))]
    return from_python(kind, value, table.CHOICES.get(path, ()))


def _defaults() -> dict[str, Value]:
    """Returns what holds when no environment variable of a field is set."""
    is_fast = _is_true(os.environ.get("HF_XET_HIGH_PERFORMANCE", os.environ.get("HF_XET_HP")))
    values: dict[str, Value] = {}
    for path, kind, default in table.FIELDS:
        if default is None and not kind.endswith("?"):
            buffer = path.removeprefix("reconstruction.download_buffer_")
            values[path] = _buffer_bytes(buffer, is_fast=is_fast)
        elif kind == "duration":
            values[path] = from_text(kind, str(default))
        else:
            values[path] = default
    if is_fast:
        values |= table.HIGH_PERFORMANCE
    return values


def _with_environment(values: dict[str, Value]) -> dict[str, Value]:
    """Returns the values, changed by what the environment says."""
    aliases: dict[str, list[str]] = {}
    for name, older in table.ALIASES:
        aliases.setdefault(name, []).append(older)
    for path, kind in _KINDS.items():
        name = f"HF_XET_{path.replace('.', '_').upper()}"
        names = [name, *aliases.get(name, ())]
        text = next((os.environ[each] for each in names if each in os.environ), None)
        if text is None:
            continue
        try:
            values[path] = from_text(kind, text, table.CHOICES.get(path, ()))
        except ValueError as error:
            import logging

            logging.getLogger("xet_ffi").warning("%s: %s; the default counts", name, error)
    if any(_is_true(os.environ.get(name)) for name in (*_TELEMETRY_OFF, *_OFFLINE)):
        values["telemetry.enabled"] = False
    size, limit = (f"reconstruction.download_buffer_{name}" for name in ("size", "limit"))
    values[limit] = max(values[limit], values[size])  # type: ignore[type-var] # both are sizes
    return values


def _is_true(text: str | None) -> bool:
    return text is not None and text.strip().lower() in _TRUE


def _buffer_bytes(name: str, *, is_fast: bool) -> int:
    """Returns the default of reconstruction.download_buffer_*, which depends on the memory."""
    divisors, least, most, unknown = _BUFFERS[name]
    memory = None if _is_true(os.environ.get(_NOT_DERIVED)) else _memory()
    if memory is None:
        return unknown[is_fast]
    return min(max(memory // divisors[is_fast], least), most) // _ROUND_TO * _ROUND_TO


def _memory() -> int | None:
    """Returns what this process may use: the machine's memory, or less if its cgroup says so."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    return min([found, *_cgroup_limits()])


def _cgroup_limits() -> Iterator[int]:
    """Yields the limits of this process's cgroup, and of all that it is in."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        folder = path.strip("/")
        while True:
            try:
                with open(os.path.join(root, folder, name), encoding="utf-8") as file:
                    yield int(file.read())
            except (OSError, ValueError):  # it isn't there, or says "max"
                pass
            if not folder:
                break
            folder = folder.rpartition("/")[0]
