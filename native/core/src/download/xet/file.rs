//! A Xet file that is being put together: what it has, what it lacks, and what is in doubt.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::{CancellationToken, DropGuard};
use xet_core_structures::merklehash::MerkleHash;

use super::super::job::Job;
use super::journal::{Journal, Record, Remains};
use super::ledger::{Inserted, Ledger};
use crate::call::Begun;
use crate::call::scheduler::OffWorker;
use crate::cas::block;
use crate::model::content;
use crate::model::error::{Error, Result};

/// Those who read again what is here of one file, at most: others need threads, too.
const MOST_READERS: usize = 8;

/// A Xet file on its way. Shared by the tasks that bring in its chunks.
pub(super) struct XetFile {
    job: Job,
    hash: MerkleHash,
    ledger: Arc<Ledger>,
    journal: OffWorker<Journal>,
    /// Where chunks are that only the hash of the whole file can vouch for. The others are from
    /// xorbs that were fetched whole and have the hash that is their name.
    doubts: Mutex<Vec<Range<u64>>>,
    /// What earlier attempts have left of it that nobody vouches for.
    remains: Mutex<Vec<Range<u64>>>,
    /// Chunks were cut as today's chunker does, and nobody has said that the file was published so.
    has_guesses: AtomicBool,
    /// Chunks don't fit together.
    has_clashed: AtomicBool,
    /// A write has failed, so the ledger promises what isn't there.
    is_broken: AtomicBool,
    /// Those who read again what earlier attempts have left.
    readers: tokio::sync::Mutex<Vec<Begun<()>>>,
    /// Ends them. With the file, since nobody else wants to know.
    stop: DropGuard,
}

impl XetFile {
    /// Takes up what earlier attempts have noted of the partial file. It's being read again from here
    /// on, on all cores, until [`settled`](Self::settled); what else is missing can be brought in
    /// meanwhile. True: there was a journal.
    pub(super) async fn open(job: &Job, hash: MerkleHash) -> Result<(Arc<Self>, bool)> {
        let (file, promised) = Self::restore(job, hash, Vec::new()).await?;
        let had_journal = promised.is_some();
        if let Some(promised) = promised.filter(|promised| !promised.is_empty()) {
            let resumed: u64 = promised.iter().map(|range| range.end - range.start).sum();
            tracing::info!(file = %job.entry.path, resumed, "resuming");
            // It was fetched by who knows whom.
            for range in promised {
                file.found(range);
            }
        }
        Ok((file, had_journal))
    }

    /// The same file once more, without what lies in `without`. The rest is vouched for, or is in
    /// `without` as well.
    pub(super) async fn reopen(&self, without: Vec<Range<u64>>) -> Result<Arc<Self>> {
        self.stop_reading();
        // What comes of it is of no use any more.
        let _ = self.settled().await;
        Ok(Self::restore(&self.job, self.hash, without).await?.0)
    }

    /// With what the journal names; `None`: there was none.
    async fn restore(
        job: &Job,
        hash: MerkleHash,
        without: Vec<Range<u64>>,
    ) -> Result<(Arc<Self>, Option<Vec<Range<u64>>>)> {
        let (opened, ledger) = (job.clone(), Arc::new(Ledger::new(job.entry.size)));
        let noted = Arc::clone(&ledger);
        let resume = move || Journal::resume(&opened, &hash, &noted, &without);
        let what = format!("the disk to read the journal of {}", job.entry.path);
        let (journal, remains) = job.call.blocking(what, resume).await?;
        let stop = CancellationToken::new();
        // Before anybody reads.
        let promised = remains.is_some().then(|| ledger.promised());
        let readers = remains.map_or_else(Vec::new, |remains| read(job, &ledger, remains, &stop));
        let journal = job.call.off_worker(journal);
        let file = Self {
            job: job.clone(),
            hash,
            ledger,
            journal,
            doubts: Mutex::default(),
            remains: Mutex::default(),
            has_guesses: AtomicBool::new(false),
            has_clashed: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            readers: tokio::sync::Mutex::new(readers),
            stop: stop.drop_guard(),
        };
        Ok((Arc::new(file), promised))
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
        self.ledger.forget_promises();
        done
    }

    /// Ends the reading: what hasn't been read is going to be missing.
    pub(super) fn stop_reading(&self) {
        self.stop.token().cancel();
    }

    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// The Merkle hash that it must have.
    pub(super) fn hash(&self) -> MerkleHash {
        self.hash
    }

