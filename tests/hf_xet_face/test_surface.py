"""Our hf_xet has what the official one has: names, signatures, fields, settings."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interpreter import python


def test_it_has_every_public_name(official: Any, ours: Any) -> None:
    """And says so in `__all__`."""
    assert sorted(ours.__all__) == sorted(official.__all__)
    for name in official.__all__:
        assert isinstance(getattr(ours, name), type) is isinstance(getattr(official, name), type)


def test_every_class_has_every_attribute(official: Any, ours: Any) -> None:
    """Those that do something, and those that say something."""
    for name in official.__all__:
        cls = getattr(official, name)
        if isinstance(cls, type):
            public = {attribute for attribute in dir(cls) if not attribute.startswith("_")}
            missing = public - set(dir(getattr(ours, name))) - set(dir(BaseException))
            assert not missing, name


def test_every_signature_is_the_same(official: Any, ours: Any) -> None:
    """Names and defaults of arguments, in their order."""
    checked = 0
    for name in official.__all__:
        there, here = getattr(official, name), getattr(ours, name)
        pairs = {name: (there, here)}
        if isinstance(there, type):
            members = [member for member in dir(there) if not member.startswith("__")]
            pairs = {member: (getattr(there, member), getattr(here, member)) for member in members}
            if there.__text_signature__:
                pairs[name] = (there, here)
        for member, (expected, found) in pairs.items():
            if not callable(expected) or isinstance(expected, property):
                continue
            try:
                wanted = inspect.signature(expected)
            except ValueError:
                continue
            shown = [(p.name, p.default) for p in inspect.signature(found).parameters.values()]
            assert shown == [(p.name, p.default) for p in wanted.parameters.values()], (
                name,
                member,
            )
            checked += 1
    assert checked > 50


def test_what_only_the_module_makes_can_not_be_made(hf: Any) -> None:
    """A handle of one's own would have no task."""
    for name in ("UniqueId", "XetFileDownload", "XetUploadCommit", "XetDownloadStreamGroup"):
        with pytest.raises(TypeError, match="cannot create"):
            getattr(hf, name)()


def test_ids_are_shown_as_what_they_are(hf: Any, endpoint: str) -> None:
    """Also as text: programs have them in their logs."""
    with hf.XetSession().new_upload_commit(endpoint=endpoint) as commit:
        handle = commit.start_upload_bytes(b"content")
    name = str(handle.task_id())
    assert name == repr(handle.task_id()) == f"{handle.task_id()}"
    number = name.removeprefix("UniqueId(").removesuffix(")")
    assert number.isdigit()
    assert f"task_id={number}" in repr(handle)
    assert f"task_id={number}" in repr(handle.result())


def test_exceptions_are_those_that_programs_catch(hf: Any) -> None:
    """And the builtins that hf_xet's own ones are."""
    assert issubclass(hf.XetAuthenticationError, PermissionError)
    assert issubclass(hf.XetObjectNotFoundError, FileNotFoundError)


def test_states_compare_with_each_other_alone(hf: Any) -> None:
    """They are no numbers, but have one."""
    state = hf.XetTaskState
    assert [int(getattr(state, name)) for name in _STATES] == [0, 1, 2, 3]
    assert state.Running == state.Running != state.Completed
    assert state.Running != 0
    assert repr(state.Running) == "XetTaskState.Running"


_STATES = ("Running", "Finalizing", "Completed", "UserCancelled")


def test_old_records_are_what_they_were(hf: Any) -> None:
    """huggingface_hub 0.36 makes them."""
    pointer = hf.PyPointerFile("a", "b", 3)
    pointer.path = "c"
    assert isinstance(pointer, hf.PyXetDownloadInfo)
    assert (pointer.destination_path, pointer.hash, pointer.filesize) == ("c", "b", 3)
    assert repr(hf.PyXetDownloadInfo("a", "b")) == "PyXetDownloadInfo(a, b, None)"
    assert hf.PyXetUploadInfo("h", 3).filesize == 3
    with pytest.raises(AttributeError):
        pointer.hash = "x"
    with pytest.raises(OverflowError):
        hf.XetFileInfo("a", -1)
    with pytest.raises(TypeError):
        hf.XetFileInfo(3)


def test_every_setting_has_the_same_default(official: Any, ours: Any) -> None:
    """In the same order, of the same type."""
    assert [(path, value, type(value)) for path, value in ours.XetConfig().items()] == [
        (path, value, type(value)) for path, value in official.XetConfig().items()
    ]


