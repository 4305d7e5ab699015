//! How a group is, as the caller is told.

use std::ffi::c_char;
use std::ptr::null;

use crate::errors::XetError;
use crate::list::{List, Texts};
use crate::progress::struct_size;
use crate::ptr::{self, Given};
use xet_ffi_core::storage::{DedupStats, GroupReport, ShardStats, TaskReport};

c_struct! {
    struct XetDedupStats {
        struct_size: u32,
        total_bytes: u64,
        deduped_bytes: u64,
        new_bytes: u64,
        deduped_bytes_by_global_dedup: u64,
        defrag_prevented_dedup_bytes: u64,
        total_chunks: u64,
        deduped_chunks: u64,
        new_chunks: u64,
        deduped_chunks_by_global_dedup: u64,
        defrag_prevented_dedup_chunks: u64,
        xorb_bytes_uploaded: u64,
        shard_bytes_uploaded: u64,
    }
}

c_struct! {
    struct XetShardStats {
        struct_size: u32,
        total_shard_bytes: u64,
        total_shard_bytes_upload_completed: u64,
        total_shards: u64,
        total_shard_validation_entries: u64,
        total_shard_validation_entries_completed: u64,
        total_shards_uploaded_to_store: u64,
        total_shards_synced: u64,
        total_shards_completed: u64,
    }
}

c_struct! {
    struct XetGroupTask {
        struct_size: u32,
        state: u32,
        task: u64,
        name: *const c_char,
        hash: *const c_char,
        sha256: *const c_char,
        bytes_total: u64,
        bytes_completed: u64,
        bytes_network: u64,
        bytes_reused: u64,
        error: *const XetError,
        dedup: *const XetDedupStats,
    }
}

c_struct! {
    struct XetGroupReport {
        struct_size: u32,
        state: u32,
        bytes_total: u64,
        bytes_completed: u64,
        bytes_network: u64,
        bytes_reused: u64,
        retries: u32,
        stalls: u32,
        refreshes: u32,
        refetches: u32,
        sources_dropped: u32,
        failed: u32,
        seconds: f64,
        tasks: *const *const XetGroupTask,
        tasks_len: usize,
        dedup: *const XetDedupStats,
        shards: *const XetShardStats,
    }
}

/// What a report points at.
pub(crate) struct Parts {
    _tasks: List<XetGroupTask>,
    _texts: Texts,
    #[expect(clippy::vec_box, reason = "tasks point at them while more are added")]
    _dedup: Vec<Box<XetDedupStats>>,
    _shards: Option<Box<XetShardStats>>,
    /// Each is owed an `xet_free_error`.
    errors: Vec<*mut XetError>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        for error in std::mem::take(&mut self.errors) {
            // SAFETY: `XetError::of` made it, and it's released here alone.
            unsafe { ptr::take(error) }
        }
    }
}

impl Given for XetGroupReport {
    type Storage = Parts;
}

impl XetGroupReport {
    /// Gives the report to the caller, who owes an [`xet_group_report_free`].
    pub(crate) fn of(report: &GroupReport) -> *mut Self {
        let (mut texts, mut errors, mut all_dedup) = (Texts::default(), Vec::new(), Vec::new());
        let mut dedup = |stats: Option<&DedupStats>| {
            let Some(stats) = stats else { return null() };
            let stats = Box::new(XetDedupStats::new(stats));
            let pointer = std::ptr::from_ref(&*stats);
            all_dedup.push(stats);
            pointer
        };
        let task = |task: &TaskReport| XetGroupTask {
            struct_size: struct_size::<XetGroupTask>(),
            state: task.state as u32,
            task: task.task,
            name: texts.keep(&task.name),
            hash: texts.keep_optional(task.hash.as_deref()),
            sha256: texts.keep_optional(task.sha256.as_deref()),
            bytes_total: task.bytes_total,
            bytes_completed: task.bytes_completed,
            bytes_network: task.bytes_network,
            bytes_reused: task.bytes_reused,
            error: task.error.as_ref().map_or(null(), |error| {
                let error = XetError::of(error);
                errors.push(error);
                error.cast_const()
            }),
            dedup: dedup(task.dedup.as_ref()),
        };
        let tasks: List<_> = report.tasks.iter().map(task).collect();
        let shards = report.shards.as_ref().map(|stats| Box::new(XetShardStats::new(stats)));
        let public = Self {
            struct_size: struct_size::<Self>(),
            state: report.state as u32,
            bytes_total: report.bytes_total,
            bytes_completed: report.bytes_completed,
            bytes_network: report.bytes_network,
            bytes_reused: report.bytes_reused,
            retries: report.retries,
            stalls: report.stalls,
            refreshes: report.refreshes,
            refetches: report.refetches,
            sources_dropped: report.sources_dropped,
            failed: report.failed,
            seconds: report.duration.as_secs_f64(),
            tasks: tasks.pointers(),
            tasks_len: tasks.len(),
            dedup: dedup(report.dedup.as_ref()),
            shards: shards.as_deref().map_or(null(), std::ptr::from_ref),
        };
        public.give(Parts {
            _tasks: tasks,
            _texts: texts,
            _dedup: all_dedup,
            _shards: shards,
            errors,
        })
    }
}

impl XetDedupStats {
    fn new(stats: &DedupStats) -> Self {
        Self {
            struct_size: struct_size::<Self>(),
            total_bytes: stats.total_bytes,
            deduped_bytes: stats.deduped_bytes,
            new_bytes: stats.new_bytes,
            deduped_bytes_by_global_dedup: stats.deduped_bytes_by_global_dedup,
            defrag_prevented_dedup_bytes: stats.defrag_prevented_dedup_bytes,
            total_chunks: stats.total_chunks,
            deduped_chunks: stats.deduped_chunks,
            new_chunks: stats.new_chunks,
            deduped_chunks_by_global_dedup: stats.deduped_chunks_by_global_dedup,
            defrag_prevented_dedup_chunks: stats.defrag_prevented_dedup_chunks,
            xorb_bytes_uploaded: stats.xorb_bytes_uploaded,
            shard_bytes_uploaded: stats.shard_bytes_uploaded,
        }
    }
}

impl XetShardStats {
    fn new(stats: &ShardStats) -> Self {
        Self {
            struct_size: struct_size::<Self>(),
            total_shard_bytes: stats.total_shard_bytes,
            total_shard_bytes_upload_completed: stats.total_shard_bytes_upload_completed,
            total_shards: stats.total_shards,
            total_shard_validation_entries: stats.total_shard_validation_entries,
            total_shard_validation_entries_completed: stats
                .total_shard_validation_entries_completed,
            total_shards_uploaded_to_store: stats.total_shards_uploaded_to_store,
            total_shards_synced: stats.total_shards_synced,
            total_shards_completed: stats.total_shards_completed,
        }
    }
}

release! {
    fn xet_group_report_free(report: XetGroupReport)
}
