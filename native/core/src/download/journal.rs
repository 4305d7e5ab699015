//! What was written to a partial file, kept beside it: where each chunk is and what it hashes to.
//! With it, an interrupted download of a Xet file goes on where it was, after a kill as well as
//! after a failure.
//!
//! Nothing in it is trusted. It was written by another process, perhaps by another version, perhaps
//! half; so each chunk is read from the partial file and hashed before it counts, and the file as a
//! whole is verified as if it had been fetched in one go. What is missing can be fetched meanwhile:
//! what the journal names is [promised](Ledgers::promise) until it has been read.
//!
//! Format: the magic bytes, the file's Merkle hash (32 bytes) and size (u64); then a record for
//! each chunk: offset (u64), length (u32), hash (32 bytes). Integers are little-endian. The length's
//! highest bits say that the chunk was cut by guess ([`marks`]); to a version that doesn't know them, that
//! is a length that no chunk has. A record that is cut short, or has such a length, ends the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::job::Job;
use super::ledger::Inserted;
use super::ledgers::Ledgers;
use super::partial;
use super::ranges::Ranges;
use crate::cas::chunker::{Cut, RULES, Rule};
use crate::cas::sources::PlacedChunk;
use crate::model::error::{Error, Result};
use crate::sys::files;
use crate::sys::open::Wary;
use crate::sys::unshared::Unshared;

const MAGIC: &[u8; 8] = b"xetjrnl1";
const HEADER: usize = 8 + 32 + 8;
const RECORD: usize = 8 + 4 + 32;
/// The bits of a length that say that the chunk was cut by guess, and by which rule alone, if so. Before
/// there were the others, [`GUESS`] was what stood at each guess of today's rule.
const GUESS: u32 = 1 << 31;
const ONLY_TODAY: u32 = 1 << 30;
const ONLY_OLDER: u32 = 1 << 29;
const MARKS: u32 = GUESS | ONLY_TODAY | ONLY_OLDER;

/// The journal of one partial file. Its user holds the file's lock.
pub(crate) struct Journal {
    path: PathBuf,
    header: [u8; HEADER],
    /// `None`: it's to be made.
    file: Mutex<Option<Unshared>>,
}

impl Journal {
    /// The journal of a file of which nothing is here. Not made before it [begins](Self::begin).
    pub(crate) fn of_new(job: &Job, hash: &MerkleHash) -> Self {
        let header = header(hash, job.task.entry.size);
        Self { path: job.partial.journal_path(), header, file: Mutex::default() }
    }

