"""What a download would do."""

from __future__ import annotations

from xet_ffi import _layout
from xet_ffi._record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xet_ffi._lib import CData


class PlannedFile(Record):
    """Where the bytes of a file would come from. Immutable.

    Attributes:
        path: Relative to the repo, with "/".
        bytes_total: Content of the file; the others add up to it.
        bytes_present: At their place already, or left there by a download that was interrupted.
        bytes_reusable: In other files on this machine.
        bytes_remote: To be fetched; on the network they may be fewer, being compressed.
    """

    __slots__ = ("path", "bytes_total", "bytes_present", "bytes_reusable", "bytes_remote")

    path: str
    bytes_total: int
    bytes_present: int
    bytes_reusable: int
    bytes_remote: int

    @classmethod
    def from_native(cls, file: CData) -> PlannedFile:
        """Copies a `const XetPlannedFile *`."""
        return cls(**_layout.planned_file(file))


class Plan(Record):
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
    """

    __slots__ = (
        "files",
        "bytes_total",
        "bytes_present",
        "bytes_reusable",
        "bytes_remote",
        "disk_need",
        "disk_free",
        "commit",
    )

    files: tuple[PlannedFile, ...]
    bytes_total: int
    bytes_present: int
    bytes_reusable: int
    bytes_remote: int
    disk_need: int
    disk_free: int | None
    commit: str

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
