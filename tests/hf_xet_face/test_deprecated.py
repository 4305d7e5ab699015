"""hf_xet's deprecated functions, with both modules: huggingface_hub calls them up to version 1."""

from __future__ import annotations

import hashlib
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from published import MIB, noise
from xet_ffi._groups import _Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hf_xet_face.conftest import Stored
    from hub import Hub


@pytest.fixture(autouse=True)
def _deprecated() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "hf_xet.* is deprecated", DeprecationWarning)
        yield


def upload(hf: Any, contents: list[bytes], endpoint: str, **options: Any) -> list[Any]:
    """Uploads bytes without tokens."""
    updater = options.pop("updater", None)
    found: list[Any] = hf.upload_bytes(contents, endpoint, None, None, updater, None, **options)
    return found


def test_they_say_what_to_use_instead(hf: Any, endpoint: str) -> None:
    """And where they were called from; hashing alone isn't deprecated."""
    calls: dict[str, Callable[[], object]] = {
        "upload_bytes": lambda: upload(hf, [], endpoint),
        "upload_files": lambda: hf.upload_files([], endpoint, None, None, None, None),
        "download_files": lambda: hf.download_files([], endpoint, None, None, None),
    }
    for name, call in calls.items():
        with pytest.warns(DeprecationWarning, match=rf"hf_xet.{name}\(\) is deprecated") as warned:
            assert call() == []
        assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hf.hash_files([]) == []


def test_what_is_uploaded_can_be_downloaded(hf: Any, endpoint: str, tmp_path: Path) -> None:
    """Files and bytes; folders that are missing are made."""
    (tmp_path / "file").write_bytes(noise(MIB))
    (file,) = hf.upload_files([str(tmp_path / "file")], endpoint, None, None, None, None)
    (data,) = upload(hf, [b"bytes"], endpoint)
    assert [(file.file_size, data.filesize)] == [(MIB, 5)]
    assert data.sha256 == hashlib.sha256(b"bytes").hexdigest()
    assert [hashed.hash for hashed in hf.hash_files([str(tmp_path / "file")])] == [file.hash]
    places = [str(tmp_path / "a" / "b" / "file"), str(tmp_path / "bytes")]
    wanted = [
        hf.PyXetDownloadInfo(places[0], file.hash, file.file_size),
        hf.PyPointerFile(places[1], data.hash, 5),
    ]
    assert hf.download_files(wanted, endpoint, None, None, None) == places
    assert (tmp_path / "a" / "b" / "file").read_bytes() == noise(MIB)
    assert (tmp_path / "bytes").read_bytes() == b"bytes"


def test_the_sha256_can_be_given_or_left_out(hf: Any, endpoint: str) -> None:
    """One for each file, or none at all."""
    assert upload(hf, [b"x"], endpoint, skip_sha256=True)[0].sha256 is None
    assert upload(hf, [b"x"], endpoint, sha256s=["a" * 64])[0].sha256 == "a" * 64
    with pytest.raises(ValueError, match="mutually exclusive"):
        upload(hf, [b"x"], endpoint, sha256s=["a" * 64], skip_sha256=True)
    with pytest.raises(ValueError, match=r"sha256s length \(0\)"):
        upload(hf, [b"x"], endpoint, sha256s=[])


def test_progress_comes_as_increments(hf: Any, endpoint: str, tmp_path: Path) -> None:
    """A number, of all files; one function for each file, of downloads."""
    told: list[int] = []
    content = noise(3 * MIB)
    (info,) = upload(hf, [content], endpoint, updater=told.append)
    assert sum(told) == len(content)
    each: list[list[int]] = [[], []]
    wanted = [hf.PyXetDownloadInfo(str(tmp_path / name), info.hash, len(content)) for name in "ab"]
    hf.download_files(wanted, endpoint, None, None, [told.append for told in each])
    assert [sum(told) for told in each] == [len(content)] * 2


def test_progress_comes_in_detail_to_who_names_his_arguments(hf: Any, endpoint: str) -> None:
    """All that was and all that is new, in total and for each file."""
    told: list[tuple[Any, list[Any]]] = []

    def note(total_update: Any, item_updates: list[Any]) -> None:
        told.append((total_update, item_updates))

    upload(hf, [noise(MIB), noise(2 * MIB)], endpoint, updater=note)
    assert sum(total.total_bytes_completion_increment for total, _ in told) == 3 * MIB
    assert sum(total.total_bytes_increment for total, _ in told) == 3 * MIB
    last = told[-1][0]
    assert last.total_bytes == last.total_bytes_completed == 3 * MIB
    items = [item for _, items in told for item in items]
    assert sum(item.bytes_completion_increment for item in items) == 3 * MIB
    assert {item.total_bytes for item in items if item.bytes_completed} == {MIB, 2 * MIB}


