"""The table: every fault, what it hits, and how the call must end.

A call ends "ok", with a verified file, or with an error of the kind that the table names ("a|b"
where two are equally true); nothing else is right. `passing` is a fault that happens once,
`lasting` one that doesn't stop. What a row doesn't name is "ok": the fault is survived.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from faults.content import NEW

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Column:
    """A thing to fetch, and which of its requests a fault hits."""

    #: The file to download; None lists the files instead.
    file: str | None
    #: Of xet-hub's rules.
    route: str
    path_regex: str | None
    method: str
    #: Whose TCP a fault of the wire hits.
    wire: str
    #: How large the answer's body is.
    size: int


_JSON = 120  # bytes that every JSON answer has at least

COLUMNS = {
    # All that storage sends: xorbs, and the file as a whole.
    "xet": Column("xet.bin", "storage", None, "GET", "storage", len(NEW["xet.bin"])),
    # Only xorbs: the file as a whole can still be had.
    "xorbs": Column("xet.bin", "storage", "^/xorbs/", "GET", "storage", len(NEW["xet.bin"])),
    "reconstruction": Column("xet.bin", "reconstruction", None, "GET", "cas", _JSON),
    "token": Column("xet.bin", "xet-token", None, "GET", "hub", _JSON),
    "lfs": Column("lfs.bin", "storage", "^/lfs/", "GET", "storage", len(NEW["lfs.bin"])),
    "git": Column("git.txt", "resolve-cache", None, "GET", "hub", len(NEW["git.txt"])),
    "metadata": Column("git.txt", "resolve", None, "HEAD", "hub", 0),
    "listing": Column(None, "tree", None, "GET", "hub", _JSON),
}

BYTES = ("xet", "xorbs", "lfs", "git")
JSON = ("reconstruction", "token", "listing")
ALL = tuple(COLUMNS)
#: Those whose answer has a body that can be damaged.
BODIES = (*BYTES, *JSON)

#: A position: at a third of the answer's body.
THIRD = "a third"


@dataclass(frozen=True)
class Fault:
    """A row: what xet-hub does to one request after the other, and how calls end, by column."""

    actions: tuple[Mapping[str, Any], ...]
    columns: tuple[str, ...] = ALL
    passing: Mapping[str, str] = field(default_factory=dict)
    lasting: Mapping[str, str] = field(default_factory=dict)
    #: Seconds that the call may take: its `timeout`.
    limit: float = 25
    #: Whether it makes sense as one that doesn't stop.
    lasts: bool = True


def row(*actions: Mapping[str, Any], **options: Any) -> Fault:
    """A fault."""
    return Fault(actions, **options)


def without_fallback(kind: str) -> dict[str, str]:
    """`kind` wherever a Xet file can't come over plain HTTP instead."""
    return dict.fromkeys(("xet", "lfs", "git", "metadata", "listing"), kind)


def damaged(listing: str = "invalid_response") -> dict[str, str]:
    """How content ends that is there, and isn't what was published."""
    kind = "checksum_mismatch"
    return {"xet": kind, "lfs": kind, "git": kind, "listing": listing}


#: A JSON answer that isn't one is an error at once; for Xet's servers, a reason to do without them.
_NONSENSE = {"listing": "invalid_response"}
#: It ended early, or: it was another one.
_ENDED = "connection|invalid_response"
_HTML = "<html>Please log in to this network</html>"