    /// Whether it's there.
    pub(crate) fn has_begun(&self) -> bool {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Makes it, if it isn't there: before the first chunk is written, since what stands in a partial file without a
    /// journal is taken for its beginning.
    pub(crate) fn begin(&self) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            let mut open = OpenOptions::new();
            open.append(true).create(true).never_follow_nor_wait();
            let made = open.open(&self.path).map(Unshared::of).and_then(|made| {
                made.set_len(0)?;
                (&*made).write_all(&self.header).map(|()| made)
            });
            *file = Some(made.map_err(|e| Error::io("write", &self.path, e))?);
        }
        Ok(())
    }

    /// Opens the journal of `job`'s file, and promises `ledgers` the chunks of earlier attempts, except
    /// for those that reach into a range of `without`. Returns them as well, to be read again; `None`
    /// if there was no journal of this content.
    pub(crate) fn resume(
        job: &Job,
        hash: &MerkleHash,
        ledgers: &Ledgers,
        without: &[Range<u64>],
    ) -> Result<(Self, Option<Remains>)> {
        let path = job.partial.journal_path();
        files::remove_unless_file(&path)?;
        let header = header(hash, job.task.entry.size);
        let found = match open(&path) {
            Ok(file) => promise(job, &file, &header, ledgers, without)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let Some(found) = found else {
            partial::remove(&path)?;
            return Ok((Self::of_new(job, hash), None));
        };
        let open = OpenOptions::new().append(true).never_follow_nor_wait().open(&path);
        let taken_up = open.map(Unshared::of).and_then(|file| {
            // A record that was cut short would shift those that follow.
            file.set_len(found.len)?;
            Ok((file, Remains::open(&path, found, without)?))
        });
        let (file, remains) = taken_up.map_err(|e| Error::io("write", &path, e))?;
        Ok((Self { path, header, file: Mutex::new(Some(file)) }, Some(remains)))
    }

    /// Adds chunks that have been written.
    pub(crate) fn append(&self, records: &[PlacedChunk]) -> Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD);
        for record in records {
            bytes.extend_from_slice(&record.offset.to_le_bytes());
            bytes.extend_from_slice(&(record.len | marks(record.cut)).to_le_bytes());
            bytes.extend_from_slice(record.hash.as_bytes());
        }
        self.begin()?;
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &*file else { return Err(Error::internal("a journal that never began")) };
        (&**file).write_all(&bytes).map_err(|e| Error::io("write", &self.path, e))
    }

    /// Where the journal of `job`'s file, if it has one, says that it was cut by guess.
    pub(crate) fn guesses(job: &Job, hash: &MerkleHash) -> Vec<Range<u64>> {
        let size = job.task.entry.size;
        let mut guesses = Guesses::default();
        for record in Self::read(&job.partial.journal_path(), hash, size).into_iter().flatten() {
            if !record.range().is_empty() && record.range().end <= size {
                guesses.add(&record);
            }
        }
        guesses.0
    }

    /// What the journal at `path` says, if it's that of a file with this hash and size, by all
    /// rules. It's in the order of writing, and not checked against the partial file.
    pub(crate) fn read(
        path: &Path,
        hash: &MerkleHash,
        size: u64,
    ) -> Option<impl Iterator<Item = PlacedChunk> + use<>> {
        let mut journal = BufReader::new(open(path).ok()?);
        let mut found = [0; HEADER];
        journal.read_exact(&mut found).ok()?;
        (found == header(hash, size)).then(|| std::iter::from_fn(move || next_record(&mut journal)))
    }
}

/// Opens a journal for reading, and nothing that was put in its place.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).never_follow_nor_wait().open(path)
}

fn header(hash: &MerkleHash, size: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..40].copy_from_slice(hash.as_bytes());
    header[40..].copy_from_slice(&size.to_le_bytes());
    header
}

/// What earlier attempts have left, to be read again: by as many threads as one likes, each of which
/// takes the next records that none has taken.
pub(crate) struct Remains {
    journal: Mutex<io::Take<BufReader<File>>>,
    guesses: Vec<Range<u64>>,
    /// What it says of these parts doesn't count, whatever somebody else promises there.
    without: Ranges,
}

impl Remains {
    /// Records that a thread takes at a time.
    const BATCH: usize = 64;

    fn open(path: &Path, promised: Promised, without: &[Range<u64>]) -> io::Result<Self> {
        let mut journal = BufReader::new(open(path)?).take(promised.len);
        journal.read_exact(&mut [0; HEADER])?;
        let (journal, without) = (Mutex::new(journal), without.iter().cloned().collect());
        Ok(Self { journal, guesses: promised.guesses.0, without })
    }

    /// What of it was cut by guess.
    pub(crate) fn guesses(&self) -> &[Range<u64>] {
        &self.guesses
    }

