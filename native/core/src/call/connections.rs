//! How many streams from storage may run at a time: as many as the network carries.
//!
//! All calls on a client share them. A stall says that there are too many for this network (or for
//! this server, today), and halves their number; each stream that ends well allows one more, up to
//! what was configured. The rule is that of TCP: additive increase, multiplicative decrease.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::error::{Error, Result};

/// Streams that stall together have one cause, and count once.
const ONE_CAUSE: Duration = Duration::from_secs(5);

/// The streams of one client.
pub(crate) struct Connections {
    free: Arc<Semaphore>,
    most: usize,
    state: Mutex<State>,
}

struct State {
    /// How many there may be.
    width: usize,
    /// How many of those in use must not be given back.
    excess: usize,
    narrowed: Option<Instant>,
}

/// The right to one stream.
pub(crate) struct Connection {
    connections: Arc<Connections>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Self {
        let state = State { width: most, excess: 0, narrowed: None };
        Self { free: Arc::new(Semaphore::new(most)), most, state: Mutex::new(state) }
    }

    /// Waits until there may be another stream.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Connection> {
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(Error::internal)?;
        Ok(Connection { connections: Arc::clone(self), permit: Some(permit) })
    }

    /// A stream has ended well.
    pub(crate) fn widen(&self) {
        let mut state = self.state();
        if state.width == self.most {
            return;
        }
        state.width += 1;
        if state.excess > 0 {
            state.excess -= 1;
        } else {
            self.free.add_permits(1);
        }
    }

    /// A stream has stalled.
    pub(crate) fn narrow(&self) {
        let mut state = self.state();
        if state.width == 1 || state.narrowed.is_some_and(|at| at.elapsed() < ONE_CAUSE) {
            return;
        }
        state.narrowed = Some(Instant::now());
        let fewer = state.width / 2;
        state.width -= fewer;
        state.excess += fewer - self.free.forget_permits(fewer);
        tracing::info!(width = state.width, "a stream stalled; fewer streams at a time");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the numbers whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        if state.excess > 0
            && let Some(permit) = self.permit.take()
        {
            state.excess -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(connections: &Connections) -> usize {
        connections.free.available_permits()
    }

    /// Stalls that come together halve the number once; what is in use meanwhile isn't given back.
    #[tokio::test]
    async fn a_stall_halves_the_streams() {
        let connections = Arc::new(Connections::new(16));
        let mut used = Vec::new();
        for _ in 0..12 {
            used.push(connections.acquire().await.unwrap());
        }
        connections.narrow();
        connections.narrow();
        assert_eq!(free(&connections), 0);
        used.clear();
        assert_eq!(free(&connections), 8);
    }

    /// What ends well brings the number back, and no further.
    #[tokio::test]
    async fn success_widens_again() {
        let connections = Arc::new(Connections::new(4));
        let used = [connections.acquire().await.unwrap(), connections.acquire().await.unwrap()];
        connections.narrow();
        assert_eq!(free(&connections), 0);
        for _ in 0..9 {
            connections.widen();
        }
        drop(used);
        assert_eq!(free(&connections), 4);
    }
}
