//! What was written to a partial file, kept beside it: where each chunk is and what it hashes to.
//! With it, an interrupted download of a Xet file goes on where it was, after a kill as well as
//! after a failure.
//!
//! Nothing in it is trusted. It was written by another process, perhaps by another version, perhaps
//! half; so each chunk is read from the partial file and hashed before it counts, and the file as a
//! whole is verified as if it had been fetched in one go.
//!
//! Format: the magic bytes, the file's Merkle hash (32 bytes) and size (u64); then a record for
//! each chunk: offset (u64), length (u32), hash (32 bytes). Integers are little-endian. A record
//! that is cut short ends the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::super::job::Job;
use super::ledger::{Inserted, Ledger};
use crate::model::error::{Error, Result};

const MAGIC: &[u8; 8] = b"xetjrnl1";
const HEADER: usize = 8 + 32 + 8;
const RECORD: usize = 8 + 4 + 32;

/// A chunk that is in the partial file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) hash: MerkleHash,
}

/// The journal of one partial file. Its user holds the file's lock.
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Where the journal of a partial file is.
    pub(crate) fn beside(partial: &Path) -> PathBuf {
        let mut name = partial.as_os_str().to_owned();
        name.push(".chunks");
        name.into()
    }

    /// Opens the journal of `job`'s file, and enters into `ledger` the chunks of earlier attempts
    /// that are still there, except for those that reach into a range of `without`. Returns how
    /// many bytes those are; `None` if there was no journal of this content.
    pub(crate) fn resume(
        job: &Job,
        hash: &MerkleHash,
        ledger: &Ledger,
        without: &[Range<u64>],
    ) -> Result<(Self, Option<u64>)> {
        let path = job.journal_path();
        let header = header(hash, job.entry.size);
        let restored = match File::open(&path) {
            Ok(file) => restore(job, BufReader::new(file), &header, ledger, without)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        if restored.is_none() {
            Self::remove(&path)?;
        }
        let open = OpenOptions::new().append(true).create(true).open(&path);
        let mut file = open.map_err(|e| Error::io("open", &path, e))?;
        match &restored {
            // A record that was cut short would shift those that follow.
            Some(restored) => file.set_len(restored.journal_len),
            None => file.write_all(&header),
        }
        .map_err(|e| Error::io("write", &path, e))?;
        let resumed = restored.map(|restored| restored.bytes);
        Ok((Self { path, file: Mutex::new(file) }, resumed))
    }

    /// Adds chunks that have been written.
    pub(crate) fn append(&self, records: &[Record]) -> Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD);
        for record in records {
            bytes.extend_from_slice(&record.offset.to_le_bytes());
            bytes.extend_from_slice(&record.len.to_le_bytes());
            bytes.extend_from_slice(record.hash.as_bytes());
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&bytes).map_err(|e| Error::io("write", &self.path, e))
    }

    /// What the journal at `path` says, if it's that of a file with this hash and size. It's in the
    /// order of writing, and not checked against the partial file.
    pub(crate) fn read(
        path: &Path,
        hash: &MerkleHash,
        size: u64,
    ) -> Option<impl Iterator<Item = Record> + use<>> {
        let mut journal = BufReader::new(File::open(path).ok()?);
        let mut found = [0; HEADER];
        journal.read_exact(&mut found).ok()?;
        (found == header(hash, size)).then(|| std::iter::from_fn(move || next_record(&mut journal)))
    }

    /// Removes a journal, if there is one.
    pub(crate) fn remove(path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }
}

fn header(hash: &MerkleHash, size: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..40].copy_from_slice(hash.as_bytes());
    header[40..].copy_from_slice(&size.to_le_bytes());
    header
}

/// What was still of use.
struct Restored {
    /// Content.
    bytes: u64,
    /// The journal, without a record that was cut short.
    journal_len: u64,
}

/// Enters the chunks that the journal names and the partial file holds; `None` if the journal is of
/// something else.
fn restore(
    job: &Job,
    mut journal: impl Read,
    expected: &[u8; HEADER],
    ledger: &Ledger,
    without: &[Range<u64>],
) -> Result<Option<Restored>> {
    let mut header = [0; HEADER];
    if journal.read_exact(&mut header).is_err() || header != *expected {
        return Ok(None);
    }
    let mut restored = Restored { bytes: 0, journal_len: HEADER as u64 };
    let mut chunk = vec![0; *MAX_CHUNK_SIZE];
    while let Some(record) = next_record(&mut journal) {
        if job.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        job.show_life();
        // No chunk is that long: from here on the journal is garbage.
        let Some(chunk) = chunk.get_mut(..record.len as usize) else { break };
        restored.journal_len += RECORD as u64;
        let len = u64::from(record.len);
        let place = record.offset..record.offset.saturating_add(len);
        if without.iter().any(|range| range.start < place.end && place.start < range.end) {
            continue;
        }
        // Offsets that no file has would make reading fail, and with it every attempt.
        if place.end > job.entry.size {
            continue;
        }
        // One that doesn't fit those before it isn't taken; whether they were right shows the hash
        // of the whole.
        if job.read_at(chunk, record.offset)?
            && compute_data_hash(chunk) == record.hash
            && matches!(ledger.insert(record.offset, record.hash, len), Ok(Inserted::New))
        {
            restored.bytes += len;
            job.progress.reused(len);
            job.progress.advance(len);
        }
    }
    Ok(Some(restored))
}

fn next_record(journal: &mut impl Read) -> Option<Record> {
    let mut bytes = [0; RECORD];
    // A journal that can't be read further is one that ends here: it only saves work.
    journal.read_exact(&mut bytes).ok()?;
    let (offset, rest) = bytes.split_first_chunk::<8>()?;
    let (len, hash) = rest.split_first_chunk::<4>()?;
    Some(Record {
        offset: u64::from_le_bytes(*offset),
        len: u32::from_le_bytes(*len),
        hash: MerkleHash::from_slice(hash).ok()?,
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
        let ledger = Ledger::new(job.entry.size);
        let (journal, resumed) = Journal::resume(&job, &hash(), &ledger, &[]).unwrap();
        assert_eq!(resumed, None);
        // Out of order, as concurrent fetches write.
        for i in [3, 0, 1, 4] {
            let (offset, data) = chunk(i);
            job.write_at(&data, offset).unwrap();
            let record = Record { offset, len: LEN, hash: compute_data_hash(&data) };
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
        let ledger = Ledger::new(job.entry.size);
        Journal::resume(&job, &hash(), &ledger, &[]).unwrap();
        ledger.missing(0..job.entry.size)
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
        job(&folder).write_at(b"x", 3500).unwrap();
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
        let ledger = Ledger::new(job.entry.size);
        Journal::resume(&job, &hash(), &ledger, &[1500..1600, 4999..6000]).unwrap();
        assert_eq!(ledger.missing(0..job.entry.size), vec![1000..3000, 4000..5000]);
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
        let (resumed, _) =
            Journal::resume(&job, &hash(), &Ledger::new(job.entry.size), &[]).unwrap();
        let (offset, data) = chunk(2);
        job.write_at(&data, offset).unwrap();
        resumed.append(&[Record { offset, len: LEN, hash: compute_data_hash(&data) }]).unwrap();
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
}
