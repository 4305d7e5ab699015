use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};

use super::record::used_bytes;
use super::*;
use crate::sys::lock::FileLock;

const CHUNK: u32 = 64 << 10;
/// Chunks of the file that most tests remember; more than a page.
const CHUNKS: u32 = 1500;
const SIZE: u64 = CHUNK as u64 * CHUNKS as u64;
const ROOMY: u64 = 1 << 30;

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn index(&self) -> Arc<Index> {
        Arc::new(Index::new(&self.folder.path().join("xet"), ROOMY))
    }

    /// A sparse file: the index never reads content.
    fn file(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
        path
    }

    fn with_a_file(name: &str) -> (Self, PathBuf) {
        let machine = Self::new();
        let path = machine.file(name);
        remember(&machine.index(), name, &path, terms(name));
        (machine, path)
    }
}

fn hash(name: &str) -> MerkleHash {
    compute_data_hash(name.as_bytes())
}

fn term(xorb: &str, chunks: std::ops::Range<u32>, first: u32) -> Term {
    let len = u64::from(CHUNK) * chunks.len() as u64;
    Term { xorb: hash(xorb), chunks, offset: u64::from(CHUNK) * u64::from(first), len }
}

/// The file is chunks 100.. of one xorb, then 0.. of another.
fn terms(name: &str) -> Vec<Term> {
    vec![
        term(&format!("{name}/b"), 0..500, 1000),
        term(&format!("{name}/a"), 100..600, 0),
        term(&format!("{name}/a"), 600..1100, 500),
    ]
}

fn records(count: u32) -> impl Iterator<Item = ChunkRecord> {
    (0..count).map(|i| ChunkRecord::new(CHUNK, &compute_data_hash(&i.to_le_bytes())))
}

fn remember(index: &Index, name: &str, path: &Path, terms: Vec<Term>) {
    let finished = Finished { hash: &hash(name), size: SIZE, path, terms };
    index.remember(finished, records(CHUNKS));
}

fn found(index: &Arc<Index>, xorb: &str, chunks: std::ops::Range<u32>) -> Vec<(u32, u32, u64)> {
    let mut search = index.search();
    let runs = search.runs(&hash(xorb), &chunks);
    runs.iter().map(|run| (run.chunks.start, run.chunks.end, run.at)).collect()
}

/// What was remembered is found by any part of a xorb, also across pages and by another process.
#[test]
fn chunks_are_found_by_their_xorb() {
    let (machine, path) = Machine::with_a_file("f");
    let index = machine.index();
    let at = |chunk| u64::from(CHUNK) * chunk;
    assert_eq!(found(&index, "f/a", 100..1100), [(100, 1100, 0)], "two terms that follow join");
    assert_eq!(found(&index, "f/a", 0..200), [(100, 200, 0)]);
    assert_eq!(found(&index, "f/a", 150..151), [(150, 151, at(50))]);
    assert_eq!(found(&index, "f/b", 400..2000), [(400, 500, at(1400))]);
    assert_eq!(found(&index, "f/c", 0..2000), []);

    let run = &index.search().runs(&hash("f/b"), &(10..40))[0];
    assert_eq!(run.records, records(CHUNKS).skip(1010).take(30).collect::<Vec<_>>());
    assert_eq!(run.local.path(), path);
    let mut search = index.search();
    let whole = search.whole(&hash("f"), SIZE).unwrap();
    assert_eq!(whole.pages(), 2);
    assert_eq!(search.page(&whole, 1, at(1024)).unwrap().records.len(), 476);
    assert!(index.has(&hash("f"), &path) && !index.has(&hash("g"), &path));
}

/// Runs of several files make up for each other's gaps, and none is named twice.
#[test]
fn several_files_complete_each_other() {
    let machine = Machine::new();
    let index = machine.index();
    remember(&index, "1", &machine.file("1"), vec![term("x", 0..30, 7), term("x", 70..100, 90)]);
    remember(&index, "2", &machine.file("2"), vec![term("x", 20..50, 0)]);
    let runs = found(&index, "x", 5..95);
    let chunks: Vec<_> = runs.iter().map(|&(start, end, _)| (start, end)).collect();
    assert_eq!(chunks, [(5, 30), (30, 50), (70, 95)]);
}

