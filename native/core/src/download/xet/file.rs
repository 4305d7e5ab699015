//! A Xet file that is being put together: what it has, what it lacks, and what is in doubt.

use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::{CancellationToken, DropGuard};
use xet_core_structures::merklehash::MerkleHash;

use super::super::job::Job;
use super::super::journal::{Journal, Remains};
use super::super::ledger::Inserted;
use super::super::ledgers::Ledgers;
use super::super::ranges::Ranges;
use crate::call::Begun;
use crate::call::file_task::FileTask;
use crate::call::scheduler::OffWorker;
use crate::cas::block;
use crate::cas::chunker::{Cut, RULES, Rule};
use crate::cas::sources::{ChunkSink, LooseChunk, PlacedChunk};
use crate::model::content;
use crate::model::error::{Error, Result};

/// Those who read again what is here of one file, at most: others need threads, too.
const MOST_READERS: usize = 8;

/// A Xet file on its way. Shared by the tasks that bring in its chunks.
pub(super) struct XetFile {
    job: Job,
    hash: MerkleHash,
    ledgers: Arc<Ledgers>,
    journal: OffWorker<Journal>,
    /// Where chunks are that only the hash of the whole file can vouch for. The others are from
    /// xorbs that were fetched whole and have the hash that is their name.
    doubts: Mutex<Ranges>,
    /// What earlier attempts have left of it that nobody vouches for.
    remains: Mutex<Ranges>,
    /// What of them was cut by guess.
    old_guesses: Vec<Range<u64>>,
    /// Chunks don't fit together.
    has_misfits: AtomicBool,
    /// A write has failed, so the ledger promises what isn't there.
    is_broken: AtomicBool,
    /// Those who read again what earlier attempts have left.
    readers: tokio::sync::Mutex<Vec<Begun<()>>>,
    /// Ends them. With the file, since nobody else wants to know.
    stop: DropGuard,
}

impl XetFile {
    /// Takes up what earlier attempts have noted of the partial file outside of `without`. It's being read again from here
    /// on, on all cores, until [`settled`](Self::settled); what else is missing can be brought in
    /// meanwhile. True: there was a journal.
    pub(super) async fn open(
        job: &Job,
        hash: MerkleHash,
        without: Vec<Range<u64>>,
    ) -> Result<(Arc<Self>, bool)> {
        let (file, promised) = Self::restore(job, hash, without).await?;
        let had_journal = promised.is_some();
        if let Some(promised) = promised.filter(|promised| !promised.is_empty()) {
            let resumed: u64 = promised.iter().map(|range| range.end - range.start).sum();
            tracing::info!(file = %job.task.entry.path, resumed, "resuming");
            // It was fetched by who knows whom.
            for range in promised {
                file.found(range);
            }
        }
        Ok((file, had_journal))
    }

    /// One of which nothing is here.
    pub(super) fn begin(job: &Job, hash: MerkleHash) -> Arc<Self> {
        let (ledgers, journal) = (Ledgers::new(job.task.entry.size), Journal::of_new(job, &hash));
        let stop = CancellationToken::new().drop_guard();
        Self::of(job, hash, (Arc::new(ledgers), journal), (Vec::new(), Vec::new()), stop)
    }

    /// The same file once more, without what lies in `without`. The rest is vouched for, or is in
    /// `without` as well.
    pub(super) async fn reopen(&self, without: Vec<Range<u64>>) -> Result<Arc<Self>> {
        self.stop_reading();
        // What comes of it is of no use any more.
        let _ = self.settled().await;
        let (job, path) = (self.job.clone(), self.job.task.entry.path.to_string());
        let forget = move || job.partial.forget_parts();
        self.job.task.call.blocking(format!("the disk to forget parts of {path}"), forget).await?;
        Ok(Self::restore(&self.job, self.hash, without).await?.0)
    }

