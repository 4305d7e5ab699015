"""Names of numbers, and the fields of reports.

Written by build_faces.py from tests/abi/layout.json: change those, and run `make faces`.
"""

from __future__ import annotations

from xet_ffi._strings import optional_text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from xet_ffi._lib import CData

_UINT64_MAX = 2**64 - 1

PHASES = {
    0: "scanning",
    1: "downloading",
    2: "finalizing",
    3: "hashing",
    4: "uploading",
    5: "committing",
}
"""The names of XET_PROGRESS_PHASE_*."""

TRANSPORTS = {
    1: "auto",
    2: "xet",
    3: "http",
}
"""The names of XET_TRANSPORT_*."""

FILE_KINDS = {
    0: "git",
    1: "lfs",
    2: "xet",
}
"""The names of XET_FILE_KIND_*."""

WAYS = {
    0: "local",
    1: "xet",
    2: "http",
    3: "xet+http",
    4: "shared",
}
"""The names of XET_WAY_*."""

HASH_KINDS = {
    0: "none",
    1: "git_blob",
    2: "sha256",
    3: "xet",
}
"""The names of XET_HASH_*."""

TASK_STATES = {
    0: "running",
    1: "finalizing",
    2: "done",
    3: "failed",
    4: "cancelled",
}
"""The names of XET_TASK_*."""

PROOFS = {
    0: "none",
    1: "merkle",
    2: "cache",
}
"""The names of XET_PROOF_*."""