/// A file that was written to, replaced or removed isn't offered, and counted once.
#[test]
fn changed_files_are_dropped() {
    let changes: [fn(&Path); 3] = [
        |path| fs::write(path, b"short").unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        },
    ];
    for change in changes {
        let (machine, path) = Machine::with_a_file("f");
        let index = machine.index();
        let copy = std::sync::Arc::clone(&index.search().runs(&hash("f/a"), &(0..900))[0].local);
        change(&path);
        assert!(copy.open().is_err());
        let mut search = index.search();
        assert!(search.runs(&hash("f/a"), &(0..900)).is_empty());
        assert!(search.whole(&hash("f"), SIZE).is_none());
        assert_eq!(search.dropped(), 1);
        assert_eq!(index.search().dropped(), 0, "the next search doesn't meet it");
    }
}

/// Of a content that is at two places, one is enough.
#[test]
fn a_copy_takes_over() {
    let (machine, path) = Machine::with_a_file("f");
    let copy = machine.file("copy");
    let index = machine.index();
    remember(&index, "f", &copy, Vec::new());
    fs::remove_file(&copy).unwrap();
    let runs = index.search().runs(&hash("f/a"), &(100..200));
    assert_eq!(runs[0].local.path(), path);
}

/// What a file's chunks and terms claim must fit each other; what doesn't isn't remembered.
#[test]
fn claims_that_do_not_fit_are_not_remembered() {
    let machine = Machine::new();
    let index = machine.index();
    let path = machine.file("f");
    let finished = Finished { hash: &hash("f"), size: SIZE, path: &path, terms: terms("f") };
    index.remember(finished, records(CHUNKS - 1));
    assert_eq!(found(&index, "f/a", 0..2000), []);

    let mut inside_a_chunk = term("x", 0..2, 0);
    inside_a_chunk.offset += 1;
    let mut too_few = term("y", 0..5, 10);
    too_few.chunks.end = 4;
    remember(&index, "f", &path, vec![inside_a_chunk, too_few, term("z", 0..3, 30)]);
    assert_eq!(found(&index, "x", 0..9), []);
    assert_eq!(found(&index, "y", 0..9), []);
    assert_eq!(found(&index, "z", 0..9), [(0, 3, 30 * u64::from(CHUNK))]);
    assert!(!index.has(&hash("f"), &path), "not all of its xorbs are known");
    remember(&index, "f", &path, terms("f"));
    assert!(index.has(&hash("f"), &path));
}

/// Wherever the database is cut, and whatever it's overwritten with, the index answers, be it with
/// nothing, and takes new files.
#[test]
fn a_damaged_index_is_made_anew() {
    let (machine, path) = Machine::with_a_file("f");
    let database = machine.index().path();
    let whole = fs::read(&database).unwrap();
    let mut random = fastrand::Rng::with_seed(6);
    for round in 0..60_usize {
        let mut bytes = whole.clone();
        if round % 2 == 0 {
            bytes.truncate(random.usize(..whole.len()));
        } else {
            let start = random.usize(..whole.len());
            let end = (start + random.usize(..20_000)).min(whole.len());
            random.fill(&mut bytes[start..end]);
        }
        fs::write(&database, &bytes).unwrap();
        let index = machine.index();
        for run in index.search().runs(&hash("f/a"), &(0..2000)) {
            assert_eq!(run.records.len(), run.chunks.len());
            assert!(run.at + run.len() <= SIZE);
        }
        index.search().whole(&hash("f"), SIZE);
        remember(&index, "g", &path, terms("g"));
        index.clear();
        remember(&index, "g", &path, terms("g"));
        assert_eq!(found(&index, "g/a", 100..1100).len(), 1, "round {round}");
        drop(index);
    }
}

