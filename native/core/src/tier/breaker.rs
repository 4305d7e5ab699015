//! Whether it's worth asking a store: one that fails is left alone for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::store::Failure;

/// How long it's left alone at first: what refuses, and what is silent, as a busy one may be, too. It doubles with each
/// attempt that is in vain.
const REFUSING: Duration = Duration::from_secs(5);
const SILENT: Duration = Duration::from_millis(250);

/// The longest.
const LONGEST: Duration = Duration::from_mins(1);

/// Says whether it's worth it. For many at a time.
#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    /// Until when nobody asks, and how long that was.
    open: Option<(Instant, Duration)>,
    /// Somebody finds out how it is now.
    is_probed: bool,
}

impl Breaker {
    /// Whether to ask now. When it has been left alone for long enough, whoever asks here first is the one to find out
    /// how it is, and says so: the others go on without.
    pub(super) fn admits(&self) -> bool {
        let mut state = self.state();
        let Some((until, _)) = state.open else { return true };
        let is_due = !state.is_probed && Instant::now() >= until;
        state.is_probed |= is_due;
        is_due
    }

    /// Whether nobody asks now.
    pub(super) fn is_open(&self) -> bool {
        self.state().open.is_some_and(|(until, _)| Instant::now() < until)
    }

    /// It was answered. True: it had been left alone.
    pub(super) fn answered(&self) -> bool {
        std::mem::take(&mut *self.state()).open.is_some()
    }

    /// It failed. True: that is news.
    pub(super) fn failed(&self, failure: &Failure) -> bool {
        let mut state = self.state();
        let before = state.open.map(|(_, pause)| pause);
        // Those who had asked before it was known find out the same.
        if !state.is_probed && state.open.is_some_and(|(until, _)| Instant::now() < until) {
            return false;
        }
        let first = if failure.is_silence { SILENT } else { REFUSING };
        let pause = before.map_or(first, |pause| (pause * 2).min(LONGEST));
        state.open = Some((Instant::now() + pause, pause));
        state.is_probed = false;
        before.is_none()
    }

    /// Nothing came of an attempt, for reasons that say nothing of the store.
    pub(super) fn dropped(&self) {
        self.state().is_probed = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(breaker: &Breaker) {
        let mut state = breaker.state();
        let (_, pause) = state.open.unwrap();
        state.open = Some((Instant::now(), pause));
    }

    /// What refuses is left alone at once, for ever longer, and asked by one at a time; what answers is asked by all.
    #[test]
    fn what_fails_is_left_alone() {
        let (breaker, refused) = (Breaker::default(), Failure::new("refused"));
        assert!(breaker.admits() && breaker.failed(&refused));
        for pause in [5, 10, 20, 40, 60, 60] {
            assert_eq!(breaker.state().open.unwrap().1, Duration::from_secs(pause));
            assert!(!breaker.admits());
            // One who had asked before.
            assert!(!breaker.failed(&refused));
            pass(&breaker);
            assert!(breaker.admits() && !breaker.admits());
            assert!(!breaker.failed(&refused));
        }
        pass(&breaker);
        assert!(breaker.admits() && breaker.answered());
        assert!(breaker.admits() && breaker.admits() && !breaker.answered());
    }

    /// What is silent is left alone for a shorter time. Who is stopped while he finds out leaves that to the next.
    #[test]
    fn silence_may_pass_soon() {
        let (breaker, silence) = (Breaker::default(), Failure::silence("silence"));
        assert!(breaker.failed(&silence) && !breaker.admits());
        assert_eq!(breaker.state().open.unwrap().1, SILENT);
        pass(&breaker);
        assert!(breaker.admits() && !breaker.admits());
        breaker.dropped();
        assert!(breaker.admits());
    }
}
