"""Where huggingface_hub is imported, its classes catch our errors; elsewhere nobody notices."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import cffi
import pytest
from huggingface_hub import errors as official

import xet_ffi
from interpreter import python
from official import VERSIONS, Official
from xet_ffi import XetError
from xet_ffi._errors import BY_CODE, invalid, make
from xet_ffi._lib import lib

GONE: dict[str, Any] = {"kind": "repo_not_found", "http_status": 404, "request_id": "Root=1"}

PAIRS: list[tuple[int, dict[str, Any], type[XetError], type[Exception]]] = [
    (lib.XET_CODE_NOT_FOUND, GONE, xet_ffi.RepoNotFoundError, official.RepositoryNotFoundError),
    (
        lib.XET_CODE_PERMISSION_DENIED,
        {"kind": "gated_repo", "http_status": 403},
        xet_ffi.GatedRepoError,
        official.GatedRepoError,
    ),
    (
        lib.XET_CODE_PERMISSION_DENIED,
        {"kind": "repo_disabled", "http_status": 403},
        xet_ffi.RepoDisabledError,
        official.DisabledRepoError,
    ),
    (
        lib.XET_CODE_NOT_FOUND,
        {"kind": "revision_not_found", "http_status": 404},
        xet_ffi.RevisionNotFoundError,
        official.RevisionNotFoundError,
    ),
    (
        lib.XET_CODE_NOT_FOUND,
        {"kind": "entry_not_found", "http_status": 404},
        xet_ffi.EntryNotFoundError,
        official.RemoteEntryNotFoundError,
    ),
    (
        lib.XET_CODE_NOT_FOUND,
        {"kind": "local_entry_not_found"},
        xet_ffi.LocalEntryNotFoundError,
        official.LocalEntryNotFoundError,
    ),
    (
        lib.XET_CODE_OFFLINE,
        {"kind": "offline"},
        xet_ffi.OfflineError,
        official.OfflineModeIsEnabled,
    ),
    (
        lib.XET_CODE_CONFLICT,
        {"kind": "conflict", "http_status": 412},
        xet_ffi.ConflictError,
        official.HfHubHTTPError,
    ),
    (
        lib.XET_CODE_NETWORK_ERROR,
        {"kind": "server_error", "http_status": 503},
        xet_ffi.NetworkError,
        official.HfHubHTTPError,
    ),
    (
        lib.XET_CODE_INVALID_CONFIG,
        {"kind": "bad_request", "http_status": 400},
        xet_ffi.InvalidConfigError,
        official.BadRequestError,
    ),
    (
        lib.XET_CODE_INVALID_CONFIG,
        {"kind": "invalid_repo_id", "field": "repo_id"},
        xet_ffi.InvalidConfigError,
        official.HFValidationError,
    ),
]


@pytest.mark.parametrize(
    ("code", "details", "ours", "theirs"), PAIRS, ids=lambda value: getattr(value, "__name__", "")
)
def test_an_error_is_caught_by_both(
    code: int, details: dict[str, Any], ours: type[XetError], theirs: type[Exception]
) -> None:
    """It has our name, message and attributes, and travels as well as ours."""
    error = make(code, "it failed", details)
    for cls in (ours, theirs):
        with pytest.raises(cls):
            raise error
    assert (type(error).__name__, type(error).__module__) == (ours.__name__, "xet_ffi")
    for twin in (error, pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.code, twin.details) == ("it failed", code, details)
        assert repr(twin) == f"{ours.__name__}('it failed')"
    assert type(make(code, "again", details)) is type(error)


@pytest.mark.parametrize("code", [code for code in BY_CODE if code != lib.XET_CODE_OFFLINE])
def test_what_they_have_no_class_for_is_ours_alone(code: int) -> None:
    """Without an HTTP answer there is nothing that they would call an HTTP error."""
    error = make(code, "it failed", {})
    assert type(error) is BY_CODE[code]


def test_a_remote_entry_is_no_local_one() -> None:
    """Though both are entries: programs take one for "no such file", the other for "no network"."""
    remote = make(lib.XET_CODE_NOT_FOUND, "no", {"kind": "entry_not_found"})
    local = make(lib.XET_CODE_NOT_FOUND, "no", {"kind": "local_entry_not_found"})
    assert isinstance(remote, official.EntryNotFoundError)
    assert isinstance(local, official.EntryNotFoundError)
    assert not isinstance(remote, official.LocalEntryNotFoundError)
    assert not isinstance(local, official.RemoteEntryNotFoundError)


def test_the_attributes_that_programs_read_are_there() -> None:
    """`error.response.status_code` above all."""
    error: Any = make(lib.XET_CODE_NOT_FOUND, "it failed", GONE)
    assert error.response.status_code == 404
    assert error.response.headers == {"x-request-id": "Root=1"}
    assert error.request_id == "Root=1"
    assert error.server_message is None
    told: Any = make(lib.XET_CODE_NOT_FOUND, "no", {**GONE, "server_message": "It has gone"})
    assert told.server_message == "It has gone"
    error.append_to_message("; create it first")
    assert str(error) == "it failed; create it first"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    unlisted: Any = make(lib.XET_CODE_NOT_FOUND, "no", {"kind": "entry_not_found"})
    assert unlisted.response.status_code == 404
    offline: Any = make(lib.XET_CODE_NOT_FOUND, "no", {"kind": "local_entry_not_found"})
    assert offline.response is None


def test_a_bad_repo_id_of_python_s_own_is_theirs_too() -> None:
    """The face refuses some before the library sees them."""
    assert isinstance(invalid("repo_id", "is bad"), official.HFValidationError)
    assert type(invalid("timeout", "is bad")) is xet_ffi.InvalidConfigError


def test_threads_make_one_class() -> None:
    """Or pickle and `type(a) is type(b)` would be a matter of luck."""

    def raised(_: int) -> type:
        return type(make(lib.XET_CODE_CONFLICT, "no", {"http_status": 409}))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(raised, range(64)))) == 1


@pytest.mark.parametrize("there", [None, "a module without errors"])
def test_a_version_that_can_t_be_used_is_none(
    monkeypatch: pytest.MonkeyPatch, there: str | None
) -> None:
    """What lacks its own needs must not hide the error that is to be raised."""
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", there and ModuleType(there))
    assert type(make(lib.XET_CODE_NOT_FOUND, "no", GONE)) is xet_ffi.RepoNotFoundError


def test_an_except_may_be_the_first_to_name_them() -> None:
    """`import huggingface_hub` loads next to nothing of it."""
    code = (
        "import huggingface_hub, sys\n"
        "from xet_ffi._errors import make\n"
        "assert 'huggingface_hub.errors' not in sys.modules\n"
        f"try: raise make({lib.XET_CODE_NOT_FOUND}, 'no', {GONE})\n"
        "except huggingface_hub.errors.RepositoryNotFoundError as error: print(error)"
    )
    finished = python(code)
    assert finished.stdout == "no\n", finished.stderr


OLDER = """
import sys
sys.path += {folders}
import huggingface_hub, pickle
from xet_ffi._errors import make
for kind, name in {names}:
    error = make({code}, "no", {{"kind": kind, "http_status": 404}})
    assert isinstance(error, getattr(huggingface_hub.errors, name)), name
    assert type(pickle.loads(pickle.dumps(error))) is type(error)
    assert error.response.status_code == 404
