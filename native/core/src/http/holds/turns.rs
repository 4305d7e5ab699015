//! The order in which those go that were held back: one after the other, ever faster, as they came; but whoever
//! was refused more often than others goes after them. Otherwise a request that is always refused would go
//! first each time, and be refused in the name of all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The turns from the end of one wait on.
#[derive(Debug)]
pub(super) struct Turns {
    /// Whose turn comes next, and how long after that the one behind it.
    next: Instant,
    step: Duration,
    /// The last turn of those that had been refused so many times.
    last: BTreeMap<u32, Instant>,
}

/// Between the first two.
pub(super) const FIRST_STEP: Duration = Duration::from_millis(100);
/// What each step is of the one before it. The steps of however many add up to two seconds.
const NEXT_STEP: f64 = 0.95;

impl Turns {
    pub(super) fn from(first: Instant) -> Self {
        Self { next: first, step: FIRST_STEP, last: BTreeMap::new() }
    }

    /// Has them begin anew at `first`, unless the next one comes later anyway.
    pub(super) fn not_before(&mut self, first: Instant) {
        if self.next < first {
            *self = Self::from(first);
        }
    }

    /// The next one, for a request that was refused so many times.
    pub(super) fn take(&mut self, refusals: u32) -> Instant {
        let turn = self.next;
        self.next += self.step;
        self.step = self.step.mul_f64(NEXT_STEP);
        self.last.insert(refusals, turn);
        turn
    }

    /// Whether some of those that were refused less often have yet to go.
    pub(super) fn is_for_others(&self, refusals: u32, now: Instant) -> bool {
        self.last.range(..refusals).any(|(_, &turn)| now < turn)
    }
}
