//! The order in which those go that were held back: one after the other, ever faster, as they came; but whoever
//! was refused more often than others goes after them. Otherwise a request that is always refused would go
//! first each time, and be refused in the name of all. Where a good part is let through, they go at once: each
//! that waits for the one before it would be stopped by the next refusal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The turns from the end of one wait on.
#[derive(Debug)]
pub(super) struct Turns {
    /// Whose turn comes next, and how long after that the one behind it.
    next: Instant,
    step: Duration,
    /// The last turn of those of each rank.
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

    /// Has them begin anew at `first`, unless the next one comes later anyway: one by one, or all at once.
    pub(super) fn not_before(&mut self, first: Instant, one_by_one: bool) {
        if self.next < first {
            let step = if one_by_one { FIRST_STEP } else { Duration::ZERO };
            *self = Self { step, ..Self::from(first) };
        }
    }

    /// The next one, for a request that was refused so many times.
    pub(super) fn take(&mut self, refusals: u32) -> Instant {
        let turn = self.next;
        self.next += self.step;
        self.step = self.step.mul_f64(NEXT_STEP);
        self.last.insert(rank(refusals), turn);
        turn
    }

    /// Whether some of those that were refused less often have yet to go.
    pub(super) fn is_for_others(&self, refusals: u32, now: Instant) -> bool {
        self.last.range(..rank(refusals)).any(|(_, &turn)| now < turn)
    }
}

/// Those that were refused so many times go behind others. A few times more or less are no difference: who is refused
/// as often as all may be the first that isn't any more.
fn rank(refusals: u32) -> u32 {
    const A_FEW: u32 = 3;
    refusals.div_ceil(A_FEW)
}
