//! Partial files and journals that anybody may have written: what counts is what hashes right.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::call::Call;
use crate::fuzz::mutated;
use crate::model::repo::{Entry, RepoPath, Storage};
use crate::sys::lock::FileLock;

const CHUNKS: u64 = 5;
const LEN: u32 = 100;
const SIZE: u64 = CHUNKS * LEN as u64;

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

fn file_hash() -> MerkleHash {
    compute_data_hash(b"the file")
}

/// The journal of all chunks of `content`.
fn journal() -> Vec<u8> {
    let mut bytes = header(&file_hash(), SIZE).to_vec();
    for (chunk, offset) in content().chunks(LEN as usize).zip((0..).step_by(LEN as usize)) {
        bytes.extend_from_slice(&u64::to_le_bytes(offset));
        bytes.extend_from_slice(&LEN.to_le_bytes());
        bytes.extend_from_slice(compute_data_hash(chunk).as_bytes());
    }
    bytes
}

/// Opens a folder with this partial file and journal: what of the file counts as missing, and what
/// the journal says that it brought.
fn resume(partial: &[u8], journal: &[u8]) -> (Vec<Range<u64>>, Option<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.partial");
    std::fs::write(&path, partial).unwrap();
    std::fs::write(partial::journal_path(&path), journal).unwrap();
    let lock = FileLock::try_acquire(&folder.path().join("lock")).unwrap().unwrap();
    let entry = Entry {
        path: RepoPath::new("a.bin").unwrap(),
        size: SIZE,
        oid: "0".repeat(40),
        storage: Storage::Xet { sha256: "0".repeat(64), hash: file_hash() },
    };
    let job =
        Job::open(Arc::new(entry), path.clone(), None, Arc::new(lock), Call::default()).unwrap();
    let ledger = Ledgers::new(SIZE);
    let (_journal, remains) = Journal::resume(&job, &file_hash(), &ledger, &[]).unwrap();
    let resumed = remains.map(|remains| {
        remains.check(&job, &ledger, || false).unwrap();
        job.task.call.counters.snapshot().bytes_completed
    });
    ledger.forget_promises();
    (ledger.missing(0..SIZE), resumed)
}

/// Nothing is missing of what is whole.
#[test]
fn the_sample_is_taken() {
    assert_eq!(resume(&content(), &journal()), (vec![], Some(SIZE)));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// A sound journal never vouches for a byte that isn't the file's.
    #[test]
    fn damaged_content_is_missing(partial in mutated(content(), &[])) {
        let (missing, _) = resume(&partial, &journal());
        for (at, byte) in content().iter().enumerate() {
            let counts = !missing.iter().any(|gap| gap.contains(&(at as u64)));
            prop_assert!(!counts || partial.get(at) == Some(byte), "byte {at}");
        }
    }

    /// A damaged journal is no error, and counts nothing twice.
    #[test]
    fn damaged_journals_are_forgiven(journal in mutated(journal(), &[])) {
        let (missing, resumed) = resume(&content(), &journal);
        let missing: u64 = missing.iter().map(|gap| gap.end - gap.start).sum();
        prop_assert!(missing <= SIZE);
        if let Some(resumed) = resumed {
            prop_assert_eq!(missing, SIZE - resumed);
        }
    }

    /// Records of any numbers are forgiven, too: no offset or length leaves the file.
    #[test]
    fn any_records_are_forgiven(records in vec((any::<u64>(), any::<u32>(), any::<bool>()), 0..8)) {
        let mut journal = header(&file_hash(), SIZE).to_vec();
        for (offset, len, small) in records {
            let (offset, len) = if small { (offset % SIZE, len % LEN) } else { (offset, len) };
            journal.extend_from_slice(&offset.to_le_bytes());
            journal.extend_from_slice(&len.to_le_bytes());
            let start = usize::try_from(offset % SIZE).unwrap();
            let end = content().len().min(start + len as usize % 200);
            journal.extend_from_slice(compute_data_hash(&content()[start..end]).as_bytes());
        }
        let (missing, _) = resume(&content(), &journal);
        prop_assert!(missing.iter().all(|gap| gap.start < gap.end && gap.end <= SIZE));
    }
}
