//! So many at a time: the permits for one kind of thing, given out fairly.
//!
//! A gate may be narrowed where the network doesn't carry what was allowed: a stall says that there
//! is too much for this network (or for this server, today) and halves the number; each success
//! allows one more, up to what was configured. The rule is that of TCP: additive increase,
//! multiplicative decrease.
//!
//! One call has no more than seven eighths of a gate, so that another one finds a place at once, even if
//! nothing that the first one has is ever given back. An eighth of less than eight is none: there
//! it would cost a call that is alone too much.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::CallId;
use super::life::Line;
use super::queue::{FairQueue, Holdings};
use crate::call::progress::Counters;
use crate::model::error::{Error, Result};
use crate::model::told;

/// What stalls together has one cause, and counts once.
const ONE_CAUSE: Duration = Duration::from_secs(5);

/// The part of a gate that one call leaves to others: an eighth.
pub(super) const KEPT_FREE: usize = 8;

/// The permits for one kind of thing, over all calls on a client.
#[derive(Debug)]
pub(crate) struct Gate {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many there may be, at the moment.
    width: usize,
    /// How many there are, and whose. More than `width` for a while after that has been narrowed.
    held: Holdings,
    line: FairQueue<Place>,
    narrowed: Option<Instant>,
}

/// A place in line, for `size` at once.
#[derive(Debug)]
struct Place {
    call: CallId,
    size: usize,
    grant: oneshot::Sender<Permit>,
}

/// The right to one, or to several at once, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    /// `None`: it has been taken back.
    gate: Option<Arc<Gate>>,
    /// Number of the call.
    call: u64,
    size: usize,
}

impl Gate {
    /// A gate for `most` at a time.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Self::growing(most, most)
    }

    /// A gate for `width` at a time, and for up to `most` as it's [widened](Self::widen).
    pub(crate) fn growing(width: usize, most: usize) -> Arc<Self> {
        let (held, line) = (Holdings::default(), FairQueue::default());
        let state = State { width: width.min(most), held, line, narrowed: None };
        Arc::new(Self { most, state: Mutex::new(state) })
    }

    /// Waits for a turn of the call that `counters` count for, which then has `size` of what there is.
    /// `what` says what it waits for meanwhile ("its turn to fetch a.bin"). Dropping the future gives
    /// the place in line up.
    pub(crate) async fn turn(
        self: &Arc<Self>,
        counters: &Counters,
        size: usize,
        what: impl Into<Arc<str>>,
    ) -> Result<Permit> {
        let call = counters.call();
        // What is larger than everything there is waits for everything.
        let size = size.min(self.most);
        if let Some(permit) = self.try_acquire(call, size) {
            return Ok(permit);
        }
        let _waiting = counters.waits.begin_in_line(what, Arc::clone(self) as Arc<dyn Line>);
        let permit = self.acquire(call.clone(), size).await?;
        counters.beat();
        Ok(permit)
    }

    /// `size` of what there is for the call that `counters` count for, if nobody has to wait for it.
    pub(crate) fn try_turn(self: &Arc<Self>, counters: &Counters, size: usize) -> Option<Permit> {
        self.try_acquire(counters.call(), size.min(self.most))
    }

    /// Permits, if nobody has to wait for them.
    fn try_acquire(self: &Arc<Self>, call: &CallId, size: usize) -> Option<Permit> {
        let (call, mut state) = (call.number(), self.state());
        if state.line.len() > 0 || state.has_its_share(call, size) || !state.has_room(size) {
            return None;
        }
        state.held.add(call, size);
        Some(Permit { gate: Some(Arc::clone(self)), call, size })
    }

    /// Stands in line for a permit.
    async fn acquire(self: &Arc<Self>, call: CallId, size: usize) -> Result<Permit> {
        // Dropped after the place: whoever stood behind it may have room where this one had none.
        let _left = LeavesLine(self);
        let (grant, granted) = oneshot::channel();
        self.state().line.push(call.number(), Place { call, size, grant });
        self.hand_out();
        granted.await.map_err(Error::internal)
    }

    /// Whether another call stands in line for what the one that `counters` count for has: the time to
    /// give some back, for whoever would otherwise keep it for hours.
    pub(crate) fn is_wanted_by_others(&self, counters: &Counters) -> bool {
        self.state().line.has_others(counters.call().number())
    }

    /// One more has gone well.
    pub(crate) fn widen(self: &Arc<Self>) {
        let mut state = self.state();
        if state.width < self.most {
            state.width += 1;
            self.hand_on(state);
        }
    }

    /// How many have a turn at a time.
    #[cfg(test)]
    pub(super) fn width(&self) -> usize {
        self.state().width
    }

    /// One has stalled.
    pub(crate) fn narrow(&self) {
        let mut state = self.state();
        if state.width == 1 || state.narrowed.is_some_and(|at| at.elapsed() < ONE_CAUSE) {
            return;
        }
        state.narrowed = Some(Instant::now());
        state.width -= state.width / 2;
        tracing::info!(
            target: told::STALLED, width = state.width,
            "a stream stalled; fewer streams at a time"
        );
    }

    /// Gives what is free to those who are next. Who wants much isn't overtaken by who wants little.
    fn hand_out(self: &Arc<Self>) {
        self.hand_on(self.state());
    }

    /// The same, in one go with what was done to `state`: nobody sees a gate that nobody has anything of
    /// while somebody waits.
    fn hand_on<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        while let Some(Place { call, size, grant }) = state.next() {
            call.had_turn();
            let call = call.number();
            state.held.add(call, size);
            drop(state);
            let permit = Permit { gate: Some(Arc::clone(self)), call, size };
            let refused = grant.send(permit).err();
            state = self.state();
            if let Some(mut refused) = refused {
                // Nobody waits for it any more. Taken back here, not by its drop, which would come
                // here again for each of those.
                refused.gate = None;
                state.held.remove(call, size);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the numbers whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, size: usize) -> bool {
        let used = self.held.total();
        // A gate that has been narrowed to less than somebody wants lets him pass alone.
        used == 0 || used + size <= self.width
    }

    /// Whether `call` has so much that another `size` would be more than its share.
    fn has_its_share(&self, call: u64, size: usize) -> bool {
        let own = self.held.of(call);
        own > 0 && own + size > self.width - self.width / KEPT_FREE
    }

    /// Whose turn it is, if there is room for him. Who has his share is passed by.
    fn next(&mut self) -> Option<Place> {
        while self.line.pop_first(|place| place.grant.is_closed()).is_some() {}
        let may = |place: &Place| !self.has_its_share(place.call.number(), place.size);
        let place = self.line.peek_first(may)?;
        if !self.has_room(place.size) {
            return None;
        }
        let call = place.call.number();
        self.line.pop_first(|place| place.call.number() == call)
    }
}

