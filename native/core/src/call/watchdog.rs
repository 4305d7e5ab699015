//! Ends a call in which nothing happens any more.
//!
//! Every wait for the network has its deadline, so a call in which nothing moves for much longer
//! than any of them waits for something that nobody foresaw: a disk that hangs, or a bug. A person
//! would see a bar that stands still for ever. Instead the call ends, and says what it was waiting
//! for.

use std::time::Duration;

use crate::call::progress::{Counters, Movement};
use crate::call::scheduler::Scheduler;
use crate::config::Deadlines;
use crate::model::error::{Error, Kind};

/// Watches one call.
pub(crate) struct Watchdog {
    limit: Duration,
    seen: Movement,
    idle: Duration,
    warned: bool,
}

impl Watchdog {
    /// Lets three deadlines in a row pass before it acts.
    pub(crate) fn new(deadlines: &Deadlines) -> Self {
        Self::with_limit(deadlines.longest() * 3 + Duration::from_secs(5))
    }

    fn with_limit(limit: Duration) -> Self {
        Self { limit, seen: Movement::default(), idle: Duration::ZERO, warned: false }
    }

    /// Looks whether something has happened in the time that the caller's thread spent waiting for
    /// the operation: not the time on the clock, in which the caller's own callbacks, or a machine
    /// that slept, may have their part. The error ends the call.
    ///
    /// A call that waits for its turn is not ended while another one on the client gets on, or would be
    /// ended itself if it didn't.
    pub(crate) fn look(
        &mut self,
        counters: &Counters,
        scheduler: &Scheduler,
        waited: Duration,
    ) -> Option<Error> {
        let movement = counters.movement();
        if movement != self.seen || counters.waits.is_any_allowed() {
            scheduler.moved(self.limit);
            (self.seen, self.idle, self.warned) = (movement, Duration::ZERO, false);
            return None;
        }
        self.idle += waited;
        if self.idle >= self.limit {
            if counters.waits.is_any_in_line() && scheduler.is_alive() {
                return None;
            }
            if let Some(error) = scheduler.out_of_threads(counters) {
                return Some(error);
            }
            let waits = counters.waits.describe();
            let idle = self.idle.as_secs();
            tracing::error!(idle, "nothing moves; ending the call, which waits for {waits}");
            let message = format!("nothing has moved for {idle} s; the call waited for {waits}");
            return Some(Error::new(Kind::Timeout, message));
        }
        if self.idle >= self.limit / 2 && !self.warned {
            self.warned = true;
            let waits = counters.waits.describe();
            tracing::warn!(idle = self.idle.as_secs(), "nothing moves; waiting for {waits}");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Nothing for as long as the limit ends the call, in words that name the wait.
    #[test]
    fn a_call_that_stands_still_is_ended() {
        let (counters, scheduler) = (Counters::default(), Scheduler::default());
        let _waiting = counters.waits.begin("the disk", Duration::ZERO);
        let mut dog = Watchdog::with_limit(SECOND * 3);
        assert!(dog.look(&counters, &scheduler, SECOND).is_none());
        assert!(dog.look(&counters, &scheduler, SECOND).is_none());
        let error = dog.look(&counters, &scheduler, SECOND).unwrap();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(error.message().contains("the disk (0 s)"), "{error}");
    }

    /// Whatever moves, and a wait that is allowed to take its time, starts the clock anew.
    #[test]
    fn what_moves_is_left_alone() {
        let (counters, scheduler) = (Counters::default(), Scheduler::default());
        let mut dog = Watchdog::with_limit(SECOND * 2);
        for _ in 0..4 {
            counters.beat();
            assert!(dog.look(&counters, &scheduler, SECOND).is_none());
            assert!(dog.look(&counters, &scheduler, SECOND).is_none());
            counters.add_network(1);
        }
        let waiting = counters.waits.begin("a rate limit", SECOND * 60);
        assert!(dog.look(&counters, &scheduler, SECOND * 10).is_none());
        waiting.allow(Duration::ZERO);
        assert!(dog.look(&counters, &scheduler, SECOND).is_none());
        waiting.allow(SECOND * 60);
        assert!(dog.look(&counters, &scheduler, SECOND * 10).is_none());
        drop(waiting);
        assert!(dog.look(&counters, &scheduler, SECOND * 10).is_some());
    }

    /// A call whose turn hasn't come lasts as long as another one on the client does, and no longer.
    #[test]
    fn who_waits_for_its_turn_is_not_stuck() {
        let scheduler = Scheduler::default();
        let (working, queued) = (Counters::default(), Counters::default());
        let _turn = queued.waits.begin_in_line("its turn");
        let (mut patient, mut dog) =
            (Watchdog::with_limit(SECOND * 3600), Watchdog::with_limit(Duration::from_millis(1)));
        working.beat();
        assert!(patient.look(&working, &scheduler, SECOND).is_none());
        for _ in 0..9 {
            assert!(dog.look(&queued, &scheduler, SECOND).is_none());
        }
        let alone = Scheduler::default();
        let error = dog.look(&queued, &alone, SECOND).unwrap();
        assert!(error.message().contains("its turn"), "{error}");
        let stuck = Counters::default();
        let _elsewhere = stuck.waits.begin("the disk", Duration::ZERO);
        let mut dog = Watchdog::with_limit(Duration::from_millis(1));
        assert!(dog.look(&stuck, &scheduler, SECOND).is_some(), "others' life is no excuse");
    }
}