    /// The gaps inside `within`, in order. They begin and end where chunks do.
    pub(super) fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        self.ledger.missing(within)
    }

    /// All gaps.
    pub(super) fn gaps(&self) -> Vec<Range<u64>> {
        self.missing(0..self.job.entry.size)
    }

    /// Whether nothing of it is there yet.
    pub(super) fn is_empty(&self) -> bool {
        self.lacking() == self.job.entry.size
    }

    fn lacking(&self) -> u64 {
        self.gaps().iter().map(|gap| gap.end - gap.start).sum()
    }

    /// Writes a chunk to its place, unless the file has it there already. Returns the record of it
    /// that the caller owes the journal.
    pub(super) fn place(
        &self,
        offset: u64,
        hash: MerkleHash,
        chunk: &[u8],
    ) -> Result<Option<Record>> {
        // Entered first, written then: of two tasks that bring the same chunk, only the one whose
        // hash counts may write.
        let record = self.claim(offset, hash, chunk.len())?;
        if record.is_some() {
            let written = self.job.write_at(chunk, offset);
            written.inspect_err(|_| self.is_broken.store(true, Ordering::Relaxed))?;
            self.job.progress.advance(chunk.len() as u64);
        }
        Ok(record)
    }

    /// Enters a chunk that stands in its place already.
    pub(super) fn claim(
        &self,
        offset: u64,
        hash: MerkleHash,
        len: usize,
    ) -> Result<Option<Record>> {
        let inserted = self.ledger.insert(offset, hash, len as u64);
        Ok(match inserted.inspect_err(|_| self.has_clashed.store(true, Ordering::Relaxed))? {
            Inserted::Known => None,
            Inserted::New => {
                Some(Record { offset, len: u32::try_from(len).map_err(Error::internal)?, hash })
            }
        })
    }

    /// Writes down what has been placed, for an attempt after this one.
    pub(super) fn enter(&self, records: &mut Vec<Record>) -> Result<()> {
        if !records.is_empty() {
            self.journal.append(records)?;
            records.clear();
        }
        Ok(())
    }

    /// Nobody vouches for what is in this range.
    pub(super) fn doubt(&self, range: Range<u64>) {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).push(range);
    }

    /// The ranges that nobody vouches for, merged and in order.
    pub(super) fn doubts(&self) -> Vec<Range<u64>> {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        doubts.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in doubts {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    /// Takes note that a part of the file was here before, from who knows whom.
    pub(super) fn found(&self, range: Range<u64>) {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner).push(range.clone());
        self.doubt(range);
    }

    /// Takes note that a part of the file was cut as today's chunker does, which need not be how it
    /// was published.
    pub(super) fn guessed(&self) {
        self.has_guesses.store(true, Ordering::Relaxed);
    }

    /// Whether the Merkle hash of the file says nothing about its content if it's wrong.
    pub(super) fn has_guesses(&self) -> bool {
        self.has_guesses.load(Ordering::Relaxed)
    }

    /// What was here before.
    pub(super) fn remains(&self) -> Vec<Range<u64>> {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what came doesn't fit together with what an earlier attempt has left: chunks overlap,
    /// or leave a gap although all of them came.
    pub(super) fn clashes_with_remains(&self) -> bool {
        self.has_clashed.load(Ordering::Relaxed) && !self.remains().is_empty()
    }

    /// The error for chunks that leave gaps in the file although all of them came.
    pub(super) fn leaves_gaps(&self) -> Error {
        self.has_clashed.store(true, Ordering::Relaxed);
        block::lie("it leaves gaps in the file")
    }

    /// Fails if the file, of which nothing is missing any more, has another hash than its own.
    pub(super) fn verify(&self) -> Result<()> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(Error::internal("a Xet file went on after a write had failed"));
        }
        let actual = self
            .ledger
            .file_hash()
            .ok_or_else(|| Error::internal("a Xet file ended with chunks missing"))?;
        if actual == self.hash {
            return Ok(());
        }
        Err(content::mismatch(&self.job.entry, "Merkle hash", &self.hash.hex(), &actual.hex()))
    }
}