def test_ours_tells_it_on_the_thread_that_called(ours: Any, endpoint: str) -> None:
    """Where Ctrl-C works; there is no other thread."""
    seen: set[threading.Thread] = set()
    upload(ours, [noise(MIB)], endpoint, updater=lambda _: seen.add(threading.current_thread()))
    assert seen == {threading.current_thread()}


def test_a_function_that_raises_changes_nothing(hf: Any, endpoint: str) -> None:
    """Whatever it is that it raises."""

    def fail(_: int) -> None:
        raise ValueError

    assert len(upload(hf, [b"x"], endpoint, updater=fail)) == 1


def test_functions_of_a_wrong_form_are_type_errors(hf: Any, endpoint: str) -> None:
    """Before anything begins."""
    for wrong in (3, lambda a, b: (a, b), lambda a, b, c: (a, b, c)):
        with pytest.raises(TypeError):
            upload(hf, [b"x"], endpoint, updater=wrong)
    with pytest.raises(TypeError, match="not callable"):
        hf.upload_bytes([b"x"], endpoint, None, 3, None, None)
    info = hf.PyXetDownloadInfo("a", "ab" * 32, 1)
    with pytest.raises(TypeError):
        hf.download_files([info], endpoint, None, None, lambda _: None)
    with pytest.raises(ValueError, match="updaters"):
        hf.download_files([info], endpoint, None, None, [])


@pytest.mark.parametrize("function", ["upload_bytes", "upload_files", "hash_files"])
def test_what_is_no_sequence_is_a_type_error(hf: Any, endpoint: str, function: str) -> None:
    """And neither is a str of letters, nor bytes, of which each is a number."""

    def call(what: Any) -> object:
        more: Any = () if function == "hash_files" else (endpoint, None, None, None, None)
        return getattr(hf, function)(what, *more)

    for wrong in (
        3,
        None,
        "ab",
        b"ab",
        bytearray(b"ab"),
        {"a": 1},
        {"a"},
        iter(["a"]),
        [3],
        [None],
    ):
        with pytest.raises(TypeError):
            call(wrong)
    assert call(()) == []


def test_other_wrong_types_are_type_errors(hf: Any, endpoint: str, tmp_path: Path) -> None:
    """Before anything begins."""
    wrong: Any
    given: Any
    for wrong in (3, None, "ab", {}, iter([]), [3], [None]):
        with pytest.raises(TypeError):
            hf.download_files(wrong, endpoint, None, None, None)
    for wrong in ([tmp_path], [b"a"]):
        with pytest.raises(TypeError):
            hf.upload_files(wrong, endpoint, None, None, None, None)
        with pytest.raises(TypeError):
            hf.hash_files(wrong)
    for hashes in ("a", "a" * 64, 3, [None], [3], {"a" * 64: 1}, [hf.SKIP_SHA256]):
        with pytest.raises(TypeError):
            upload(hf, [b"x"], endpoint, sha256s=hashes)
    for headers in (3, "ab", [("a", "b")], {"a": 3}, {3: "a"}):
        with pytest.raises(TypeError):
            upload(hf, [b"x"], endpoint, request_headers=headers)
    for given in (3, "ab", ["a", 1], {}, (1, "a"), (b"a", 1), ("a", "b")):
        with pytest.raises(TypeError):
            hf.upload_bytes([b"x"], endpoint, given, None, None, None)
    for given in (("a",), ("a", 1, 2)):
        with pytest.raises(ValueError, match="tuple"):
            hf.upload_bytes([b"x"], endpoint, given, None, None, None)
    with pytest.raises(TypeError):
        upload(hf, [b"x"], 3)  # type: ignore[arg-type] # that is the point
    for wrong in ((3, "b", 1), ("a", 3, 1), ("a", "b", "c")):
        for kind in (hf.PyXetDownloadInfo, hf.PyPointerFile):
            with pytest.raises(TypeError):
                kind(*wrong)
    with pytest.raises(TypeError):
        hf.PyPointerFile("a", "b", None)


def groups_of(error: BaseException) -> list[Any]:
    """The groups that an error's traceback keeps alive."""
    found = []
    trace = error.__traceback__
    while trace is not None:
        found += [each for each in trace.tb_frame.f_locals.values() if isinstance(each, _Group)]
        trace = trace.tb_next
    return found


def test_ours_ends_what_it_has_begun_when_it_fails(
    ours: Any, endpoint: str, tmp_path: Path
) -> None:
    """Also while somebody holds the error: a file would come, or go on coming, behind his back."""
    (info,) = upload(ours, [b"content"], endpoint)
    wanted = [
        ours.PyXetDownloadInfo(str(tmp_path / "a"), info.hash, info.file_size),
        ours.PyXetDownloadInfo(str(tmp_path / "b"), "no hash", 1),
    ]
    with pytest.raises(RuntimeError, match="hash") as caught:
        ours.download_files(wanted, endpoint, None, None, None)
    groups = groups_of(caught.value)
    assert groups
    assert all(group.closed for group in groups)


