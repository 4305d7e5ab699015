//! How long nothing has moved.

use std::time::{Duration, Instant};

/// How many times later than it should be a look may be, on a machine that is busy.
const LATE: u32 = 10;

/// Counted by somebody who looks every so often. What lies between two looks counts for so long at most: a
/// process that was stopped, or a machine that slept, says nothing about a server.
#[derive(Debug)]
pub(crate) struct Stillness {
    step: Duration,
    looked: Instant,
    length: Duration,
}

impl Stillness {
    /// For looks that are `step` apart.
    pub(crate) fn new(step: Duration) -> Self {
        Self { step, looked: Instant::now(), length: Duration::ZERO }
    }

    /// One more look: whether anything has moved since the last one, or was no one's to move. How long it has
    /// been still.
    pub(crate) fn look(&mut self, has_moved: bool) -> Duration {
        let now = Instant::now();
        let passed = now.duration_since(self.looked).min(self.step * LATE);
        self.length = if has_moved { Duration::ZERO } else { self.length + passed };
        self.looked = now;
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What doesn't move is still for as long as somebody looks, and what moves begins anew.
    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let step = Duration::from_millis(100);
        let mut stillness = Stillness::new(step);
        let hour = Duration::from_hours(1);
        for looks in 1..4 {
            stillness.looked = stillness.looked.checked_sub(hour).unwrap();
            assert_eq!(stillness.look(false), step * LATE * looks);
        }
        assert_eq!(stillness.look(true), Duration::ZERO);
        assert!(stillness.look(false) <= step * LATE);
    }
}
