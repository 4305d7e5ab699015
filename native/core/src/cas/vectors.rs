//! The published vectors of chunks and hashes, against xet-core's crates and our cutter. Their source is
//! section 10 ("Vectors") of the project's fact sheet on the protocol, hub-protocol.md; xet-hub's old rule is
//! held against the same ones.

use bytes::Bytes;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, file_hash, xorb_hash};
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;

use super::chunker::{Cutter, Guess, Rule};

fn hash(digits: &str) -> MerkleHash {
    MerkleHash::from_hex(digits).unwrap()
}

/// xorshift32 (13, 17, 5), the low byte of each state: what the two rules are told apart by.
pub(crate) fn xorshift(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// `SplitMix64` from 0, each number little-endian.
fn split_mix(size: usize) -> Vec<u8> {
    let mut state = 0_u64;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(size).collect()
}

fn cut(rule: Rule, content: Vec<u8>) -> Vec<Guess> {
    let mut chunks = Cutter::at(0).push(&Bytes::from(content), true);
    chunks.retain(|guess| guess.cut.is_by(rule));
    chunks.sort_by_key(|guess| guess.offset);
    chunks
}

#[test]
fn hashes_of_chunks_nodes_ranges_xorbs_and_files() {
    let hello = hash("d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb");
    assert_eq!(compute_data_hash(b"Hello World!"), hello);

    let first = hash("c28f58387a60d4aa200c311cda7c7f77f686614864f5869eadebf765d0a14a69");
    let second = hash("6e4e3263e073ce2c0e78cc770c361e2778db3b054b98ab65e277fc084fa70f22");
    // A xorb of two chunks is one node.
    let node = hash("be64c7003ccd3cf4357364750e04c9592b3c36705dee76a71590c011766b6c14");
    assert_eq!(xorb_hash(&[(first, 100), (second, 200)]), node);
    let range = hash("eb06a8ad81d588ac05d1d9a079232d9c1e7d0b07232fa58091caa7bf333a2768");
    assert_eq!(range_hash_from_chunks(&[first, second]), range);

    let three = [
        (hash("cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6"), 100),
        (hash("c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72"), 200),
        (hash("0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37"), 300),
    ];
    let file = hash("8e16257caa3fe079d484d872a8975264b2ff683b0d6db9028cc7c0f968a45661");
    assert_eq!(file_hash(&three[..1]), file);
    let xorb = hash("71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc");
    assert_eq!(xorb_hash(&three), xorb);
    let file = hash("54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715");
    assert_eq!(file_hash(&three), file);
    assert_eq!(file_hash(&[]), hash(&"0".repeat(64)));
}

#[test]
fn boundaries_in_content_without_a_pattern() {
    let chunks = cut(Rule::Today, split_mix(1_000_000));
    let ends: Vec<u64> = chunks.iter().map(|chunk| chunk.offset + chunk.len).collect();
    let expected = [
        84_493, 134_421, 144_853, 243_318, 271_793, 336_457, 467_529, 494_581, 582_000, 596_735,
        616_815, 653_164, 678_202, 724_510, 815_591, 827_760, 958_832, 991_092, 1_000_000,
    ];
    assert_eq!(ends, expected);
    let first = hash("6eca1e7dadaf08cca5d82d318c800f07c2ddcec115a7e8627e5edd9605b94b8d");
    assert_eq!(chunks[0].hash, first);
}

#[test]
fn boundaries_where_nothing_says_where_to_cut() {
    for rule in [Rule::Today, Rule::Before202509] {
        let chunks = cut(rule, vec![59; 1_000_000]);
        let lengths: Vec<u64> = chunks.iter().map(|chunk| chunk.len).collect();
        assert_eq!(lengths[..7], [131_072; 7]);
        assert_eq!(lengths[7..], [1_000_000 - 7 * 131_072]);
    }
}

#[test]
fn the_older_rule_and_today() {
    let content = xorshift(3 << 20);
    let (today, older) = (cut(Rule::Today, content.clone()), cut(Rule::Before202509, content));
    assert_eq!((today.len(), older.len()), (52, 55));
    let chunk = hash("8ee1833ff616a01e187888865c8e22f403c860b7a6c347ba28c4511995875086");
    assert_eq!((today[44].len, today[44].hash), (131_072, chunk));
    assert_eq!(older.iter().filter(|chunk| chunk.len == 8128).count(), 3);
}
