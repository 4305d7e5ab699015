//! Shards of one upload: when they are full, and how they are sent.

use xet_core_structures::merklehash::xorb_hash;
use xet_core_structures::metadata_shard::shard_file_handle::{MDBShardFile, new_shard_file_cache};
use xet_core_structures::metadata_shard::xorb_structs::{
    XorbChunkSequenceEntry, XorbChunkSequenceHeader,
};

use super::*;

/// The chunk of a xorb.
fn chunk(xorb: u64, number: u32) -> MerkleHash {
    // Tables go by the first of these.
    MerkleHash::from([xorb << 32 | u64::from(number), 2, 3, 4])
}

/// What is known of a xorb of so many chunks.
pub(in super::super) fn block(xorb: u64, chunks: u32) -> MDBXorbInfo {
    let hashes: Vec<_> = (0..chunks).map(|number| (chunk(xorb, number), 100)).collect();
    let metadata = XorbChunkSequenceHeader::new(xorb_hash(&hashes), chunks, chunks * 100);
    let chunks = (0..chunks)
        .map(|number| XorbChunkSequenceEntry::new(chunk(xorb, number), 100_u32, number * 100));
    MDBXorbInfo { metadata, chunks: chunks.collect() }
}

/// A shard that is full is registered, and until that has happened its chunks are known all the same. What is
/// kept of content doesn't grow with it.
#[test]
fn a_full_shard_is_followed_by_another() {
    let (work, mut queue) = mpsc::unbounded_channel();
    let mut state = State { work: Some(work), ..State::default() };
    let mut xorbs = 0;
    let full = loop {
        state.shard.add_xorb_block(block(xorbs, 8192)).unwrap();
        state.add_files(Vec::new()).unwrap();
        xorbs += 1;
        if let Ok(Work::Register(shard)) = queue.try_recv() {
            break shard;
        }
    };
    assert!(full.shard_file_size() < FULL * 2 && (4..40).contains(&xorbs), "{xorbs}");
    assert!(state.shard.is_empty());
    state.shard.add_xorb_block(block(xorbs, 2)).unwrap();
    for xorb in 0..=xorbs {
        let (count, entry) = state.find(&[chunk(xorb, 0), chunk(xorb, 1)]).unwrap();
        let chunks = if xorb < xorbs { 8192 } else { 2 };
        assert_eq!((count, entry.xorb_hash), (2, block(xorb, chunks).metadata.xorb_hash));
    }
    state.register().unwrap();
    assert!(matches!(queue.try_recv(), Ok(Work::Register(_))));
    state.register().unwrap();
    assert!(queue.try_recv().is_err(), "what is empty was registered");
}

/// A shard is sent in the form that xet-core sends.
#[test]
fn shards_are_sent_without_their_tables() {
    let mut shard = MDBInMemoryShard::default();
    (0..3).for_each(|xorb| shard.add_xorb_block(block(xorb, 5)).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = shard.write_to_directory(folder.path(), None).unwrap();
    let theirs = MDBShardFile::load_from_file(&path, &new_shard_file_cache()).unwrap();
    assert_eq!(serialize(&shard).unwrap(), theirs.read_shard_to_bytes_remove_footer().unwrap());
}