def test_what_fails_keeps_its_class(hf: Any, endpoint: str, tmp_path: Path) -> None:
    """A file that is missing, a folder, a hash that isn't one."""
    for wrong in (tmp_path / "missing", tmp_path):
        with pytest.raises(OSError, match=r"(?i)no such file|is a directory|not a regular file"):
            hf.upload_files([str(wrong)], endpoint, None, None, None, None)
        with pytest.raises(OSError, match=r"(?i)no such file|is a directory|not a regular file"):
            hf.hash_files([str(wrong)])
    with pytest.raises(RuntimeError, match="hash"):
        hf.download_files(
            [hf.PyXetDownloadInfo(str(tmp_path / "a"), "ab", 1)], endpoint, None, None, None
        )


def test_what_is_not_there_keeps_its_class(
    hf: Any, ours: Any, hub: Hub, stored: Stored, endpoint: str, tmp_path: Path
) -> None:
    """A ConnectionError, for a status; ours is also caught as what it is, and so from a folder."""
    wanted = [hf.PyXetDownloadInfo(str(tmp_path / "a"), "ab" * 32, 3)]
    with pytest.raises(ConnectionError) as caught:
        hf.download_files(wanted, hub.cas, token(stored), None, None)
    if hf is ours:
        assert isinstance(caught.value, hf.XetObjectNotFoundError)
        with pytest.raises(hf.XetObjectNotFoundError):
            hf.download_files(wanted, endpoint, None, None, None)


def token(stored: Stored) -> tuple[str, int]:
    """One that is good."""
    import urllib.request

    request = urllib.request.Request(
        stored.read["token_refresh_url"], headers=stored.read["token_refresh_headers"]
    )
    with urllib.request.urlopen(request) as answer:
        return answer.headers["X-Xet-Access-Token"], int(answer.headers["X-Xet-Token-Expiration"])


@pytest.mark.parametrize("given", [None, ("old", 1)], ids=["none", "expired"])
def test_a_function_gets_tokens(
    hf: Any, hub: Hub, stored: Stored, tmp_path: Path, given: tuple[str, int] | None
) -> None:
    """When there is none, and when the one that was given is too old."""
    asked: list[object] = []

    def refresh() -> tuple[str, int]:
        asked.append(1)
        return token(stored)

    wanted = [hf.PyXetDownloadInfo(str(tmp_path / "a"), stored.hash, stored.size)]
    hf.download_files(wanted, hub.cas, given or ("", 0), refresh, None)
    assert (tmp_path / "a").read_bytes() == stored.content
    assert asked


@pytest.mark.parametrize("wrong", ["raises", "returns nonsense"])
def test_a_function_that_gets_no_token_is_a_connection_error(
    hf: Any, ours: Any, hub: Hub, stored: Stored, tmp_path: Path, wrong: str
) -> None:
    """What it raised is told; the token isn't, if that is what was wrong."""

    def refresh() -> Any:
        if wrong == "raises":
            raise ZeroDivisionError("no token today")
        return 3

    wanted = [hf.PyXetDownloadInfo(str(tmp_path / "a"), stored.hash, stored.size)]
    with pytest.raises(ConnectionError) as caught:
        hf.download_files(wanted, hub.cas, ("old", 1), refresh, None)
    if hf is ours:
        assert isinstance(caught.value, hf.XetAuthenticationError)
        cause = caught.value.__cause__
        assert cause is not None
        kind = {"raises": ZeroDivisionError, "returns nonsense": TypeError}[wrong]
        assert isinstance(cause.__cause__, kind)


def test_a_shutdown_ends_what_runs(ours: Any, hub: Hub, stored: Stored, tmp_path: Path) -> None:
    """And raises KeyboardInterrupt; what begins after it works."""
    hub.fault("reconstruction", stall_before=60, times=1)
    wanted = [ours.PyXetDownloadInfo(str(tmp_path / "a"), stored.hash, stored.size)]
    raised: list[BaseException] = []

    def download() -> None:
        try:
            ours.download_files(wanted, hub.cas, token(stored), None, None)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=download)
    thread.start()
    limit = time.monotonic() + 30
    while not hub.faults()[0]["fired"]:
        assert time.monotonic() < limit
        time.sleep(0.01)
    with pytest.raises(KeyboardInterrupt):
        ours.force_sigint_shutdown()
    thread.join(30)
    assert not thread.is_alive()
    assert len(raised) == 1
    ours.download_files(wanted, hub.cas, token(stored), None, None)
    assert (tmp_path / "a").read_bytes() == stored.content
