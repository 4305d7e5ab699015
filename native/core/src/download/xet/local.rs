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
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::super::job::Job;
use super::copies::{Copy, CopyPlan};
use super::file::XetFile;
use super::journal::{Journal, Record};
use super::resolve::BLOCK;
use crate::call::tasks::Tasks;
use crate::model::error::{Error, Result};
use crate::reuse::{ChunkRecord, Finished, Index, Search, Term};

/// Chunks that a copy may have written before it enters them into the journal.
const JOURNAL_EVERY: usize = 256;

/// The reuse index, as the transfer of one file uses it.
pub(crate) struct Local {
    index: Arc<Index>,
    /// Whether anything is taken. If not, the file is only remembered.
    takes: bool,
    search: Mutex<Search>,
    /// All that the CAS said about the file so far.
    terms: Mutex<Vec<Term>>,
    /// Whether anything was taken.
    taken: AtomicBool,
    /// A folder in which files with the same content may be one file with several names.
    link_within: Option<PathBuf>,
}

impl Local {
    pub(crate) fn new(index: Arc<Index>, takes: bool, link_within: Option<PathBuf>) -> Self {
        Self {
            search: Mutex::new(index.search()),
            index,
            takes,
            terms: Mutex::default(),
            taken: AtomicBool::new(false),
            link_within,
        }
    }

