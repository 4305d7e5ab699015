"""One table of calls, made from C, Go and Python: the same codes, reports, messages and bytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cross.conftest import ALICE, BOB
from picture import contents
from published import MIB, VARIETY, VARIETY_LFS, noise
from small_disk import small_file_system

if TYPE_CHECKING:
    from cross.conftest import Driver, Published

MODEL = {**VARIETY, **VARIETY_LFS}


@dataclass(frozen=True)
class Failure:
    """A call that fails, on a hub that may misbehave, with the code and kind that come of it."""

    call: tuple[str, ...]
    code: int
    kind: str
    fault: dict[str, Any] = field(default_factory=dict)
    token: str = ALICE.secret
    environment: dict[str, str] = field(default_factory=dict)
    same_words: bool = True


LIST = ("list", "alice/model", "-", "-")
FILE = ("file", "alice/model", "-", "-", "-", "model.safetensors")
READ = ("read", "alice/model", "-", "-", "model.safetensors", "0", "8")
STALL = {"route": "storage", "stall_after_bytes": 1000}

FAILURES = {
    "a malformed repo id": Failure(("list", "a/b/c", "-", "-"), 1, "invalid_repo_id"),
    "an unknown type": Failure(("list", "alice/model", "bucket", "-"), 1, "invalid_argument"),
    "no file name": Failure((*FILE[:-1], ""), 1, "unsafe_path"),
    "a path out of the repo": Failure((*FILE[:-1], "../x"), 1, "unsafe_path"),
    "a wrong token": Failure(LIST, 2, "unauthorized", token="hf_wrong"),
    "a file that isn't there": Failure(
        ("upload", "alice/model", "-", "x.bin", "/nowhere/x.bin"), 8, "io"
    ),
    "an older parent": Failure(
        ("upload", "alice/model", "0" * 40, "x.txt", __file__), 11, "conflict"
    ),
    "a token that only reads": Failure(
        ("upload", "alice/model", "-", "x.txt", __file__), 5, "forbidden", token=BOB.secret
    ),
    "a failing server": Failure(LIST, 3, "server_error", {"route": "tree", "status": 500}),
    "a cut connection": Failure(LIST, 3, "connection", {"route": "tree", "cut_after_bytes": 0}),
    "nonsense": Failure(LIST, 3, "invalid_response", {"route": "tree", "garbage_json": True}),
    "an unknown repo": Failure(("list", "alice/none", "-", "-"), 4, "repo_not_found"),
    "an unknown revision": Failure(("list", "alice/model", "-", "x"), 4, "revision_not_found"),
    "an unknown file": Failure((*FILE[:-1], "none.bin"), 4, "entry_not_found"),
    "an unknown file to be read": Failure((*READ[:4], "none.bin", "0", "8"), 4, "entry_not_found"),
    "no file name to be read": Failure((*READ[:4], "", "0", "8"), 1, "unsafe_path"),
    "damaged bytes that are read": Failure(
        READ, 6, "checksum_mismatch", {"route": "storage", "corrupt_byte": 3}
    ),
    "a gated repo": Failure(
        ("file", "alice/gated", "-", "-", "-", "secret.txt"), 5, "gated_repo", token=BOB.secret
    ),
    "damaged bytes": Failure(
        (*FILE[:-1], "config.json"),
        6,
        "checksum_mismatch",
        {"route": "resolve-cache", "corrupt_byte": 3},
    ),
    "cancelling": Failure(("cancel", "alice/model"), 7, "cancelled", STALL, same_words=False),
    "a limit in time": Failure(("limited", "alice/model"), 9, "timeout", STALL, same_words=False),
    "a file for a folder": Failure(
        ("file", "alice/model", "-", "-", "/dev/null/x", "config.json"), 8, "io"
    ),
    # For longer than the call may take: without that limit, it would be waited for.
    "too many requests": Failure(
        ("limited", "alice/model"),
        10,
        "rate_limited",
        {"route": "tree", "status": 429, "headers": {"Retry-After": "60"}},
        same_words=False,
    ),
    "an unknown transport": Failure(
        LIST, 1, "invalid_argument", environment={"XET_FFI_TRANSPORT": "ftp"}
    ),
    "Xet alone, and it fails": Failure(
        FILE,
        3,
        "server_error",
        {"route": "reconstruction", "status": 503},
        environment={"XET_FFI_TRANSPORT": "xet"},
    ),
    "no network": Failure(LIST, 13, "offline", environment={"HF_HUB_OFFLINE": "1"}),
    "no network, no file": Failure(
        FILE, 4, "local_entry_not_found", environment={"HF_HUB_OFFLINE": "1"}
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failures_are_the_same(
    drivers: dict[str, Driver], published: Published, tmp_path: Path, case: str
) -> None:
    """Each language reports the same code, kind and details, in the same words."""
    failure = FAILURES[case]
    if failure.fault:
        published.hub.fault(**failure.fault)
    seen = {}
    for language, driver in drivers.items():
        cache = tmp_path / language
        [[name, code, message, details]] = driver(
            published.hub,
            cache,
            *failure.call,
            token=failure.token,
            HOME=str(tmp_path),
            **failure.environment,
        )
        parsed = json.loads(details)
        assert (name, int(code), parsed["kind"]) == ("error", failure.code, failure.kind), language
        # Go has no difference between what is empty and what isn't known.
        known = {key: value for key, value in parsed.items() if value and key != "request_id"}
        if language == "C" and "field" in known:
            # The struct that C callers fill in has no name in the other languages.
            known["field"] = known["field"].removeprefix("options.")
            message = message.removeprefix("options.")
        seen[language] = (message.replace(str(cache), "CACHE"), known)
    if failure.same_words:
        assert seen["Go"] == seen["C"]
        assert seen["Python"] == seen["C"]


def test_a_full_disk_is_the_same(drivers: dict[str, Driver], published: Published) -> None:
    """Each language says that there is no space, and where."""
    seen = {}
    with small_file_system(2) as disk:
        for language, driver in drivers.items():
            [[name, code, message, details]] = driver(published.hub, disk / "cache", *FILE)
            assert (name, int(code)) == ("error", 12), language
            seen[language] = (message, {k: v for k, v in json.loads(details).items() if v})
            shutil.rmtree(disk / "cache", ignore_errors=True)
    assert str(disk) in seen["C"][0]
    assert seen["C"][1]["kind"] == "no_space"
    assert seen["Go"] == seen["C"]
    assert seen["Python"] == seen["C"]


def test_listings_are_the_same(
    drivers: dict[str, Driver], published: Published, tmp_path: Path
) -> None:
    """Each language lists the same files, with all that is known of them."""
    rows = {
        language: driver(published.hub, tmp_path / language, *LIST)
        for language, driver in drivers.items()
    }
    assert {row[1] for row in rows["C"]} == {*MODEL, ".gitattributes"}
    assert {row[2] for row in rows["C"]} == {"git", "lfs", "xet"}
    assert {row[-1] for row in rows["C"]} == {published.model}
    assert rows["Go"] == rows["C"]
    assert rows["Python"] == rows["C"]


def test_resolving_is_the_same(
    drivers: dict[str, Driver], published: Published, tmp_path: Path
) -> None:
    """Each language finds the commit that a branch stands for."""
    for language, driver in drivers.items():
        rows = driver(
            published.hub, tmp_path / language, "resolve", "alice/data", "dataset", "main"
        )
        assert rows == [["commit", published.data]], language


@pytest.mark.parametrize(
    "environment", [{}, {"HF_HUB_OFFLINE": "1", "XET_FFI_TRANSPORT": "http"}], ids=["", "offline"]
)
def test_what_a_client_works_with_is_the_same(
    drivers: dict[str, Driver], published: Published, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Each language tells it, and where its token comes from, but not the token."""
    rows = {
        language: driver(published.hub, tmp_path, "info", "-", **environment)
        for language, driver in drivers.items()
    }
    [[name, endpoint, cache, _, source, transport, *_, offline]] = rows["C"]
    assert (name, endpoint, cache) == ("info", published.hub.endpoint, str(tmp_path))
    assert (source, transport) == ("argument", "http" if environment else "auto")
    assert offline == ("1" if environment else "0")
    assert rows["Go"] == rows["C"]
    assert rows["Python"] == rows["C"]