def progress(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetProgress *`, but its arrays."""
    return {
        "phase": PHASES.get(native.phase, "unknown"),
        "bytes_total": native.bytes_total,
        "bytes_completed": native.bytes_completed,
        "bytes_network": native.bytes_network,
        "bytes_reused": native.bytes_reused,
        "files_total": native.files_total,
        "files_completed": native.files_completed,
        "file": optional_text(native.file),
        "file_bytes_completed": native.file_bytes_completed,
        "file_bytes_total": native.file_bytes_total,
        "rate_limited_seconds": native.rate_limited_seconds,
    }


def client_info(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetClientInfo *`, but its arrays."""
    return {
        "anonymous": bool(native.flags & 1),
        "offline": bool(native.flags & 2),
        "endpoint": text(native.endpoint),
        "cache_dir": text(native.cache_dir),
        "xet_cache_dir": text(native.xet_cache_dir),
        "token_source": text(native.token_source),
        "transport": TRANSPORTS.get(native.transport, "unknown"),
        "max_concurrent_downloads": native.max_concurrent_downloads,
    }


def file_info(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetEntry *`, but its arrays."""
    return {
        "kind": FILE_KINDS.get(native.kind, "unknown"),
        "size": native.size,
        "path": text(native.path),
        "hash": text(native.oid),
        "sha256": optional_text(native.sha256),
        "xet_hash": optional_text(native.xet_hash),
    }


def listing(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetEntryList *`, but its arrays."""
    return {
        "commit": text(native.commit),
    }


def file_transfer(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetFileTransfer *`, but its arrays."""
    return {
        "way": WAYS.get(native.way, "unknown"),
        "path": text(native.path),
        "bytes_total": native.bytes_total,
        "bytes_network": native.bytes_network,
        "bytes_reused": native.bytes_reused,
        "retries": native.retries,
        "fallbacks": native.fallbacks,
        "local_path": text(native.local_path),
        "hash": optional_text(native.hash),
        "hash_kind": HASH_KINDS.get(native.hash_kind, "unknown"),
        "verified": bool(native.verified),
        "bytes_shared": native.bytes_shared,
    }


def transfer(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetTransfer *`, but its arrays."""
    return {
        "files": native.files,
        "path": text(native.path),
        "commit": text(native.commit),
        "bytes_total": native.bytes_total,
        "bytes_network": native.bytes_network,
        "bytes_reused": native.bytes_reused,
        "retries": native.retries,
        "fallbacks": native.fallbacks,
        "seconds": native.seconds,
        "stalls": native.stalls,
        "refreshes": native.refreshes,
        "refetches": native.refetches,
        "sources_dropped": native.sources_dropped,
        "bytes_shared": native.bytes_shared,
        "tier_errors": native.tier_errors,
    }


def planned_file(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetPlannedFile *`, but its arrays."""
    return {
        "path": text(native.path),
        "bytes_total": native.bytes_total,
        "bytes_present": native.bytes_present,
        "bytes_reusable": native.bytes_reusable,
        "bytes_remote": native.bytes_remote,
    }


def plan(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetPlan *`, but its arrays."""
    return {
        "commit": text(native.commit),
        "bytes_total": native.bytes_total,
        "bytes_present": native.bytes_present,
        "bytes_reusable": native.bytes_reusable,
        "bytes_remote": native.bytes_remote,
        "disk_need": native.disk_need,
        "disk_free": None if native.disk_free == _UINT64_MAX else native.disk_free,
        "requests": native.requests,
        "windows": native.windows,
    }


def cache_usage(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetCacheUsage *`, but its arrays."""
    return {
        "repos": native.repos,
        "revisions": native.revisions,
        "files": native.files,
        "bytes": native.bytes,
        "bytes_unreferenced": native.bytes_unreferenced,
        "bytes_partial": native.bytes_partial,
        "index_bytes": native.index_bytes,
        "indexed_files": native.indexed_files,
        "indexed_bytes": native.indexed_bytes,
        "read_bytes": native.read_bytes,
    }


def cache_item(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetCacheItem *`, but its arrays."""
    return {
        "path": text(native.path),
        "reason": text(native.reason),
        "bytes": native.bytes,
    }


def cache_report(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetCacheReport *`, but its arrays."""
    return {
        "files": native.files,
        "bytes": native.bytes,
    }


def commit(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetCommitReport *`, but its arrays."""
    return {
        "commits": native.commits,
        "oid": text(native.commit),
        "commit_url": text(native.commit_url),
        "pr_url": optional_text(native.pull_request_url),
        "files": native.files,
        "files_changed": native.files_changed,
        "bytes_total": native.bytes_total,
        "bytes_new": native.bytes_new,
        "bytes_on_hub": native.bytes_on_hub,
        "bytes_repeated": native.bytes_repeated,
        "bytes_sent": native.bytes_sent,
        "xorbs": native.xorbs,
        "retries": native.retries,
        "seconds": native.seconds,
        "files_left_out": native.files_left_out,
        "dedup_asked": native.dedup_asked,
        "dedup_answered": native.dedup_answered,
        "dedup_failed": native.dedup_failed,
    }


def dedup_stats(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetDedupStats *`, but its arrays."""
    return {
        "total_bytes": native.total_bytes,
        "deduped_bytes": native.deduped_bytes,
        "new_bytes": native.new_bytes,
        "deduped_bytes_by_global_dedup": native.deduped_bytes_by_global_dedup,
        "defrag_prevented_dedup_bytes": native.defrag_prevented_dedup_bytes,
        "total_chunks": native.total_chunks,
        "deduped_chunks": native.deduped_chunks,
        "new_chunks": native.new_chunks,
        "deduped_chunks_by_global_dedup": native.deduped_chunks_by_global_dedup,
        "defrag_prevented_dedup_chunks": native.defrag_prevented_dedup_chunks,
        "xorb_bytes_uploaded": native.xorb_bytes_uploaded,
        "shard_bytes_uploaded": native.shard_bytes_uploaded,
    }


def shard_stats(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetShardStats *`, but its arrays."""
    return {
        "total_shard_bytes": native.total_shard_bytes,
        "total_shard_bytes_upload_completed": native.total_shard_bytes_upload_completed,
        "total_shards": native.total_shards,
        "total_shard_validation_entries": native.total_shard_validation_entries,
        "total_shard_validation_entries_completed": native.total_shard_validation_entries_completed,
        "total_shards_uploaded_to_store": native.total_shards_uploaded_to_store,
        "total_shards_synced": native.total_shards_synced,
        "total_shards_completed": native.total_shards_completed,
    }


def group_task(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetGroupTask *`, but its arrays."""
    return {
        "state": TASK_STATES.get(native.state, "unknown"),
        "task": native.task,
        "name": text(native.name),
        "hash": optional_text(native.hash),
        "sha256": optional_text(native.sha256),
        "bytes_total": native.bytes_total,
        "bytes_completed": native.bytes_completed,
        "bytes_network": native.bytes_network,
        "bytes_reused": native.bytes_reused,
    }


def group_report(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetGroupReport *`, but its arrays."""
    return {
        "state": TASK_STATES.get(native.state, "unknown"),
        "bytes_total": native.bytes_total,
        "bytes_completed": native.bytes_completed,
        "bytes_network": native.bytes_network,
        "bytes_reused": native.bytes_reused,
        "retries": native.retries,
        "stalls": native.stalls,
        "refreshes": native.refreshes,
        "refetches": native.refetches,
        "sources_dropped": native.sources_dropped,
        "failed": native.failed,
        "seconds": native.seconds,
    }


def content(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetContent *`, but its arrays."""
    return {
        "hash": text(native.hash),
        "size": native.size,
    }


def file_report(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetFileReport *`, but its arrays."""
    return {
        "kind": FILE_KINDS.get(native.kind, "unknown"),
        "size": native.size,
        "path": text(native.path),
        "commit": text(native.commit),
        "etag": text(native.etag),
        "xet_hash": optional_text(native.xet_hash),
        "proof": PROOFS.get(native.proof, "unknown"),
        "reads": native.reads,
        "bytes_read": native.bytes_read,
        "bytes_network": native.bytes_network,
        "bytes_proof": native.bytes_proof,
        "bytes_reused": native.bytes_reused,
        "retries": native.retries,
        "stalls": native.stalls,
    }


def repo_url(native: CData) -> dict[str, Any]:
    """Copies the fields of a `const XetRepoReport *`, but its arrays."""
    return {
        "repo_id": text(native.repo_id),
        "url": text(native.url),
    }
