//! Damaged and foreign files among the shards.

use std::fs;
use std::os::unix::fs::symlink;

use xet_core_structures::merklehash::xorb_hash;
use xet_core_structures::metadata_shard::shard_in_memory::MDBInMemoryShard;
use xet_core_structures::metadata_shard::xorb_structs::{
    MDBXorbInfo, XorbChunkSequenceEntry, XorbChunkSequenceHeader,
};
use xet_core_structures::metadata_shard::{MDBShardFile, MDBShardFileFooter};

use super::*;
use crate::model::error::Kind;

/// A folder with a shard of two xorbs.
fn folder_with_a_shard() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut shard = MDBInMemoryShard::default();
    for xorb in 1..3 {
        let hash = |n: u64| MerkleHash::from([n, xorb, 3, 4]);
        let chunks = (0..3_u32)
            .map(|n| XorbChunkSequenceEntry::new(hash(10 + u64::from(n)), 100_u32, n * 100));
        let chunks: Vec<_> = chunks.collect();
        let hashes: Vec<_> = chunks.iter().map(|chunk| (chunk.chunk_hash, 100)).collect();
        let metadata = XorbChunkSequenceHeader::new(xorb_hash(&hashes), 3_u32, 300_u32);
        let info = MDBXorbInfo { metadata, chunks };
        shard.add_xorb_block(info).unwrap();
    }
    let path = shard.write_to_directory(folder.path(), None).unwrap();
    (folder, path)
}

fn count(read: &mut Read, folder: &Path) -> usize {
    read.check(&[folder], &Call::default()).unwrap()
}

/// A bit that flips anywhere, or a byte too few or too many, is noticed; so is one that flips after a look.
#[test]
fn every_kind_of_damage_is_noticed() {
    let (folder, path) = folder_with_a_shard();
    let sound = fs::read(&path).unwrap();
    let mut read = KnownShards::default().take();
    assert_eq!(count(&mut read, folder.path()), 1);
    let flipped = (0..sound.len()).map(|at| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = [0, 1, 47, 48, 200, sound.len() - 1].map(|len| sound[..len].to_vec());
    let more = [&sound[..], b"\0"].concat();
    for damaged in flipped.chain(cut).chain([more]) {
        fs::write(&path, damaged).unwrap();
        assert_eq!(count(&mut read, folder.path()), 0);
        assert!(!path.exists());
    }
    fs::write(&path, &sound).unwrap();
    assert_eq!(count(&mut read, folder.path()), 1);
}

/// What has the right name for its content may still claim to be larger than it is.
#[test]
fn a_shard_that_contradicts_itself_is_not_read() {
    let (folder, path) = folder_with_a_shard();
    let sound = fs::read(&path).unwrap();
    // The footer has 8 bytes each.
    for at in (sound.len() - size_of::<MDBShardFileFooter>()..sound.len()).step_by(8).take(9) {
        let mut bytes = sound.clone();
        bytes[at + 4] = 0x7f;
        let mut hash = HashedWrite::new(io::sink());
        io::copy(&mut bytes.as_slice(), &mut hash).unwrap();
        let named = folder.path().join(format!("{}.mdb", hash.hash().hex()));
        fs::write(&named, bytes).unwrap();
        let mut read = KnownShards::default().take();
        assert_eq!(count(&mut read, folder.path()), 1, "number {at}");
        assert!(!named.exists() && path.exists());
    }
}

/// A shard that storage has sent has no name to be held against it: what is wrong with it is seen all the same, but for
/// what nobody goes by.
#[test]
fn every_part_of_a_shard_is_looked_at() {
    let (_folder, path) = folder_with_a_shard();
    let sound = fs::read(path).unwrap();
    let footer = size_of::<MDBShardFileFooter>();
    let problem = |bytes: &[u8]| problem_of(bytes, &MissingXorbs::default());
    assert_eq!(problem(&sound), None);
    let mut unseen = Vec::new();
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        if problem(&bytes).is_none() {
            unseen.push(at);
        }
    }
    // Of the end of the files: numbers that say nothing. Of each xorb: its flags and sizes, and the flags of its chunks.
    // Of the footer: the key, without which nothing is found, times, sizes and what is spare.
    let is_idle = |at: usize| match at {
        80..96 => true,
        _ if at >= sound.len() - footer => (72..192).contains(&(at + footer - sound.len())),
        96..528 => matches!((at - 96) % 48, 32..36 | 40..48),
        _ => false,
    };
    let seen: Vec<_> = unseen.into_iter().filter(|at| !is_idle(*at)).collect();
    assert_eq!(seen, [] as [usize; 0]);
    for end in 0..sound.len() {
        assert!(problem(&sound[..end]).is_some(), "{end} bytes");
    }
}

