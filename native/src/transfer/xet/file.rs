//! A Xet file that is being put together: what it has, what it lacks, and what is in doubt.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use xet_core_structures::merklehash::MerkleHash;

use super::super::job::Job;
use super::journal::{Journal, Record};
use super::ledger::{Inserted, Ledger};
use super::salvage;
use crate::content;
use crate::error::{Error, Result};

/// A Xet file on its way. Shared by the tasks that bring in its chunks.
pub(super) struct XetFile {
    job: Job,
    hash: MerkleHash,
    ledger: Ledger,
    journal: Journal,
    /// Where chunks are that only the hash of the whole file can vouch for. The others are from
    /// xorbs that were fetched whole and have the hash that is their name.
    doubts: Mutex<Vec<Range<u64>>>,
}

impl XetFile {
    /// Takes up what earlier attempts have left in the partial file, except for what lies in
    /// `without`.
    pub(super) async fn open(
        job: &Job,
        hash: MerkleHash,
        without: Vec<Range<u64>>,
    ) -> Result<Arc<Self>> {
        let (job, call) = (job.clone(), job.call.clone());
        call.blocking(move || {
            let ledger = Ledger::new(job.entry.size);
            let restored = Journal::resume(&job, &hash, &ledger, &without)?;
            let (journal, restored) = restored;
            let file = Self { job, hash, ledger, journal, doubts: Mutex::default() };
            if without.is_empty() && restored.is_none() {
                salvage::take(&file)?;
            }
            let resumed = file.job.entry.size - file.lacking();
            if resumed > 0 && without.is_empty() {
                tracing::info!(file = %file.job.entry.path, resumed, "resuming");
            }
            file.doubt_what_is_there();
            Ok(Arc::new(file))
        })
        .await
    }

    pub(super) fn job(&self) -> &Job {
        &self.job
    }

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
        // hash counts may write. A write that fails ends the whole file, so the ledger never
        // promises what isn't there.
        let record = self.claim(offset, hash, chunk.len())?;
        if record.is_some() {
            self.job.write_at(chunk, offset)?;
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
        Ok(match self.ledger.insert(offset, hash, len as u64)? {
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

    /// What an earlier attempt has left was fetched by who knows whom.
    fn doubt_what_is_there(&self) {
        let mut at = 0;
        for gap in self.gaps() {
            if gap.start > at {
                self.doubt(at..gap.start);
            }
            at = gap.end;
        }
        if at < self.job.entry.size {
            self.doubt(at..self.job.entry.size);
        }
    }

    /// Fails if the file, of which nothing is missing any more, has another hash than its own.
    pub(super) fn verify(&self) -> Result<()> {
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