"""


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_those_of_other_years_catch_them_too(version: str, tmp_path: Path) -> None:
    """Their errors have other bases, and their entries aren't told apart."""
    names = {
        "repo_not_found": "RepositoryNotFoundError",
        "revision_not_found": "RevisionNotFoundError",
        "entry_not_found": "EntryNotFoundError",
    }
    code = OLDER.format(
        # Behind that Python's own packages.
        folders=[str(Path(module.__file__ or "").parents[1]) for module in (xet_ffi, cffi)],
        names=list(names.items()),
        code=lib.XET_CODE_NOT_FOUND,
    )
    older = Official(version, xet=True, home=tmp_path).python
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [older, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_nobody_who_does_without_pays_for_it() -> None:
    """An error brings in neither huggingface_hub nor what connects us to it."""
    code = (
        "import sys; from xet_ffi._errors import make; error = make(4, 'no', {'kind': 'x'}); "
        "print([name for name in sys.modules if 'official' in name or 'hugging' in name])"
    )
    assert python(code).stdout == "[]\n"


def test_a_pickle_goes_from_one_sort_of_process_to_the_other() -> None:
    """From one that has imported huggingface_hub to one that hasn't, and back."""
    pickled = pickle.dumps(make(lib.XET_CODE_NOT_FOUND, "no", GONE))
    code = (
        "import pickle, sys; "
        f"error = pickle.loads({pickled!r}); "
        "assert 'huggingface_hub' not in sys.modules; "
        "print(pickle.dumps(error).hex())"
    )
    finished = python(code)
    assert finished.returncode == 0, finished.stderr
    back: Any = pickle.loads(bytes.fromhex(finished.stdout))
    assert back.details == GONE
    assert isinstance(back, official.RepositoryNotFoundError)