    /// The whole file as copies, if another file on this machine has the same content.
    fn whole(&self, hash: &MerkleHash, size: u64) -> Vec<Copy> {
        let mut search = lock(&self.search);
        let mut copies = Vec::new();
        let Some(whole) = search.whole(hash, size).filter(|_| self.takes) else { return copies };
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

    /// Whether another file on this machine has the same content.
    pub(super) fn has_whole(&self, hash: &MerkleHash, size: u64) -> bool {
        self.takes && lock(&self.search).whole(hash, size).is_some()
    }

    /// Where the parts of the file that these terms are about come from. `gaps` are what is missing,
    /// in order: nothing else may be written to.
    pub(crate) fn plan(&self, terms: &[Term], gaps: &[Range<u64>]) -> CopyPlan {
        let mut search = lock(&self.search);
        CopyPlan::new(terms, |term| {
            let gap = gaps.partition_point(|gap| gap.end < term.end());
            let is_missing = gaps.get(gap).is_some_and(|gap| gap.start <= term.offset);
            if !self.takes || !is_missing {
                return Vec::new();
            }
            search.runs(&term.xorb, &term.chunks)
        })
    }

    /// Whether anything was taken from this machine.
    pub(crate) fn has_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// Copies chunks into `file`. Those whose hash is wrong stay missing, and so do all of them if
    /// the source isn't what it was.
    fn copy(&self, copy: &Copy, file: &XetFile) -> Result<()> {
        self.taken.store(true, Ordering::Relaxed);
        // The index says that these are the right chunks; the hash of the whole has to confirm it.
        file.doubt(copy.range());
        let is_good = match copy.place.open() {
            Ok(source) => {
                let mut copying = Copying { copy, source, file, written: Vec::new(), good: true };
                let copied = copying.run();
                file.enter(&mut copying.written)?;
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

    /// Takes note of terms that follow each other. What was known of that part of the file may have
    /// been less than whole terms.
    pub(super) fn learn(&self, terms: Vec<Term>) {
        let (Some(first), Some(last)) = (terms.first(), terms.last()) else { return };
        let mut known = lock(&self.terms);
        known.retain(|term| term.offset < first.offset || term.end() > last.end());
        known.extend(terms);
    }

    /// The parts of the file whose terms nobody has said, in blocks as the CAS is asked for them; none
    /// if the index knows the content anyway.
    pub(super) fn unknown(&self, hash: &MerkleHash, size: u64) -> Vec<Range<u64>> {
        if self.has_whole(hash, size) {
            return Vec::new();
        }
        let mut terms = lock(&self.terms).clone();
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
    let Some(local) = local.cloned() else { return Ok(Linked::No) };
    let Some(root) = local.link_within.clone() else { return Ok(Linked::No) };
    let file = Arc::clone(file);
    let call = file.job().call.clone();
    let what = format!("a look for another copy of {}", file.job().entry.path);
    call.blocking(what, move || {
        if !file.is_empty() {
            return Ok(Linked::No);
        }
        let copies = local.whole(&file.hash(), file.job().entry.size);
        let Some(place) = copies.first().map(|copy| Arc::clone(&copy.place)) else {
            return Ok(Linked::No);
        };
        if !place.path().starts_with(&root) {
            return Ok(Linked::No);
        }
        let Ok(source) = place.open() else { return Ok(Linked::No) };
        let _waiting = file.job().at_disk("to read the other copy of");
        let is_good = claim_all(&source, &copies, &file)? && file.verify().is_ok();
        if !is_good {
            lock(&local.search).drop_place(&place);
            return Ok(Linked::Spoilt);
        }
        if !file.job().link(place.path(), &source)? {
            return Ok(Linked::Spoilt);
        }
        file.job().progress.reused(file.job().entry.size);
        Ok(Linked::Yes)
    })
    .await
}

/// Reads what would be copied, and enters it as if it were here. False: it isn't what it should be.
fn claim_all(source: &File, copies: &[Copy], file: &XetFile) -> Result<bool> {
    let job = file.job();
    let mut buffer = vec![0; *MAX_CHUNK_SIZE];
    for copy in copies {
        let mut at = copy.at;
        for note in &copy.notes {
            if job.call.is_cancelled() {
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
            job.progress.advance(note.len.into());
            at += u64::from(note.len);
        }
    }
    Ok(file.gaps().is_empty())
}

/// Takes the file from another one with the same content, if this machine has one.
pub(super) async fn take_whole(local: &Arc<Local>, file: &Arc<XetFile>) -> Result<()> {
    let job = file.job();
    let size = job.entry.size;
    if !file.is_empty() {
        return Ok(());
    }
    let (finder, hash) = (Arc::clone(local), file.hash());
    let what = format!("a look into the reuse index for {}", job.entry.path);
    let copies = job.call.blocking(what, move || Ok(finder.whole(&hash, size))).await?;
    let mut running = Tasks::default();
    begin(local, file, copies, &mut running);
    let done = running.all().await;
    running.end().await;
    job.writers_ended().await;
    done
}

/// Begins copies, which run as their turn comes.
pub(super) fn begin(
    local: &Arc<Local>,
    file: &Arc<XetFile>,
    copies: Vec<Copy>,
    running: &mut Tasks,
) {
    for copy in copies {
        let (file, local) = (Arc::clone(file), Arc::clone(local));
        running.spawn(async move {
            let call = &file.job().call;
            let what = format!("its turn to copy chunks of {}", file.job().entry.path);
            let turn = call.turn(&call.scheduler.copies, what).await?;
            let target = Arc::clone(&file);
            let what = format!("the disk to copy chunks of {}", file.job().entry.path);
            let ended = file.job().spawn_writer(what, move || local.copy(&copy, &target)).await;
            drop(turn);
            ended.unwrap_or_else(|_| Err(Error::internal("a copy panicked")))
        });
    }
}

/// A copy at work.
struct Copying<'a> {
    copy: &'a Copy,
    source: File,
    file: &'a XetFile,
    /// Not yet in the journal.
    written: Vec<Record>,
    /// No chunk so far was another than expected.
    good: bool,
}

impl Copying<'_> {
    fn run(&mut self) -> Result<()> {
        let job = self.file.job();
        let target = self.copy.range();
        // Shared first and hashed then: what counts is what is in the new file.
        // Not where somebody has put a chunk already: it would be replaced by what isn't known yet.
        let is_free = self.file.missing(target.clone()) == [target.clone()];
        let shared = is_free.then(|| job.share(&self.source, self.copy.at, &target)).flatten();
        if let Some(shared) = &shared
            && !(self.fill(target.start..shared.start)? && self.fill(shared.end..target.end)?)
        {
            self.good = false;
            return Ok(());
        }
        let mut buffer = vec![0; *MAX_CHUNK_SIZE];
        let mut offset = target.start;
        for note in &self.copy.notes {
            if job.call.is_cancelled() {
                return Err(Error::cancelled());
            }
            let Some(chunk) = buffer.get_mut(..note.len as usize) else { break };
            let is_read = match &shared {
                Some(_) => job.read_at(chunk, offset)?,
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
        self.file.job().write_at(&buffer, range.start)?;
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

    fn place(
        &mut self,
        note: &ChunkRecord,
        chunk: &[u8],
        offset: u64,
        is_there: bool,
    ) -> Result<()> {
        let hash = compute_data_hash(chunk);
        if !note.matches(&hash) {
            if self.good {
                let path = self.copy.place.path().display();
                tracing::warn!(%path, "a cached file has changed or is damaged; it isn't reused");
            }
            self.good = false;
            return Ok(());
        }
        let job = self.file.job();
        let placed = if is_there {
            let claimed = self.file.claim(offset, hash, chunk.len())?;
            job.progress.advance(claimed.map_or(0, |record| record.len.into()));
            claimed
        } else {
            self.file.place(offset, hash, chunk)?
        };
        if let Some(record) = placed {
            job.progress.reused(record.len.into());
            self.written.push(record);
        }
        if self.written.len() >= JOURNAL_EVERY {
            self.file.enter(&mut self.written)
        } else {
            Ok(())
        }
    }
}

/// The notes of chunks that were written out of order, in file order up to the first gap. What is
/// held is what was written ahead.
fn in_order(records: impl Iterator<Item = Record>) -> impl Iterator<Item = ChunkRecord> {
    let mut records = records.fuse();
    let mut ahead = BTreeMap::new();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            if let Some(note) = ahead.remove(&at) {
                let note: ChunkRecord = note;
                at += u64::from(note.len);
                return Some(note);
            }
            let record = records.next()?;
            ahead.insert(record.offset, ChunkRecord::new(record.len, &record.hash));
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
