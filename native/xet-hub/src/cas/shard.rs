//! What an uploaded shard says, and whether it is true.

use std::collections::HashMap;
use std::io::Cursor;

use xet_core_structures::merklehash::{MerkleHash, file_hash};
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
use xet_core_structures::metadata_shard::streaming_shard::MDBMinimalShard;
use xet_core_structures::xorb_object::XorbObject;

use super::{CasError, XetFile};

/// Reads a shard, with or without its footer.
pub(crate) fn parse(data: &[u8]) -> Result<MDBMinimalShard, CasError> {
    MDBMinimalShard::from_reader(&mut Cursor::new(data), true, true)
        .map_err(|error| CasError::Invalid(format!("bad shard: {error}")))
}

/// The files of a shard by SHA-256, which clients put into a metadata extension.
pub(crate) fn files(shard: &MDBMinimalShard) -> Vec<(String, XetFile)> {
    let view = |index| {
        let file = shard.file(index)?;
        let sha256 = file.metadata_ext()?.sha256.hex();
        let size = (0..file.num_entries())
            .map(|index| u64::from(file.entry(index).unpacked_segment_bytes))
            .sum();
        Some((sha256, XetFile { hash: file.file_hash().hex(), size }))
    };
    (0..shard.num_files()).filter_map(view).collect()
}

/// The hashes of all files of a shard.
pub(crate) fn hashes(shard: &MDBMinimalShard) -> impl Iterator<Item = MerkleHash> {
    (0..shard.num_files()).filter_map(|index| Some(shard.file(index)?.file_hash()))
}

/// Checks every file of a shard against the chunks of the stored xorbs: that its terms exist, have
/// the lengths and range hashes that it says, and add up to the file's hash.
pub(crate) fn verify(
    shard: &MDBMinimalShard,
    footer: impl Fn(&MerkleHash) -> Result<XorbObject, CasError>,
) -> Result<(), CasError> {
    let mut footers: HashMap<MerkleHash, XorbObject> = HashMap::new();
    let mut known = |hash: MerkleHash| -> Result<XorbObject, CasError> {
        if let Some(found) = footers.get(&hash) {
            return Ok(found.clone());
        }
        let missing = |_| CasError::Invalid(format!("xorb {} was never uploaded", hash.hex()));
        let found = footer(&hash).map_err(missing)?;
        footers.insert(hash, found.clone());
        Ok(found)
    };
    for xorb in (0..shard.num_xorb()).filter_map(|index| shard.xorb(index)) {
        known(xorb.xorb_hash())?;
    }
    for file in (0..shard.num_files()).filter_map(|index| shard.file(index)) {
        let wrong =
            |what: &str| CasError::Invalid(format!("file {}: {what}", file.file_hash().hex()));
        let mut chunks = Vec::new();
        for index in 0..file.num_entries() {
            let term = file.entry(index);
            let found = known(term.xorb_hash)?
                .chunk_hash_sizes(term.chunk_index_start, term.chunk_index_end)
                .map_err(|_| wrong("a term names chunks that its xorb doesn't have"))?;
            let length: u64 = found.iter().map(|&(_, size)| size).sum();
            if length != u64::from(term.unpacked_segment_bytes) {
                return Err(wrong("a term has another length than its chunks"));
            }
            if file.contains_verification() {
                let hashes: Vec<MerkleHash> = found.iter().map(|&(hash, _)| hash).collect();
                if range_hash_from_chunks(&hashes) != file.verification(index).range_hash {
                    return Err(wrong("a term's verification hash is wrong"));
                }
            }
            chunks.extend(found);
        }
        if file_hash(&chunks) != file.file_hash() {
            return Err(wrong("its terms have another hash"));
        }
    }
    Ok(())
}