/// An index of a later version is left as it is, one of an earlier version is replaced.
#[test]
fn other_versions_are_not_touched_or_replaced() {
    let (machine, _) = Machine::with_a_file("f");
    let set = |version: i64| {
        let connection = rusqlite::Connection::open(machine.index().path()).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
    };
    set(schema::VERSION + 1);
    let before = fs::read(machine.index().path()).unwrap();
    let index = machine.index();
    assert_eq!(found(&index, "f/a", 0..2000), []);
    remember(&index, "f", &machine.file("g"), terms("g"));
    drop(index);
    assert_eq!(fs::read(machine.index().path()).unwrap(), before);
    set(schema::VERSION);
    assert_eq!(found(&machine.index(), "f/a", 0..2000).len(), 1);
    set(0);
    let index = machine.index();
    assert_eq!(found(&index, "f/a", 0..2000), []);
    remember(&index, "g", &machine.file("g"), terms("g"));
    assert_eq!(found(&index, "g/a", 0..2000).len(), 1);
}

/// A place where nothing can be written is an index that knows nothing.
#[test]
fn a_read_only_place_knows_nothing() {
    let machine = Machine::new();
    let blocked = machine.folder.path().join("blocked");
    fs::write(&blocked, "not a folder").unwrap();
    let index = Arc::new(Index::new(&blocked, ROOMY));
    remember(&index, "f", &machine.file("f"), terms("f"));
    assert_eq!(found(&index, "f/a", 0..2000), []);
    // Root may write everywhere.
    let read_only = machine.folder.path().join("read-only");
    fs::create_dir(&read_only).unwrap();
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(found(&Arc::new(Index::new(&read_only, ROOMY)), "f/a", 0..2000), []);
}

/// The index of a large file takes less than a thousandth of it, also if it's in small pieces.
#[test]
fn it_takes_less_than_a_thousandth() {
    for pieces in [1, 8, 64] {
        let machine = Machine::new();
        let index = machine.index();
        let count = 64 * CHUNKS;
        let size = u64::from(CHUNK) * u64::from(count);
        let path = machine.folder.path().join("big");
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        let terms = (0..count / pieces).map(|i| {
            term(
                &format!("{}", i / 100),
                i % 100 * (pieces + 1)..i % 100 * (pieces + 1) + pieces,
                i * pieces,
            )
        });
        let finished = Finished { hash: &hash("big"), size, path: &path, terms: terms.collect() };
        index.remember(finished, records(count));
        assert!(index.has(&hash("big"), &path));
        let per_million = index.disk_bytes() * 1_000_000 / size;
        drop(index);
        assert!(per_million < 1000, "pieces of {pieces} chunks: {per_million} of a million");
    }
}

/// A full index forgets what was not used for longest.
#[test]
fn a_full_index_forgets_the_oldest() {
    let machine = Machine::new();
    let limit = 200_000;
    let index = Arc::new(Index::new(&machine.folder.path().join("xet"), limit));
    let names: Vec<String> = (0..40).map(|i| format!("f{i}")).collect();
    for name in &names {
        remember(&index, name, &machine.file(name), terms(name));
        let size = index.with(|store| used_bytes(&store.connection)).unwrap();
        assert!(size <= limit, "{size}");
    }
    assert_eq!(found(&index, "f39/a", 100..1100).len(), 1);
    assert_eq!(found(&index, "f0/a", 100..1100).len(), 0);
}

/// Many users at once, each with connections of their own, lose nothing.
#[test]
fn many_write_at_the_same_time() {
    let machine = Machine::new();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let machine = &machine;
            scope.spawn(move || {
                let index = machine.index();
                for i in 0..10 {
                    let name = format!("{worker}-{i}");
                    remember(&index, &name, &machine.file(&name), terms(&name));
                    assert_eq!(found(&index, &format!("{name}/b"), 0..500).len(), 1);
                }
            });
        }
    });
    let index = machine.index();
    for worker in 0..8 {
        for i in 0..10 {
            assert_eq!(found(&index, &format!("{worker}-{i}/a"), 100..1100).len(), 1);
        }
    }
}

