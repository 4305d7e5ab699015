//! Work that is due now and then, whoever comes by.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says when it's time for something again.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it's time: `pause` after it was last, at the earliest.
    pub(crate) fn is_due(&self, pause: Duration) -> bool {
        // Each change leaves it whole.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= pause);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It's due at once, and then not before the pause is over.
    #[test]
    fn once_in_a_while() {
        let seldom = Seldom::default();
        let hour = Duration::from_hours(1);
        assert!(seldom.is_due(hour) && !seldom.is_due(hour));
        assert!(seldom.is_due(Duration::ZERO));
    }
}
