"""Errors of the library become the exceptions that Python programs expect."""

import builtins
import errno
import json
import pickle
import re
import sys
from importlib import resources

import pytest

import xet_ffi
from xet_ffi import XetError
from xet_ffi._errors import BY_CODE, BY_KIND, check, from_native, make
from xet_ffi._lib import ffi, lib

HEADER = resources.files(xet_ffi).joinpath("xet.h").read_text(encoding="utf-8")
CODES = {
    name: int(number)
    for name, number in re.findall(r"(XET_CODE_\w+) = (\d+)", HEADER)
    if name != "XET_CODE_OK"
}
BUILTINS = {
    "InvalidConfigError": "ValueError",
    "AuthError": "PermissionError",
    "NetworkError": "ConnectionError",
    "NotFoundError": "FileNotFoundError",
    "PermissionDeniedError": "PermissionError",
    "ChecksumMismatchError": "OSError",
    "IoError": "OSError",
    "TransferTimeoutError": "TimeoutError",
    "RateLimitedError": "ConnectionError",
    "NoSpaceError": "OSError",
    "OfflineError": "ConnectionError",
}


@pytest.fixture(autouse=True)
def without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it's imported, errors have a second base; `test_official_errors` is about that."""
    monkeypatch.delitem(sys.modules, "huggingface_hub", raising=False)


def test_each_code_of_the_header_has_exactly_one_class() -> None:
    """A code that is added to xet.h and not here fails this test."""
    assert sorted(BY_CODE) == sorted(CODES.values())
    assert len(set(BY_CODE.values())) == len(CODES)
    for code, cls in BY_CODE.items():
        assert cls.code == code
        assert cls.__name__ in xet_ffi.__all__


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_a_class_is_caught_as_the_builtin_that_fits(name: str, builtin: str) -> None:
    """Code that handles the errors of `open` and `urlopen` handles ours."""
    cls = getattr(xet_ffi, name)
    assert issubclass(cls, XetError)
    assert issubclass(cls, getattr(builtins, builtin))


@pytest.mark.parametrize(("kind", "cls"), BY_KIND.items())
def test_a_kind_has_the_class_of_its_name_and_is_caught_by_its_code(
    kind: str, cls: type[XetError]
) -> None:
    """`repo_not_found` is a RepoNotFoundError, and that is a NotFoundError."""
    assert cls.__name__ == "".join(map(str.capitalize, kind.split("_"))) + "Error"
    assert issubclass(cls, BY_CODE[cls.code])
    assert type(make(cls.code, "no", {"kind": kind})) is cls


def test_kinds_subclass_each_other_as_in_huggingface_hub() -> None:
    """Whoever catches the wider class there expects the narrower one in it."""
    assert issubclass(xet_ffi.LocalEntryNotFoundError, xet_ffi.EntryNotFoundError)
    assert issubclass(xet_ffi.GatedRepoError, xet_ffi.RepoNotFoundError)
    gated = make(lib.XET_CODE_PERMISSION_DENIED, "no", {"kind": "gated_repo"})
    assert isinstance(gated, PermissionError)
    assert isinstance(gated, OSError)
    assert (gated.code, gated.errno) == (lib.XET_CODE_PERMISSION_DENIED, errno.EACCES)


def test_the_code_decides_where_the_kind_contradicts_it() -> None:
    """The code is the coarse and stable half, so nothing may move an error out of its class."""
    assert type(make(lib.XET_CODE_TIMEOUT, "late", {"kind": "repo_not_found"})) is (
        xet_ffi.TransferTimeoutError
    )


def test_a_code_of_a_newer_library_is_kept() -> None:
    """An old package with a new library still says which error it was."""
    error = make(77, "from the future", {})
    assert type(error) is xet_ffi.UnknownError
    assert error.code == 77


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_the_message_is_all_that_str_says(code: int) -> None:
    """OSError likes to add an errno and a file name; the message holds what matters already."""
    error = make(code, "can't write model.bin: disk full", {"file": "model.bin"})
    assert str(error) == "can't write model.bin: disk full"
    assert error.code == code
    if isinstance(error, OSError):
        assert error.filename == "model.bin"


def test_errno_is_what_the_builtin_promises() -> None:
    """Programs look at errno to tell a full disk from a broken one."""
    for code, number in {
        lib.XET_CODE_NO_SPACE: errno.ENOSPC,
        lib.XET_CODE_NOT_FOUND: errno.ENOENT,
        lib.XET_CODE_PERMISSION_DENIED: errno.EACCES,
        lib.XET_CODE_TIMEOUT: errno.ETIMEDOUT,
    }.items():
        error = make(code, "no", {})
        assert isinstance(error, OSError)
        assert error.errno == number


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_errors_survive_pickling(code: int) -> None:
    """Both multiprocessing and joblib send exceptions between processes."""
    error = make(code, "no", {"kind": "k", "http_status": 503, "file": "a"})
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == "no"
    assert copy.code == code
    assert copy.details == error.details
    assert copy.http_status == 503


def test_details_become_attributes() -> None:
    """What programs ask for most needs no dictionary."""
    details = {
        "kind": "rate_limited",
        "http_status": 429,
        "request_id": "Root=1",
        "repo": "org/name",
        "revision": "main",
        "file": "a.bin",
        "field": "x",
        "retry_after": 7,
    }
    error = make(lib.XET_CODE_RATE_LIMITED, "slow down", details)
    assert {name: getattr(error, name) for name in details} == details
    assert make(lib.XET_CODE_UNKNOWN, "?", {}).http_status is None


def test_what_an_upload_had_done_becomes_values() -> None:
    """A newer library may tell more of a commit than is known here."""
    made = [{"oid": "a" * 40, "url": "http://h/c/a"}, {"oid": "b" * 40, "url": "u", "new": 1}]
    details = {"kind": "commit_unknown", "commits": made, "pull_request_url": "http://h/d/1"}
    error = make(lib.XET_CODE_TIMEOUT, "late", details)
    assert error.commits == [
        xet_ffi.MadeCommit(oid="a" * 40, url="http://h/c/a"),
        xet_ffi.MadeCommit(oid="b" * 40, url="u"),
    ]
    assert error.pr_url == "http://h/d/1"
    other = make(lib.XET_CODE_TIMEOUT, "late", {})
    assert (other.commits, other.pr_url) == ([], None)


def test_an_error_of_the_library_is_copied_whole() -> None:
    """Code, message (any Unicode) and details cross the boundary."""
    message = ffi.new("char[]", "kein Zugriff auf «größe.bin»".encode())
    details = ffi.new("char[]", json.dumps({"kind": "gated_repo", "http_status": 403}).encode())
    native = ffi.new("XetError *", (lib.XET_CODE_PERMISSION_DENIED, message, details))
    error = from_native(native)
    assert isinstance(error, xet_ffi.GatedRepoError)
    assert str(error) == "kein Zugriff auf «größe.bin»"
    assert error.http_status == 403


def test_null_is_success() -> None:
    """A function that returns NULL raises nothing."""
    check(ffi.NULL)


def test_a_real_error_is_raised_and_freed() -> None:
    """What the library refuses arrives with the field's name."""
    options = ffi.new("XetClientOptions *")  # struct_size is 0, which no struct has
    out = ffi.new("XetClient **")
    with pytest.raises(xet_ffi.InvalidConfigError, match="struct_size") as caught:
        check(lib.xet_client_create(options, out))
    assert caught.value.code == lib.XET_CODE_INVALID_CONFIG
    assert "struct_size" in (caught.value.field or "")
    assert out[0] == ffi.NULL