SUCCESSES = {
    "a file": (("file", "alice/model", "-", "-", "-", "model.safetensors"), {"model.safetensors"}),
    "an LFS file": (
        ("file", "alice/model", "models", "main", "-", "legacy/old.bin"),
        {"legacy/old.bin"},
    ),
    "an empty file": (("file", "alice/model", "-", "-", "-", "empty.txt"), {"empty.txt"}),
    "a snapshot": (("snapshot", "alice/model", "-", "-", "-"), {*MODEL}),
    "chosen files": (
        ("snapshot", "alice/model", "model", "-", "-", "*.txt", "nested/", "!nested/deep/*"),
        {
            path
            for path in MODEL
            if (path.endswith(".txt") or path.startswith("nested/"))
            and not path.startswith("nested/deep/")
        },
    ),
}


@pytest.mark.parametrize("case", SUCCESSES)
def test_downloads_are_the_same(
    drivers: dict[str, Driver], published: Published, tmp_path: Path, case: str
) -> None:
    """Each language makes the same cache and the same report; again, it takes what is there."""
    call, names = SUCCESSES[case]
    first: dict[str, list[list[str]]] = {}
    again: dict[str, list[list[str]]] = {}
    for language, driver in drivers.items():
        cache = tmp_path / language
        report, *each = driver(published.hub, cache, *call)
        second, *each_again = driver(published.hub, cache, *call)
        assert report[0] == "done", language
        assert len(each) == len(each_again) == int(report[3])
        assert {one[2] for one in each_again} == {"local"}
        assert report[2] == published.model
        folder = cache / "models--alice--model" / "snapshots" / published.model
        found = {path: data for path, data in contents(folder).items() if path in MODEL}
        assert found == {path: MODEL[path] for path in names}, language
        assert second[5] == "0", language
        assert {one[-1] for one in each} == {"1"}, "verified"
        for seen, rows in ((first, [report, *each]), (again, [second, *each_again])):
            seen[language] = [[text.replace(str(cache), "CACHE") for text in row] for row in rows]
    for reports in (first, again):
        assert reports["Go"] == reports["C"]
        assert reports["Python"] == reports["C"]


