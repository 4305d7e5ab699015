//! How far storage is with the shards of an upload: what it was sent of them, and what it says of them since.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of all shards that were begun. For each see `XetShardStats` in `xet.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in xet.h")]
pub struct ShardStats {
    pub total_shard_bytes: u64,
    pub total_shard_bytes_upload_completed: u64,
    pub total_shards: u64,
    pub total_shard_validation_entries: u64,
    pub total_shard_validation_entries_completed: u64,
    pub total_shards_uploaded_to_store: u64,
    pub total_shards_synced: u64,
    pub total_shards_completed: u64,
}

/// What became of a call's shards. Nothing in it counts down.
#[derive(Debug, Default)]
pub(crate) struct ShardCounters(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    stats: ShardStats,
    /// Those that were given up. What counts for them counts for others that come in their stead.
    given_up: Vec<Seen>,
}

/// The farthest that a shard was seen at.
#[derive(Debug, Default)]
struct Seen {
    bytes: u64,
    sent: u64,
    entries: u64,
    verified: u64,
    is_stored: bool,
    is_done: bool,
}

/// A shard on its way.
#[derive(Debug)]
pub(crate) struct ShardProgress<'a> {
    counters: &'a ShardCounters,
    seen: Mutex<Seen>,
}

impl ShardCounters {
    /// A shard of so many bytes is to be registered.
    pub(crate) fn begin(&self, bytes: u64) -> ShardProgress<'_> {
        let mut counted = self.counted();
        let mut seen = counted.given_up.pop().unwrap_or_else(|| {
            counted.stats.total_shards += 1;
            Seen::default()
        });
        grow(&mut seen.bytes, bytes, &mut counted.stats.total_shard_bytes);
        drop(counted);
        ShardProgress { counters: self, seen: Mutex::new(seen) }
    }

    /// How far they are.
    pub(crate) fn stats(&self) -> ShardStats {
        self.counted().stats
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        lock(&self.0)
    }
}

impl ShardProgress<'_> {
    /// All of it was sent.
    pub(crate) fn sent(&self) {
        self.see(|seen, stats| {
            let all = seen.bytes;
            grow(&mut seen.sent, all, &mut stats.total_shard_bytes_upload_completed);
        });
    }

    /// Storage has checked `verified` entries of the `total` that it knows of.
    pub(crate) fn validating(&self, verified: u64, total: u64) {
        self.see(|seen, stats| {
            grow(&mut seen.entries, total, &mut stats.total_shard_validation_entries);
            let completed = &mut stats.total_shard_validation_entries_completed;
            grow(&mut seen.verified, verified, completed);
        });
    }

    /// Storage has checked it.
    pub(crate) fn validated(&self) {
        self.see(validated);
    }

    /// Storage has it, and is making that last.
    pub(crate) fn stored(&self) {
        self.see(stored);
    }

    /// It is registered.
    pub(crate) fn done(&self) {
        self.sent();
        self.see(|seen, stats| {
            stored(seen, stats);
            if !std::mem::replace(&mut seen.is_done, true) {
                stats.total_shards_synced += 1;
                stats.total_shards_completed += 1;
            }
        });
    }

    fn see(&self, what: impl FnOnce(&mut Seen, &mut ShardStats)) {
        what(&mut lock(&self.seen), &mut self.counters.counted().stats);
    }
}

impl Drop for ShardProgress<'_> {
    fn drop(&mut self) {
        let seen = std::mem::take(&mut *lock(&self.seen));
        if !seen.is_done {
            self.counters.counted().given_up.push(seen);
        }
    }
}

fn validated(seen: &mut Seen, stats: &mut ShardStats) {
    let all = seen.entries;
    grow(&mut seen.verified, all, &mut stats.total_shard_validation_entries_completed);
}

/// What is stored was checked, whether that was said or not.
fn stored(seen: &mut Seen, stats: &mut ShardStats) {
    validated(seen, stats);
    if !std::mem::replace(&mut seen.is_stored, true) {
        stats.total_shards_uploaded_to_store += 1;
    }
}

/// Raises `seen` to `now`, and `total` as much.
fn grow(seen: &mut u64, now: u64, total: &mut u64) {
    *total += now.saturating_sub(*seen);
    *seen = now.max(*seen);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames may be left out, come twice, and begin again with another attempt: none counts twice, none down.
    #[test]
    fn a_shard_counts_once_however_it_is_told_of() {
        let counters = ShardCounters::default();
        let one = counters.begin(10);
        one.sent();
        one.validating(2, 4);
        one.validating(1, 4);
        one.sent();
        one.stored();
        one.validating(4, 4);
        let stats = ShardStats {
            total_shard_bytes: 10,
            total_shard_bytes_upload_completed: 10,
            total_shards: 1,
            total_shard_validation_entries: 4,
            total_shard_validation_entries_completed: 4,
            total_shards_uploaded_to_store: 1,
            ..ShardStats::default()
        };
        assert_eq!(counters.stats(), stats);
        one.done();
        one.done();
        let stats = ShardStats { total_shards_synced: 1, total_shards_completed: 1, ..stats };
        assert_eq!(counters.stats(), stats);
    }

    /// One that is made again, as storage has refused the first, takes its place.
    #[test]
    fn a_shard_that_was_given_up_is_replaced() {
        let counters = ShardCounters::default();
        let first = counters.begin(10);
        first.validating(1, 4);
        drop(first);
        let second = counters.begin(12);
        assert_eq!(counters.stats().total_shard_bytes, 12);
        second.done();
        drop(second);
        let stats = counters.stats();
        assert_eq!((stats.total_shards, stats.total_shards_completed), (1, 1));
        assert_eq!(stats.total_shard_validation_entries_completed, 4);
        counters.begin(5);
        assert_eq!(counters.stats().total_shards, 2);
    }
}
