//! What a file's transfer has to do with the reuse index: what it takes from this machine, and what it
//! leaves behind for later ones.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::MerkleHash;

use super::super::job::Job;
use super::super::journal::Journal;
use super::in_order::InOrder;
use crate::cas::resolve::BLOCK;
use crate::cas::sources::ThisMachine;
use crate::reuse::{Finished, Index, Term};

/// Terms of one file that are held until it's finished: some 15 MB. A file in more parts than that is
/// remembered as a whole, but what it has of the xorbs behind the last of them isn't.
const MOST_TERMS: usize = 1 << 18;

/// The reuse index, as the transfer of one file uses it.
pub(crate) struct Local {
    index: Arc<Index>,
    /// `None`: nothing is taken, and the file is only remembered.
    source: Option<Arc<ThisMachine>>,
    /// All that the CAS said about the file so far.
    terms: Mutex<Vec<Term>>,
    /// A folder in which files with the same content may be one file with several names.
    link_within: Option<PathBuf>,
}

impl Local {
    pub(crate) fn new(index: Arc<Index>, takes: bool, link_within: Option<PathBuf>) -> Self {
        let source = takes.then(|| Arc::new(ThisMachine::new(&index)));
        Self { index, source, terms: Mutex::default(), link_within }
    }

    /// Where chunks are taken from, if any are.
    pub(super) fn source(&self) -> Option<&Arc<ThisMachine>> {
        self.source.as_ref()
    }

    /// Whether another file on this machine has the same content.
    pub(super) fn has_whole(&self, hash: &MerkleHash, size: u64) -> bool {
        self.source().is_some_and(|source| source.has_whole(hash, size))
    }

    /// Whether anything was taken from this machine.
    pub(super) fn has_taken(&self) -> bool {
        self.source().is_some_and(|source| source.has_taken())
    }

    /// Files that were to be reused, and weren't what they should be.
    pub(crate) fn dropped(&self) -> u32 {
        self.source().map_or(0, |source| source.dropped())
    }

    /// Takes note of terms that follow each other. What was known of that part of the file may have
    /// been less than whole terms.
    pub(super) fn learn(&self, terms: Vec<Term>) {
        let (Some(first), Some(last)) = (terms.first(), terms.last()) else { return };
        let mut known = self.terms();
        if known.len() < MOST_TERMS {
            known.retain(|term| term.offset < first.offset || term.end() > last.end());
            known.extend(terms);
        }
    }

    /// The parts of the file whose terms nobody has said, in blocks as the CAS is asked for them; none
    /// if the index knows the content anyway, or there is no room for more of them.
    pub(super) fn unknown(&self, hash: &MerkleHash, size: u64) -> Vec<Range<u64>> {
        if self.has_whole(hash, size) {
            return Vec::new();
        }
        let mut terms = self.terms();
        if terms.len() >= MOST_TERMS {
            return Vec::new();
        }
        terms.sort_by_key(|term| term.offset);
        let mut gaps = Vec::new();
        let mut at = 0;
        let ends = terms.iter().map(|term| (term.offset, term.end())).chain([(size, size)]);
        for (start, end) in ends {
            while at < start {
                let block = at..start.min(at.saturating_add(BLOCK));
                at = block.end;
                gaps.push(block);
            }
            at = at.max(end);
        }
        gaps
    }

    /// Remembers the finished file, which is at `path`. Its journal is still there.
    pub(crate) fn remember(&self, job: &Job, hash: &MerkleHash, path: &Path) {
        let size = job.task.entry.size;
        let journal = job.partial.journal_path();
        let read = || Journal::read(&journal, hash, size);
        let terms = std::mem::take(&mut *self.terms());
        self.index.remember(Finished { hash, size, path, terms }, InOrder::new(read));
    }

    /// A folder in which files with the same content may be one file with several names.
    pub(super) fn link_within(&self) -> Option<&Path> {
        self.link_within.as_deref()
    }

    fn terms(&self) -> MutexGuard<'_, Vec<Term>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