impl Line for Gate {
    fn holders(&self) -> Vec<u64> {
        self.state().held.calls()
    }
}

/// Somebody who stands in line, or has stood there.
struct LeavesLine<'a>(&'a Arc<Gate>);

impl Drop for LeavesLine<'_> {
    fn drop(&mut self) {
        self.0.hand_out();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            let mut state = gate.state();
            state.held.remove(self.call, self.size);
            gate.hand_on(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    fn id(number: u64) -> CallId {
        CallId::new(number)
    }

    fn free(gate: &Gate) -> usize {
        let state = gate.state();
        state.width.saturating_sub(state.held.total())
    }

    /// Stalls that come together halve the number once; what is in use meanwhile isn't given back.
    #[test]
    fn a_stall_halves_what_may_be() {
        let gate = Gate::new(16);
        let mut used: Vec<_> =
            (0..12).map(|call| gate.try_acquire(&id(call), 1).unwrap()).collect();
        gate.narrow();
        gate.narrow();
        assert_eq!(free(&gate), 0);
        used.truncate(8);
        assert!(gate.try_acquire(&id(0), 1).is_none());
        used.clear();
        assert_eq!(free(&gate), 8);
    }

    /// What ends well brings the number back, and no further.
    #[test]
    fn success_widens_again() {
        let gate = Gate::new(4);
        let used = [gate.try_acquire(&id(0), 1).unwrap(), gate.try_acquire(&id(0), 1).unwrap()];
        gate.narrow();
        assert_eq!(free(&gate), 0);
        for _ in 0..9 {
            gate.widen();
        }
        drop(used);
        assert_eq!(free(&gate), 4);
    }

    /// Who stood behind somebody who wanted more than there was has his turn when that one has gone.
    #[tokio::test]
    async fn who_leaves_the_line_keeps_nobody_waiting() {
        let gate = Gate::new(4);
        let _held = gate.try_acquire(&id(1), 3).unwrap();
        let mut much = Box::pin(gate.acquire(id(2), 4));
        let mut little = Box::pin(gate.acquire(id(3), 1));
        assert!(futures_util::poll!(much.as_mut()).is_pending());
        assert!(futures_util::poll!(little.as_mut()).is_pending());
        drop(much);
        assert!(futures_util::poll!(little.as_mut()).is_ready());
    }

    /// Permits go to the calls in turn; a call that has given up waiting costs nobody a turn.
    #[tokio::test]
    async fn a_call_with_a_long_line_lets_others_pass() {
        let gate = Gate::new(1);
        let mut held = gate.try_acquire(&id(0), 1).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        let wait = |call: u64, name: &'static str| {
            let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
            async move {
                let permit = gate.acquire(id(call), 1).await.unwrap();
                order.lock().unwrap().push(name);
                permit
            }
        };
        let impatient = waiting.spawn(wait(9, "gave up"));
        for (call, name) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1")] {
            waiting.spawn(wait(call, name));
            // Each stands in line before the next one comes.
            tokio::task::yield_now().await;
        }
        impatient.abort();
        assert!(waiting.join_next().await.unwrap().unwrap_err().is_cancelled());
        for _ in 0..5 {
            drop(held);
            held = waiting.join_next().await.unwrap().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), ["a1", "b1", "c1", "a2", "a3"]);
        drop(held);
        assert_eq!(free(&gate), 1);
    }

    /// A permit that was given to somebody who has just gone is not lost.
    #[tokio::test]
    async fn a_permit_on_its_way_is_not_lost() {
        let gate = Gate::new(1);
        let held = gate.try_acquire(&id(0), 1).unwrap();
        {
            let mut waiting = std::pin::pin!(gate.acquire(id(1), 1));
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            drop(held);
        }
        assert_eq!(free(&gate), 1);
    }

    /// Who wants much has his turn like the others, and isn't overtaken by those for whom there is room
    /// all the time.
    #[tokio::test]
    async fn much_at_once_waits_for_its_turn_and_then_has_it() {
        let gate = Gate::new(4);
        let held = gate.try_acquire(&id(1), 3).unwrap();
        let (mut much, mut little) =
            (Box::pin(gate.acquire(id(2), 9.min(gate.most))), Box::pin(gate.acquire(id(3), 1)));
        assert!(futures_util::poll!(much.as_mut()).is_pending());
        assert!(
            futures_util::poll!(little.as_mut()).is_pending(),
            "there is room, but no turn yet"
        );
        assert!(gate.try_acquire(&id(1), 1).is_none());
        drop(held);
        let much = much.await.unwrap();
        assert!(futures_util::poll!(little.as_mut()).is_pending());
        assert_eq!((free(&gate), gate.holders()), (0, vec![2]));
        drop(much);
        assert_eq!(little.await.unwrap().call, 3);
        assert!(gate.holders().is_empty());
    }

    /// However much one call wants, another has a place at once, before those of the first who stand in
    /// line; in a small gate, one call may have it all.
    #[tokio::test]
    async fn one_call_does_not_take_it_all() {
        let gate = Gate::new(16);
        let hung: Vec<_> = std::iter::from_fn(|| gate.try_acquire(&id(1), 1)).collect();
        assert_eq!((hung.len(), free(&gate)), (14, 2));
        let mut more = Box::pin(gate.acquire(id(1), 1));
        assert!(futures_util::poll!(more.as_mut()).is_pending());
        let mut other = Box::pin(gate.acquire(id(2), 1));
        let Poll::Ready(other) = futures_util::poll!(other.as_mut()) else {
            panic!("another call waits for one that has its share")
        };
        assert!(futures_util::poll!(more.as_mut()).is_pending(), "its share is what it has");
        drop((other, hung));
        more.await.unwrap();
        let small = Gate::new(7);
        let all: Vec<_> = std::iter::from_fn(|| small.try_acquire(&id(1), 1)).collect();
        assert_eq!(all.len(), 7);
    }
}