    /// With what the journal names; `None`: there was none.
    async fn restore(
        job: &Job,
        hash: MerkleHash,
        without: Vec<Range<u64>>,
    ) -> Result<(Arc<Self>, Option<Vec<Range<u64>>>)> {
        let (opened, ledgers) = (job.clone(), Arc::new(Ledgers::new(job.task.entry.size)));
        let noted = Arc::clone(&ledgers);
        let resume = move || Journal::resume(&opened, &hash, &noted, &without);
        let what = format!("the disk to read the journal of {}", job.task.entry.path);
        let (journal, remains) = job.task.call.blocking(what, resume).await?;
        let stop = CancellationToken::new();
        // Before anybody reads.
        let promised = remains.is_some().then(|| ledgers.promised());
        let old_guesses =
            remains.as_ref().map_or_else(Vec::new, |remains| remains.guesses().to_vec());
        let readers = remains.map_or_else(Vec::new, |remains| read(job, &ledgers, remains, &stop));
        let stop = stop.drop_guard();
        Ok((Self::of(job, hash, (ledgers, journal), (old_guesses, readers), stop), promised))
    }

    fn of(
        job: &Job,
        hash: MerkleHash,
        (ledgers, journal): (Arc<Ledgers>, Journal),
        (old_guesses, readers): (Vec<Range<u64>>, Vec<Begun<()>>),
        stop: DropGuard,
    ) -> Arc<Self> {
        Arc::new(Self {
            job: job.clone(),
            hash,
            ledgers,
            journal: job.task.call.off_worker(journal),
            doubts: Mutex::default(),
            remains: Mutex::default(),
            old_guesses,
            has_misfits: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            readers: tokio::sync::Mutex::new(readers),
            stop,
        })
    }

    /// Waits until what earlier attempts have left has been read again. What of it isn't right is
    /// missing from then on.
    pub(super) async fn settled(&self) -> Result<()> {
        let mut readers = self.readers.lock().await;
        let mut done = Ok(());
        while let Some(reader) = readers.last_mut() {
            let ended = reader.await.unwrap_or_else(|error| Err(Error::internal(error)));
            done = done.and(ended);
            readers.pop();
        }
        self.ledgers.forget_promises();
        done
    }

    /// Ends the reading: what hasn't been read is going to be missing.
    pub(super) fn stop_reading(&self) {
        self.stop.token().cancel();
    }

    /// Ends when [`stop_reading`](Self::stop_reading) says so.
    pub(super) async fn stopped(&self) {
        self.stop.token().cancelled().await;
    }

