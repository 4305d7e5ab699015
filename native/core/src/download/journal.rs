//! What was written to a partial file, kept beside it: where each chunk is and what it hashes to.
//! With it, an interrupted download of a Xet file goes on where it was, after a kill as well as
//! after a failure.
//!
//! Nothing in it is trusted. It was written by another process, perhaps by another version, perhaps
//! half; so each chunk is read from the partial file and hashed before it counts, and the file as a
//! whole is verified as if it had been fetched in one go. What is missing can be fetched meanwhile:
//! what the journal names is [promised](Ledger::promise) until it has been read.
//!
//! Format: the magic bytes, the file's Merkle hash (32 bytes) and size (u64); then a record for
//! each chunk: offset (u64), length (u32), hash (32 bytes). Integers are little-endian. The length's
//! highest bit says that the chunk was cut by guess; to a version that doesn't know it, that is a length
//! that no chunk has. A record that is cut short, or has such a length, ends the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::job::Job;
use super::ledger::{Inserted, Ledger};
use super::partial;
use crate::cas::sources::PlacedChunk;
use crate::model::error::{Error, Result};
use crate::sys::files;
use crate::sys::open::Wary;
use crate::sys::unshared::Unshared;

const MAGIC: &[u8; 8] = b"xetjrnl1";
const HEADER: usize = 8 + 32 + 8;
const RECORD: usize = 8 + 4 + 32;
/// The bit of a length that says that the chunk was cut by guess.
const GUESS: u32 = 1 << 31;

/// The journal of one partial file. Its user holds the file's lock.
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<Unshared>,
}

impl Journal {
    /// Opens the journal of `job`'s file, and promises `ledger` the chunks of earlier attempts, except
    /// for those that reach into a range of `without`. Returns them as well, to be read again; `None`
    /// if there was no journal of this content.
    pub(crate) fn resume(
        job: &Job,
        hash: &MerkleHash,
        ledger: &Ledger,
        without: &[Range<u64>],
    ) -> Result<(Self, Option<Remains>)> {
        let path = job.partial.journal_path();
        files::remove_unless_file(&path)?;
        let header = header(hash, job.task.entry.size);
        let found = match open(&path) {
            Ok(file) => promise(job, &file, &header, ledger, without)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        if found.is_none() {
            partial::remove(&path)?;
        }
        let open = OpenOptions::new().append(true).create(true).never_follow_nor_wait().open(&path);
        let file = open.map(Unshared::of).map_err(|e| Error::io("open", &path, e))?;
        let remains = match found {
            // A record that was cut short would shift those that follow.
            Some(found) => {
                file.set_len(found.len).and_then(|()| Remains::open(&path, found)).map(Some)
            }
            None => (&*file).write_all(&header).map(|()| None),
        }
        .map_err(|e| Error::io("write", &path, e))?;
        Ok((Self { path, file: Mutex::new(file) }, remains))
    }

    /// Adds chunks that have been written.
    pub(crate) fn append(&self, records: &[PlacedChunk]) -> Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD);
        for record in records {
            bytes.extend_from_slice(&record.offset.to_le_bytes());
            let mark = if record.is_guess { GUESS } else { 0 };
            bytes.extend_from_slice(&(record.len | mark).to_le_bytes());
            bytes.extend_from_slice(record.hash.as_bytes());
        }
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        (&**file).write_all(&bytes).map_err(|e| Error::io("write", &self.path, e))
    }

    /// What the journal at `path` says, if it's that of a file with this hash and size. It's in the
    /// order of writing, and not checked against the partial file.
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
}

impl Remains {
    /// Records that a thread takes at a time.
    const BATCH: usize = 64;

    fn open(path: &Path, promised: Promised) -> io::Result<Self> {
        let mut journal = BufReader::new(open(path)?).take(promised.len);
        journal.read_exact(&mut [0; HEADER])?;
        Ok(Self { journal: Mutex::new(journal), guesses: promised.guesses })
    }

