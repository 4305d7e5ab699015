//! The Xet hash of content that isn't sent anywhere.

use sha2::{Digest, Sha256};
use xet_core_structures::merklehash::MerkleHash;
use xet_data::deduplication::{Chunk, Chunker};

use super::super::super::content::{BLOCK, UploadContent};
use super::tree::Tree;
use crate::call::Call;
use crate::model::content::hex;
use crate::model::error::{Error, Result};

/// Chunks that are kept before they are folded.
const FOLD_AT: usize = 64;

/// Adds a chunk to a hash of all of a file's.
pub(super) fn add(chunks: &mut Sha256, chunk: &Chunk) {
    chunks.update(chunk.hash.as_bytes());
}

/// The hash of the hashes of all chunks that `content` has now, in hex. Blocking.
pub(super) fn chunks_of(content: &UploadContent, call: &Call) -> Result<String> {
    let mut chunks = Sha256::new();
    each_block(
        content,
        call,
        |_| (),
        |found, _| {
            for chunk in &found {
                add(&mut chunks, chunk);
            }
            Ok(())
        },
    )?;
    Ok(hex(&chunks.finalize()))
}

/// Has `take` have all chunks of `content`, in order; true: those are the last. `read` is told how many bytes more were
/// read.
fn each_block(
    content: &UploadContent,
    call: &Call,
    read: impl Fn(u64),
    mut take: impl FnMut(Vec<Chunk>, bool) -> Result<()>,
) -> Result<()> {
    let (mut reader, mut chunker) = (content.read()?, Chunker::default());
    while let Some(block) = reader.next(BLOCK)? {
        if call.is_cancelled() {
            return Err(Error::cancelled());
        }
        call.beat();
        take(chunker.next_block_bytes(&block, false), false)?;
        read(block.len() as u64);
    }
    take(chunker.finish().into_iter().collect(), true)
}

/// The Xet hash that `content` would be stored under. `read` is told how many bytes more were read. Blocking; one
/// processor's work.
pub(crate) fn xet_hash(
    content: &UploadContent,
    call: &Call,
    read: impl Fn(u64),
) -> Result<MerkleHash> {
    let (mut tree, mut chunks, mut is_begun) = (Tree::default(), Vec::new(), false);
    each_block(content, call, read, |found, is_last| {
        chunks.extend(found.iter().map(|chunk| (chunk.hash, chunk.data.len() as u64)));
        if is_last && (is_begun || !chunks.is_empty()) {
            return tree.add(&chunks, true);
        }
        if chunks.len() >= FOLD_AT {
            // The last one may be the file's last, which ends the tree.
            let last = chunks.split_off(chunks.len() - 1);
            is_begun = true;
            return tree.add(&std::mem::replace(&mut chunks, last), false);
        }
        Ok(())
    })?;
    if is_begun || !chunks.is_empty() { tree.hash() } else { Ok(MerkleHash::default()) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use xet_core_structures::merklehash::{compute_data_hash, file_hash};

    use super::*;
    use crate::cas::vectors::xorshift;
    use crate::upload::Borrowed;

    /// It is the hash of the file's chunks in one list, whatever their number, and that of no chunks where there is
    /// nothing.
    #[test]
    fn hashing_alone_gives_the_hash_of_all_chunks() {
        let all = Bytes::from(xorshift(9 << 20));
        for size in [0, 1, 8_000, 200_000, 9 << 20] {
            let content = all.slice(..size);
            let chunks: Vec<_> = Chunker::default()
                .next_block_bytes(&content, true)
                .into_iter()
                .map(|chunk| (compute_data_hash(&chunk.data), chunk.data.len() as u64))
                .collect();
            let content = UploadContent::of_memory(Borrowed::owned(content));
            let hash = xet_hash(&content, &Call::default(), |_| ()).unwrap();
            assert_eq!(hash, file_hash(&chunks), "{size}");
        }
    }
}
