//! What a file's transfer takes from this machine, and what it leaves behind for later ones.
//!
//! Before a part of the file is fetched, its terms are looked up in the reuse index; what is found
//! is copied, and hashed like everything that is fetched. When the file is finished, it's added to
//! the index itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::job::Job;
use super::journal::{Journal, Record};
use super::ledger::{Inserted, Ledger};
use super::plan::{Copy, Plan};
use crate::error::{Error, Result};
use crate::reuse::{Finished, Index, Note, Search, Term};

/// Chunks that a copy may have written before it enters them into the journal.
const JOURNAL_EVERY: usize = 256;

/// The reuse index, as the transfer of one file uses it.
pub(crate) struct Local {
    index: Arc<Index>,
    search: Mutex<Search>,
    /// Nothing is taken any more: what was taken turned out to be wrong.
    distrusted: AtomicBool,
    /// All that the CAS said about the file so far.
    terms: Mutex<Vec<Term>>,
    /// What was taken.
    taken: Mutex<Vec<Range<u64>>>,
    copying: Arc<Semaphore>,
}

impl Local {
    /// `copying` has a permit for each copy that may be made at a time.
    pub(crate) fn new(index: Arc<Index>, copying: Arc<Semaphore>) -> Self {
        let search = Mutex::new(index.search());
        Self {
            index,
            search,
            distrusted: AtomicBool::new(false),
            terms: Mutex::default(),
            taken: Mutex::default(),
            copying,
        }
    }

    /// Waits until a copy may be made.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.copying).acquire_owned().await.map_err(Error::internal)
    }

    /// The whole file as copies, if another file on this machine has the same content.
    pub(crate) fn whole(&self, hash: &MerkleHash, size: u64) -> Vec<Copy> {
        if self.distrusted.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut search = lock(&self.search);
        let mut copies = Vec::new();
        let Some(whole) = search.whole(hash, size) else { return copies };
        let mut at = 0;
        for number in 0..whole.pages() {
            let Some(run) = search.page(&whole, number, at) else { break };
            let copy = Copy { place: run.place, at, offset: at, notes: run.notes };
            at = copy.range().end;
            if at > size {
                break;
            }
            copies.push(copy);
        }
        copies
    }

    /// Where the part of the file that these terms are about comes from. They are in order, without
    /// gaps. `within` is what is missing: nothing else may be written to.
    pub(crate) fn plan(&self, terms: Vec<Term>, within: &Range<u64>) -> Plan {
        let mut search = lock(&self.search);
        let distrusted = self.distrusted.load(Ordering::Relaxed);
        let plan = Plan::new(&terms, |term| {
            if distrusted || term.offset < within.start || term.end() > within.end {
                return Vec::new();
            }
            search.runs(&term.xorb, &term.chunks)
        });
        lock(&self.terms).extend(terms);
        plan
    }

    /// Takes nothing any more, forgets what was taken, and returns it.
    pub(crate) fn distrust(&self) -> Vec<Range<u64>> {
        self.distrusted.store(true, Ordering::Relaxed);
        std::mem::take(&mut *lock(&self.taken))
    }

    /// Copies chunks into `job`'s partial file. Those whose hash is wrong stay missing, and so do
    /// all of them if the source isn't what it was.
    pub(crate) fn copy(
        &self,
        copy: &Copy,
        job: &Job,
        ledger: &Ledger,
        journal: &Journal,
    ) -> Result<()> {
        lock(&self.taken).push(copy.range());
        let is_good = match copy.place.open() {
            Ok(source) => {
                let mut copying =
                    Copying { copy, source, job, ledger, journal, written: Vec::new(), good: true };
                let copied = copying.run();
                // What is in the file is in the ledger, so it belongs in the journal.
                copying.enter_written()?;
                copied?;
                copying.good
            }
            Err(error) => {
                let path = copy.place.path().display();
                tracing::info!(%path, %error, "a file that was to be reused isn't");
                false
            }
        };
        if !is_good {
            lock(&self.search).drop_place(&copy.place);
        }
        Ok(())
    }

    /// Remembers the finished file, which is at `path`. Its journal is still there.
    pub(crate) fn remember(&self, job: &Job, hash: &MerkleHash, path: &Path) {
        let size = job.entry.size;
        let Some(records) = Journal::read(&job.journal_path(), hash, size) else { return };
        let terms = std::mem::take(&mut *lock(&self.terms));
        self.index.remember(Finished { hash, size, path, terms }, in_order(records));
    }

    /// Files that were to be reused, and weren't what they should be.
    pub(crate) fn dropped(&self) -> u32 {
        lock(&self.search).dropped()
    }
}

