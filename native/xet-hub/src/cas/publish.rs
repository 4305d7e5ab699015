//! Content that this server cuts into chunks itself, and stores as if a client had uploaded it.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use xet_client::cas_client::Client;
use xet_core_structures::merklehash::{MerkleHash, file_hash};
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, FileVerificationEntry,
    MDBFileInfo,
};
use xet_core_structures::metadata_shard::shard_in_memory::MDBInMemoryShard;
use xet_core_structures::xorb_object::constants::{MAX_XORB_BYTES, MAX_XORB_CHUNKS};
use xet_core_structures::xorb_object::{Chunk, RawXorbData, SerializedXorbObject};

use super::cut::Cuts;
use super::{Cas, CasError};
use crate::git::hex;

/// As xet-core compresses by default: the scheme is chosen anew after so many chunks.
const COMPRESSION: (&str, usize) = ("auto", 32);

/// Content that is stored now.
#[derive(Debug)]
pub(crate) struct Published {
    /// The content's SHA-256, 64 hex digits. Of repeated content, whose bytes nobody hashes, another
    /// number that is its own.
    pub(crate) sha256: String,
    /// The hash of the file in the CAS.
    pub(crate) hash: MerkleHash,
}

/// A chunk of a xorb, where it can be referred to.
type Stored = (MerkleHash, u32);

/// Everything of an upload, before any of it is stored.
struct Upload {
    sha256: String,
    hash: MerkleHash,
    xorbs: Vec<SerializedXorbObject>,
    shard: Bytes,
}

impl Cas {
    /// Cuts `content` at `cuts` and stores it: new chunks in xorbs, and a file that is that content so
    /// many `times` in a shard. Chunks of `like`, a file that is stored already, are referred to and not
    /// stored again.
    pub(crate) async fn publish(
        &self,
        content: Bytes,
        cuts: Cuts,
        times: usize,
        like: Option<MerkleHash>,
    ) -> Result<Published, CasError> {
        let known = match like {
            Some(file) => self.chunks_of(&file).await?,
            None => HashMap::new(),
        };
        let made = tokio::task::spawn_blocking(move || upload(&content, &cuts, times, known)).await;
        let upload = made.map_err(|error| internal(&error))??;
        for xorb in upload.xorbs {
            if !self.xorb_path(&xorb.hash).exists() {
                let permit = self.client.acquire_upload_permit().await?;
                self.client.upload_xorb("default", xorb, None, permit).await?;
            }
        }
        self.store_shard(upload.shard, None).await?;
        Ok(Published { sha256: upload.sha256, hash: upload.hash })
    }

    async fn chunks_of(&self, file: &MerkleHash) -> Result<HashMap<MerkleHash, Stored>, CasError> {
        let mut found = HashMap::new();
        for term in self.file_info(file).await?.segments {
            let (start, end) = (term.chunk_index_start, term.chunk_index_end);
            let chunks = self.footer(&term.xorb_hash)?.chunk_hash_sizes(start, end);
            let chunks = chunks.map_err(|error| internal(&error))?;
            let place = |((hash, _), index)| (hash, (term.xorb_hash, index));
            found.extend(chunks.into_iter().zip(start..end).map(place));
        }
        Ok(found)
    }
}

fn internal(error: &dyn Display) -> CasError {
    CasError::Internal(error.to_string())
}

/// The chunks of `content`.
fn cut(content: &Bytes, cuts: &Cuts) -> Vec<Chunk> {
    let mut start = 0;
    let slice = |length| {
        let slice = content.slice(start..start + length);
        start += length;
        Chunk::new(slice)
    };
    cuts.lengths(content).into_iter().map(slice).collect()
}

