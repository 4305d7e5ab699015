//! What this machine has of Xet content, and where: the reuse index.
//!
//! For each Xet file that was finished, the index remembers its chunks (length, and the beginning of
//! the hash), which runs of which xorbs they are, and the paths at which the file is. A later
//! download that needs chunks of one of those xorbs takes them from there.
//!
//! ```text
//! store         the SQLite database: opening it, and what to do when it can't be used
//! schema        its tables
//! chunk_record  what is remembered of a chunk, packed
//! local_copy    a file on this machine, and whether it's still the same
//! record        adding a finished file
//! query         finding chunks
//! term          where a part of a file comes from
//! ```
//!
//! It's a cache of knowledge, and nobody's truth: a reader hashes what it takes, and checks the file
//! that it makes as if all of it had been fetched. So an index that is lost, damaged or wrong costs
//! bytes, never correctness. Accordingly nothing here fails: an index that can't be used knows
//! nothing, and says so in the log, once.
//!
//! Handles and locks of the database mean nothing in a forked child, so it is closed before a fork,
//! which waits for what is under way; parent and child each open it again when they need it. To keep
//! that wait short, what takes long is written in parts (`record`), and a question that has to wait
//! for another process is asked again instead.
//!
//! Nothing here knows of HTTP or of the transfer. All of it blocks on the disk.

mod chunk_record;
mod local_copy;
mod moved;
mod query;
mod record;
mod schema;
mod store;
mod term;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

pub(crate) use chunk_record::ChunkRecord;
pub(crate) use local_copy::LocalCopy;
pub(crate) use query::{Run, Search, Whole};
pub(crate) use record::{Finished, SMALLEST};
pub(crate) use term::Term;

use crate::call::ending;
use crate::sys::fork::{self, GiveUp};
use store::{Fault, Store};

/// How long a question is asked again while other processes write, and the pause before that.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// The folder of ours in `$HF_XET_CACHE`; `huggingface_hub`'s are called `logs` and as endpoints are.
const FOLDER: &str = "xet-ffi";

/// The index of one Xet cache. Opened when it's first needed; for any thread and many processes.
#[derive(Debug)]
pub(crate) struct Index {
    folder: PathBuf,
    /// The most that it may grow to, in bytes.
    limit: u64,
    state: Arc<Kept>,
    complained: AtomicBool,
}

/// What is kept from one question to the next, but not across a fork. Locked under
/// [`fork::hold_off`] only, so that no child finds it locked.
#[derive(Debug)]
struct Kept(Mutex<State>);

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
            state: Arc::new(Kept(Mutex::new(State::Unopened))),
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

    /// Starts over with an empty index. False: that can't be done.
    pub(crate) fn clear(&self) -> bool {
        if is_torn() {
            return false;
        }
        let cleared = patiently(|| {
            let mut state = self.state.lock();
            *state = State::Unopened;
            *state = State::Open(Store::recreate(&self.folder).map_err(Trouble::Opening)?);
            drop(state);
            self.close_before_fork();
            Ok(())
        });
        match cleared {
            Ok(()) => true,
            Err(Trouble::Opening(fault) | Trouble::Asking(fault)) => {
                self.give_up(&fault);
                false
            }
        }
    }

    /// Runs `act` on the database, if there is one. `None`: there is none, or it failed. While
    /// another process writes, `act` fails and is run again.
    fn with<T>(&self, mut act: impl FnMut(&mut Store) -> rusqlite::Result<T>) -> Option<T> {
        if is_torn() {
            return None;
        }
        let mut replaced = false;
        let asked = patiently(|| self.attempt(&mut act, &mut replaced));
        if replaced {
            tracing::warn!(path = %self.path().display(), "a damaged reuse index was made anew");
        }
        match asked {
            Ok(answer) => return answer,
            Err(Trouble::Asking(fault)) if fault.is_damage() => {
                self.complain(&fault, "the reuse index is damaged; a new one is made");
                self.clear();
            }
            Err(Trouble::Opening(fault)) if !fault.is_busy() => self.give_up(&fault),
            // Another process is writing for long, or the disk is full: this question has no
            // answer, the next one may have.
            Err(Trouble::Opening(fault) | Trouble::Asking(fault)) => {
                tracing::debug!(error = %fault, "the reuse index didn't answer");
            }
        }
        None
    }

    /// One attempt at `act`. `None`: the index can't be used.
    fn attempt<T>(
        &self,
        act: &mut impl FnMut(&mut Store) -> rusqlite::Result<T>,
        replaced: &mut bool,
    ) -> Result<Option<T>, Trouble> {
        let mut state = self.state.lock();
        if matches!(*state, State::Unopened) {
            let store = Store::open(&self.folder).map_err(Trouble::Opening)?;
            *replaced |= store.replaced;
            *state = State::Open(store);
            self.close_before_fork();
        }
        let State::Open(store) = &mut *state else { return Ok(None) };
        act(store).map(Some).map_err(|error| Trouble::Asking(error.into()))
    }

    fn close_before_fork(&self) {
        let kept: Weak<Kept> = Arc::downgrade(&self.state);
        fork::before_next(kept);
    }

    fn give_up(&self, fault: &Fault) {
        fork::hold_off(|| *self.state.lock() = State::Off);
        self.complain(fault, "the reuse index can't be used; nothing is reused");
    }

    fn complain(&self, fault: &Fault, what: &str) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(path = %self.path().display(), error = %fault, "{what}");
        }
    }
}

/// Whether this process has to do without the index, as its parent was at work on it in the moment of
/// the fork. The first time, the log says so.
fn is_torn() -> bool {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    let is_torn = fork::is_torn();
    if is_torn && !IS_TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "this process was forked while a thread of its parent's was inside the reuse index and \
             didn't come out; nothing is reused here"
        );
    }
    is_torn
}

/// What a question failed at.
enum Trouble {
    Opening(Fault),
    Asking(Fault),
}

/// Asks, again and again while other processes write. Forks wait for each single attempt, not for
/// all of them.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fork::hold_off(&mut ask) {
            Err(Trouble::Opening(fault) | Trouble::Asking(fault))
                if fault.is_busy() && Instant::now() < deadline =>
            {
                std::thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}

impl Kept {
    fn close(&self) {
        fork::hold_off(|| *self.lock() = State::Unopened);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Index {
    /// Closing a database folds its log into it, for which a disk may take as long as it likes.
    fn drop(&mut self) {
        // In a torn child, its lock may be one that nobody gives back.
        if !fork::is_torn() && fork::hold_off(|| matches!(*self.state.lock(), State::Open(_))) {
            let kept = Arc::clone(&self.state);
            // Held until it's closed, so that a fork before that finds it.
            ending::aside(move || kept.close());
        }
    }
}

impl GiveUp for Kept {
    fn give_up(&self) {
        if fork::is_torn() {
            // Its lock may be one that nobody gives back.
            return;
        }
        let mut state = self.lock();
        if matches!(*state, State::Open(_))
            && let State::Open(store) = std::mem::replace(&mut *state, State::Unopened)
        {
            store.close_at_once();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if fork::is_torn() {
            // What is open is the parent's, and closing it isn't for a child.
            let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
            return std::mem::forget(std::mem::replace(state, State::Unopened));
        }
        self.close();
    }
}

#[cfg(test)]
mod tests;
