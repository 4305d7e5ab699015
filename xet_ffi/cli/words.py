"""Words of people: sizes, ages, repos, and what they may have meant."""

from __future__ import annotations

import argparse
import difflib
import re
from urllib.parse import unquote

from xet_ffi._dataclass import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SIZE_UNITS = {"": 1} | {
    f"{letter}{rest}": base ** (power + 1)
    for power, letter in enumerate("kmgtp")
    for rest, base in (("", 1000), ("b", 1000), ("ib", 1024))
}
_SIZE_UNITS["b"] = 1
_DAY = 86_400
#: What the library takes: milliseconds in 32 bits, and files at a time.
_LONGEST = 4_294_967
_MOST_WORKERS = 256
_AGE_UNITS = {
    "s": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "d": _DAY,
    "w": 7 * _DAY,
    "mo": 30 * _DAY,
    "y": 365 * _DAY,
}
_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)", re.IGNORECASE)


def size(argument: str) -> int:
    """Bytes, of "10GB" (thousands), "2GiB" (of 1024) or a number.

    >>> size("10GB"), size("1.5k"), size("2GiB"), size("7")
    (10000000000, 1500, 2147483648, 7)
    """
    return int(_measure(argument, _SIZE_UNITS, "a size such as 500MB, 10GB or 2GiB"))


def part(argument: str) -> slice:
    """A part of a file, of "8:1KiB", ":1MB", "1GiB:" or "-8:": a slice, as Python has it.

    >>> part("8:1KiB"), part("-8:")
    (slice(8, 1024, None), slice(-8, None, None))
    """
    ends = argument.split(":")
    try:
        begin, end = (_offset(offset) if offset.strip() else None for offset in ends)
        return slice(begin, end)
    except (argparse.ArgumentTypeError, ValueError):  # of an end, or of how many there are
        message = f"{argument!r} is not a part such as :1MB, 8:1KiB, or -8: (the last 8 bytes)"
        raise argparse.ArgumentTypeError(message) from None


def _offset(argument: str) -> int:
    minus = argument.lstrip().startswith("-")
    return -size(argument.replace("-", "", 1)) if minus else size(argument)


def age(argument: str) -> float:
    """Seconds, of "30d", "12h" or a number of days.

    >>> age("12h"), age("30d") == age("30")
    (43200.0, True)
    """
    units = _AGE_UNITS | {"": _DAY}
    seconds = _measure(argument, units, "an age such as 12h, 30d, 2w or 6mo")
    if seconds < 1:
        message = f"{argument!r} is less than a second"
        raise argparse.ArgumentTypeError(message)
    return seconds


def duration(argument: str) -> float:
    """Seconds, of "90", "90s", "10m" or "2h".

    >>> duration("90"), duration("1.5h")
    (90.0, 5400.0)
    """
    units = _AGE_UNITS | {"": 1}
    seconds = _measure(argument, units, "a time such as 90s, 10m or 2h")
    if not 0.001 <= seconds <= _LONGEST:  # noqa: PLR2004 - a millisecond
        message = f"{argument!r} is no time to wait: from 0.001s to {_LONGEST // _DAY}d"
        raise argparse.ArgumentTypeError(message)
    return seconds


def workers(argument: str) -> int:
    """A number of files at a time."""
    if not argument.isdecimal() or not 1 <= int(argument) <= _MOST_WORKERS:
        message = f"{argument!r} is not a number from 1 to {_MOST_WORKERS}"
        raise argparse.ArgumentTypeError(message)
    return int(argument)


def _measure(argument: str, units: dict[str, int], what: str) -> float:
    found = _NUMBER.fullmatch(argument.strip())
    unit = found and units.get(found[2].lower())
    if not found or unit is None:
        message = f"{argument!r} is not {what}"
        raise argparse.ArgumentTypeError(message)
    return float(found[1]) * unit


def given(argument: str) -> str:
    """A path or name. An empty one is what a script makes of a variable that isn't set."""
    if not argument:
        message = "is empty"
        raise argparse.ArgumentTypeError(message)
    return argument


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Returns the one of `words` that is most like `word`, if one is."""
    by_lower = {candidate.lower(): candidate for candidate in words}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Returns a hint at the nearest of `words`, to put behind a sentence; "" if none is near."""
    found = nearest(word, words)
    return f"; did you mean {found}?" if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repo:
    """A repo as somebody has typed it.

    Attributes:
        repo_id: "namespace/name", or "name".
        repo_type: "model", "dataset" or "space"; None if it doesn't say.
        revision: What stands behind an "@"; None if nothing does.
        path: What stands behind that, a file or a folder in the repo; "" if nothing does.
    """

    repo_id: str
    repo_type: str | None = None
    revision: str | None = None
    path: str = ""


