//! How long a call, or a file of it, waits in vain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::counters::Counters;
use crate::model::error::Error;

/// How long a call may wait in vain, or a file of it, and has waited.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How long nothing may come, if that has a limit.
    longest: OnceLock<Duration>,
    /// When the call ends whatever it does, if it does.
    limit: OnceLock<TimeLimit>,
    silence: Mutex<Silence>,
    /// Another way of fetching is left, which needs its part of the patience.
    has_another_way: AtomicBool,
}

/// The end of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    /// As the caller has it.
    pub(crate) timeout: Duration,
    pub(crate) at: Instant,
}

impl TimeLimit {
    /// What an attempt needs at the very least. A wait that leaves less than that ends with the call,
    /// and which of the two is seen first would be chance.
    const FOR_AN_ATTEMPT: Duration = Duration::from_millis(200);

    /// Whether nothing can be done any more after a wait until `then`.
    pub(crate) fn is_too_early_for(self, then: Instant) -> bool {
        then + Self::FOR_AN_ATTEMPT.min(self.timeout / 10) >= self.at
    }
}

/// The time since anything came in which somebody waited in vain for it. Waits side by side count
/// once, and what lies between them, such as a turn that has to be waited for, not at all.
#[derive(Debug, Default)]
struct Silence {
    total: Duration,
    until: Option<Instant>,
    /// The last attempt in it that failed.
    failure: Option<Error>,
}

impl Patience {
    /// That of a file: the same limits, and a silence of its own.
    pub(super) fn of_file(&self) -> Self {
        Self { longest: self.longest.clone(), limit: self.limit.clone(), ..Self::default() }
    }
}

impl Counters {
    /// Ends waits in vain at three times `longest`, the longest deadline of a request: over all
    /// attempts and all ways together, since the last byte. What gets on is never ended by it.
    pub(crate) fn set_patience(&self, longest: Duration) {
        let _ = self.patience.longest.set(longest * 3);
    }

    /// Says whether, if this way fails, another one is tried. It has a third of the patience for
    /// itself.
    pub(crate) fn set_another_way(&self, has_another: bool) {
        self.patience.has_another_way.store(has_another, Ordering::Relaxed);
    }

    /// Whether another way is tried if this one fails.
    pub(crate) fn has_another_way(&self) -> bool {
        self.patience.has_another_way.load(Ordering::Relaxed)
    }

    /// Says when the call ends at the latest. The first time counts.
    pub(crate) fn set_limit(&self, limit: TimeLimit) {
        let _ = self.patience.limit.set(limit);
    }

    /// When the call ends at the latest, if that is known.
    pub(crate) fn limit(&self) -> Option<TimeLimit> {
        self.patience.limit.get().copied()
    }

    /// Something was waited for since `begun`, in vain.
    pub(crate) fn add_silence(&self, begun: Instant) {
        let now = Instant::now();
        let mut silence = self.patience.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let from = silence.until.map_or(begun, |until| until.max(begun));
        silence.total += now.saturating_duration_since(from);
        silence.until = Some(now);
    }

    /// An attempt has failed, and another one follows.
    pub(crate) fn set_failure(&self, error: &Error) {
        let mut silence = self.patience.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.failure = Some(error.clone());
        drop(silence);
        if let Some(whole) = &self.whole {
            whole.set_failure(error);
        }
    }

    /// How the last attempt failed, if nothing has come since.
    pub(crate) fn failure(&self) -> Option<Error> {
        let silence = self.patience.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.failure.clone()
    }

    /// A request was answered. For a file that isn't enough: what counts there are its bytes.
    pub(crate) fn answered(&self) {
        if self.whole.is_none() {
            self.end_silence();
        }
    }

    /// Something came. A silence that follows begins here, however long ago its attempt did.
    pub(super) fn end_silence(&self) {
        *self.patience.silence.lock().unwrap_or_else(PoisonError::into_inner) =
            Silence { until: Some(Instant::now()), ..Silence::default() };
    }

    /// Whether another attempt would be one too many.
    pub(crate) fn is_out_of_patience(&self) -> bool {
        let Some(&patience) = self.patience.longest.get() else { return false };
        let share = if self.has_another_way() { patience * 2 / 3 } else { patience };
        self.patience.silence.lock().unwrap_or_else(PoisonError::into_inner).total >= share
    }

    /// Content was taken from us to be sent. A server that only swallows it hasn't said anything, so
    /// this doesn't end a silence; but a wait in vain begins here at the earliest.
    pub(crate) fn add_sent(&self, bytes: u64) {
        self.add_network(bytes);
        self.put_off_silence();
    }

    /// What was sent gets on its way, or what is waited for is ours: a wait in vain for whoever is to answer
    /// begins here at the earliest.
    pub(crate) fn put_off_silence(&self) {
        let mut silence = self.patience.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.until = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A stream that ran for long before it fell silent has been silent since its last byte only.
    #[test]
    fn a_silence_begins_with_the_last_byte() {
        let call = Arc::new(Counters::default());
        call.set_patience(Duration::from_secs(10));
        let file = call.begin_file("a", 100);
        file.add_network(1);
        let begun = Instant::now().checked_sub(Duration::from_mins(10)).unwrap();
        file.counters().add_silence(begun);
        assert!(!file.counters().is_out_of_patience());
    }

    /// Waits side by side count once, what lies between them doesn't, and a byte ends the silence.
    #[test]
    fn a_silence_is_the_time_that_was_waited_in_vain() {
        let call = Arc::new(Counters::default());
        call.set_patience(Duration::from_secs(10));
        let file = call.begin_file("a", 100);
        let counters = file.counters();
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        for _ in 0..8 {
            counters.add_silence(ago(21));
        }
        assert!(!counters.is_out_of_patience(), "21 s of 30, however many have waited");
        counters.set_another_way(true);
        assert!(counters.is_out_of_patience(), "the other way needs 10 s");
        file.add_fallback();
        assert!(!counters.is_out_of_patience());
        counters.patience.silence.lock().unwrap().until = Some(ago(15));
        counters.add_silence(ago(10));
        assert!(counters.is_out_of_patience());
        file.add_network(1);
        assert!(!counters.is_out_of_patience());
        assert!(!call.is_out_of_patience(), "it was one file's");
    }
}