    /// Whether what hasn't been read is going to be missing.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.token().is_cancelled()
    }

    /// Has `reader` read what was [promised](Self::promise), on all cores, until
    /// [`settled`](Self::settled).
    pub(super) async fn begin_reading(
        self: &Arc<Self>,
        reader: impl Fn(&Self) -> Result<()> + Clone + Send + 'static,
    ) {
        let begin = |_| {
            let (file, reader) = (Arc::clone(self), reader.clone());
            let what =
                format!("the disk to read again what is here of {}", self.job.task.entry.path);
            self.job.task.spawn_writer(what, move || {
                let _waiting = file.job.task.at_disk("to read again what is here of");
                reader(&file)
            })
        };
        self.readers.lock().await.extend((0..readers()).map(begin));
    }

    /// A part of the file, of whole chunks, is here, and isn't missing until somebody has looked.
    pub(super) fn promise(&self, range: Range<u64>) -> Result<()> {
        self.ledgers.promise(range.start, range.end - range.start)?;
        // It was fetched by who knows whom.
        self.found(range);
        Ok(())
    }

    /// Enters a chunk that was promised. `content` is written to its place, unless it stands there
    /// already.
    pub(super) fn keep(&self, chunk: PlacedChunk, content: Option<&[u8]>) -> Result<bool> {
        let kept = match content {
            Some(_) => self.ledgers.keep_written(&chunk),
            None => self.ledgers.keep(&chunk),
        };
        if kept.inspect_err(|_| self.has_misfits.store(true, Ordering::Relaxed))? == Inserted::Known
        {
            return Ok(false);
        }
        if let Some(content) = content {
            self.write(&[(chunk.offset, content)])?;
        }
        self.job.task.progress.advance(chunk.len.into());
        self.job.task.progress.reused(chunk.len.into());
        Ok(true)
    }

    /// Puts a chunk in its place, unless one is there already: then this is false.
    pub(super) fn put(&self, chunk: &PlacedChunk, content: &[u8]) -> Result<bool> {
        // Entered first, written then: of two tasks that bring the same chunk, only the one whose
        // hash counts may write.
        let is_new = self.enter_first(chunk)?;
        if is_new {
            self.write(&[(chunk.offset, content)])?;
            self.job.task.progress.advance(chunk.len.into());
        }
        Ok(is_new)
    }

    /// Enters a chunk that only the older rule makes of content that this file has been given. Where it
    /// doesn't fit, that rule proves nothing.
    pub(super) fn enter_older(&self, chunk: &PlacedChunk) -> bool {
        matches!(self.ledgers.enter_older(chunk), Ok(Inserted::New))
    }

    /// Enters a chunk, whether it stands in its place or is to be written there; false if it's known.
    pub(super) fn enter_first(&self, chunk: &PlacedChunk) -> Result<bool> {
        let entered = self.ledgers.insert(chunk);
        let entered = entered.inspect_err(|_| self.has_misfits.store(true, Ordering::Relaxed))?;
        Ok(entered == Inserted::New)
    }

    /// Writes chunks that were entered, each with where it goes.
    fn write(&self, contents: &[(u64, &[u8])]) -> Result<()> {
        if contents.is_empty() {
            return Ok(());
        }
        let write = || {
            self.begin_journal()?;
            let adjoining = |before: &(u64, &[u8]), after: &(u64, &[u8])| {
                before.0 + before.1.len() as u64 == after.0
            };
            contents.chunk_by(adjoining).try_for_each(|run| {
                let (offset, slices) =
                    (run[0].0, run.iter().map(|(_, content)| IoSlice::new(content)));
                self.job.partial.write_all_at(&mut slices.collect::<Vec<_>>(), offset)
            })
        };
        write().inspect_err(|_| self.is_broken.store(true, Ordering::Relaxed))
    }

    /// Before anything is written.
    pub(super) fn begin_journal(&self) -> Result<()> {
        if self.journal.has_begun() {
            return Ok(());
        }
        let _waiting = self.job.task.at_disk("to begin the journal of");
        self.journal.begin()
    }

    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// All gaps.
    pub(super) fn gaps(&self) -> Vec<Range<u64>> {
        self.missing(0..self.job.task.entry.size)
    }

    /// Whether nothing of it is there yet.
    pub(super) fn is_empty(&self) -> bool {
        self.lacking() == self.job.task.entry.size
    }

    fn lacking(&self) -> u64 {
        self.gaps().iter().map(|gap| gap.end - gap.start).sum()
    }

    /// The ranges that nobody vouches for, merged and in order.
    pub(super) fn doubts(&self) -> Vec<Range<u64>> {
        lock(&self.doubts).to_vec()
    }

    /// Takes note that a part of the file was here before, from who knows whom.
    pub(super) fn found(&self, range: Range<u64>) {
        lock(&self.remains).add(range.clone());
        self.doubt(range);
    }

    /// What earlier attempts have left that was cut by guess.
    pub(super) fn old_guesses(&self) -> &[Range<u64>] {
        &self.old_guesses
    }

    /// What was here before.
    pub(super) fn remains(&self) -> Vec<Range<u64>> {
        lock(&self.remains).to_vec()
    }

    /// Whether chunks don't fit together, wherever they are from.
    pub(super) fn has_misfits(&self) -> bool {
        self.has_misfits.load(Ordering::Relaxed)
    }

    /// The error for chunks that leave gaps in the file although all of them came.
    pub(super) fn leaves_gaps(&self) -> Error {
        self.has_misfits.store(true, Ordering::Relaxed);
        block::lie("it leaves gaps in the file")
    }

    /// The rule by which the file, of which nothing is missing any more, has its own hash: today's, if
    /// nothing was left to guess. Fails if it has another hash.
    pub(super) fn verify(&self) -> Result<Rule> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(Error::internal("a Xet file went on after a write had failed"));
        }
        let right = RULES.into_iter().find(|&rule| self.ledgers.file_hash(rule) == Some(self.hash));
        if let Some(rule) = right {
            return Ok(rule);
        }
        let actual = self
            .ledgers
            .file_hash(Rule::Today)
            .ok_or_else(|| Error::internal("a Xet file ended with chunks missing"))?;
        Err(content::mismatch(&self.job.task.entry, "Merkle hash", &self.hash.hex(), &actual.hex()))
    }
}