    /// Reads chunks until there are none left or `stop` says so, and enters into `ledgers` those that
    /// are what the journal says. The others stay promised.
    pub(crate) fn check(
        &self,
        job: &Job,
        ledgers: &Ledgers,
        stop: impl Fn() -> bool,
    ) -> Result<()> {
        let mut chunk = vec![0; *MAX_CHUNK_SIZE];
        loop {
            let batch: Vec<PlacedChunk> = {
                let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
                std::iter::from_fn(|| next_record(&mut *journal)).take(Self::BATCH).collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            for record in batch {
                if stop() {
                    return Ok(());
                }
                job.check_alive()?;
                let len = u64::from(record.len);
                let Some(chunk) = chunk.get_mut(..record.len as usize) else { continue };
                let is_other = !record.cut.is_by(Rule::Today);
                let is_right = !self.without.touches(&record.range())
                    && is_wanted(ledgers, &record)
                    && job.partial.read_at(chunk, record.offset)?
                    && compute_data_hash(chunk) == record.hash;
                // One that doesn't fit those before it isn't taken; whether they were right shows the
                // hash of the whole.
                if is_right && is_other {
                    let _ = ledgers.enter_older(&record);
                } else if is_right && matches!(ledgers.keep(&record), Ok(Inserted::New)) {
                    job.task.progress.reused(len);
                    job.task.progress.advance(len);
                }
            }
        }
    }
}

/// Whether a chunk is one that was promised, or a part of those.
fn is_wanted(ledgers: &Ledgers, record: &PlacedChunk) -> bool {
    if record.cut.is_by(Rule::Today) {
        ledgers.is_promised(&record.range())
    } else {
        ledgers.missing(record.range()).is_empty()
    }
}

/// What was promised for a journal.
struct Promised {
    /// How long the journal is, without what is no record.
    len: u64,
    /// What of it was cut by guess.
    guesses: Guesses,
}

/// Parts that were cut by guess.
#[derive(Default)]
struct Guesses(Vec<Range<u64>>);

impl Guesses {
    /// What came over plain HTTP stands there in order, so this is a short list.
    fn add(&mut self, record: &PlacedChunk) {
        let range = record.range();
        if record.cut == Cut::AsPublished || !record.cut.is_by(Rule::Today) {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.0.push(range),
        }
    }
}

/// Promises the chunks that the journal names. `None`: it is of something else.
fn promise(
    job: &Job,
    journal: &File,
    expected: &[u8; HEADER],
    ledgers: &Ledgers,
    without: &[Range<u64>],
) -> Result<Option<Promised>> {
    let without: Ranges = without.iter().cloned().collect();
    let mut journal = BufReader::new(journal);
    let mut header = [0; HEADER];
    if journal.read_exact(&mut header).is_err() || header != *expected {
        return Ok(None);
    }
    let held = job.partial.len()?;
    let mut promised = Promised { len: HEADER as u64, guesses: Guesses::default() };
    while let Some(record) = next_record(&mut journal) {
        // No chunk is that long: from here on the journal is garbage.
        if record.len as usize > *MAX_CHUNK_SIZE {
            break;
        }
        promised.len += RECORD as u64;
        let range = record.range();
        // What lies outside of the file, or overlaps what was promised before, is left out.
        let is_here = !range.is_empty() && range.end <= held;
        if is_here && record.cut.is_by(Rule::Today) && !without.touches(&range) {
            let _ = ledgers.promise(range.start, range.end - range.start);
            promised.guesses.add(&record);
        }
    }
    Ok(Some(promised))
}

fn next_record(journal: &mut impl Read) -> Option<PlacedChunk> {
    let mut bytes = [0; RECORD];
    // A journal that can't be read further is one that ends here: it only saves work.
    journal.read_exact(&mut bytes).ok()?;
    let (offset, rest) = bytes.split_first_chunk::<8>()?;
    let (len, hash) = rest.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len);
    Some(PlacedChunk {
        offset: u64::from_le_bytes(*offset),
        len: len & !MARKS,
        hash: MerkleHash::from_slice(hash).ok()?,
        cut: cut(len & MARKS)?,
    })
}

fn marks(cut: Cut) -> u32 {
    match cut {
        Cut::AsPublished => 0,
        Cut::ByAnyRule => GUESS,
        Cut::By(Rule::Today) => GUESS | ONLY_TODAY,
        Cut::By(Rule::Before202509) => GUESS | ONLY_OLDER,
    }
}

/// `None`: this is no record.
fn cut(marks: u32) -> Option<Cut> {
    let all = [Cut::AsPublished, Cut::ByAnyRule].into_iter().chain(RULES.map(Cut::By));
    all.into_iter().find(|&cut| self::marks(cut) == marks)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