def test_plans_are_the_same(
    drivers: dict[str, Driver], published: Published, tmp_path: Path
) -> None:
    """Each language plans the same, before anything is here and when a file is."""
    seen = {}
    for language, driver in drivers.items():
        cache = tmp_path / language
        plan = ("plan", "alice/model", "-", "-", "-", "*.safetensors", "!nested/*")
        before = driver(published.hub, cache, *plan)
        driver(published.hub, cache, "file", *plan[1:5], "model.safetensors")
        seen[language] = before, driver(published.hub, cache, *plan)
    size = str(len(MODEL["model.safetensors"]))
    earlier, later = seen["C"]
    assert earlier[0] == ["plan", published.model, size, "0", "0", size, size]
    assert later[0] == ["plan", published.model, size, size, "0", "0", "0"]
    assert later[1:] == [["planned", "model.safetensors", size, size, "0", "0"]]
    assert seen["Go"] == seen["C"]
    assert seen["Python"] == seen["C"]


#: Offsets and lengths: in any order, in one chunk or in many, empty, cut short, behind the end.
PARTS = ((0, 8), (2_000_000, 500), (1_000_000, 100), (7, 1), (0, 0), (9, 900), (1 << 40, 9))


@pytest.mark.parametrize(
    ("name", "kind", "proof"),
    [
        ("model.safetensors", "xet", "merkle"),
        ("legacy/old.bin", "lfs", "none"),
        ("config.json", "git", "none"),
        ("empty.txt", "git", "none"),
    ],
)
def test_reading_in_place_is_the_same(
    drivers: dict[str, Driver],
    published: Published,
    tmp_path: Path,
    name: str,
    kind: str,
    proof: str,
) -> None:
    """Each language reads the same bytes with the same calls, and reports the same of them."""
    content = MODEL[name]
    parts = [*PARTS, (max(len(content) - 5, 0), 10)]
    right = [content[offset : offset + length] for offset, length in parts]
    seen = {}
    for language, driver in drivers.items():
        numbers = [str(number) for part in parts for number in part]
        call = ("read", "alice/model", "-", "-", name, *numbers)
        home = str(tmp_path / language)
        *read, report = driver(published.hub, tmp_path / language, *call, HF_HOME=home)
        assert [bytes.fromhex(part[1]) for part in read] == [*right, right[0]], language
        assert report[1:5] == [name, kind, str(len(content)), published.model], language
        assert report[7:9] == [proof, "2"], language
        seen[language] = report
    assert seen["Go"] == seen["C"]
    assert seen["Python"] == seen["C"]


