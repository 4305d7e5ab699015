//! Which call something belongs to, and how often that has had its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells a call from the others on its client. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallId(Arc<Identity>);

#[derive(Debug, Default)]
struct Identity {
    number: u64,
    turns: AtomicU64,
}

impl CallId {
    pub(super) fn new(number: u64) -> Self {
        Self(Arc::new(Identity { number, turns: AtomicU64::new(0) }))
    }

    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// Takes note that the call has got what it waited for in line. Said by whoever gives it, before
    /// anybody can see that: a call that has just had its turn has moved, although nothing of it has run
    /// since.
    pub(super) fn had_turn(&self) {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was.
    pub(in crate::call) fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::Relaxed)
    }
}