/// Those who only open the index don't keep each other out; whoever makes it anew keeps out all.
#[test]
fn openers_share_the_lock() {
    let (machine, _) = Machine::with_a_file("f");
    let lock = machine.index().folder.join("reuse.lock");
    let shared = FileLock::try_share(&lock).unwrap().unwrap();
    assert_eq!(found(&machine.index(), "f/a", 100..1100).len(), 1);
    drop(shared);
    let alone = FileLock::try_acquire(&lock).unwrap().unwrap();
    assert_eq!(found(&machine.index(), "f/a", 100..1100), []);
    drop(alone);
    assert_eq!(found(&machine.index(), "f/a", 100..1100).len(), 1);
}

/// Many who find no index, or only a bad one, all get the same one.
#[test]
fn many_make_it_at_the_same_time() {
    const MANY: usize = 8;
    for damaged in [false, true] {
        let machine = Machine::new();
        if damaged {
            fs::create_dir_all(&machine.index().folder).unwrap();
            fs::write(machine.index().path(), [7; 8192]).unwrap();
        }
        let ready = std::sync::Barrier::new(MANY);
        std::thread::scope(|scope| {
            for who in 0..MANY {
                let (machine, ready) = (&machine, &ready);
                scope.spawn(move || {
                    let (index, name) = (machine.index(), who.to_string());
                    let path = machine.file(&name);
                    ready.wait();
                    remember(&index, &name, &path, terms(&name));
                });
            }
        });
        let index = machine.index();
        let lost: Vec<_> = (0..MANY).filter(|who| !is_there(&index, &who.to_string())).collect();
        assert_eq!(lost, [0; 0], "damaged: {damaged}");
    }
}

/// The children of `many`, once each has said by its exit status that all was right.
fn all_right(many: Vec<libc::pid_t>) -> bool {
    let mut right = true;
    for child in many {
        let mut status = -1;
        // SAFETY: `child` is our child, `status` is valid.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        right &= status == 0;
    }
    right
}

/// Runs `act` in a child, which is killed if that takes very long.
fn fork(act: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: the child leaves with _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: the default action of SIGALRM ends the process.
        unsafe { libc::alarm(30) };
        let right = act();
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(!right)) }
    }
    child
}

/// Whether `name` is found, and isn't damaged.
fn is_there(index: &Arc<Index>, name: &str) -> bool {
    found(index, &format!("{name}/a"), 100..1100).len() == 1
}

/// However often a process is forked while its threads write, nothing that it, its children or a
/// third process has remembered is lost, and nobody hangs: not with the index that a child
/// inherits, not with one that it opens, and not after the parent has closed its own.
#[test]
fn forks_lose_nothing() {
    const ROUNDS: usize = 10;
    const CHILDREN: usize = 8;
    const FILES: usize = 6;
    for round in 0..ROUNDS {
        let machine = Machine::new();
        let index = machine.index();
        let write = |index: &Arc<Index>, who: &str| {
            (0..FILES).all(|file| {
                let name = format!("{who}-{file}");
                remember(index, &name, &machine.file(&name), terms(&name));
                is_there(index, &name)
            })
        };
        assert!(write(&index, "parent"));
        let mut children = Vec::new();
        children.push(fork(|| write(&machine.index(), "third")));
        std::thread::scope(|scope| {
            let writers = ["x", "y"].map(|who| {
                let (index, write) = (&index, &write);
                scope.spawn(move || write(index, who))
            });
            for child in 0..CHILDREN {
                let (index, machine, write) = (&index, &machine, &write);
                children.push(fork(|| {
                    let own = if child % 2 == 0 { Arc::clone(index) } else { machine.index() };
                    is_there(&own, "parent-0") && write(&own, &format!("child{child}"))
                }));
            }
            assert!(writers.into_iter().all(|writer| writer.join().is_ok_and(|right| right)));
        });
        drop(index);
        assert!(all_right(children), "round {round}");
        let index = machine.index();
        let who = (0..CHILDREN).map(|child| format!("child{child}"));
        for who in who.chain(["parent", "third", "x", "y"].map(str::to_owned)) {
            let lost = (0..FILES).filter(|file| !is_there(&index, &format!("{who}-{file}")));
            assert_eq!(lost.count(), 0, "{who} in round {round}");
        }
        let sound = index.with(|store| {
            store.connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
        });
        assert_eq!(sound.as_deref(), Some("ok"), "round {round}");
    }
}

