//! What a file keeps in memory of what was read, and of what is read ahead.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::gathered::{Chunk, Chunks};
use crate::cas::chunks::Proofs;

/// Chunks, or pieces, of a file, the least recently used of which go when there are too many bytes of them. For many
/// threads.
pub(super) struct Window(Mutex<State>);

#[derive(Default)]
struct State {
    /// The most bytes to keep.
    limit: u64,
    chunks: BTreeMap<u64, (Chunk, u64)>,
    /// By when they were used last.
    used: BTreeMap<u64, u64>,
    bytes: u64,
    clock: u64,
}

impl Window {
    pub(super) fn new(limit: u64) -> Self {
        Self(Mutex::new(State { limit, ..State::default() }))
    }

    /// From now on it keeps so many bytes.
    pub(super) fn resize(&self, limit: u64) {
        let mut state = self.state();
        state.limit = limit;
        state.make_room();
    }

    /// Keeps chunks.
    pub(super) fn add(&self, chunks: &Chunks) {
        let mut state = self.state();
        for (&at, chunk) in chunks {
            state.remove(at);
            state.bytes += weight(chunk);
            state.clock += 1;
            let clock = state.clock;
            state.used.insert(clock, at);
            state.chunks.insert(at, (chunk.clone(), clock));
        }
        state.make_room();
    }

    /// The chunks that it has of a range, in order.
    pub(super) fn of(&self, range: &Range<u64>) -> Chunks {
        let mut state = self.state();
        let first =
            state.chunks.range(..=range.start).next_back().map_or(range.start, |(&at, _)| at);
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

    /// The same, which it has no longer then.
    pub(super) fn take(&self, range: &Range<u64>) -> Chunks {
        let taken = self.of(range);
        let mut state = self.state();
        for &at in taken.keys() {
            state.remove(at);
        }
        taken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self) {
        while self.bytes > self.limit
            && let Some((_, at)) = self.used.pop_first()
        {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: u64) {
        if let Some((chunk, clock)) = self.chunks.remove(&at) {
            self.bytes -= weight(&chunk);
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

/// What a chunk takes of the memory, besides its content.
const BESIDES: u64 = 256;

/// What it takes with that: who cuts a file into the smallest chunks is to get no more memory than others.
fn weight(chunk: &Chunk) -> u64 {
    chunk.content.len() as u64 + BESIDES
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

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn chunks(from: u64, count: u64) -> Chunks {
        let chunk = |number: u64| {
            let content = Bytes::from(vec![number as u8; 10]);
            (number * 10, Chunk::unhashed(content))
        };
        (from..from + count).map(chunk).collect()
    }

    /// What is used stays; what isn't goes when there is too much, and nothing is counted twice.
    #[test]
    fn the_least_recently_used_go() {
        let window = Window::new(10 * (10 + BESIDES));
        window.add(&chunks(0, 10));
        window.add(&chunks(0, 10));
        assert_eq!(window.of(&(0..100)).len(), 10);
        assert_eq!(window.of(&(5..15)).len(), 2);
        window.add(&chunks(20, 8));
        let left: Vec<_> = window.of(&(0..100)).into_keys().collect();
        assert_eq!(left, [0, 10]);
        assert_eq!(window.of(&(200..280)).len(), 8);
        Window::new(5).add(&chunks(0, 10));
    }

    /// Gaps are what no chunk has.
    #[test]
    fn gaps_are_what_is_missing() {
        let mut some = chunks(1, 2);
        some.append(&mut chunks(5, 1));
        assert_eq!(gaps(&some, &(0..70)), [0..10, 30..50, 60..70]);
        assert_eq!(gaps(&some, &(15..25)), []);
        assert_eq!(gaps(&Chunks::new(), &(3..5)).first(), Some(&(3..5)));
    }
}
