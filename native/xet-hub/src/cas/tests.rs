//! The CAS takes nothing on trust.

use bytes::Bytes;
use xet_client::cas_client::RandomXorb;
use xet_core_structures::merklehash::{MerkleHash, file_hash, xorb_hash};
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, MDBFileInfo,
};
use xet_core_structures::metadata_shard::shard_in_memory::MDBInMemoryShard;

use super::{Cas, CasError};

/// The chunks of a xorb as clients upload them: without a footer.
fn chunks(xorb: &RandomXorb) -> Bytes {
    let end = xorb.get_xorb_object().get_contents_length().unwrap();
    xorb.get_serialized_range(0, u64::from(end))
}

/// The real hash of a xorb; `RandomXorb` has one of its own making.
fn hash_of(xorb: &RandomXorb) -> MerkleHash {
    xorb_hash(&xorb.chunk_hash_sizes(0, xorb.num_chunks()))
}

/// A shard with one file: the first `count` chunks of `xorb`, said to have `hash`.
fn shard(xorb: &RandomXorb, count: u32, hash: MerkleHash, sha256: MerkleHash) -> Bytes {
    let size = u32::try_from(xorb.chunk_range_size(0, count)).unwrap();
    let mut shard = MDBInMemoryShard::default();
    shard
        .add_file_reconstruction_info(MDBFileInfo {
            metadata: FileDataSequenceHeader::new(hash, 1, false, true),
            segments: vec![FileDataSequenceEntry::new(hash_of(xorb), size, 0, count)],
            verification: Vec::new(),
            metadata_ext: Some(FileMetadataExt::new(sha256)),
        })
        .unwrap();
    shard.to_bytes().unwrap().into()
}

/// An empty CAS, and the folder that it is in.
pub(super) async fn open() -> (tempfile::TempDir, Cas) {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("staging")).unwrap();
    let cas = Cas::open(data.path()).await.unwrap();
    (data, cas)
}

/// A xorb under another hash, or with broken chunks, is refused; the right one is stored once.
#[tokio::test(flavor = "multi_thread")]
async fn xorbs_are_hashed() {
    let (_data, cas) = open().await;
    let (one, two) = (RandomXorb::from_seed(1, 4, 1000), RandomXorb::from_seed(2, 4, 1000));
    let wrong = cas.store_xorb(hash_of(&one), chunks(&two)).await;
    assert!(matches!(wrong, Err(CasError::Invalid(_))));
    let mut broken = chunks(&one).to_vec();
    broken[100] ^= 1;
    let wrong = cas.store_xorb(hash_of(&one), broken.into()).await;
    assert!(matches!(wrong, Err(CasError::Invalid(_))));
    assert!(cas.store_xorb(hash_of(&one), chunks(&one)).await.unwrap());
    assert!(!cas.store_xorb(hash_of(&one), chunks(&one)).await.unwrap());
}

/// A shard must name stored xorbs, existing chunks, and the hash that they add up to.
#[tokio::test(flavor = "multi_thread")]
async fn shards_are_verified_and_remembered() {
    let (data, cas) = open().await;
    let xorb = RandomXorb::from_seed(3, 5, 1000);
    let sha256 = MerkleHash::random_from_seed(9);
    let hash = file_hash(&xorb.chunk_hash_sizes(0, 3));
    let early = cas.store_shard(shard(&xorb, 3, hash, sha256), None).await;
    assert!(matches!(early, Err(CasError::Invalid(_))));
    cas.store_xorb(hash_of(&xorb), chunks(&xorb)).await.unwrap();
    for (count, hash) in [(4, hash), (3, MerkleHash::random_from_seed(1))] {
        let false_claim = cas.store_shard(shard(&xorb, count, hash, sha256), None).await;
        assert!(matches!(false_claim, Err(CasError::Invalid(_))));
    }
    assert!(cas.file_by_sha256(&sha256.hex()).is_none());
    cas.store_shard(shard(&xorb, 3, hash, sha256), None).await.unwrap();
    let found = cas.file_by_sha256(&sha256.hex()).unwrap();
    assert_eq!((found.hash, found.size), (hash.hex(), 3000));

    drop(cas);
    let cas = Cas::open(data.path()).await.unwrap();
    assert_eq!(cas.file_by_sha256(&sha256.hex()).unwrap().hash, hash.hex());
}

/// Bytes that aren't a shard are the client's mistake, not ours.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_not_a_shard() {
    let (_data, cas) = open().await;
    let garbage = cas.store_shard(Bytes::from_static(b"not a shard"), None).await;
    assert!(matches!(garbage, Err(CasError::Invalid(_))));
}
