"""What the doctor has found of one thing, and the way out."""

from __future__ import annotations

from xet_ffi._dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one thing.

    Attributes:
        about: The thing.
        state: "ok", "warning", "failed", or "skipped".
        found: What was found.
        way_out: What to do about it; None if nothing needs to be.
        status: The exit status that stands for it, if it failed.
    """

    about: str
    state: str
    found: str
    way_out: str | None = None
    status: int = 0


def ok(about: str, found: str) -> Finding:
    """Nothing needs to be done."""
    return Finding(about=about, state="ok", found=found)


def warning(about: str, found: str, way_out: str) -> Finding:
    """It works, and not well."""
    return Finding(about=about, state="warning", found=found, way_out=way_out)


def failed(about: str, found: str, way_out: str, status: int) -> Finding:
    """It does not work."""
    return Finding(about=about, state="failed", found=found, way_out=way_out, status=status)


def skipped(about: str, found: str, way_out: str) -> Finding:
    """It wasn't looked at."""
    return Finding(about=about, state="skipped", found=found, way_out=way_out)
