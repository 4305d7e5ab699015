//! Bodies of a hostile storage: an error, or chunks of a size that the format allows.

use proptest::collection::vec;
use proptest::prelude::*;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;
use xet_core_structures::xorb_object::serialize_chunk;

use super::*;
use crate::fuzz::mutated;

/// A body of three chunks, one in each scheme.
fn body() -> Vec<u8> {
    let mut body = Vec::new();
    for (i, scheme) in
        [CompressionScheme::None, CompressionScheme::LZ4, CompressionScheme::ByteGrouping4LZ4]
            .into_iter()
            .enumerate()
    {
        let chunk: Vec<u8> = (0..=250).cycle().take(300 + i).collect();
        serialize_chunk(&chunk, &mut body, scheme).unwrap();
    }
    body
}

/// The chunks of a body that comes in pieces of these lengths (and then at once), whether it ended
/// at a boundary, and whether it was refused.
fn decode(mut body: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, bool, bool) {
    let mut decoder = ChunkDecoder::default();
    let mut chunks = Vec::new();
    for &cut in cuts.iter().chain(&[usize::MAX]) {
        let (piece, rest) = body.split_at(cut.min(body.len()));
        body = rest;
        decoder.push(Bytes::copy_from_slice(piece));
        loop {
            match decoder.next() {
                Ok(Some(chunk)) => chunks.push(chunk.content.to_vec()),
                Ok(None) => break,
                Err(_) => return (chunks, false, true),
            }
        }
    }
    (chunks, decoder.is_at_boundary(), false)
}

proptest! {
    /// However a body is damaged and cut, the same comes out, in chunks that are not too large.
    #[test]
    fn damage_is_refused_or_of_bounded_size(
        body in mutated(body(), &[]), cuts in vec(0_usize..200, 0..20),
    ) {
        let whole = decode(&body, &[]);
        prop_assert_eq!(&decode(&body, &cuts), &whole);
        for chunk in &whole.0 {
            prop_assert!((1..=*MAX_CHUNK_SIZE).contains(&chunk.len()));
        }
    }

    /// A header may claim anything; nothing of that size is kept waiting for.
    #[test]
    fn headers_may_claim_anything(header in any::<[u8; 8]>(), rest in vec(any::<u8>(), 0..500)) {
        let body = [&header[..], &rest].concat();
        let (chunks, _, _) = decode(&body, &[]);
        prop_assert!(chunks.iter().all(|chunk| chunk.len() <= *MAX_CHUNK_SIZE));
    }
}