#: What says it, what ails Xet, and the way that a Xet file comes; an LFS file has only one.
WAYS: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "by itself": ({}, {}, "xet"),
    "auto": ({"XET_FFI_TRANSPORT": "auto"}, {}, "xet"),
    "Xet": ({"XET_FFI_TRANSPORT": "xet"}, {}, "xet"),
    "HTTP": ({"XET_FFI_TRANSPORT": "http"}, {}, "http"),
    "huggingface_hub's switch": ({"HF_HUB_DISABLE_XET": "1"}, {}, "http"),
    "both switches": ({"HF_HUB_DISABLE_XET": "1", "XET_FFI_TRANSPORT": "xet"}, {}, "xet"),
    "Xet fails": ({}, {"route": "reconstruction", "status": 503}, "xet+http"),
}


@pytest.mark.parametrize("case", WAYS)
def test_one_switch_turns_all_languages(
    drivers: dict[str, Driver], published: Published, tmp_path: Path, case: str
) -> None:
    """The same variable, the same way for each file, and the same report of it."""
    environment, fault, way = WAYS[case]
    if fault:
        published.hub.fault(**fault)
    command = ("snapshot", "alice/model", "-", "-", "-", "model.safetensors", "legacy/old.bin")
    seen = {}
    for language, driver in drivers.items():
        _, *each = driver(published.hub, tmp_path / language, *command, **environment)
        assert {path: how for _, path, how, *_ in each} == {
            "model.safetensors": way,
            "legacy/old.bin": "http",
        }, language
        cache = str(tmp_path / language)
        seen[language] = [[text.replace(cache, "CACHE") for text in one] for one in each]
    assert seen["Go"] == seen["C"]
    assert seen["Python"] == seen["C"]


def test_datasets_and_folders_are_the_same(
    drivers: dict[str, Driver], published: Published, tmp_path: Path
) -> None:
    """Each language downloads another type of repo into a folder of the caller's."""
    for language, driver in drivers.items():
        folder = tmp_path / language / "local"
        report, *_ = driver(
            published.hub, tmp_path / "cache", "snapshot", "alice/data", "dataset", "-", str(folder)
        )
        assert report[:3] == ["done", str(folder), published.data], language
        assert (folder / "train.csv").read_bytes() == b"a,b\n"


def test_uploads_are_the_same(
    drivers: dict[str, Driver], published: Published, tmp_path: Path
) -> None:
    """Each language stores the same content, and again finds that there is nothing to commit."""
    content = noise(MIB, "cross/upload")
    first, again = {}, {}
    for language, driver in drivers.items():
        # Of its own for each, or the second would have nothing to send.
        content = noise(16, language) + content[16:]
        file = tmp_path / f"{language}.bin"
        file.write_bytes(content)
        repo = f"alice/upload-{language.lower()}"
        call = ("upload", repo, "-", "weights.bin", str(file))
        [first[language]] = driver(published.hub, tmp_path / language, *call)
        [again[language]] = driver(published.hub, tmp_path / language, *call)
        reader = drivers["C"](
            published.hub, tmp_path / "read", "file", repo, "-", "-", "-", "weights.bin"
        )
        assert Path(reader[0][1]).read_bytes() == content
    assert first["C"][:5] == ["committed", "1", "1", "1", str(MIB)]
    assert again["C"] == ["committed", "0", "1", "0", str(MIB), "0", str(MIB), "0", "0"]
    for language in ("Go", "Python"):
        assert first[language][:5] == first["C"][:5]
        assert again[language] == again["C"]
