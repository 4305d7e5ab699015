"""XET_FFI_HF_XET=1 makes `import hf_xet` ours, and says so to whoever asks which version it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from interpreter import python

ON = {"XET_FFI_HF_XET": "1"}
VERSION = "1.8.0+xet.ffi"
WHICH = "import hf_xet; print(hf_xet.__name__)"
SCRIPT = str(Path(sys.executable).parent / "xet-ffi")

#: As without the official package: nobody but the first finder finds it.
HIDE = """
import sys
class Hidden:
    def __init__(self, finder): self.finder = finder
    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] == "hf_xet" else self.finder.find_spec(name, *rest)
    def find_distributions(self, context):
        for found in getattr(self.finder, "find_distributions", lambda _: ())(context):
            if found.metadata["Name"].replace("_", "-") != "hf-xet":
                yield found
sys.meta_path[:] = [
    f if getattr(f, "__name__", "") == "_Finder" else Hidden(f) for f in sys.meta_path
]
"""


def test_unset_nothing_is_different() -> None:
    """The official package is what is imported, and nothing of ours with it."""
    shown = python(f"{WHICH}; import sys; print([m for m in sys.modules if 'xet_ffi' in m])")
    assert shown.stdout == "hf_xet\n[]\n"


@pytest.mark.parametrize("value", ["", "0", "no", "off"])
def test_switched_off_it_is_off(value: str) -> None:
    """As variables of huggingface_hub are."""
    assert python(WHICH, XET_FFI_HF_XET=value).stdout == "hf_xet\n"


@pytest.mark.parametrize("value", ["1", "true", "ON", " yes "])
def test_switched_on_it_is_ours(value: str) -> None:
    """With the official package installed."""
    assert python(WHICH, XET_FFI_HF_XET=value).stdout == "xet_ffi.hf_xet\n"


@pytest.mark.parametrize("hide", ["", HIDE], ids=["installed", "not installed"])
def test_huggingface_hub_takes_it(hide: str) -> None:
    """It looks for the metadata of a package first, and later for the module."""
    code = f"""{hide}
from importlib import metadata
from importlib.util import find_spec
from huggingface_hub.utils._runtime import is_xet_available, get_xet_version
assert find_spec("hf_xet") is not None
print(is_xet_available(), get_xet_version(), metadata.version("hf-xet"))
print(metadata.distribution("hf_xet").version, set(metadata.packages_distributions()["hf_xet"]))
{WHICH}
import hf_xet.hf_xet
print(hf_xet.hf_xet is hf_xet, hf_xet.__spec__.name, find_spec("hf_xet") is hf_xet.__spec__)
"""
    shown = python(code, **ON)
    assert shown.stderr == ""
    assert shown.stdout.splitlines() == [
        f"True {VERSION} {VERSION}",
        f"{VERSION} {{'hf-xet'}}",
        "xet_ffi.hf_xet",
        "True xet_ffi.hf_xet True",
    ]


def test_hidden_the_official_package_is_gone() -> None:
    """What the test above relies on."""
    assert "ModuleNotFoundError" in python(f"{HIDE}\n{WHICH}").stderr


def test_the_version_is_one_that_requirements_take() -> None:
    """Those of huggingface_hub, and of programs that pin hf_xet."""
    wanted = [Requirement(text) for text in metadata.requires("huggingface_hub") or ()]
    ours = [each for each in wanted if each.name == "hf-xet"]
    assert ours
    assert all(each.specifier.contains(VERSION) for each in [*ours, Requirement("hf-xet==1.8.0")])


def test_servers_are_told_which_one_it_is() -> None:
    """By the same name."""
    import _xet_ffi_switch
    from xet_ffi.hf_xet import __version__
    from xet_ffi.hf_xet._session import USER_AGENT

    assert VERSION == _xet_ffi_switch.VERSION
    assert f"hf_xet/{VERSION}" == USER_AGENT
    assert VERSION.startswith(f"{__version__}+")


def test_hf_env_tells_which_one_runs() -> None:
    """It is what people paste into bug reports."""
    command = [sys.executable, "-m", "huggingface_hub.cli.hf", "env"]
    shown = subprocess.run(
        command, env={**os.environ, **ON}, capture_output=True, text=True, check=True, timeout=60
    )
    assert f"- hf_xet: {VERSION}" in shown.stdout


def test_pip_is_not_told() -> None:
    """It installs and removes what is there."""
    code = """
