//! What all who read the same content have in common in one process: what is proven of it, what of it is in memory, and
//! what is on its way. A file that is opened twice is fetched once.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::MerkleHash;

use super::in_flight::InFlight;
use super::packs::Packs;
use super::window::Window;
use super::xet::Xet;
use crate::download::Session;
use crate::model::repo::{CommitId, Repo, RepoPath};

/// Contents that nobody has open, and whose proofs are kept for who opens them again.
const KEPT: usize = 16;

/// The most chunks whose proofs are kept so, for each of them: some 10 MB.
const KEPT_CHUNKS: usize = 1 << 18;

/// How many bytes are kept that came, and aren't proven yet.
const LEFT: u64 = 32 << 20;

/// What makes contents the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) of: Of,
    /// In bytes. As somebody says, who may be wrong.
    pub(super) size: u64,
    /// Who wants nothing that isn't proven shares with nobody who takes it.
    pub(super) requires_proof: bool,
}

/// What says what the content is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// Its Xet hash, wherever it is.
    Xet(MerkleHash),
    /// Nothing but its place.
    Plain(Repo, CommitId, RepoPath),
}

/// What is known and in memory of one content. For many readers at a time.
pub(super) struct Content {
    /// If it's to come over Xet.
    pub(super) xet: Option<Xet>,
    pub(super) window: Window,
    /// What came, and whoever wanted it didn't wait for its proof.
    pub(super) left: Arc<Window>,
    pub(super) in_flight: InFlight,
    /// Something was given out that isn't proven.
    pub(super) is_unproven: AtomicBool,
}

impl Content {
    pub(super) fn new(xet: Option<Xet>) -> Self {
        Self {
            xet,
            window: Window::new(0),
            left: Arc::new(Window::new(LEFT)),
            in_flight: InFlight::default(),
            is_unproven: AtomicBool::new(false),
        }
    }

    /// Whether it's worth the memory to know it when nobody reads it.
    fn is_small(&self) -> bool {
        self.xet.as_ref().is_none_or(|xet| xet.proofs.count() <= KEPT_CHUNKS)
    }
}

/// The contents that were opened in one process, and what is kept of all of them.
#[derive(Clone, Default)]
pub(crate) struct Contents {
    state: Arc<Mutex<State>>,
    /// Where what was read is kept; `None`: nowhere.
    packs: Option<Arc<Packs>>,
}

#[derive(Default)]
struct State {
    known: HashMap<Identity, Known>,
    /// Counts what is opened.
    clock: u64,
    /// So many contents are enough to look for some that nobody has open.
    many: usize,
}

struct Known {
    content: Arc<Content>,
    /// When it was opened last, by the clock.
    opened: u64,
}

impl Contents {
    /// For what is read by a session.
    pub(crate) fn of(session: &Session) -> Self {
        let limit = session.config.read_cache_bytes;
        let index = session.reuse.clone().filter(|_| limit > 0);
        let packs = |index| Arc::new(Packs::new(&session.config.xet_cache, limit, index));
        Self { state: Arc::default(), packs: index.map(packs) }
    }

    /// Where what was read is kept; `None`: nowhere.
    pub(super) fn packs(&self) -> Option<&Arc<Packs>> {
        self.packs.as_ref()
    }

    /// Opens a content, of which the reader keeps up to `window` bytes in memory. If nobody has it open, and it isn't
    /// known from before, it's made with `make`.
    pub(super) fn join(
        &self,
        identity: Identity,
        window: u64,
        make: impl FnOnce() -> Content,
    ) -> Seat {
        let mut state = self.state();
        state.clock += 1;
        let opened = state.clock;
        let make = || Known { content: Arc::new(make()), opened };
        let known = state.known.entry(identity.clone()).or_insert_with(make);
        known.opened = opened;
        let content = Arc::clone(&known.content);
        content.window.widen(window);
        if state.known.len() > state.many {
            state.forget();
        }
        drop(state);
        Seat { contents: self.clone(), identity, content, bytes: window }
    }

    /// Somebody closes a content.
    fn leave(&self, seat: &Seat) {
        // Nobody opens it meanwhile.
        let mut state = self.state();
        seat.content.window.narrow(seat.bytes);
        // The one that is known, and the one that leaves.
        if Arc::strong_count(&seat.content) == 2 {
            // Nothing of what was given out is in memory any more.
            seat.content.left.take(&(0..u64::MAX));
            seat.content.is_unproven.store(false, Ordering::Relaxed);
            if !seat.content.is_small() {
                state.known.remove(&seat.identity);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what nobody has open, but for some that were last. Each time there are twice as many, so that it costs
    /// little for each.
    fn forget(&mut self) {
        let is_idle = |known: &Known| Arc::strong_count(&known.content) == 1;
        let idle = self.known.values().filter(|known| is_idle(known));
        let mut opened: Vec<_> = idle.map(|known| known.opened).collect();
        opened.sort_unstable();
        let oldest = opened.len().checked_sub(KEPT).map_or(0, |first| opened[first]);
        self.known.retain(|_, known| known.opened >= oldest || !is_idle(known));
        self.many = 2 * self.known.len().max(KEPT);
    }
}

/// A place among those who read one content. While it's held, the content keeps so many bytes more in memory.
pub(super) struct Seat {
    contents: Contents,
    identity: Identity,
    content: Arc<Content>,
    bytes: u64,
}

impl Seat {
    /// The contents that this is one of.
    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }
}

impl Deref for Seat {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.contents.leave(self);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::gathered::{Chunk, Chunks};
    use super::*;

    fn identity(number: u64) -> Identity {
        Identity { of: Of::Xet(MerkleHash::from([number; 4])), size: 9, requires_proof: false }
    }

    fn join(contents: &Contents, number: u64) -> Seat {
        contents.join(identity(number), 100, || Content::new(None))
    }

    /// Whoever opens the same content shares it, with the memory of all of them; who wants proofs doesn't.
    #[test]
    fn who_reads_the_same_shares_it() {
        let contents = Contents::default();
        let (one, other) = (join(&contents, 1), join(&contents, 1));
        assert!(Arc::ptr_eq(&one.content, &other.content));
        let strict = Identity { requires_proof: true, ..identity(1) };
        let strict = contents.join(strict, 100, || Content::new(None));
        assert!(!Arc::ptr_eq(&one.content, &strict.content));
        let piece = |at| (at, Chunk::unhashed(Bytes::from_static(&[7; 60])));
        one.window.add(&Chunks::from([piece(0), piece(60), piece(120)]));
        assert_eq!(other.window.of(&(0..180)).len(), 3);
        drop(one);
        assert_eq!(other.window.of(&(0..180)).len(), 1);
        let content = Arc::clone(&other.content);
        drop(other);
        assert!(content.window.of(&(0..180)).is_empty());
    }

    /// What is open stays, however much it is; of what was closed, some that were opened last.
    #[test]
    fn what_is_closed_is_forgotten_in_the_end() {
        let contents = Contents::default();
        let open: Vec<_> = (0..1000).map(|number| join(&contents, number)).collect();
        for number in 1000..5000 {
            drop(join(&contents, number));
        }
        let again = join(&contents, 4999);
        let state = contents.state();
        assert!(state.known.len() <= 2 * (open.len() + KEPT), "{}", state.known.len());
        assert!((0..1000).all(|number| state.known.contains_key(&identity(number))));
        assert!(state.known[&identity(4999)].opened > 5000 && again.bytes == 100);
    }
}
