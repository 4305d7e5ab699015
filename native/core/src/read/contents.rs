//! What all who read the same content have in common in one process: what is proven of it, what of it is in memory, and
//! what is on its way. A file that is opened twice is fetched once.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
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

/// The most chunks whose proofs are kept so, of all of them: some 20 MB.
const KEPT_CHUNKS: usize = 1 << 18;

/// The most bytes that are kept of a content that came, and aren't proven yet; but no more than its readers keep.
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
    /// Its Xet hash, by whatever name it's in a repo. Another repo's word isn't this one's.
    Xet(MerkleHash, Repo),
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
}

impl Content {
    pub(super) fn new(xet: Option<Xet>) -> Self {
        Self {
            xet,
            window: Window::new(0),
            left: Arc::new(Window::new(0)),
            in_flight: InFlight::default(),
        }
    }

    /// It's to keep so many bytes in memory.
    fn keep(&self, bytes: u128) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.window.resize(bytes);
        self.left.resize(bytes.min(LEFT));
    }

    /// How many of its chunks are proven.
    fn proven(&self) -> usize {
        self.xet.as_ref().map_or(0, |xet| xet.proofs.count())
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
    /// Those that nobody has open, by when they were closed, with what is kept of them, in chunks.
    idle: BTreeMap<u64, (Identity, usize)>,
    /// Counts what is closed.
    clock: u64,
    /// How many are open; each as often as it is.
    open: usize,
}

struct Known {
    content: Arc<Content>,
    /// How many have it open.
    readers: usize,
    /// How many bytes they keep in memory, together.
    bytes: u128,
    /// When the last one closed it, if nobody has it open.
    closed: u64,
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
        let make = || Known { content: Arc::new(make()), readers: 0, bytes: 0, closed: 0 };
        let known = state.known.entry(identity.clone()).or_insert_with(make);
        known.readers += 1;
        known.bytes += u128::from(window);
        let (content, closed) = (Arc::clone(&known.content), known.closed);
        content.keep(known.bytes);
        state.idle.remove(&closed);
        state.open += 1;
        drop(state);
        Seat { contents: self.clone(), identity, content, bytes: window }
    }

    /// Somebody closes a content.
    fn leave(&self, seat: &Seat) {
        let mut state = self.state();
        state.open -= 1;
        state.clock += 1;
        let clock = state.clock;
        let Some(known) = state.known.get_mut(&seat.identity) else { return };
        known.readers -= 1;
        known.bytes -= u128::from(seat.bytes);
        known.content.keep(known.bytes);
        if known.readers == 0 {
            known.closed = clock;
            let proven = known.content.proven();
            state.idle.insert(clock, (seat.identity.clone(), proven));
            state.forget();
        }
    }

    /// Whether no more than one has a content open.
    pub(super) fn is_last(&self) -> bool {
        self.state().open <= 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what nobody has open, but for some that were closed last.
    fn forget(&mut self) {
        let mut chunks: usize = self.idle.values().map(|(_, proven)| proven).sum();
        while (self.idle.len() > KEPT || chunks > KEPT_CHUNKS)
            && let Some((_, (identity, proven))) = self.idle.pop_first()
        {
            self.known.remove(&identity);
            chunks -= proven;
        }
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
    use crate::model::repo::RepoType;

    fn identity(number: u64) -> Identity {
        let repo = Repo::new(RepoType::Model, "alice/model").unwrap();
        Identity {
            of: Of::Xet(MerkleHash::from([number; 4]), repo),
            size: 9,
            requires_proof: false,
        }
    }

    fn join(contents: &Contents, number: u64) -> Seat {
        contents.join(identity(number), 1000, || Content::new(None))
    }

    fn pieces(count: u64) -> Chunks {
        let piece = |n| (n * 60, Chunk::unhashed(Bytes::from_static(&[7; 60])));
        (0..count).map(piece).collect()
    }

    /// Whoever opens the same content shares it, with the memory of all of them; who wants proofs doesn't. With the last
    /// of them goes what is in memory.
    #[test]
    fn who_reads_the_same_shares_it() {
        let contents = Contents::default();
        let (one, other) = (join(&contents, 1), join(&contents, 1));
        assert!(Arc::ptr_eq(&one.content, &other.content));
        let strict = Identity { requires_proof: true, ..identity(1) };
        let strict = contents.join(strict, 1000, || Content::new(None));
        assert!(!Arc::ptr_eq(&one.content, &strict.content));
        one.window.add(&pieces(5));
        one.left.add(&pieces(5));
        assert_eq!((other.window.of(&(0..300)).len(), other.left.of(&(0..300)).len()), (5, 5));
        drop(one);
        assert_eq!(other.window.of(&(0..300)).len(), 3);
        // However large it is, what one adds goes with it.
        let huge = contents.join(identity(1), u64::MAX, || panic!("it's known"));
        drop(huge);
        assert_eq!(other.window.of(&(0..300)).len(), 3);
        let left = Arc::clone(&other.left);
        drop(other);
        left.add(&pieces(1));
        assert!(left.of(&(0..300)).is_empty());
        assert!(join(&contents, 1).window.of(&(0..300)).is_empty());
    }

    /// What is open stays, however much it is; of what was closed, some that were closed last.
    #[test]
    fn what_is_closed_is_forgotten() {
        let contents = Contents::default();
        let open: Vec<_> = (0..1000).map(|number| join(&contents, number)).collect();
        for number in 1000..5000 {
            drop(join(&contents, number));
        }
        let again = join(&contents, 4999);
        let is_known = |number| contents.state().known.contains_key(&identity(number));
        assert_eq!(contents.state().known.len(), 1000 + KEPT);
        assert!((0..1000).chain(5000 - KEPT as u64..5000).all(is_known));
        assert!(!contents.is_last());
        drop((open, again));
        let state = contents.state();
        assert_eq!((state.known.len(), state.idle.len(), state.open), (KEPT, KEPT, 0));
    }
}