from importlib import metadata
import sys
print([d.version for d in metadata.distributions(name="hf_xet", path=sys.path)])
"""
    assert python(code, **ON).stdout == "['1.8.0']\n"


def test_switched_on_and_never_used_it_loads_nothing() -> None:
    """An interpreter that moves no files starts as it would."""
    code = "import sys; print([m for m in sys.modules if m.startswith(('xet', 'importlib.meta'))])"
    assert python(code, **ON).stdout == "[]\n"


def test_children_have_it_too() -> None:
    """Workers that are spawned, and programs that are started."""
    code = f"""
import multiprocessing, subprocess, sys
def name(_): import hf_xet; return hf_xet.__name__
if __name__ == "__main__":
    print(subprocess.check_output([sys.executable, "-c", {WHICH!r}], text=True), end="")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(name, [0]))
"""
    assert python(code, **ON).stdout == "xet_ffi.hf_xet\n['xet_ffi.hf_xet']\n"


def test_threads_that_import_it_at_once_all_have_it() -> None:
    """huggingface_hub first imports it in the threads that download."""
    code = """
import sys, threading
sys.setswitchinterval(1e-6)
errors, ready = [], threading.Barrier(8)
def use():
    ready.wait()
    try:
        from hf_xet import XetFileInfo, XetSession
    except ImportError as error:
        errors.append(error)
threads = [threading.Thread(target=use) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(errors)
"""
    for _ in range(5):
        assert python(code, **ON).stdout == "[]\n"


def test_a_program_can_switch_it_on_before_its_first_use() -> None:
    """Twice, too."""
    code = f"import xet_ffi.hf_xet as ours; ours.install(); ours.install(); {WHICH}"
    assert python(code).stdout == "xet_ffi.hf_xet\n"


def test_after_the_first_use_it_says_that_it_is_too_late() -> None:
    """Half of a program would have one module, and half the other."""
    last = python("import hf_xet, xet_ffi.hf_xet as ours; ours.install()").stderr.splitlines()[-1]
    assert last.startswith("RuntimeError: hf_xet was imported already, from /")
    assert last.endswith("or start the program with XET_FFI_HF_XET=1")


def test_an_odd_environment_does_not_matter_to_a_session() -> None:
    """It has no Hub, and no token of one."""
    code = (
        "from hf_xet import XetSession; "
        "XetSession().new_file_download_group(endpoint='http://127.0.0.1:9').wait_to_finish()"
    )
    odd = {"HF_ENDPOINT": "nonsense", "HF_TOKEN": "a b\nc", "XET_FFI_TRANSPORT": "http"}
    shown = python(code, **ON, **odd, HF_HUB_DISABLE_XET="1")
    assert (shown.returncode, shown.stderr) == (0, "")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """What `xet-ffi run` did."""
    return subprocess.run(
        [sys.executable, "-m", "xet_ffi", "run", *words],
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_one_program_can_be_run_with_it() -> None:
    """With or without "--"; its arguments are its own."""
    for dashes in ([], ["--"]):
        shown = run(
            *dashes, sys.executable, "-c", f"{WHICH}; import sys; print(sys.argv)", "--json"
        )
        assert shown.stdout == "xet_ffi.hf_xet\n['-c', '--json']\n"


def test_its_exit_status_is_that_of_the_program() -> None:
    """And those of a shell, if there is none."""
    assert run("--", sys.executable, "-c", "exit(7)").returncode == 7
    missing = run("--", "no-such-program")
    assert missing.returncode == 127
    assert missing.stderr == "error: can't run no-such-program: No such file or directory\n"
    assert run("--", "/").returncode == 126
    nothing = run()
    assert nothing.returncode == 2
    assert "name the program to run" in nothing.stderr


def test_signals_are_the_programs() -> None:
    """It is the program: nothing stands between it and who started it."""
    code = "import time; print('up', flush=True); time.sleep(60)"
    command = [sys.executable, "-m", "xet_ffi", "run", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=sys.prefix) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


def test_an_interpreter_starts_as_fast_as_without_the_file() -> None:
    """Unset, it costs one look into the environment: far less than starting varies by."""
    line = (Path(__file__).parents[2] / "xet_ffi_hf_xet.pth").read_text()
    begun = time.perf_counter()
    for _ in range(1000):
        exec(line)  # as site does
    assert (time.perf_counter() - begun) / 1000 < 0.001
