use std::sync::Arc;
use std::time::Duration;

use xet_core_structures::merklehash::file_hash;

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
    let ledger = Ledgers::new(job.task.entry.size);
    let (journal, remains) = Journal::resume(&job, &hash(), &ledger, &[]).unwrap();
    assert!(remains.is_none());
    // Out of order, as concurrent fetches write.
    for i in [3, 0, 1, 4] {
        let (offset, data) = chunk(i);
        job.partial.write_at(&data, offset).unwrap();
        let record =
            PlacedChunk { offset, len: LEN, hash: compute_data_hash(&data), cut: Cut::AsPublished };
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
    // Who had it before may still be giving it up.
    let limit = Duration::from_mins(1);
    let lock =
        FileLock::acquire_within(&folder.path().join("lock"), 0o664, limit).unwrap().unwrap();
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
    gaps_of(&job(folder))
}

fn gaps_of(job: &Job) -> Vec<std::ops::Range<u64>> {
    let ledger = Ledgers::new(job.task.entry.size);
    resume(job, &ledger, &[]);
    ledger.missing(0..job.task.entry.size)
}

/// Opens the journal, and reads again what it names.
fn resume(job: &Job, ledger: &Ledgers, without: &[std::ops::Range<u64>]) -> Journal {
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

/// What only the older rule makes is no content of its own, and counts if it's right.
#[test]
fn what_only_the_older_rule_makes_is_taken_up() {
    let folder = interrupted();
    let first = job(&folder);
    let journal = resume(&first, &Ledgers::new(first.task.entry.size), &[]);
    let (offset, data) = chunk(2);
    first.partial.write_at(&data, offset).unwrap();
    let place = |at: usize, len: usize, rule| PlacedChunk {
        offset: offset + at as u64,
        len: u32::try_from(len).unwrap(),
        hash: compute_data_hash(&data[at..at + len]),
        cut: Cut::By(rule),
    };
    let whole = place(0, 1000, Rule::Today);
    let parts = [place(0, 300, Rule::Before202509), place(300, 700, Rule::Before202509)];
    journal.append(&[parts[0], whole, parts[1]]).unwrap();
    drop((first, journal));
    let job = job(&folder);
    let hash_by = |rule| {
        let ledgers = Ledgers::new(job.task.entry.size);
        resume(&job, &ledgers, &[]);
        ledgers.file_hash(rule)
    };
    let leaf = |i| (compute_data_hash(&chunk(i).1), 1000);
    let by_today = [leaf(0), leaf(1), leaf(2), leaf(3), leaf(4)];
    let [first, second] = parts.map(|part| (part.hash, u64::from(part.len)));
    let by_older = [leaf(0), leaf(1), first, second, leaf(3), leaf(4)];
    assert_eq!(hash_by(Rule::Today), Some(file_hash(&by_today)));
    assert_eq!(hash_by(Rule::Before202509), Some(file_hash(&by_older)));
    // It's read, and not believed.
    job.partial.write_at(b"x", offset + 10).unwrap();
    assert_eq!(hash_by(Rule::Before202509), None);
    assert_eq!(gaps_of(&job), vec![2000..3000]);
}

/// What was cut by guess is kept like the rest, and known again.
#[test]
fn guesses_are_known_again() {
    let folder = interrupted();
    let job = job(&folder);
    let ledger = Ledgers::new(job.task.entry.size);
    let journal = resume(&job, &ledger, &[]);
    let (offset, data) = chunk(2);
    job.partial.write_at(&data, offset).unwrap();
    let hash = compute_data_hash(&data);
    journal.append(&[PlacedChunk { offset, len: LEN, hash, cut: Cut::ByAnyRule }]).unwrap();
    drop((job, journal));
    assert_eq!(gaps(&folder), vec![]);
    let job = self::job(&folder);
    let ledger = Ledgers::new(job.task.entry.size);
    let (_, remains) = Journal::resume(&job, &self::hash(), &ledger, &[]).unwrap();
    assert_eq!(remains.unwrap().guesses(), vec![2000..3000]);
    let (_, remains) =
        Journal::resume(&job, &self::hash(), &ledger, std::slice::from_ref(&(2000..2001))).unwrap();
    assert!(remains.unwrap().guesses().is_empty());
}

/// A guess of nothing is none.
#[test]
fn empty_guesses_are_left_out() {
    let folder = interrupted();
    let job = job(&folder);
    let ledger = Ledgers::new(job.task.entry.size);
    let journal = resume(&job, &ledger, &[]);
    let empty = PlacedChunk { offset: 0, len: 0, hash: hash(), cut: Cut::ByAnyRule };
    journal.append(&[empty]).unwrap();
    drop(journal);
    let (_, remains) = Journal::resume(&job, &hash(), &ledger, &[]).unwrap();
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
    let ledger = Ledgers::new(job.task.entry.size);
    resume(&job, &ledger, &[1500..1600, 4999..6000]);
    assert_eq!(ledger.missing(0..job.task.entry.size), vec![1000..3000, 4000..5000]);
}

/// Nor where somebody else promises to look: what is to be cut otherwise isn't cut as it was noted.
#[test]
fn what_is_left_out_stays_so_where_it_is_promised_again() {
    let folder = interrupted();
    let job = job(&folder);
    let ledgers = Ledgers::new(job.task.entry.size);
    let left_out = 3000..5000;
    let without = std::slice::from_ref(&left_out);
    let (_journal, remains) = Journal::resume(&job, &hash(), &ledgers, without).unwrap();
    ledgers.promise(3000, 1500).unwrap();
    remains.unwrap().check(&job, &ledgers, || false).unwrap();
    assert_eq!(ledgers.promised(), vec![3000..4500], "nobody has kept that");
    assert_eq!(ledgers.missing(0..5000), vec![2000..3000, 4500..5000]);
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
    let resumed = resume(&job, &Ledgers::new(job.task.entry.size), &[]);
    let (offset, data) = chunk(2);
    job.partial.write_at(&data, offset).unwrap();
    resumed
        .append(&[PlacedChunk {
            offset,
            len: LEN,
            hash: compute_data_hash(&data),
            cut: Cut::AsPublished,
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
    let journal = resume(&job, &Ledgers::new(job.task.entry.size), &[]);
    journal
        .append(&[PlacedChunk {
            offset,
            len: LEN,
            hash: compute_data_hash(&again),
            cut: Cut::AsPublished,
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
    let ledger = Ledgers::new(job.task.entry.size);
    let (_journal, remains) = Journal::resume(&job, &hash(), &ledger, &[]).unwrap();
    assert_eq!(ledger.missing(0..5000), vec![2000..3000]);
    assert_eq!(ledger.promised(), [0..2000, 3000..5000]);
    remains.unwrap().check(&job, &ledger, || true).unwrap();
    ledger.forget_promises();
    assert_eq!(ledger.missing(0..5000), vec![0..5000], "it was stopped");
}