/// Chunks that are told with a key can't be hashed to their xorb; that they follow each other, and are where the
/// tables say, is seen.
#[test]
fn a_shard_with_a_key_is_looked_at() {
    let (folder, path) = folder_with_a_shard();
    let files = new_shard_file_cache();
    let shard = MDBShardFile::load_from_file(&path, &files).unwrap();
    let key = MerkleHash::from([5, 6, 7, 8]);
    let day = std::time::Duration::from_hours(24);
    for tables in [true, false] {
        let keyed =
            shard.export_as_keyed_shard(folder.path(), key, day, false, tables, tables, &files);
        let bytes = fs::read(&keyed.unwrap().path).unwrap();
        let problem = |bytes: &[u8]| problem_of(bytes, &MissingXorbs::default());
        assert_eq!(problem(&bytes), None);
        let mut moved = bytes.clone();
        // The length of the first chunk.
        moved[48 + 48 + 48 + 36] ^= 1;
        assert_eq!(problem(&moved).unwrap(), "chunks of a xorb don't follow each other");
        let mut other = bytes;
        other[48 + 48 + 48] ^= 1;
        assert_eq!(problem(&other).is_some(), tables);
    }
}

/// What misled an upload isn't gone by again, whoever says it; the rest is.
#[test]
fn what_was_false_is_forgotten_for_good() {
    let (folder, path) = folder_with_a_shard();
    let (cached, staged) = (folder.path().join("cached"), folder.path().join("staged"));
    for folder in [&cached, &staged] {
        fs::create_dir(folder).unwrap();
    }
    let sound = fs::read(&path).unwrap();
    let name = path.file_name().unwrap();
    fs::write(cached.join(name), &sound).unwrap();
    fs::write(staged.join(name), &sound).unwrap();
    let xorbs = whole::xorbs(&mut Cursor::new(&sound)).unwrap();
    forget(&cached, &staged, &HashSet::from([MerkleHash::from([9, 9, 9, 9])])).unwrap();
    assert!(cached.join(name).exists() && !staged.join(name).exists());
    assert_eq!(problem_of(&sound, &MissingXorbs::read(&cached)), None);
    forget(&cached, &staged, &HashSet::from([xorbs[1]])).unwrap();
    assert!(!cached.join(name).exists());
    assert!(problem_of(&sound, &MissingXorbs::read(&cached)).is_some());
}

/// What an upload has read before another one found out that some of it is false is of no use to the next.
#[test]
fn what_was_read_before_it_was_false_is_not_handed_on() {
    let known = KnownShards::default();
    let read = known.take();
    known.forget();
    let managers = Arc::clone(&read.managers);
    known.keep(read);
    assert!(!Arc::ptr_eq(&managers, &known.take().managers));
}

/// What is no file isn't opened, and what isn't named as a shard isn't looked at.
#[test]
fn foreign_things_are_left_out() {
    let (folder, path) = folder_with_a_shard();
    let named = |digit: &str| folder.path().join(format!("{}.mdb", digit.repeat(64)));
    fs::create_dir(named("a")).unwrap();
    symlink(&path, named("b")).unwrap();
    fs::write(folder.path().join("note"), "mine").unwrap();
    let mut read = KnownShards::default().take();
    assert_eq!(count(&mut read, folder.path()), 1);
    assert!(named("a").is_dir() && !named("b").is_symlink());
    assert!(folder.path().join("note").exists());
    assert_eq!(count(&mut read, &folder.path().join("none")), 0);
}

/// One upload at a time has what was read; it's lost with an upload that doesn't end well, or if it's much. That
/// files are sound is known to all.
#[test]
fn what_was_read_is_handed_on_after_success() {
    let (folder, _) = folder_with_a_shard();
    let known = KnownShards::default();
    let is_the_same = |a: &Managers, b: &Managers| Arc::ptr_eq(a, b);
    let mut read = known.take();
    count(&mut read, folder.path());
    let managers = Arc::clone(&read.managers);
    known.keep(read);
    let (first, second) = (known.take(), known.take());
    assert!(is_the_same(&managers, &first.managers) && !is_the_same(&managers, &second.managers));
    assert_eq!(second.checked.lock().len(), 1);
    drop((first, second));
    let after_failure = known.take();
    assert!(!is_the_same(&managers, &after_failure.managers));
    assert_eq!(after_failure.checked.lock().len(), 1);

    let large = Read { size: KEPT + 1, ..after_failure };
    let managers = Arc::clone(&large.managers);
    known.keep(large);
    let next = known.take();
    assert!(!is_the_same(&managers, &next.managers));
    assert_eq!(next.checked.lock().len(), 1);
}

/// A file that takes long to read shows that something moves, and a call that was ended stops.
#[test]
fn a_look_is_alive_and_can_be_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{}.mdb", "a".repeat(64)));
    File::create(&path).unwrap().set_len(8 << 20).unwrap();
    let call = Call::default();
    call.cancellation().cancel();
    let mut read = KnownShards::default().take();
    let ended = read.check(&[folder.path()], &call).unwrap_err();
    assert_eq!(ended.kind(), Kind::Cancelled);
    assert!(path.exists());

    let call = Call::default();
    let before = call.counters.movement();
    let file = File::open(&path).unwrap();
    assert!(look(file, &MerkleHash::default(), &call).unwrap().is_some());
    assert!(call.counters.movement() != before);
}