/// Begins to read again what earlier attempts have left, on all cores.
fn read(
    job: &Job,
    ledger: &Arc<Ledger>,
    remains: Remains,
    stop: &CancellationToken,
) -> Vec<Begun<()>> {
    // They may all be done before this is.
    let remains = Arc::new(job.call.off_worker(remains));
    let reader = |_| {
        let (job, ledger) = (job.clone(), Arc::clone(ledger));
        let (remains, stop) = (Arc::clone(&remains), stop.clone());
        let tracked = job.clone();
        let what = format!("the disk to read again what is here of {}", job.entry.path);
        tracked.spawn_writer(what, move || {
            let _waiting = job.at_disk("to read again what is here of");
            remains.check(&job, &ledger, || stop.is_cancelled())
        })
    };
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    (0..cores.min(MOST_READERS)).map(reader).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xet_core_structures::merklehash::{compute_data_hash, file_hash};

    use super::*;
    use crate::call::Call;
    use crate::model::repo::{Entry, RepoPath, Storage};
    use crate::sys::lock::FileLock;

    const CHUNKS: [&[u8]; 3] = [b"first", b"second", b"third"];
    const SIZE: u64 = 16;

    fn hash() -> MerkleHash {
        let leaves = CHUNKS.map(|chunk| (compute_data_hash(chunk), chunk.len() as u64));
        file_hash(&leaves)
    }

    fn job(folder: &tempfile::TempDir) -> Job {
        let lock = FileLock::try_acquire(&folder.path().join("lock")).unwrap().unwrap();
        let entry = Entry {
            path: RepoPath::new("a.bin").unwrap(),
            size: SIZE,
            oid: "0".repeat(40),
            storage: Storage::Xet { sha256: "0".repeat(64), hash: hash() },
        };
        let partial = folder.path().join("a.partial");
        Job::open(Arc::new(entry), partial, None, Arc::new(lock), Call::default()).unwrap()
    }

    fn place(file: &XetFile, index: usize, chunk: &[u8]) -> Result<()> {
        let offset: usize = CHUNKS[..index].iter().map(|before| before.len()).sum();
        let mut records = Vec::new();
        records.extend(file.place(offset as u64, compute_data_hash(chunk), chunk)?);
        file.enter(&mut records)
    }

    /// A file is never right in which a write has failed, whatever comes after it.
    #[tokio::test]
    async fn a_failed_write_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody can write at an offset into a pipe.
        let mut mkfifo = std::process::Command::new("mkfifo");
        assert!(mkfifo.arg(folder.path().join("a.partial")).status().unwrap().success());
        let (file, _) = XetFile::open(&job(&folder), hash()).await.unwrap();
        for (index, chunk) in CHUNKS.iter().enumerate() {
            place(&file, index, chunk).unwrap_err();
        }
        assert!(file.gaps().is_empty(), "the ledger was told before");
        file.verify().unwrap_err();
    }

    /// What one attempt vouches for, and the next leaves alone, is in nobody's doubt; what comes from
    /// an earlier process is.
    #[tokio::test]
    async fn doubts_are_about_what_nobody_has_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = XetFile::open(&job(&folder), hash()).await.unwrap();
        for (index, chunk) in [CHUNKS[0], b"sECond", CHUNKS[2]].iter().enumerate() {
            place(&first, index, chunk).unwrap();
        }
        first.doubt(5..11);
        first.verify().unwrap_err();
        let again = first.reopen(first.doubts()).await.unwrap();
        again.settled().await.unwrap();
        assert_eq!(again.gaps(), vec![5..11]);
        assert_eq!(again.doubts(), []);
        place(&again, 1, CHUNKS[1]).unwrap();
        again.verify().unwrap();
        drop((first, again));
        // The lock is free when the last clone of the job is gone.
        let free = || FileLock::try_acquire(&folder.path().join("lock")).unwrap().is_some();
        while !free() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (later, had_journal) = XetFile::open(&job(&folder), hash()).await.unwrap();
        assert!(had_journal);
        assert_eq!(later.gaps(), [], "also before it has been read");
        later.settled().await.unwrap();
        assert_eq!(later.gaps(), []);
        assert_eq!(later.doubts(), vec![0..16]);
        later.verify().unwrap();
    }

    /// Chunks that don't fit what an earlier attempt has left say nothing against who sent them.
    #[tokio::test]
    async fn a_clash_with_remains_is_told_from_a_lie() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = XetFile::open(&job(&folder), hash()).await.unwrap();
        place(&file, 1, CHUNKS[1]).unwrap();
        place(&file, 1, b"second and more").unwrap_err();
        assert!(!file.clashes_with_remains(), "nothing was here before");
        let job = file.job().clone();
        drop(file);
        let (file, _) = XetFile::open(&job, hash()).await.unwrap();
        file.settled().await.unwrap();
        assert!(!file.clashes_with_remains());
        place(&file, 1, b"s").unwrap_err();
        assert!(file.clashes_with_remains());
    }
}
