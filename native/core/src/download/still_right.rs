//! Whether what came is still what it was when it was checked.

use std::io;
use std::os::unix::fs::FileExt;

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::job::Job;
use super::journal::Journal;
use super::ledgers::Ledgers;
use super::xet::Proof;
use crate::cache::check::content_matches;
use crate::cas::chunker::{RULES, Rule};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Storage;
use crate::sys::open;

/// What came was checked as it came. Somebody else may have written to the partial file since: it is read once
/// more, unless nobody can have. What isn't right any more is forgotten, and comes again. Blocking.
pub(crate) fn still_right(job: &Job, proof: Proof) -> Result<()> {
    let (partial, entry) = (&job.partial, &job.task.entry);
    if partial.is_untouched() {
        return Ok(());
    }
    let is_right = match &entry.storage {
        Storage::XetAlone { hash, .. } => chunks_match(job, hash)?,
        _ => content_matches(partial.path(), entry, job.task.call.cancellation())?,
    };
    if is_right {
        return Ok(());
    }
    partial.restart()?;
    let mut message =
        format!("{}: another program has written to {}", entry.path, partial.path().display());
    if let (Proof::Merkle(_), Storage::Xet { .. }) = (proof, &entry.storage) {
        message +=
            ", or what came is right by its Xet hash and the SHA-256 that the Hub published is not";
    }
    Err(Error::new(Kind::FilesRemoved, message))
}

/// Whether the chunks that the journal names, of which each is read and hashed once more, still add up to the
/// file with this hash. What the journal says of chunks that have been replaced since doesn't count.
fn chunks_match(job: &Job, hash: &MerkleHash) -> Result<bool> {
    let (partial, size) = (&job.partial, job.task.entry.size);
    let _waiting = job.task.at_disk("to read once more");
    // A file without content has none.
    let records = Journal::read(&partial.journal_path(), hash, size).into_iter().flatten();
    // By its name, as it's going to get another one: something else may have been put in its place.
    let fail = |e| Error::io("read", partial.path(), e);
    let file = open::to_read(partial.path()).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() != size {
        return Ok(false);
    }
    let ledgers = Ledgers::new(size);
    let mut buffer = vec![0; *MAX_CHUNK_SIZE];
    for record in records {
        job.check_alive()?;
        let Some(chunk) = buffer.get_mut(..record.len as usize) else { continue };
        match file.read_exact_at(chunk, record.offset) {
            Ok(()) if compute_data_hash(chunk) == record.hash => {}
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => return Err(fail(e)),
            _ => continue,
        }
        // One that doesn't fit proves nothing; whether the others do shows the hash of the whole.
        let _ = if record.cut.is_by(Rule::Today) {
            ledgers.insert(&record)
        } else {
            ledgers.enter_older(&record)
        };
    }
    Ok(RULES.into_iter().any(|rule| ledgers.file_hash(rule) == Some(*hash)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::sync::Arc;

    use xet_core_structures::merklehash::file_hash;

    use super::*;
    use crate::call::Call;
    use crate::cas::chunker::{Cut, PlacedChunk};
    use crate::model::repo::{Entry, RepoPath};
    use crate::sys::lock::FileLock;

    const CHUNKS: [(u8, u32); 3] = [(1, 100_000), (2, 8_000), (3, 60_000)];

    fn hash_of(byte: u8, len: u32) -> MerkleHash {
        compute_data_hash(&vec![byte; len as usize])
    }

    fn hash() -> MerkleHash {
        file_hash(&CHUNKS.map(|(byte, len)| (hash_of(byte, len), u64::from(len))))
    }

    /// A file that came whole, of which nothing but the Xet hash is known.
    fn complete(folder: &tempfile::TempDir) -> Job {
        let lock = FileLock::try_acquire(&folder.path().join("lock")).unwrap().unwrap();
        let size = CHUNKS.iter().map(|(_, len)| u64::from(*len)).sum();
        let entry = Entry::of_xet_hash(RepoPath::new("a.bin").unwrap(), hash(), size);
        let partial = folder.path().join("a.partial");
        let job =
            Job::open(Arc::new(entry), partial, None, Arc::new(lock), Call::default()).unwrap();
        let (journal, _) = Journal::resume(&job, &hash(), &Ledgers::new(size), &[]).unwrap();
        let mut offset = 0;
        for (byte, len) in CHUNKS {
            let (cut, at) = (Cut::AsPublished, offset);
            // What an earlier attempt had there was another chunk.
            for (byte, len) in [(byte + 9, len + 1), (byte, len)] {
                let hash = hash_of(byte, len);
                journal.append(&[PlacedChunk { offset: at, len, hash, cut }]).unwrap();
                job.partial.write_at(&vec![byte; len as usize], at).unwrap();
            }
            offset += u64::from(len);
        }
        let file = OpenOptions::new().write(true).open(job.partial.path()).unwrap();
        file.set_len(size).unwrap();
        job
    }

    /// Content of which no SHA-256 is known is read once more by its chunks; what was replaced before it was
    /// complete doesn't count.
    #[test]
    fn content_by_its_xet_hash_is_read_again_by_its_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let job = complete(&folder);
        assert!(!job.partial.is_untouched(), "it's read");
        still_right(&job, Proof::Merkle(Rule::Today)).unwrap();
    }

    /// One byte that another program has changed, cut off or added is noticed, and so is another file in its
    /// place: nothing of it is kept.
    #[test]
    fn what_another_program_writes_to_it_is_noticed() {
        let changes: [fn(&std::path::Path); 4] = [
            |path| OpenOptions::new().write(true).open(path).unwrap().write_all(b"x").unwrap(),
            |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"x").unwrap(),
            |path| OpenOptions::new().write(true).open(path).unwrap().set_len(100_000).unwrap(),
            |path| {
                fs::write(path.with_extension("other"), vec![7; 168_000]).unwrap();
                fs::rename(path.with_extension("other"), path).unwrap();
            },
        ];
        for change in changes {
            let folder = tempfile::tempdir().unwrap();
            let job = complete(&folder);
            change(job.partial.path());
            let error = still_right(&job, Proof::Merkle(Rule::Today)).unwrap_err();
            assert_eq!(error.kind(), Kind::FilesRemoved);
            assert!(!error.message().contains("SHA-256"), "{error}");
            assert!(!job.partial.journal_path().exists(), "it comes again");
        }
    }
}
