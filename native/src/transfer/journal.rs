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
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::job::Job;
use super::ledger::{Inserted, Ledger};
use crate::error::{Error, Result};

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
    /// Opens the journal of `job`'s file, and enters into `ledger` the chunks of earlier attempts
    /// that are still there. Returns how many bytes those are. A journal of other content, and a
    /// partial file without a journal, count for nothing.
    pub(crate) fn resume(job: &Job, hash: &MerkleHash, ledger: &Ledger) -> Result<(Self, u64)> {
        let path = job.journal_path();
        let header = header(hash, job.entry.size);
        let resumed = match File::open(&path) {
            Ok(file) => restore(job, BufReader::new(file), &header, ledger)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        if resumed.is_none() {
            job.restart()?;
        }
        let open = OpenOptions::new().append(true).create(true).open(&path);
        let mut file = open.map_err(|e| Error::io("open", &path, e))?;
        if resumed.is_none() {
            file.write_all(&header).map_err(|e| Error::io("write", &path, e))?;
        }
        Ok((Self { path, file: Mutex::new(file) }, resumed.unwrap_or(0)))
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

/// Enters the chunks that the journal names and the partial file holds; `None` if the journal is of
/// something else.
fn restore(
    job: &Job,
    mut journal: impl Read,
    expected: &[u8; HEADER],
    ledger: &Ledger,
) -> Result<Option<u64>> {
    let mut header = [0; HEADER];
    if journal.read_exact(&mut header).is_err() || header != *expected {
        return Ok(None);
    }
    let mut bytes = 0;
    let mut chunk = vec![0; *MAX_CHUNK_SIZE];
    while let Some(record) = next_record(&mut journal) {
        if job.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        let Some(chunk) = chunk.get_mut(..record.len as usize) else { return Ok(None) };
        let len = u64::from(record.len);
        if job.read_at(chunk, record.offset)? && compute_data_hash(chunk) == record.hash {
            match ledger.insert(record.offset, record.hash, len) {
                Ok(Inserted::New) => {
                    bytes += len;
                    job.progress.reused(len);
                    job.progress.advance(len);
                }
                Ok(Inserted::Known) => {}
                Err(_) => return Ok(None), // chunks that can't be of one file
            }
        }
    }
    Ok(Some(bytes))
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