/// A list that is written in parts is found as a whole once it is whole, and one that turns out to
/// be another file's isn't found at all.
#[test]
fn long_lists_are_written_in_parts() {
    let count = 200 * 1024;
    let size = u64::from(CHUNK) * u64::from(count);
    let machine = Machine::new();
    let index = machine.index();
    let path = machine.folder.path().join("big");
    fs::File::create(&path).unwrap().set_len(size).unwrap();
    let add = |count| {
        let terms = vec![term("x", 0..100, 0), term("y", 0..100, 150 * 1024)];
        let finished = Finished { hash: &hash("big"), size, path: &path, terms };
        index.remember(finished, records(count));
    };
    add(count - 1);
    assert!(index.search().whole(&hash("big"), size).is_none());
    assert_eq!(found(&index, "x", 0..100), []);
    add(count);
    let mut search = index.search();
    let whole = search.whole(&hash("big"), size).unwrap();
    assert_eq!(whole.pages(), 200);
    assert_eq!(search.page(&whole, 199, 0).unwrap().records.len(), 1024);
    assert_eq!(found(&index, "x", 0..100), [(0, 100, 0)]);
    assert_eq!(found(&index, "y", 0..100), [(0, 100, u64::from(CHUNK) * 150 * 1024)]);
}

/// How long a plan takes over a large index: of 1 TB of content in 16 million chunks, for a repo of
/// 100 GB of which it has half. `cargo test --release -p xet-ffi-core --lib large_index -- --ignored
/// --nocapture` prints it.
#[test]
#[ignore = "a measurement: takes a while, and asserts no time"]
fn large_index() {
    const FILES: u32 = 100;
    const TERMS: u32 = 160;
    const TERM: u32 = 1024;
    for pieces in [1, 16] {
        let machine = Machine::new();
        let index = machine.index();
        let size = u64::from(CHUNK) * u64::from(TERMS * TERM);
        for file in 0..FILES {
            let name = file.to_string();
            let path = machine.folder.path().join(&name);
            fs::File::create(&path).unwrap().set_len(size).unwrap();
            let terms = (0..TERMS * pieces).map(|i| {
                let (xorb, piece, len) = (i / pieces, i % pieces, TERM / pieces);
                term(&format!("{file}/{xorb}"), piece * (len + 1)..piece * (len + 1) + len, i * len)
            });
            let finished =
                Finished { hash: &hash(&name), size, path: &path, terms: terms.collect() };
            index.remember(finished, records(TERMS * TERM));
        }
        let (contents, bytes) = index.contents();
        // Of ten files of 10 GB, every other term is known.
        let index = machine.index();
        let begun = std::time::Instant::now();
        let mut found = 0;
        for file in 0..10 {
            let mut search = index.search();
            for i in 0..TERMS * pieces {
                let (xorb, piece, len) = (i / pieces, i % pieces, TERM / pieces);
                let name = if i % 2 == 0 { format!("{file}/{xorb}") } else { "other".to_owned() };
                let chunks = piece * (len + 1)..piece * (len + 1) + len;
                found += search.runs(&hash(&name), &chunks).iter().map(Run::len).sum::<u64>();
            }
        }
        println!(
            "{contents} files, {bytes} bytes, {} terms each; index of {} bytes; \
             plan for {} bytes, {found} found: {:?}",
            TERMS * pieces,
            index.disk_bytes(),
            10 * size,
            begun.elapsed(),
        );
    }
}
