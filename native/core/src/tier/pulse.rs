//! Whether a store is alive: it has answered somebody lately. One that is busy answers late, and not at once whom it's
//! asked by; one that is silent answers nobody.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer may take before there was any: connections are made meanwhile.
const FIRST: Duration = Duration::from_secs(1);

/// Later, while nobody else is answered.
const LATER: Duration = Duration::from_millis(200);

/// While others are.
const MOST: Duration = Duration::from_secs(1);

/// The last answer. For many at a time.
#[derive(Default)]
pub(super) struct Pulse(Mutex<Option<Instant>>);

/// One who waits for an answer.
pub(super) struct Waiting<'a> {
    pulse: &'a Pulse,
    /// How much longer it may take than one without a value.
    more: Duration,
    begun: Instant,
    looked: Instant,
}

impl Pulse {
    /// Somebody begins to wait.
    pub(super) fn wait(&self, more: Duration) -> Waiting<'_> {
        let now = Instant::now();
        Waiting { pulse: self, more, begun: now, looked: now }
    }

    /// Somebody was answered.
    pub(super) fn beat(&self) {
        *self.last() = Some(Instant::now());
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// How long to wait until the next look.
    pub(super) fn patience(&self) -> Duration {
        let patience = if self.pulse.last().is_some() { LATER } else { FIRST };
        patience + self.more
    }

    /// After that: whether to wait on. Somebody was answered meanwhile; or this machine has been too busy to see it, which
    /// shows in that it looks late.
    pub(super) fn goes_on(&mut self) -> bool {
        let (patience, now) = (self.patience(), Instant::now());
        let is_late = now - self.looked > patience * 2;
        let is_alive = self.pulse.last().is_some_and(|last| last > self.looked);
        self.looked = now;
        (is_late || is_alive) && now - self.begun < MOST + self.more
    }

    /// How long that has been.
    pub(super) fn so_far(&self) -> Duration {
        self.begun.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(time: Duration) -> Instant {
        Instant::now().checked_sub(time).unwrap()
    }

    /// Who isn't answered waits while others are, but not for ever.
    #[test]
    fn who_is_alive_is_waited_for() {
        let (pulse, none) = (Pulse::default(), Duration::ZERO);
        assert_eq!(pulse.wait(none).patience(), FIRST);
        pulse.beat();
        let mut waiting = Waiting { looked: ago(LATER), ..pulse.wait(none) };
        assert_eq!(waiting.patience(), LATER);
        pulse.beat();
        assert!(waiting.goes_on());
        *pulse.last() = Some(ago(LATER * 2));
        waiting.looked = ago(LATER);
        assert!(!waiting.goes_on());
        // A machine that was busy itself.
        waiting.looked = ago(LATER * 3);
        assert!(waiting.goes_on());
        pulse.beat();
        waiting.begun = ago(MOST);
        waiting.looked = ago(LATER);
        assert!(!waiting.goes_on());
    }
}
