"""Planning: a method of `Client` that says what a download would do, and what it returns."""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._call import run
from xet_ffi._dataclass import dataclass
from xet_ffi._downloading import download_options
from xet_ffi._lib import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from typing_extensions import Unpack

    from xet_ffi._lib import CData
    from xet_ffi._progress import Cancel
    from xet_ffi._structs import Deadlines
    from xet_ffi.client import Client

_PLAN = ("XetPlan", lib.xet_plan_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """Where the bytes of a file would come from. Immutable.

    Attributes:
        path: Relative to the repo, with "/".
        bytes_total: Content of the file; the others add up to it.
        bytes_present: At their place already, or left there by a download that was interrupted.
        bytes_reusable: In other files on this machine.
        bytes_remote: To be fetched; on the network they may be fewer, being compressed.
    """

    path: str
    bytes_total: int
    bytes_present: int
    bytes_reusable: int
    bytes_remote: int

    @classmethod
    def from_native(cls, file: CData) -> PlannedFile:
        """Copies a `const XetPlannedFile *`."""
        return cls(**_layout.planned_file(file))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a download would do. Immutable.

    Attributes:
        files: Each file, in the order of the listing.
        bytes_total: Content of those files; the next three add up to it.
        bytes_present: At their place already, or left there by a download that was interrupted.
        bytes_reusable: In other files on this machine.
        bytes_remote: To be fetched.
        disk_need: How much it would take on the disk.
        disk_free: How much is free where it would be written; None if the system doesn't say.
        commit: The commit that the revision stands for.
        requests: Requests for files that it needs: one for each that comes over plain HTTP.
        windows: How many windows of the Hub's rate limit those need, the present one included: with
            2, the download has to wait once. 0 if the Hub hasn't said how many requests it takes.
    """

    files: tuple[PlannedFile, ...]
    bytes_total: int
    bytes_present: int
    bytes_reusable: int
    bytes_remote: int
    disk_need: int
    disk_free: int | None
    commit: str
    requests: int
    windows: int

    @property
    def fits(self) -> bool:
        """Whether there is room for it, as far as is known."""
        return self.disk_free is None or self.disk_need <= self.disk_free

    @classmethod
    def from_native(cls, plan: CData) -> Plan:
        """Copies a `const XetPlan *`."""
        return cls(
            files=tuple(PlannedFile.from_native(plan.files[i]) for i in range(plan.count)),
            **_layout.plan(plan),
        )


def plan_snapshot(
    self: Client,
    repo_id: str,
    *,
    repo_type: str | None = None,
    revision: str | None = None,
    local_dir: str | PathLike[str] | None = None,
    allow_patterns: Iterable[str] | str | None = None,
    ignore_patterns: Iterable[str] | str | None = None,
    force_download: bool = False,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    **deadlines: Unpack[Deadlines],
) -> Plan:
    """Finds out what `download_snapshot` would do, and changes nothing.

    It asks the Hub, and fetches and hashes no content. The arguments are those of
    `download_snapshot`; with `force_download`, the plan is made as if nothing were here.

    >>> plan = client.plan_snapshot("alice/model", allow_patterns="*.safetensors")
    >>> plan.bytes_present, plan.bytes_remote, plan.fits
    (0, 300000, True)
    """
    options = download_options(
        repo_id,
        repo_type,
        revision,
        local_dir,
        timeout,
        local_files_only=False,
        force_download=force_download,
    )
    options.texts("allow_patterns", allow_patterns)
    options.texts("ignore_patterns", ignore_patterns)
    options.deadlines(deadlines)
    return Plan.from_native(
        run(lib.xet_client_plan, self._handle, options.pointer, _PLAN, cancel=cancel)
    )