HTTP: dict[str, Fault] = {
    # Silence and slowness.
    "silence before the answer": row({"stall_before": 60}, lasting=without_fallback("timeout")),
    # Who stalls after a few bytes, again and again, is given up; one stall more or less isn't it.
    "silence in mid-body": row(
        {"stall_after_bytes": THIRD},
        columns=BODIES,
        lasting=dict.fromkeys(("lfs", "git", "listing"), "timeout"),
    ),
    "1 KiB per second": row(
        {"drip": 1024},
        columns=BODIES,
        lasting=dict.fromkeys(("xet", "lfs", "git", "listing"), "timeout"),
    ),
    # Connections that end.
    "reset before the answer": row(
        {"cut_after_bytes": 0}, columns=BODIES, lasting=without_fallback("connection")
    ),
    "reset in mid-body": row(
        {"cut_after_bytes": THIRD}, columns=BODIES, lasting={"listing": "connection"}
    ),
    "closed in mid-body": row(
        {"close_after_bytes": THIRD}, columns=BODIES, lasting={"listing": "connection"}
    ),
    "short, and framed as whole": row({"truncate": THIRD}, columns=BODIES, lasting=_NONSENSE),
    # Content that isn't what was published. One bad xorb is fetched again.
    "a flipped byte": row(
        {"corrupt_byte": THIRD},
        columns=BODIES,
        # It may still be JSON, of another form.
        passing={**damaged("ok|invalid_response"), "xet": "ok"},
        lasting=damaged("ok|invalid_response"),
    ),
    "other bytes": row(
        {"invert": True}, columns=BODIES, passing={**damaged("ok"), "xet": "ok"}, lasting=damaged()
    ),
    "bytes of another place": row(
        {"rotate": 30}, columns=BODIES, passing={**damaged("ok"), "xet": "ok"}, lasting=damaged()
    ),
    "ranges ignored": row({"ignore_range": True}, columns=BYTES),
    # The rest of a broken answer isn't the rest.
    "the rest from another place": row(
        {"cut_after_bytes": THIRD},
        {"rotate": 30},
        columns=BYTES,
        lasts=False,
        passing={"lfs": "checksum_mismatch", "git": "checksum_mismatch"},
    ),
    "the whole instead of the rest": row(
        {"cut_after_bytes": THIRD}, {"ignore_range": True}, columns=BYTES, lasts=False
    ),
    "the rest with a wrong Content-Range": row(
        {"cut_after_bytes": THIRD},
        {"headers": {"Content-Range": "bytes 7-9/10"}},
        columns=BYTES,
        lasts=False,
    ),
    "no rest": row(
        {"cut_after_bytes": THIRD},
        {"status": 416},
        columns=BYTES,
        lasts=False,
    ),
    # Refusals.
    **{
        # What the answer about a file doesn't say, the listing does.
        str(status): row(
            {"status": status}, lasting={**without_fallback("server_error"), "metadata": "ok"}
        )
        for status in (500, 502, 503, 504)
    },
    "408": row({"status": 408}, lasting=without_fallback("timeout")),
    "429 with Retry-After": row(
        {"status": 429, "headers": {"Retry-After": "1"}},
        lasting={**without_fallback("rate_limited")},
        # It is waited for until the call's time is over.
        limit=8,
    ),
    # From the Hub it is about the user, and final (to the anonymous, 401 means that there is no
    # such repo), if its other answers don't say otherwise. From storage and CAS it means that a URL
    # or a token is old.
    "401": row(
        {"status": 401},
        passing=dict.fromkeys(("git", "listing"), "repo_not_found"),
        lasting={
            **without_fallback("repo_not_found"),
            "xet": "forbidden",
            "lfs": "forbidden",
            "metadata": "ok",
        },
    ),
    "403": row(
        {"status": 403},
        passing={"git": "forbidden"},
        lasting={**without_fallback("forbidden"), "metadata": "ok", "listing": "ok"},
    ),
    "a redirect to itself": row(
        {"redirect_loop": True},
        # What the answer about a file doesn't say, the listing does.
        passing={"listing": "invalid_response"},
        lasting={**without_fallback("invalid_response"), "metadata": "ok"},
    ),
    # JSON.
    "broken JSON": row({"garbage_json": True}, columns=JSON, lasting=_NONSENSE),
    "100 MB of JSON": row(
        {"huge_json": 100_000_000}, columns=JSON, passing=_NONSENSE, lasting=_NONSENSE
    ),
    "JSON 100,000 levels deep": row(
        {"status": 200, "body": "[" * 100_000}, columns=JSON, lasting=_NONSENSE
    ),
    "another page instead": row(
        {"status": 200, "body": _HTML, "headers": {"Content-Type": "text/html"}},
        columns=BODIES,
        lasting={**dict.fromkeys(("xet", "lfs", "git"), _ENDED), **_NONSENSE},
    ),
    "nothing instead": row(
        {"status": 200, "body": ""},
        columns=BODIES,
        lasting={**dict.fromkeys(("xet", "lfs", "git"), _ENDED), **_NONSENSE},
    ),
    # Codings.
    "gzip that nobody asked for": row({"gzip": True}, columns=BODIES),
    "gzip that isn't": row({"headers": {"Content-Encoding": "gzip"}}, columns=BODIES),
    "br that isn't": row({"headers": {"Content-Encoding": "br"}}, columns=BODIES),
    # Reconstructions that lie: the file comes over plain HTTP.
    **{
        f"a lie: {lie}": row({"lie": lie}, columns=("reconstruction",))
        for lie in (
            *("longer", "shorter", "enormous", "no_length"),
            *("range", "backwards_range", "range_without_url", "offset", "enormous_offset"),
            *("swap_terms", "drop_term", "repeat_term", "no_terms", "overlap"),
            *("missing_xorb", "other_xorb", "fewer_bytes", "other_bytes", "enormous_bytes"),
            *("file_url", "no_url"),
        )
    },
}


@dataclass(frozen=True)
class Toxic:
    """A row of faults of TCP: toxics, each with its attributes, for as long as the call takes."""

    name: str
    attributes: Mapping[str, int]
    lasting: Mapping[str, str] = field(default_factory=dict)
    upstream: bool = False


#: A call needs all of the Hub, all of storage, and can do without the CAS.
TCP_COLUMNS = ("xet", "reconstruction", "lfs", "git", "listing")


def on_the_wire(kind: str) -> dict[str, str]:
    """`kind` wherever there is no other way."""
    return dict.fromkeys(("xet", "lfs", "git", "listing"), kind)


TCP: dict[str, Toxic] = {
    "latency": Toxic("latency", {"latency": 100, "jitter": 50}),
    "little bandwidth": Toxic("bandwidth", {"rate": 2000}),
    "slow close": Toxic("slow_close", {"delay": 300}),
    "small packets": Toxic("slicer", {"average_size": 700, "size_variation": 500, "delay": 10}),
    "a black hole": Toxic("timeout", {"timeout": 0}, on_the_wire("timeout")),
    "a black hole for requests": Toxic(
        "timeout", {"timeout": 0}, on_the_wire("timeout"), upstream=True
    ),
    "silence, then a close": Toxic("timeout", {"timeout": 300}, on_the_wire("connection")),
    "reset at once": Toxic("reset_peer", {"timeout": 0}, on_the_wire("connection")),
    "closed after 10 bytes": Toxic("limit_data", {"bytes": 10}, on_the_wire("connection")),
    "closed after 250 kB": Toxic("limit_data", {"bytes": 250_000}),
    "nobody listens": Toxic("", {}, on_the_wire("connection")),
}
