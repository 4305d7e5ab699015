//! Who gets on, and who waits for whom.
//!
//! A call that waits in line isn't stuck as long as those get on who have what it waits for. If they wait
//! in line themselves, those count for whom they wait, and so on; but a call that waits for what it has
//! itself, or for others who wait for it, waits for ever.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::CallId;
use crate::call::waits::Waits;

/// What one can wait in line for.
pub(crate) trait Line: fmt::Debug + Send + Sync {
    /// The calls that have what there is of it.
    fn holders(&self) -> Vec<u64>;
}

/// The calls that are watched, by number.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<HashMap<u64, Watched>>);

#[derive(Debug)]
struct Watched {
    id: CallId,
    waits: Waits,
    /// Until when it has a right to be waited for, if it has no turn before.
    until: Instant,
    /// Of its turns, those that have been taken note of.
    turns: u64,
}

impl Watched {
    fn gets_on(&self) -> bool {
        Instant::now() < self.until || self.turns != self.id.turns()
    }
}

impl Calls {
    /// `call` has moved, and ends by itself if it doesn't again for `patience`.
    pub(super) fn moved(&self, call: &CallId, waits: &Waits, patience: Duration) {
        let (until, turns) = (Instant::now() + patience, call.turns());
        let add = || Watched { id: call.clone(), waits: waits.clone(), until, turns };
        let mut calls = self.lock();
        let watched = calls.entry(call.number()).or_insert_with(add);
        watched.until = watched.until.max(until);
        watched.turns = turns;
    }

    /// `call` is over.
    pub(super) fn ended(&self, call: u64) {
        self.lock().remove(&call);
    }

    /// Whether `call` waits in line for what may still be given back: by another call that has moved,
    /// not too long ago for its own patience. Or it needn't any more, as it has just had its turn.
    pub(super) fn may_have_a_turn(&self, call: u64) -> bool {
        let calls = self.lock();
        if calls.get(&call).is_some_and(|watched| watched.turns != watched.id.turns()) {
            return true;
        }
        let (mut seen, mut open) = (HashSet::from([call]), vec![call]);
        while let Some(waiter) = open.pop() {
            let Some(watched) = calls.get(&waiter) else { continue };
            for holder in watched.waits.holders() {
                if !seen.insert(holder) {
                    continue;
                }
                if calls.get(&holder).is_some_and(Watched::gets_on) {
                    return true;
                }
                open.push(holder);
            }
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Watched>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
