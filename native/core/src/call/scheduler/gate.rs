//! So many at a time: the permits for one kind of thing, given out fairly.
//!
//! A gate may be narrowed where the network doesn't carry what was allowed: a stall says that there
//! is too much for this network (or for this server, today) and halves the number; each success
//! allows one more, up to what was configured. The rule is that of TCP: additive increase,
//! multiplicative decrease.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::queue::FairQueue;
use crate::model::error::{Error, Result};

/// What stalls together has one cause, and counts once.
const ONE_CAUSE: Duration = Duration::from_secs(5);

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
    /// How many there are. More than `width` for a while after that has been narrowed.
    used: usize,
    line: FairQueue<oneshot::Sender<Permit>>,
    narrowed: Option<Instant>,
}

/// The right to one, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Option<Arc<Gate>>);

impl Gate {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let state = State { width: most, used: 0, line: FairQueue::default(), narrowed: None };
        Arc::new(Self { most, state: Mutex::new(state) })
    }

    /// A permit, if nobody has to wait for one.
    pub(in crate::call) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state();
        if state.used >= state.width || state.line.len() > 0 {
            return None;
        }
        state.used += 1;
        Some(Permit(Some(Arc::clone(self))))
    }

    /// Stands in line for a permit, as one of `call`'s. Dropping the future gives the place up.
    pub(in crate::call) async fn acquire(self: &Arc<Self>, call: u64) -> Result<Permit> {
        let (grant, granted) = oneshot::channel();
        self.state().line.push(call, grant);
        self.hand_out();
        granted.await.map_err(Error::internal)
    }

    /// One more has gone well.
    pub(crate) fn widen(self: &Arc<Self>) {
        let mut state = self.state();
        if state.width < self.most {
            state.width += 1;
            drop(state);
            self.hand_out();
        }
    }

    /// One has stalled.
    pub(crate) fn narrow(&self) {
        let mut state = self.state();
        if state.width == 1 || state.narrowed.is_some_and(|at| at.elapsed() < ONE_CAUSE) {
            return;
        }
        state.narrowed = Some(Instant::now());
        state.width -= state.width / 2;
        tracing::info!(width = state.width, "a stream stalled; fewer streams at a time");
    }

    /// Gives what is free to those who are next.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            if state.used >= state.width {
                return;
            }
            let Some(grant) = state.line.pop() else { return };
            state.used += 1;
            drop(state);
            if let Err(mut refused) = grant.send(Permit(Some(Arc::clone(self)))) {
                // Nobody waits for it any more. Taken back here, not by its drop, which would come
                // here again for each of those.
                refused.0 = None;
                self.state().used -= 1;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the numbers whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.state().used -= 1;
            gate.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(gate: &Gate) -> usize {
        let state = gate.state();
        state.width.saturating_sub(state.used)
    }

    /// Stalls that come together halve the number once; what is in use meanwhile isn't given back.
    #[test]
    fn a_stall_halves_what_may_be() {
        let gate = Gate::new(16);
        let mut used: Vec<_> = (0..12).map(|_| gate.try_acquire().unwrap()).collect();
        gate.narrow();
        gate.narrow();
        assert_eq!(free(&gate), 0);
        used.truncate(8);
        assert!(gate.try_acquire().is_none());
        used.clear();
        assert_eq!(free(&gate), 8);
    }

    /// What ends well brings the number back, and no further.
    #[test]
    fn success_widens_again() {
        let gate = Gate::new(4);
        let used = [gate.try_acquire().unwrap(), gate.try_acquire().unwrap()];
        gate.narrow();
        assert_eq!(free(&gate), 0);
        for _ in 0..9 {
            gate.widen();
        }
        drop(used);
        assert_eq!(free(&gate), 4);
    }

    /// Permits go to the calls in turn; a call that has given up waiting costs nobody a turn.
    #[tokio::test]
    async fn a_call_with_a_long_line_lets_others_pass() {
        let gate = Gate::new(1);
        let mut held = gate.try_acquire().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        let wait = |call: u64, name: &'static str| {
            let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
            async move {
                let permit = gate.acquire(call).await.unwrap();
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
        let held = gate.try_acquire().unwrap();
        {
            let mut waiting = std::pin::pin!(gate.acquire(1));
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            drop(held);
        }
        assert_eq!(free(&gate), 1);
    }
}