    /// What of it was cut by guess.
    pub(crate) fn guesses(&self) -> &[Range<u64>] {
        &self.guesses
    }

    /// Reads chunks until there are none left or `stop` says so, and enters into `ledger` those that
    /// are what the journal says. The others stay promised.
    pub(crate) fn check(&self, job: &Job, ledger: &Ledger, stop: impl Fn() -> bool) -> Result<()> {
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
                let is_right = ledger.is_promised(&record.range())
                    && job.partial.read_at(chunk, record.offset)?
                    && compute_data_hash(chunk) == record.hash;
                // One that doesn't fit those before it isn't taken; whether they were right shows the
                // hash of the whole.
                if is_right
                    && matches!(ledger.keep(record.offset, record.hash, len), Ok(Inserted::New))
                {
                    job.task.progress.reused(len);
                    job.task.progress.advance(len);
                }
            }
        }
    }
}

/// What was promised for a journal.
struct Promised {
    /// How long the journal is, without what is no record.
    len: u64,
    /// What of it was cut by guess.
    guesses: Vec<Range<u64>>,
}

impl Promised {
    /// What came over plain HTTP stands there in order, so this is a short list.
    fn guess(&mut self, range: Range<u64>) {
        match self.guesses.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.guesses.push(range),
        }
    }
}

