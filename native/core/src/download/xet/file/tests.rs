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
    // Who had it before may still be giving it up.
    let limit = Duration::from_mins(1);
    let lock =
        FileLock::acquire_within(&folder.path().join("lock"), 0o664, limit).unwrap().unwrap();
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
    let (offset, hash) = (offset as u64, compute_data_hash(chunk));
    file.place(&[LooseChunk { offset, hash, content: chunk }], &mut records)?;
    file.enter(&mut records)
}

/// A file is never right in which a write has failed, whatever comes after it.
#[tokio::test]
async fn a_failed_write_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody can write at an offset into a pipe.
    let mut mkfifo = std::process::Command::new("mkfifo");
    assert!(mkfifo.arg(folder.path().join("a.partial")).status().unwrap().success());
    let (file, _) = XetFile::open(&job(&folder), hash(), Vec::new()).await.unwrap();
    for (index, chunk) in CHUNKS.iter().enumerate() {
        place(&file, index, chunk).unwrap_err();
    }
    assert!(file.gaps().is_empty(), "the ledger was told before");
    file.verify().unwrap_err();
}

/// A file of which nothing is here costs the disk nothing before its first chunk. From then on it has a journal:
/// without one, what stands in it would be taken for its beginning.
#[tokio::test]
async fn a_new_file_gets_its_journal_with_its_first_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("a.partial.chunks");
    let new = job(&folder);
    assert!(new.partial.is_new());
    let file = XetFile::begin(&new, hash());
    assert_eq!(file.gaps(), vec![0..SIZE]);
    assert!(!journal.exists());
    // Written, and not entered yet.
    let second = LooseChunk { offset: 5, hash: compute_data_hash(CHUNKS[1]), content: CHUNKS[1] };
    let mut placed = Vec::new();
    file.place(&[second], &mut placed).unwrap();
    assert_eq!(placed.len(), 1);
    assert!(journal.exists());
    drop((new, file));
    let free = || FileLock::try_acquire(&folder.path().join("lock")).unwrap().is_some();
    while !free() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let left = job(&folder);
    assert!(!left.partial.is_new());
    let (later, had_journal) = XetFile::open(&left, hash(), Vec::new()).await.unwrap();
    assert!(had_journal);
    assert_eq!(later.gaps(), vec![0..SIZE], "nobody says what it is");
}

/// Chunks that come together are placed as if each had come alone: what fits counts and is there, whatever else comes
/// with it.
#[tokio::test]
async fn what_fits_counts_beside_what_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = XetFile::open(&job(&folder), hash(), Vec::new()).await.unwrap();
    let loose = |offset, content| LooseChunk { offset, hash: compute_data_hash(content), content };
    let mut placed = Vec::new();
    let [first, second, third] = CHUNKS;
    file.place(&[loose(0, first), loose(11, third), loose(3, b"misfit")], &mut placed).unwrap_err();
    file.enter(&mut placed).unwrap();
    assert_eq!(file.gaps(), vec![5..11]);
    file.place(&[loose(0, first), loose(5, second), loose(11, third)], &mut placed).unwrap();
    assert_eq!(placed.len(), 1, "the others were there");
    assert_eq!(placed[0].range(), 5..11);
    file.enter(&mut placed).unwrap();
    file.verify().unwrap();
    let mut content = vec![0; CHUNKS.concat().len()];
    assert!(file.read_at(&mut content, 0).unwrap());
    assert_eq!(content, CHUNKS.concat());
}

/// What one attempt vouches for, and the next leaves alone, is in nobody's doubt; what comes from
/// an earlier process is.
#[tokio::test]
async fn doubts_are_about_what_nobody_has_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = XetFile::open(&job(&folder), hash(), Vec::new()).await.unwrap();
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
    let (later, had_journal) = XetFile::open(&job(&folder), hash(), Vec::new()).await.unwrap();
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
    let (file, _) = XetFile::open(&job(&folder), hash(), Vec::new()).await.unwrap();
    place(&file, 1, CHUNKS[1]).unwrap();
    place(&file, 1, b"second and more").unwrap_err();
    assert!(!file.has_clashed(), "nothing was here before");
    let job = file.job().clone();
    drop(file);
    let (file, _) = XetFile::open(&job, hash(), Vec::new()).await.unwrap();
    file.settled().await.unwrap();
    assert!(!file.has_clashed());
    place(&file, 1, b"s").unwrap_err();
    assert!(file.has_clashed());
}