VALUES: tuple[tuple[str, Any], ...] = (
    *(("data.max_concurrent_file_ingestion", v) for v in (3, True, "3", -1, 1.5, 2**64)),
    *(("client.enable_adaptive_concurrency", v) for v in (True, 1, "true")),
    *(("client.ac_latency_rtt_half_life", v) for v in (3, 1.5, True, "1.5")),
    ("deduplication.min_n_chunks_per_range", 0.1),
    *(
        ("data.progress_update_interval", v)
        for v in (
            *("1s", "2m30s", "1h 2m", "1.5s", "1day", "2 weeks", "1month", "1y", "1us", "1500ns"),
            *("3secs", "1M", "0", "1ms1s", " 5ms ", "x", "", "5", "-1s", "9" * 20 + "s", 3, 3.5),
            *(timedelta(microseconds=5), timedelta(seconds=-1)),
        )
    ),
    *(
        ("data.ingestion_block_size", v)
        for v in (
            *(3, "8mb", "8 MiB", "1.5GB", "8MB ", "1e3kb", "-5", "inf", "nan", "1pib", "3b", True),
            *("x", "", "1_000", -1, 2.5),
        )
    ),
    *(("data.default_prefix", v) for v in ("a", "", 3)),
    *(("xorb.compression_policy", v) for v in ("LZ4", "none", "", "x", 3)),
    *(("client.shard_api_version", v) for v in (3, -1, 2**32, "3")),
    *(("xorb.simulation_max_bytes", v) for v in ("8mb", 3)),
    *((path, 1) for path in ("x", "data.x", "x.x", "data.a.b")),
)


def set_to(hf: Any, path: str, value: object) -> Any:
    """The value that a config has then, or what class of error it was."""
    try:
        return hf.XetConfig().with_config(path, value).get(path)
    except (ValueError, TypeError, OverflowError) as error:
        return type(error)


@pytest.mark.parametrize(("path", "value"), VALUES, ids=str)
def test_settings_take_the_same_values(official: Any, ours: Any, path: str, value: object) -> None:
    """And refuse the same ones in the same way."""
    assert set_to(ours, path, value) == set_to(official, path, value)


VARIABLES = {
    "HF_XET_DATA_MAX_CONCURRENT_FILE_INGESTION": ("3", "x", "-1", "+4", " 5", ""),
    "HF_XET_MAX_CONCURRENT_FILE_INGESTION": ("6",),
    "HF_XET_CLIENT_ENABLE_ADAPTIVE_CONCURRENCY": ("0", "no", "ON", "maybe"),
    "HF_XET_CLIENT_AC_TARGET_RTT": ("2m", "x"),
    "HF_XET_DATA_INGESTION_BLOCK_SIZE": ("1 MiB", "huge"),
    "HF_XET_FIXED_DOWNLOAD_CONCURRENCY": ("7",),
    "HF_XET_LOG_DEST": ("", "/dev/null"),
    "HF_XET_XORB_COMPRESSION_POLICY": ("LZ4", "zip"),
    "HF_XET_CLIENT_SHARD_API_VERSION": ("2", ""),
    "HF_XET_HP": ("1", "x"),
    "HF_XET_DISABLE_MEMORY_DERIVED_DOWNLOAD_BUFFERS": ("1",),
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_SIZE": ("20gb",),
    "DO_NOT_TRACK": ("1", "0"),
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in VARIABLES.items() for text in texts], ids=str
)
def test_variables_mean_the_same(name: str, text: str) -> None:
    """In an interpreter of their own: some are read once."""
    code = "import {} as hf_xet; print(dict(hf_xet.XetConfig().items()))"
    # DO_NOT_TRACK is what is asked about.
    environment = {"HF_HUB_DISABLE_TELEMETRY": "0", name: text}
    shown = [
        python(code.format(module), **environment).stdout for module in ("hf_xet", "xet_ffi.hf_xet")
    ]
    assert shown[0] == shown[1] != ""


def test_a_config_is_never_changed(hf: Any) -> None:
    """`with_config` returns another one, or none if one of several values is wrong."""
    path = "data.max_concurrent_file_ingestion"
    base = hf.XetConfig()
    changed = base.with_config({path: 3, "log.dest": None})
    assert (base[path], changed[path], changed.get("log.dest")) == (8, 3, None)
    with pytest.raises(ValueError, match="Invalid config path"):
        base.with_config({path: 4, "x": 1})
    with pytest.raises(TypeError, match="value argument"):
        base.with_config(path)
    with pytest.raises(KeyError):
        base["data.x"]
    assert dict(iter(changed)) == dict(changed.items())


def test_the_table_of_settings_with_an_effect_is_true(ours: Any) -> None:
    """Each path that the documentation names is there, and the code reads no other one."""
    from xet_ffi.hf_xet import _config

    documented = set(re.findall(r"^\| (\w+\.\w+) \|", str(_config.__doc__), re.MULTILINE))
    folder = Path(_config.__file__).parent
    code = "".join(
        file.read_text() for file in folder.glob("*.py") if not file.name.startswith("_config")
    )
    used = {path for path in ours.XetConfig().keys() if f'"{path}"' in code}  # noqa: SIM118 - it's no dict
    assert documented == used
