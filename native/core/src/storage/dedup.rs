//! What an upload had to send, in `hf_xet`'s terms.

use std::ops::AddAssign;

use xet_data::deduplication::DeduplicationMetrics;

/// Figures of one upload, or of all of a group. For each see `XetDedupStats` in `xet.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in xet.h")]
pub struct DedupStats {
    pub total_bytes: u64,
    pub deduped_bytes: u64,
    pub new_bytes: u64,
    pub deduped_bytes_by_global_dedup: u64,
    pub defrag_prevented_dedup_bytes: u64,
    pub total_chunks: u64,
    pub deduped_chunks: u64,
    pub new_chunks: u64,
    pub deduped_chunks_by_global_dedup: u64,
    pub defrag_prevented_dedup_chunks: u64,
    pub xorb_bytes_uploaded: u64,
    pub shard_bytes_uploaded: u64,
}

impl From<DeduplicationMetrics> for DedupStats {
    fn from(metrics: DeduplicationMetrics) -> Self {
        Self {
            total_bytes: metrics.total_bytes,
            deduped_bytes: metrics.deduped_bytes,
            new_bytes: metrics.new_bytes,
            deduped_bytes_by_global_dedup: metrics.deduped_bytes_by_global_dedup,
            defrag_prevented_dedup_bytes: metrics.defrag_prevented_dedup_bytes,
            total_chunks: metrics.total_chunks,
            deduped_chunks: metrics.deduped_chunks,
            new_chunks: metrics.new_chunks,
            deduped_chunks_by_global_dedup: metrics.deduped_chunks_by_global_dedup,
            defrag_prevented_dedup_chunks: metrics.defrag_prevented_dedup_chunks,
            xorb_bytes_uploaded: metrics.xorb_bytes_uploaded,
            shard_bytes_uploaded: metrics.shard_bytes_uploaded,
        }
    }
}

impl AddAssign<&Self> for DedupStats {
    fn add_assign(&mut self, other: &Self) {
        self.total_bytes += other.total_bytes;
        self.deduped_bytes += other.deduped_bytes;
        self.new_bytes += other.new_bytes;
        self.deduped_bytes_by_global_dedup += other.deduped_bytes_by_global_dedup;
        self.defrag_prevented_dedup_bytes += other.defrag_prevented_dedup_bytes;
        self.total_chunks += other.total_chunks;
        self.deduped_chunks += other.deduped_chunks;
        self.new_chunks += other.new_chunks;
        self.deduped_chunks_by_global_dedup += other.deduped_chunks_by_global_dedup;
        self.defrag_prevented_dedup_chunks += other.defrag_prevented_dedup_chunks;
        self.xorb_bytes_uploaded += other.xorb_bytes_uploaded;
        self.shard_bytes_uploaded += other.shard_bytes_uploaded;
    }
}