/// A region of the partial file, which is all of it.
impl ChunkSink for XetFile {
    fn task(&self) -> &FileTask {
        &self.job.task
    }

    fn hash(&self) -> MerkleHash {
        self.hash
    }

    fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        self.ledgers.missing(within)
    }

    fn place(&self, chunks: &[LooseChunk<'_>], placed: &mut Vec<PlacedChunk>) -> Result<()> {
        // Entered first, written then: of two tasks that bring the same chunk, only the one whose
        // hash counts may write.
        let (before, mut contents) = (placed.len(), Vec::with_capacity(chunks.len()));
        let entered = chunks.iter().try_for_each(|chunk| {
            if let Some(claimed) = self.claim(chunk.offset, chunk.hash, chunk.content.len())? {
                placed.push(claimed);
                contents.push((chunk.offset, chunk.content));
            }
            Ok(())
        });
        // Those before one that doesn't fit count.
        if let Err(error) = self.write(&contents) {
            placed.truncate(before);
            return Err(error);
        }
        let written: u64 = contents.iter().map(|(_, content)| content.len() as u64).sum();
        self.job.task.progress.advance(written);
        entered
    }

    fn is_busy(&self) -> bool {
        self.job.partial.is_busy()
    }

    fn enter(&self, placed: &mut Vec<PlacedChunk>) -> Result<()> {
        if !placed.is_empty() {
            self.journal.append(placed)?;
            placed.clear();
        }
        Ok(())
    }

    fn doubt(&self, range: Range<u64>) {
        lock(&self.doubts).add(range);
    }

    /// Chunks overlap those that an earlier attempt has left, or leave a gap although all of them
    /// came.
    fn has_clashed(&self) -> bool {
        self.has_misfits() && !lock(&self.remains).is_empty()
    }

    fn share(&self, source: &File, at: u64, range: &Range<u64>) -> Result<bool> {
        let partial = &self.job.partial;
        self.begin_journal()?;
        let Some(shared) = partial.share(source, at, range) else { return Ok(false) };
        // Only whole blocks can be shared.
        for end in [range.start..shared.start, shared.end..range.end] {
            let mut bytes = vec![0; usize::try_from(end.end - end.start).map_err(Error::internal)?];
            if source.read_exact_at(&mut bytes, at + (end.start - range.start)).is_err() {
                return Ok(false);
            }
            partial.write_at(&bytes, end.start)?;
        }
        Ok(true)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<bool> {
        self.job.partial.read_at(buffer, offset)
    }

    fn claim(&self, offset: u64, hash: MerkleHash, len: usize) -> Result<Option<PlacedChunk>> {
        let claimed = published(offset, hash, len)?;
        Ok(self.enter_first(&claimed)?.then_some(claimed))
    }
}

fn published(offset: u64, hash: MerkleHash, len: usize) -> Result<PlacedChunk> {
    let len = u32::try_from(len).map_err(Error::internal)?;
    Ok(PlacedChunk { offset, len, hash, cut: Cut::AsPublished })
}

/// Begins to read again what earlier attempts have left, on all cores.
fn read(
    job: &Job,
    ledgers: &Arc<Ledgers>,
    remains: Remains,
    stop: &CancellationToken,
) -> Vec<Begun<()>> {
    // They may all be done before this is.
    let remains = Arc::new(job.task.call.off_worker(remains));
    let reader = |_| {
        let (job, ledgers) = (job.clone(), Arc::clone(ledgers));
        let (remains, stop) = (Arc::clone(&remains), stop.clone());
        let tracked = job.clone();
        let what = format!("the disk to read again what is here of {}", job.task.entry.path);
        tracked.task.spawn_writer(what, move || {
            let _waiting = job.task.at_disk("to read again what is here of");
            remains.check(&job, &ledgers, || stop.is_cancelled())
        })
    };
    (0..readers()).map(reader).collect()
}

/// How many read side by side.
pub(super) fn readers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(MOST_READERS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
