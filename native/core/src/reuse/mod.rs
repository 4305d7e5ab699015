//! What this machine has of Xet content, and where: the reuse index.
//!
//! For each Xet file that was finished, the index remembers its chunks (length, and the beginning of
//! the hash), which runs of which xorbs they are, and the paths at which the file is. A later
//! download that needs chunks of one of those xorbs takes them from there.
//!
//! ```text
//! store   the SQLite database: opening it, and what to do when it can't be used
//! schema  its tables
//! note    what is remembered of a chunk, packed
//! place   a file on this machine, and whether it's still the same
//! record  adding a finished file
//! query   finding chunks
//! term    where a part of a file comes from
//! ```
//!
//! It's a cache of knowledge, and nobody's truth: a reader hashes what it takes, and checks the file
//! that it makes as if all of it had been fetched. So an index that is lost, damaged or wrong costs
//! bytes, never correctness. Accordingly nothing here fails: an index that can't be used knows
//! nothing, and says so in the log, once.
//!
//! Nothing here knows of HTTP or of the transfer. All of it blocks on the disk.

mod chunk_record;
mod local_copy;
mod query;
mod record;
mod schema;
mod store;
mod term;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use chunk_record::ChunkRecord;
pub(crate) use local_copy::LocalCopy;
pub(crate) use query::{Run, Search};
pub(crate) use record::Finished;
pub(crate) use term::Term;

use store::{Fault, Store};

/// The folder of ours in `$HF_XET_CACHE`; `huggingface_hub`'s are called `logs` and as endpoints are.
const FOLDER: &str = "xet-ffi";

/// The index of one Xet cache. Opened when it's first needed; for any thread and many processes.
#[derive(Debug)]
pub(crate) struct Index {
    folder: PathBuf,
    /// The most that it may grow to, in bytes.
    limit: u64,
    state: Mutex<State>,
    complained: AtomicBool,
}

#[derive(Debug)]
enum State {
    Unopened,
    Open(Store),
    /// It can't be used, and won't be tried again.
    Off,
}

impl Index {
    /// The index in the Xet cache at `xet_cache`, which may grow to `limit` bytes. Does nothing yet.
    pub(crate) fn new(xet_cache: &Path, limit: u64) -> Self {
        Self {
            folder: xet_cache.join(FOLDER),
            limit,
            state: Mutex::new(State::Unopened),
            complained: AtomicBool::new(false),
        }
    }

    /// Where the database is, whether it's there or not.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(store::FILE)
    }

    /// How much the database takes on the disk, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        store::files(&self.path())
            .iter()
            .filter_map(|file| file.metadata().ok())
            .map(|m| m.len())
            .sum()
    }

    /// Begins a search, which belongs to one file or one call.
    pub(crate) fn search(self: &Arc<Self>) -> Search {
        Search::new(Arc::clone(self))
    }

    /// Starts over with an empty index.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::Unopened;
        match Store::recreate(&self.folder) {
            Ok(store) => *state = State::Open(store),
            Err(fault) => *state = self.give_up(&fault),
        }
    }

    /// Runs `act` on the database, if there is one. `None`: there is none, or it failed.
    fn with<T>(&self, act: impl FnOnce(&mut Store) -> rusqlite::Result<T>) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Unopened) {
            *state = match Store::open(&self.folder) {
                Ok(store) => State::Open(store),
                Err(fault) => self.give_up(&fault),
            };
        }
        let State::Open(store) = &mut *state else { return None };
        let fault = match act(store) {
            Ok(value) => return Some(value),
            Err(error) => Fault::of(error),
        };
        if fault.is_damage() {
            self.complain(&fault, "the reuse index is damaged; a new one is made");
            *state = match Store::recreate(&self.folder) {
                Ok(store) => State::Open(store),
                Err(fault) => self.give_up(&fault),
            };
        } else {
            // Another process is writing for long, or the disk is full: this question has no
            // answer, the next one may have.
            tracing::debug!(error = %fault, "the reuse index didn't answer");
        }
        None
    }

    fn give_up(&self, fault: &Fault) -> State {
        self.complain(fault, "the reuse index can't be used; nothing is reused");
        State::Off
    }

    fn complain(&self, fault: &Fault, what: &str) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(path = %self.path().display(), error = %fault, "{what}");
        }
    }
}

#[cfg(test)]
mod tests;
