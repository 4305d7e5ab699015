//! Ends a call in which nothing happens any more.
//!
//! Every wait for the network has its deadline, so a call in which nothing moves for much longer
//! than any of them waits for something that nobody foresaw: a disk that hangs, or a bug. A person
//! would see a bar that stands still for ever. Instead the call ends, and says what it was waiting
//! for.

use std::time::Duration;

use crate::call::Call;
use crate::call::progress::Movement;
use crate::config::Deadlines;
use crate::model::error::{Error, Kind};

/// Watches one call, until it is dropped.
pub(crate) struct Watchdog {
    call: Call,
    limit: Duration,
    seen: Movement,
    idle: Duration,
    warned: bool,
}

impl Watchdog {
    /// Acts after a [standstill](Deadlines::standstill).
    pub(crate) fn new(call: &Call, deadlines: &Deadlines) -> Self {
        Self::with_limit(call, deadlines.standstill())
    }

    fn with_limit(call: &Call, limit: Duration) -> Self {
        let (seen, idle) = (Movement::default(), Duration::ZERO);
        Self { call: call.clone(), limit, seen, idle, warned: false }
    }

    /// Looks whether something has happened in the time that the caller's thread spent waiting for
    /// the operation: not the time on the clock, in which the caller's own callbacks, or a machine
    /// that slept, may have their part. The error ends the call.
    ///
    /// A call that waits for its turn is not ended while another one gets on that has what it waits for,
    /// or would be ended itself if it didn't.
    pub(crate) fn look(&mut self, waited: Duration) -> Option<Error> {
        let Call { counters, scheduler, .. } = &self.call;
        let movement = counters.movement();
        if movement != self.seen || counters.waits.is_any_allowed() {
            scheduler.moved(counters, self.limit);
            (self.seen, self.idle, self.warned) = (movement, Duration::ZERO, false);
            return None;
        }
        self.idle += waited;
        if self.idle >= self.limit {
            if scheduler.may_have_a_turn(counters) {
                // Once those are through, it's this call's own time that begins.
                self.idle = Duration::ZERO;
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

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.call.scheduler.ended(&self.call.counters);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::call::scheduler::{Gate, Scheduler};

    const SECOND: Duration = Duration::from_secs(1);

    /// Nothing for as long as the limit ends the call, in words that name the wait.
    #[test]
    fn a_call_that_stands_still_is_ended() {
        let call = Call::default();
        let _waiting = call.counters.waits.begin("the disk", Duration::ZERO);
        let mut dog = Watchdog::with_limit(&call, SECOND * 3);
        assert!(dog.look(SECOND).is_none());
        assert!(dog.look(SECOND).is_none());
        let error = dog.look(SECOND).unwrap();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(error.message().contains("the disk (0 s)"), "{error}");
    }

    /// Whatever moves, and a wait that is allowed to take its time, starts the clock anew.
    #[test]
    fn what_moves_is_left_alone() {
        let call = Call::default();
        let counters = &call.counters;
        let mut dog = Watchdog::with_limit(&call, SECOND * 2);
        for _ in 0..4 {
            counters.beat();
            assert!(dog.look(SECOND).is_none());
            assert!(dog.look(SECOND).is_none());
            counters.add_network(1);
        }
        let waiting = counters.waits.begin("a rate limit", SECOND * 60);
        assert!(dog.look(SECOND * 10).is_none());
        waiting.allow(Duration::ZERO);
        assert!(dog.look(SECOND).is_none());
        waiting.allow(SECOND * 60);
        assert!(dog.look(SECOND * 10).is_none());
        drop(waiting);
        assert!(dog.look(SECOND * 10).is_some());
    }

    /// A watchdog that has no patience: the call is stuck, or waits for others.
    fn impatient(call: &Call) -> Watchdog {
        let mut dog = Watchdog::with_limit(call, Duration::ZERO);
        assert!(dog.look(SECOND).is_none(), "it has just begun");
        dog
    }

    /// A call on `scheduler` that moves and is trusted to go on.
    fn moving(scheduler: &Arc<Scheduler>) -> (Call, Watchdog) {
        let call = Call::new(Arc::clone(scheduler));
        let mut dog = Watchdog::with_limit(&call, SECOND * 3600);
        call.beat();
        assert!(dog.look(SECOND).is_none());
        (call, dog)
    }

    /// A call whose turn hasn't come lasts as long as the one that has what it waits for, and no longer.
    #[tokio::test]
    async fn who_waits_for_its_turn_is_not_stuck() {
        let scheduler = Arc::new(Scheduler::new(1));
        let (working, dog) = moving(&scheduler);
        let held = working.turn(&scheduler.files, "its turn").await.unwrap();
        let queued = Call::new(Arc::clone(&scheduler));
        queued.beat();
        let mut other = impatient(&queued);
        let mut turn = std::pin::pin!(queued.turn(&scheduler.files, "its turn"));
        assert!(futures_util::poll!(turn.as_mut()).is_pending());
        for _ in 0..9 {
            assert!(other.look(SECOND).is_none());
        }
        drop(dog);
        let error = other.look(SECOND).unwrap();
        assert!(error.message().contains("its turn"), "{error}");
        drop(held);
    }

    /// A turn that is handed on from one to the next costs none of those behind: whoever has just got it
    /// has moved, before anything of it has run.
    #[tokio::test]
    async fn who_has_just_had_its_turn_gets_on() {
        let scheduler = Arc::new(Scheduler::new(1));
        let (working, dog) = moving(&scheduler);
        let held = working.turn(&scheduler.files, "its turn").await.unwrap();
        let (next, last) = (Call::new(Arc::clone(&scheduler)), Call::new(Arc::clone(&scheduler)));
        next.beat();
        last.beat();
        let (mut next_dog, mut last_dog) = (impatient(&next), impatient(&last));
        let mut turn = std::pin::pin!(next.turn(&scheduler.files, "its turn"));
        let mut behind = std::pin::pin!(last.turn(&scheduler.files, "its turn"));
        assert!(futures_util::poll!(turn.as_mut()).is_pending());
        assert!(futures_util::poll!(behind.as_mut()).is_pending());
        drop(held);
        drop(dog);
        for _ in 0..3 {
            assert!(last_dog.look(SECOND).is_none(), "the next one hasn't looked since");
        }
        assert!(next_dog.look(SECOND).is_none());
        assert!(next_dog.look(SECOND).is_some(), "it has done nothing with it");
        assert!(last_dog.look(SECOND).is_some());
    }

    /// That others get on is no excuse for a call whose own files wait for what it has itself, or that
    /// waits for something else.
    #[tokio::test]
    async fn who_waits_for_itself_is_stuck() {
        let scheduler = Arc::new(Scheduler::new(1));
        let (_working, _dog) = moving(&scheduler);
        let stuck = Call::new(Arc::clone(&scheduler));
        stuck.beat();
        let mut dog = impatient(&stuck);
        let _held = stuck.turn(&scheduler.files, "its turn").await.unwrap();
        let _disk = stuck.counters.waits.begin("the disk", Duration::ZERO);
        assert!(dog.look(SECOND).is_some());
        let mut next = std::pin::pin!(stuck.turn(&scheduler.files, "its turn"));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        let error = dog.look(SECOND).unwrap();
        assert!(error.message().contains("the disk"), "{error}");
    }

    /// Who waits for somebody who waits is excused by whoever gets on at the end of the line, and by
    /// nobody if it ends where it began.
    #[tokio::test]
    async fn a_line_is_followed_to_its_end() {
        let scheduler = Arc::new(Scheduler::new(1));
        let (first, second) =
            (Call::new(Arc::clone(&scheduler)), Call::new(Arc::clone(&scheduler)));
        first.beat();
        second.beat();
        let (mut dog, mut other) = (impatient(&first), impatient(&second));
        let _file = second.turn(&scheduler.files, "a file").await.unwrap();
        let mut waits = std::pin::pin!(first.turn(&scheduler.files, "a file"));
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        let (working, _working) = moving(&scheduler);
        let gate = Gate::new(1);
        let held = working.turn(&gate, "a stream").await.unwrap();
        let mut behind = std::pin::pin!(second.turn(&gate, "a stream"));
        assert!(futures_util::poll!(behind.as_mut()).is_pending());
        assert!(dog.look(SECOND).is_none(), "the working one is at the end of its line");
        assert!(other.look(SECOND).is_none());
        drop(held);
        let _stream = behind.await.unwrap();
        // The second one has moved by that, and is excused once.
        assert!(other.look(SECOND).is_none());
        let _held = first.counters.waits.begin_in_line("a copy", Arc::clone(&gate) as _);
        assert!(dog.look(SECOND).is_some());
        let _circle = second.turn(&scheduler.copies, "a copy").await.unwrap();
        assert!(other.look(SECOND).is_some());
    }
}