/// Fills xorbs with those of `chunks` that aren't among `stored`, to which they are added.
fn pack(chunks: &[Chunk], stored: &mut HashMap<MerkleHash, Stored>) -> Vec<RawXorbData> {
    let mut xorbs: Vec<RawXorbData> = Vec::new();
    let (mut new, mut bytes): (Vec<Chunk>, usize) = (Vec::new(), 0);
    let mut seal = |new: &mut Vec<Chunk>, stored: &mut HashMap<MerkleHash, Stored>| {
        let xorb = RawXorbData::from_chunks(new, vec![0]);
        stored.extend(new.drain(..).zip(0..).map(|(chunk, at)| (chunk.hash, (xorb.hash(), at))));
        xorbs.push(xorb);
    };
    // Those that wait for their xorb's hash can't be referred to yet, only be known.
    let mut waiting = HashSet::new();
    for chunk in chunks {
        if stored.contains_key(&chunk.hash) || !waiting.insert(chunk.hash) {
            continue;
        }
        if new.len() == *MAX_XORB_CHUNKS || bytes + chunk.data.len() > *MAX_XORB_BYTES {
            seal(&mut new, stored);
            bytes = 0;
        }
        bytes += chunk.data.len();
        new.push(chunk.clone());
    }
    if !new.is_empty() {
        seal(&mut new, stored);
    }
    xorbs
}

/// The terms of a file, each with its range hash: as few as its chunks allow.
fn terms(
    chunks: &[Chunk],
    stored: &HashMap<MerkleHash, Stored>,
) -> Result<(Vec<FileDataSequenceEntry>, Vec<FileVerificationEntry>), CasError> {
    let mut terms: Vec<(FileDataSequenceEntry, Vec<MerkleHash>)> = Vec::new();
    for chunk in chunks {
        let &(xorb, index) =
            stored.get(&chunk.hash).ok_or_else(|| internal(&"a chunk is in no xorb"))?;
        let length = u32::try_from(chunk.data.len()).map_err(|error| internal(&error))?;
        match terms.last_mut() {
            Some((term, hashes)) if (term.xorb_hash, term.chunk_index_end) == (xorb, index) => {
                term.chunk_index_end += 1;
                term.unpacked_segment_bytes += length;
                hashes.push(chunk.hash);
            }
            _ => {
                let term = FileDataSequenceEntry::new(xorb, length, index, index + 1);
                terms.push((term, vec![chunk.hash]));
            }
        }
    }
    let verified = |(term, hashes): (_, Vec<MerkleHash>)| {
        (term, FileVerificationEntry::new(range_hash_from_chunks(&hashes)))
    };
    Ok(terms.into_iter().map(verified).unzip())
}

fn repeat<T: Clone>(list: &[T], times: usize) -> Vec<T> {
    let repeated = std::iter::repeat_n(list, times);
    repeated.flatten().cloned().collect()
}

fn upload(
    content: &Bytes,
    cuts: &Cuts,
    times: usize,
    mut stored: HashMap<MerkleHash, Stored>,
) -> Result<Upload, CasError> {
    let chunks = cut(content, cuts);
    let new = pack(&chunks, &mut stored);
    let (segments, verification) = terms(&chunks, &stored)?;
    let sizes: Vec<_> = chunks.iter().map(|chunk| (chunk.hash, chunk.data.len() as u64)).collect();
    let (segments, verification) = (repeat(&segments, times), repeat(&verification, times));
    let hash = file_hash(&sizes.repeat(times));
    let mut sha256 = hex(&Sha256::digest(content));
    if times > 1 {
        sha256 = hex(&Sha256::digest(format!("{times} times {sha256}")));
    }
    let sha256_as_hash = MerkleHash::from_hex(&sha256).map_err(|error| internal(&error))?;
    let mut shard = MDBInMemoryShard::default();
    for xorb in &new {
        shard.add_xorb_block(xorb.xorb_info.clone()).map_err(|error| internal(&error))?;
    }
    let file = MDBFileInfo {
        metadata: FileDataSequenceHeader::new(hash, segments.len(), true, true),
        segments,
        verification,
        metadata_ext: Some(FileMetadataExt::new(sha256_as_hash)),
    };
    shard.add_file_reconstruction_info(file).map_err(|error| internal(&error))?;
    let shard = shard.to_bytes().map_err(|error| internal(&error))?.into();
    let (policy, retest) = COMPRESSION;
    let serialised =
        new.into_iter().map(|xorb| SerializedXorbObject::from_xorb(xorb, true, policy, retest));
    let xorbs = serialised.collect::<Result<_, _>>().map_err(|error| internal(&error))?;
    Ok(Upload { sha256, hash, xorbs, shard })
}
