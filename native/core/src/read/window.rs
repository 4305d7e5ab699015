//! What a file keeps in memory of what was read, and of what is read ahead.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::gathered::{Chunk, Chunks};
use crate::cas::chunks::Proofs;

/// Chunks, or pieces, of a file, the least recently used of which go when there are too many bytes of them. For many
/// threads.
pub(super) struct Window {
    /// The most bytes to keep.
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: BTreeMap<u64, (Chunk, u64)>,
    /// By when they were used last.
    used: BTreeMap<u64, u64>,
    bytes: u64,
    clock: u64,
}

impl Window {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Keeps chunks.
    pub(super) fn add(&self, chunks: &Chunks) {
        let mut state = self.state();
        for (&at, chunk) in chunks {
            state.remove(at);
            state.bytes += chunk.content.len() as u64;
            state.clock += 1;
            let clock = state.clock;
            state.used.insert(clock, at);
            state.chunks.insert(at, (chunk.clone(), clock));
        }
        while state.bytes > self.limit
            && let Some((_, at)) = state.used.pop_first()
        {
            state.remove(at);
        }
    }

    /// The chunks that it has of a range, in order.
    pub(super) fn of(&self, range: &Range<u64>) -> Chunks {
        let mut state = self.state();
        let first = state.chunks.range(..=range.start).next_back().map_or(range.start, |(&at, _)| at);
        let found: Chunks = state
            .chunks
            .range(first..range.end)
            .filter(|(at, (chunk, _))| **at + chunk.content.len() as u64 > range.start)
            .map(|(&at, (chunk, _))| (at, chunk.clone()))
            .collect();
        for &at in found.keys() {
            state.touch(at);
        }
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, at: u64) {
        if let Some((chunk, clock)) = self.chunks.remove(&at) {
            self.bytes -= chunk.content.len() as u64;
            self.used.remove(&clock);
        }
    }

    fn touch(&mut self, at: u64) {
        self.clock += 1;
        let clock = self.clock;
        if let Some((_, used)) = self.chunks.get_mut(&at) {
            self.used.remove(used);
            self.used.insert(clock, at);
            *used = clock;
        }
    }
}

/// What of `range` isn't in `chunks`, in order.
pub(super) fn gaps(chunks: &Chunks, range: &Range<u64>) -> Vec<Range<u64>> {
    let mut at = range.start;
    let mut gaps = Vec::new();
    let before = chunks.range(..=at).next_back().map_or(at, |(&first, _)| first);
    for (&start, chunk) in chunks.range(before..range.end.max(before)) {
        if start > at {
            gaps.push(at..start);
        }
        at = at.max(start + chunk.content.len() as u64);
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    gaps
}

/// The chunks that aren't proven to be the file's.
pub(super) fn unproven(chunks: &Chunks, proofs: &Proofs) -> Vec<u64> {
    let is_proven = |at: u64, chunk: &Chunk| {
        proofs.has(at, chunk.content.len() as u64, &chunk.hash) == Some(true)
    };
    chunks.iter().filter(|(at, chunk)| !is_proven(**at, chunk)).map(|(&at, _)| at).collect()
}