/// A copy at work.
struct Copying<'a> {
    copy: &'a Copy,
    source: File,
    job: &'a Job,
    ledger: &'a Ledger,
    journal: &'a Journal,
    /// Not yet in the journal.
    written: Vec<Record>,
    /// No chunk so far was another than expected.
    good: bool,
}

impl Copying<'_> {
    fn run(&mut self) -> Result<()> {
        let target = self.copy.range();
        // Shared first and hashed then: what counts is what is in the new file.
        let shared = self.job.share(&self.source, self.copy.at, &target);
        if let Some(shared) = &shared
            && !(self.fill(target.start..shared.start)? && self.fill(shared.end..target.end)?)
        {
            self.good = false;
            return Ok(());
        }
        let mut buffer = vec![0; *MAX_CHUNK_SIZE];
        let mut offset = target.start;
        for note in &self.copy.notes {
            if self.job.call.is_cancelled() {
                return Err(Error::cancelled());
            }
            let Some(chunk) = buffer.get_mut(..note.len as usize) else { break };
            let is_read = match &shared {
                Some(_) => self.job.read_at(chunk, offset)?,
                None => self.read_source(chunk, offset),
            };
            if !is_read {
                self.good = false;
                break;
            }
            self.place(note, chunk, offset, shared.is_some())?;
            offset += u64::from(note.len);
        }
        Ok(())
    }

    /// Copies bytes of the new file that aren't shared. False: the source has less.
    fn fill(&self, range: Range<u64>) -> Result<bool> {
        let mut buffer =
            vec![0; usize::try_from(range.end - range.start).map_err(Error::internal)?];
        if !self.read_source(&mut buffer, range.start) {
            return Ok(false);
        }
        self.job.write_at(&buffer, range.start)?;
        Ok(true)
    }

    /// Reads what belongs at `offset` of the new file.
    fn read_source(&self, buffer: &mut [u8], offset: u64) -> bool {
        let at = self.copy.at + (offset - self.copy.offset);
        match self.source.read_exact_at(buffer, at) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    let path = self.copy.place.path().display();
                    tracing::warn!(%path, %error, "can't read a file that was to be reused");
                }
                false
            }
        }
    }

    fn place(&mut self, note: &Note, chunk: &[u8], offset: u64, is_there: bool) -> Result<()> {
        let (hash, len) = (compute_data_hash(chunk), u64::from(note.len));
        if !note.matches(&hash) {
            if self.good {
                let path = self.copy.place.path().display();
                tracing::warn!(%path, "a cached file has changed or is damaged; it isn't reused");
            }
            self.good = false;
            return Ok(());
        }
        if self.ledger.insert(offset, hash, len)? == Inserted::Known {
            return Ok(());
        }
        if !is_there {
            self.job.write_at(chunk, offset)?;
        }
        self.job.progress.reused(len);
        self.job.progress.advance(len);
        self.written.push(Record { offset, len: note.len, hash });
        if self.written.len() >= JOURNAL_EVERY { self.enter_written() } else { Ok(()) }
    }

    fn enter_written(&mut self) -> Result<()> {
        self.journal.append(&self.written)?;
        self.written.clear();
        Ok(())
    }
}

/// The notes of chunks that were written out of order, in file order up to the first gap. What is
/// held is what was written ahead.
fn in_order(records: impl Iterator<Item = Record>) -> impl Iterator<Item = Note> {
    let mut records = records.fuse();
    let mut ahead = BTreeMap::new();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            if let Some(note) = ahead.remove(&at) {
                let note: Note = note;
                at += u64::from(note.len);
                return Some(note);
            }
            let record = records.next()?;
            ahead.insert(record.offset, Note::new(record.len, &record.hash));
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
