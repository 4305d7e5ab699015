"""hf_xet's whole surface on libxet: what huggingface_hub moves large files with.

    XET_FFI_HF_XET=1 hf download org/name      # or: xet-ffi run -- hf download org/name

With that variable, `import hf_xet` means this module in this Python and in those that it starts,
whether or not the official package is installed; see `install` for programs that decide by
themselves. Names, arguments, results and errors are those of hf_xet 1.8.0. What is better stands
underneath: content is verified by its hash before it gets its name, nothing waits for ever, and
what is on this machine isn't fetched again. No telemetry is sent.
"""

from __future__ import annotations

from xet_ffi.hf_xet._config import PyXetConfigIter, XetConfig
from xet_ffi.hf_xet._downloads import XetFileDownload, XetFileDownloadGroup
from xet_ffi.hf_xet._errors import XetAuthenticationError, XetObjectNotFoundError
from xet_ffi.hf_xet._ids import UniqueId, XetTaskState
from xet_ffi.hf_xet._legacy import (
    download_files,
    force_sigint_shutdown,
    hash_files,
    upload_bytes,
    upload_files,
)
from xet_ffi.hf_xet._legacy_types import (
    PyItemProgressUpdate,
    PyPointerFile,
    PyTotalProgressUpdate,
    PyXetDownloadInfo,
    PyXetUploadInfo,
)
from xet_ffi.hf_xet._records import (
    DeduplicationMetrics,
    GroupProgressReport,
    ItemProgressReport,
    ShardUploadProgressReport,
    XetCommitReport,
    XetDownloadGroupReport,
    XetDownloadReport,
    XetFileInfo,
    XetFileMetadata,
)
from xet_ffi.hf_xet._session import XetSession
from xet_ffi.hf_xet._streams import (
    XetDownloadStream,
    XetDownloadStreamGroup,
    XetUnorderedDownloadStream,
)
from xet_ffi.hf_xet._uploads import (
    COMPUTE_SHA256,
    SKIP_SHA256,
    XetFileUpload,
    XetStreamUpload,
    XetUploadCommit,
    _ComputeSha256Type,
    _SkipSha256Type,
)

__version__ = "1.8.0"
"""The version of hf_xet whose surface this is."""

# As hf_xet has it: `install` is ours.
__all__ = [
    "COMPUTE_SHA256",
    "SKIP_SHA256",
    "DeduplicationMetrics",
    "GroupProgressReport",
    "ItemProgressReport",
    "PyItemProgressUpdate",
    "PyPointerFile",
    "PyTotalProgressUpdate",
    "PyXetConfigIter",
    "PyXetDownloadInfo",
    "PyXetUploadInfo",
    "ShardUploadProgressReport",
    "UniqueId",
    "XetAuthenticationError",
    "XetCommitReport",
    "XetConfig",
    "XetDownloadGroupReport",
    "XetDownloadReport",
    "XetDownloadStream",
    "XetDownloadStreamGroup",
    "XetFileDownload",
    "XetFileDownloadGroup",
    "XetFileInfo",
    "XetFileMetadata",
    "XetFileUpload",
    "XetObjectNotFoundError",
    "XetSession",
    "XetStreamUpload",
    "XetTaskState",
    "XetUnorderedDownloadStream",
    "XetUploadCommit",
    "_ComputeSha256Type",
    "_SkipSha256Type",
    "download_files",
    "force_sigint_shutdown",
    "hash_files",
    "upload_bytes",
    "upload_files",
]


def install() -> None:
    """Makes `import hf_xet` mean this module, in this process and its forks.

    Call it before anything imports hf_xet; huggingface_hub does when it first moves a file. Python
    programs that this one starts need the variable XET_FFI_HF_XET=1 instead. Twice is fine.

    Raises:
        RuntimeError: The official hf_xet was imported before.
    """
    from _xet_ffi_switch import install as switch_on

    switch_on()


for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
del _name
