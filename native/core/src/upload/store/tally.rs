//! The hash of an object while it is sent, in one part after the other, some of them more than once.
//!
//! An object is stored under the hash that its content had when it was asked about. A file that is written to
//! meanwhile, and has the size and time that it had, would be stored under the hash of what it was.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use crate::model::content::hex;
use crate::model::error::{Error, Result};

/// What is known of an object's hash where its parts begin.
pub(super) struct Tally {
    sha256: String,
    /// The hash of all before a position, in bytes.
    before: Mutex<BTreeMap<u64, Sha256>>,
}

/// The hash of all that was read up to a position.
#[derive(Clone)]
pub(super) struct Running {
    position: u64,
    hash: Sha256,
}

impl Tally {
    /// For an object that is to have this SHA-256.
    pub(super) fn new(sha256: &str) -> Self {
        let before = Mutex::new(BTreeMap::from([(0, Sha256::new())]));
        Self { sha256: sha256.to_owned(), before }
    }

    /// Begins with the part at `position`, perhaps again; those before it were sent.
    pub(super) fn at(&self, position: u64) -> Result<Running> {
        let mut before = self.before();
        // Nobody goes back behind a part that has begun.
        *before = before.split_off(&position);
        let hash = before.get(&position).cloned();
        let hash = hash.ok_or_else(|| Error::internal("a part is sent before those before it"))?;
        Ok(Running { position, hash })
    }

    /// A part has been read to its end.
    pub(super) fn keep(&self, running: &Running) {
        self.before().insert(running.position, running.hash.clone());
    }

    /// Whether that, at the end of the object, is its hash.
    pub(super) fn agrees(&self, running: &Running) -> bool {
        hex(&running.hash.clone().finalize()) == self.sha256
    }

    fn before(&self) -> MutexGuard<'_, BTreeMap<u64, Sha256>> {
        // Every change leaves it whole.
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// The next of its bytes.
    pub(super) fn add(&mut self, block: &[u8]) {
        self.position += block.len() as u64;
        self.hash.update(block);
    }

    /// How many bytes are before it.
    pub(super) fn position(&self) -> u64 {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts that are sent again count once, however far they got before.
    #[test]
    fn parts_may_be_sent_again() {
        let content = b"three parts of 5";
        let tally = Tally::new(&hex(&Sha256::digest(content)));
        let send = |start: usize, end: usize| {
            let mut running = tally.at(start as u64).unwrap();
            running.add(&content[start..end]);
            running
        };
        tally.keep(&send(0, 5));
        let _broken = send(5, 7);
        tally.keep(&send(5, 10));
        tally.keep(&send(5, 10));
        assert!(!tally.agrees(&send(10, 15)));
        assert!(tally.agrees(&send(10, 16)));
        assert!(tally.agrees(&send(10, 16)), "the last part was sent again");
        assert!(tally.at(5).is_err(), "a part that is over was sent again");
    }
}