/// Promises the chunks that the journal names. `None`: it is of something else.
fn promise(
    job: &Job,
    journal: &File,
    expected: &[u8; HEADER],
    ledger: &Ledger,
    without: &[Range<u64>],
) -> Result<Option<Promised>> {
    let mut journal = BufReader::new(journal);
    let mut header = [0; HEADER];
    if journal.read_exact(&mut header).is_err() || header != *expected {
        return Ok(None);
    }
    let held = job.partial.len()?;
    let mut promised = Promised { len: HEADER as u64, guesses: Vec::new() };
    while let Some(record) = next_record(&mut journal) {
        // No chunk is that long: from here on the journal is garbage.
        if record.len as usize > *MAX_CHUNK_SIZE {
            break;
        }
        promised.len += RECORD as u64;
        let range = record.range();
        let is_wanted =
            !without.iter().any(|other| other.start < range.end && range.start < other.end);
        // What lies outside of the file, or overlaps what was promised before, is left out.
        if is_wanted && range.end <= held {
            let _ = ledger.promise(range.start, range.end - range.start);
            if record.is_guess {
                promised.guess(range);
            }
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
        len: len & !GUESS,
        hash: MerkleHash::from_slice(hash).ok()?,
        is_guess: len & GUESS != 0,
    })
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::call::Call;
    use crate::model::repo::{Entry, RepoPath, Storage};
    use crate::sys::lock::FileLock;

    const CHUNKS: u64 = 5;
    const LEN: u32 = 1000;

    /// A folder with the partial file of a download that was interrupted after `CHUNKS - 1` chunks.
    fn interrupted() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let job = job(&folder);
        let ledger = Ledger::new(job.task.entry.size);
        let (journal, remains) = Journal::resume(&job, &hash(), &ledger, &[]).unwrap();
        assert!(remains.is_none());
        // Out of order, as concurrent fetches write.
        for i in [3, 0, 1, 4] {
            let (offset, data) = chunk(i);
            job.partial.write_at(&data, offset).unwrap();
            let record =
                PlacedChunk { offset, len: LEN, hash: compute_data_hash(&data), is_guess: false };
            journal.append(&[record]).unwrap();
        }
        folder
    }

    fn chunk(i: u64) -> (u64, Vec<u8>) {
        (i * u64::from(LEN), vec![u8::try_from(i).unwrap() + 1; LEN as usize])
    }

    fn hash() -> MerkleHash {
        compute_data_hash(b"the file")
    }

    fn job(folder: &tempfile::TempDir) -> Job {
        let lock = FileLock::try_acquire(&folder.path().join("lock")).unwrap().unwrap();
        let entry = Entry {
            path: RepoPath::new("a.bin").unwrap(),
            size: CHUNKS * u64::from(LEN),
            oid: "0".repeat(40),
            storage: Storage::Xet { sha256: "0".repeat(64), hash: hash() },
        };
        let partial = folder.path().join("a.partial");
        Job::open(Arc::new(entry), partial, None, Arc::new(lock), Call::default()).unwrap()
    }

    fn gaps(folder: &tempfile::TempDir) -> Vec<std::ops::Range<u64>> {
        let job = job(folder);
        let ledger = Ledger::new(job.task.entry.size);
        resume(&job, &ledger, &[]);
        ledger.missing(0..job.task.entry.size)
    }

    /// Opens the journal, and reads again what it names.
    fn resume(job: &Job, ledger: &Ledger, without: &[std::ops::Range<u64>]) -> Journal {
        let (journal, remains) = Journal::resume(job, &hash(), ledger, without).unwrap();
        if let Some(remains) = remains {
            remains.check(job, ledger, || false).unwrap();
        }
        ledger.forget_promises();
        journal
    }

    fn journal(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("a.partial.chunks")
    }

    /// What was written is not missing any more, in a new process as well as in this one.
    #[test]
    fn an_interrupted_download_misses_only_the_rest() {
        let folder = interrupted();
        assert_eq!(gaps(&folder), vec![2000..3000]);
        // And once more, since resuming must not use the journal up.
        assert_eq!(gaps(&folder), vec![2000..3000]);
    }

    /// A byte that changed in the partial file costs its chunk, and nothing else.
    #[test]
    fn a_damaged_chunk_is_missing_again() {
        let folder = interrupted();
        job(&folder).partial.write_at(b"x", 3500).unwrap();
        assert_eq!(gaps(&folder), vec![2000..4000]);
    }

    /// The journal of another content counts for nothing, and neither does a partial file alone.
    #[test]
    fn a_journal_of_something_else_counts_for_nothing() {
        let folder = interrupted();
        let mut bytes = std::fs::read(journal(&folder)).unwrap();
        bytes[8] ^= 1;
        std::fs::write(journal(&folder), bytes).unwrap();
        assert_eq!(gaps(&folder), vec![0..5000]);

        let folder = interrupted();
        std::fs::remove_file(journal(&folder)).unwrap();
        assert_eq!(gaps(&folder), vec![0..5000]);
    }

    /// What was cut by guess is kept like the rest, and known again.
    #[test]
    fn guesses_are_known_again() {
        let folder = interrupted();
        let job = job(&folder);
        let ledger = Ledger::new(job.task.entry.size);
        let journal = resume(&job, &ledger, &[]);
        let (offset, data) = chunk(2);
        job.partial.write_at(&data, offset).unwrap();
        let hash = compute_data_hash(&data);
        let placed = PlacedChunk { offset, len: LEN, hash, is_guess: false };
        journal.append(&[placed.guessed()]).unwrap();
        drop((job, journal));
        assert_eq!(gaps(&folder), vec![]);
        let job = self::job(&folder);
        let ledger = Ledger::new(job.task.entry.size);
        let (_, remains) = Journal::resume(&job, &self::hash(), &ledger, &[]).unwrap();
        assert_eq!(remains.unwrap().guesses(), vec![2000..3000]);
        let (_, remains) =
            Journal::resume(&job, &self::hash(), &ledger, std::slice::from_ref(&(2000..2001)))
                .unwrap();
        assert!(remains.unwrap().guesses().is_empty());
    }

    /// A record of a length that no chunk has ends the journal; what stands before it counts.
    #[test]
    fn a_journal_counts_up_to_the_first_nonsense() {
        let folder = interrupted();
        let mut bytes = std::fs::read(journal(&folder)).unwrap();
        let third = HEADER + 2 * RECORD;
        bytes[third + 8..third + 12].fill(0xff);
        std::fs::write(journal(&folder), bytes).unwrap();
        // Chunks 3 and 0 came first, and are in the partial file, which stays as it is.
        assert_eq!(gaps(&folder), vec![1000..3000, 4000..5000]);
        assert_eq!(std::fs::metadata(folder.path().join("a.partial")).unwrap().len(), 5000);
    }

    /// What is to be fetched again isn't taken from the journal.
    #[test]
    fn doubted_ranges_are_left_out() {
        let folder = interrupted();
        let job = job(&folder);
        let ledger = Ledger::new(job.task.entry.size);
        resume(&job, &ledger, &[1500..1600, 4999..6000]);
        assert_eq!(ledger.missing(0..job.task.entry.size), vec![1000..3000, 4000..5000]);
    }

    /// Wherever a journal was cut, and whatever garbage is in it, it only costs bytes.
    #[test]
    fn a_cut_or_garbled_journal_only_costs_bytes() {
        let whole = std::fs::read(journal(&interrupted())).unwrap();
        let mut random = fastrand::Rng::with_seed(3);
        for cut in 0..whole.len() {
            let folder = interrupted();
            std::fs::write(journal(&folder), &whole[..cut]).unwrap();
            let missing: u64 = gaps(&folder).iter().map(|gap| gap.end - gap.start).sum();
            let kept = cut.saturating_sub(HEADER) / RECORD;
            assert_eq!(missing, 5000 - 1000 * kept as u64, "cut at {cut}");
        }
        // What is appended after the cut counts.
        let folder = interrupted();
        std::fs::write(journal(&folder), &whole[..whole.len() - 1]).unwrap();
        let job = job(&folder);
        let resumed = resume(&job, &Ledger::new(job.task.entry.size), &[]);
        let (offset, data) = chunk(2);
        job.partial.write_at(&data, offset).unwrap();
        resumed
            .append(&[PlacedChunk {
                offset,
                len: LEN,
                hash: compute_data_hash(&data),
                is_guess: false,
            }])
            .unwrap();
        drop((job, resumed));
        assert_eq!(gaps(&folder), vec![4000..5000]);
        for _ in 0..200 {
            let folder = interrupted();
            let mut garbled = whole.clone();
            random.fill(&mut garbled[HEADER..]);
            std::fs::write(journal(&folder), garbled).unwrap();
            assert_eq!(gaps(&folder), vec![0..5000]);
        }
    }

    /// A chunk that was written again, since it was wrong the first time, counts.
    #[test]
    fn the_record_that_is_right_counts() {
        let folder = interrupted();
        let job = job(&folder);
        let (offset, _) = chunk(1);
        let again = [9; LEN as usize];
        job.partial.write_at(&again, offset).unwrap();
        let journal = resume(&job, &Ledger::new(job.task.entry.size), &[]);
        journal
            .append(&[PlacedChunk {
                offset,
                len: LEN,
                hash: compute_data_hash(&again),
                is_guess: false,
            }])
            .unwrap();
        drop((job, journal));
        assert_eq!(gaps(&folder), vec![2000..3000]);
    }

    /// What nobody has read yet isn't missing, and isn't taken for read.
    #[test]
    fn what_is_to_be_read_again_is_promised() {
        let folder = interrupted();
        let job = job(&folder);
        let ledger = Ledger::new(job.task.entry.size);
        let (_journal, remains) = Journal::resume(&job, &hash(), &ledger, &[]).unwrap();
        assert_eq!(ledger.missing(0..5000), vec![2000..3000]);
        assert_eq!(ledger.promised(), [0..2000, 3000..5000]);
        remains.unwrap().check(&job, &ledger, || true).unwrap();
        ledger.forget_promises();
        assert_eq!(ledger.missing(0..5000), vec![0..5000], "it was stopped");
    }
}
