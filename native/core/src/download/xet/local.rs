//! What a file's transfer has to do with the reuse index: what it takes from this machine, and what it
//! leaves behind for later ones.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::MerkleHash;

use super::super::job::Job;
use super::super::journal::Journal;
use super::super::partial::{journal_path, parts_path};
use super::super::ranges::Ranges;
use super::in_order::InOrder;
use crate::cas::chunker::{Cut, RULES, Rule};
use crate::cas::resolve::BLOCK;
use crate::cas::sources::{PlacedChunk, ThisMachine};
use crate::reuse::{Finished, Index, Term};
use crate::sys::files;

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
    pub(crate) fn has_whole(&self, hash: &MerkleHash, size: u64) -> bool {
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

    /// Whether all terms of the file were learnt, one after the other.
    pub(super) fn knows_all(&self, size: u64) -> bool {
        let mut at = 0;
        for term in self.terms().iter() {
            if term.offset > at {
                return false;
            }
            at = at.max(term.end());
        }
        at >= size
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

    /// Remembers the finished file, which is at `path`, and was published by `rule` where nobody said
    /// how. Its journal is still there.
    pub(crate) fn remember(&self, job: &Job, hash: &MerkleHash, path: &Path, rule: Rule) {
        self.remember_noted((hash, job.task.entry.size), path, &job.partial.journal_path(), rule);
    }

    /// Remembers a file that was found at `path`, with the right content, and isn't known to be there: it was
    /// moved, or whoever finished it was killed before this, and left the journal of its `partial` file.
    pub(crate) fn meet(&self, content: (&MerkleHash, u64), path: &Path, partial: &Path) {
        let journal = journal_path(partial);
        let has_journal = journal.exists();
        if self.index.is_at(content.0, path) {
            return;
        }
        let is_known =
            RULES.into_iter().any(|rule| self.remember_noted(content, path, &journal, rule));
        // Where there is a partial file, too, somebody is at work on it, or goes on with it.
        if is_known && has_journal && !partial.exists() {
            files::discard(&journal);
            files::discard(&parts_path(partial));
        }
    }

    /// Remembers a file, which is at `path`, by the journal of how it came. Returns whether it's remembered now.
    fn remember_noted(
        &self,
        (hash, size): (&MerkleHash, u64),
        path: &Path,
        journal: &Path,
        rule: Rule,
    ) -> bool {
        let notes = || Journal::read(journal, hash, size);
        let mut published = Ranges::default();
        for note in notes().into_iter().flatten().filter(|note| note.cut == Cut::AsPublished) {
            published.add(note.range());
        }
        // A guess counts for nothing any more where somebody has said it.
        let is_true = |note: &PlacedChunk| {
            let is_told = note.cut == Cut::AsPublished;
            is_told || (note.cut.is_by(rule) && !published.touches(&note.range()))
        };
        let read = || notes().map(|notes| notes.filter(is_true));
        let terms = std::mem::take(&mut *self.terms());
        self.index.remember(Finished { hash, size, path, terms }, InOrder::new(read))
    }

    /// A folder in which files with the same content may be one file with several names.
    pub(super) fn link_within(&self) -> Option<&Path> {
        self.link_within.as_deref()
    }

    fn terms(&self) -> MutexGuard<'_, Vec<Term>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