_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
#: Revisions with a slash in them; other slashes of a revision are written %2F.
_REVISION = re.compile(r"refs/convert/[\w.-]+|refs/pr/\d+|[^/]+")
_UNSUPPORTED = {"kernels", "buckets"}


def repo(argument: str) -> Repo:
    """A repo, of "name", "namespace/name", "datasets/namespace/name", or an hf:// URI.

    "@REVISION" may stand behind all of them. The URI is that of huggingface_hub:
    hf://[TYPE/]NAMESPACE/NAME[@REVISION][/PATH].

    >>> repo("datasets/org/corpus")
    Repo(repo_id='org/corpus', repo_type='dataset', revision=None, path='')
    >>> repo("hf://org/model@refs/pr/3/onnx/model.onnx")
    Repo(repo_id='org/model', repo_type=None, revision='refs/pr/3', path='onnx/model.onnx')
    """
    if not argument.startswith("hf://"):
        name, revision = _split_revision(given(argument))
        repo_type, repo_id = _split_type(name)
        if not _NAME.fullmatch(repo_id):
            message = f"{argument!r} is not NAMESPACE/NAME{_meant(repo_type, repo_id, revision)}"
            raise argparse.ArgumentTypeError(message)
        return Repo(repo_id=repo_id, repo_type=repo_type, revision=revision)
    repo_type, rest = _split_type(argument.removeprefix("hf://"))
    found = re.fullmatch(r"([^/@]+/[^/@]+)(?:@([^/].*))?(?:/(.*))?", rest, re.DOTALL)
    if not found:
        message = f"{argument!r} is not hf://[datasets/]NAMESPACE/NAME[@REVISION][/PATH]"
        raise argparse.ArgumentTypeError(message)
    repo_id, tail = found[1], rest[found.end(1) :]
    revision = None
    if tail.startswith("@"):
        named = _REVISION.match(tail, 1)
        assert named is not None  # noqa: S101 - the pattern above wants something there
        revision, tail = unquote(named[0]), tail[named.end() :]
    return Repo(repo_id=repo_id, repo_type=repo_type, revision=revision, path=tail[1:])


def cached(argument: str) -> Repo:
    """A repo or a revision in the cache: as `repo`, but no file of it.

    >>> cached("datasets/org/corpus@0123abc").revision
    '0123abc'
    """
    named = repo(argument)
    if named.path:
        message = f"{argument!r} names a file: only repos and revisions go by themselves"
        raise argparse.ArgumentTypeError(message)
    return named


#: What can be a name, whether or not the Hub would take it.
_NAME = re.compile(r"(?!\.)[^/@:~\s]+(/[^/@:\s]+)?")
#: A page of a repo, as browsers show it.
_PAGE = re.compile(
    r"https?://[^/]+/((?:datasets/|spaces/)?[^/?#@]+/[^/?#@]+)"
    r"(?:/(?:blob|tree|resolve|raw)/([^/?#]+)(/[^?#]*)?)?/?(?:[?#].*)?"
)


def _split_revision(argument: str) -> tuple[str, str | None]:
    name, at, revision = argument.partition("@")
    if at and not revision:
        message = f"{argument!r} names no revision behind the @"
        raise argparse.ArgumentTypeError(message)
    return name, unquote(revision) if at else None


def _meant(repo_type: str | None, name: str, revision: str | None) -> str:
    """Returns a hint at what may have been meant by what is no name of a repo."""
    if page := _PAGE.fullmatch(name):
        repo, at, path = page[1], page[2], page[3] or ""
        return f"; did you mean {f'hf://{repo}@{at}{path}' if at else repo}?"
    if name.startswith((".", "/", "~")):
        return "; it looks like a path, and the repo comes first"
    parts = name.split("/")
    if len(parts) > 2 and all(parts) and ":" not in name:  # noqa: PLR2004 - NAMESPACE/NAME
        kind = f"{repo_type}s/" if repo_type else ""
        at = f"@{revision}" if revision else ""
        repo, path = "/".join(parts[:2]), "/".join(parts[2:])
        return f"; did you mean hf://{kind}{repo}{at}/{path}?"
    return ""


def _split_type(location: str) -> tuple[str | None, str]:
    """Takes "datasets/" off the front; "dataset/", too, where it can't be a namespace."""
    first, slash, rest = location.partition("/")
    if first in _UNSUPPORTED and slash:
        message = f"{location!r}: {first} are not supported"
        raise argparse.ArgumentTypeError(message)
    if first in _TYPES and rest:
        return _TYPES[first], rest
    if first in _TYPES.values() and re.fullmatch(r"[^/@]+/[^/@]+(@.*)?", rest):
        return first, rest
    return None, location
