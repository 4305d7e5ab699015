//! What a file's transfer has to do with the reuse index: what it takes from this machine, and what it
//! leaves behind for later ones.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::super::job::Job;
use super::super::journal::Journal;
use super::file::XetFile;
use crate::cas::resolve::BLOCK;
use crate::cas::sources::copies::Copy;
use crate::cas::sources::{ChunkSink, PlacedChunk, ThisMachine};
use crate::model::error::{Error, Result};
use crate::reuse::{ChunkRecord, Finished, Index, Term};

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
        known.retain(|term| term.offset < first.offset || term.end() > last.end());
        known.extend(terms);
    }

    /// The parts of the file whose terms nobody has said, in blocks as the CAS is asked for them; none
    /// if the index knows the content anyway.
    pub(super) fn unknown(&self, hash: &MerkleHash, size: u64) -> Vec<Range<u64>> {
        if self.has_whole(hash, size) {
            return Vec::new();
        }
        let mut terms = self.terms().clone();
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
        let Some(chunks) = Journal::read(&job.partial.journal_path(), hash, size) else { return };
        let terms = std::mem::take(&mut *self.terms());
        self.index.remember(Finished { hash, size, path, terms }, in_order(chunks));
    }

    fn terms(&self) -> MutexGuard<'_, Vec<Term>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of an attempt to give the file a second name instead of a second copy.
pub(super) enum Linked {
    /// There is nothing to link to.
    No,
    Yes,
    /// The other file isn't what it should be. This one has claimed chunks that it doesn't have.
    Spoilt,
}

/// Makes the file another name of one in the cache that has the same content, after reading all of
/// that. Where repos share a store this isn't needed.
pub(super) async fn link(local: Option<&Arc<Local>>, file: &Arc<XetFile>) -> Result<Linked> {
    let Some(local) = local else { return Ok(Linked::No) };
    let (Some(source), Some(root)) = (local.source().cloned(), local.link_within.clone()) else {
        return Ok(Linked::No);
    };
    let file = Arc::clone(file);
    let call = file.task().call.clone();
    let what = format!("a look for another copy of {}", file.task().entry.path);
    call.blocking(what, move || {
        let task = file.task();
        if !file.is_empty() {
            return Ok(Linked::No);
        }
        let copies = source.whole(&file.hash(), task.entry.size);
        let Some(place) = copies.first().map(|copy| Arc::clone(&copy.place)) else {
            return Ok(Linked::No);
        };
        if !place.path().starts_with(&root) {
            return Ok(Linked::No);
        }
        let Ok(opened) = place.open() else { return Ok(Linked::No) };
        let _waiting = task.at_disk("to read the other copy of");
        let is_good = claim_all(&opened, &copies, &file)? && file.verify().is_ok();
        if !is_good {
            source.drop_place(&place);
            return Ok(Linked::Spoilt);
        }
        if !file.job().partial.link(place.path(), &opened)? {
            return Ok(Linked::Spoilt);
        }
        task.progress.reused(task.entry.size);
        Ok(Linked::Yes)
    })
    .await
}

/// Reads what would be copied, and enters it as if it were here. False: it isn't what it should be.
fn claim_all(source: &File, copies: &[Copy], file: &XetFile) -> Result<bool> {
    let task = file.task();
    let mut buffer = vec![0; *MAX_CHUNK_SIZE];
    for copy in copies {
        let mut at = copy.at;
        for note in &copy.notes {
            if task.call.is_cancelled() {
                return Err(Error::cancelled());
            }
            let Some(chunk) = buffer.get_mut(..note.len as usize) else { return Ok(false) };
            if source.read_exact_at(chunk, at).is_err() {
                return Ok(false);
            }
            let hash = compute_data_hash(chunk);
            if !note.matches(&hash) || file.claim(at, hash, chunk.len())?.is_none() {
                return Ok(false);
            }
            task.progress.advance(note.len.into());
            at += u64::from(note.len);
        }
    }
    Ok(file.gaps().is_empty())
}

/// What the index keeps of chunks that were written out of order, in file order up to the first gap.
/// What is held is what was written ahead.
fn in_order(chunks: impl Iterator<Item = PlacedChunk>) -> impl Iterator<Item = ChunkRecord> {
    let mut chunks = chunks.fuse();
    let mut ahead = BTreeMap::new();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            if let Some(note) = ahead.remove(&at) {
                let note: ChunkRecord = note;
                at += u64::from(note.len);
                return Some(note);
            }
            let chunk = chunks.next()?;
            ahead.insert(chunk.offset, ChunkRecord::new(chunk.len, &chunk.hash));
        }
    })
}
