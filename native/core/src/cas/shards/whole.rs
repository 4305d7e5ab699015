//! Whether a shard is one from its first byte to its last, before xet-core believes it.
//!
//! ```text
//! header │ files: a header and its entries each, end │ xorbs: a header and its chunks each, end │ tables │ footer
//! ```
//!
//! The footer says where the parts begin. The tables may be left out; those that are there lead from hashes, cut short,
//! to the entries that have them. A xorb has the hash of its chunks, unless those are told with a key.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use xet_core_structures::error::CoreError;
use xet_core_structures::merklehash::{MerkleHash, xorb_hash};
use xet_core_structures::metadata_shard::file_structs::MDBFileInfoView;
use xet_core_structures::metadata_shard::shard_file::MDB_FILE_INFO_ENTRY_SIZE;
use xet_core_structures::metadata_shard::streaming_shard::{
    process_shard_file_info_section, process_shard_xorb_info_section,
};
use xet_core_structures::metadata_shard::utils::truncate_hash;
use xet_core_structures::metadata_shard::xorb_structs::{MDBXorbInfoView, XorbChunkSequenceHeader};
use xet_core_structures::metadata_shard::{MDBShardFileFooter, MDBShardFileHeader, MDBShardInfo};

/// Bytes of an entry in the tables of files and xorbs: a hash cut short, and the place of what has it.
const LOOKUP: u64 = 12;
/// Of one in the table of chunks, whose place has two parts: its xorb's, and that in there.
const CHUNK_LOOKUP: u64 = 16;

/// Why a shard of `len` bytes is none; `None`: it's sound. Reads all of it.
pub(super) fn problem(shard: &mut (impl Read + Seek), len: u64) -> Option<String> {
    let MDBShardInfo { header, metadata: footer } = match MDBShardInfo::load_from_reader(shard) {
        Ok(info) => info,
        Err(error) => return Some(error.to_string()),
    };
    if header != MDBShardFileHeader::default() {
        return Some("it's of another version".to_owned());
    }
    if !fits(&footer, len) {
        return Some("it contradicts itself".to_owned());
    }
    match read(shard, &footer) {
        Ok(problem) => problem.map(str::to_owned),
        Err(error) => Some(error.to_string()),
    }
}

/// The hashes of the xorbs that a sound shard names.
pub(super) fn xorbs(shard: &mut (impl Read + Seek)) -> Result<Vec<MerkleHash>, CoreError> {
    let info = MDBShardInfo::load_from_reader(shard)?;
    let blocks = info.read_all_xorb_blocks(shard)?;
    Ok(blocks.into_iter().map(|(xorb, _)| xorb.xorb_hash).collect())
}

/// Whether all parts that a footer names lie one behind the other in a file of `len` bytes.
fn fits(footer: &MDBShardFileFooter, len: u64) -> bool {
    let end = |start: u64, count: u64, each| {
        count.checked_mul(each).and_then(|bytes: u64| bytes.checked_add(start))
    };
    let f = footer;
    let ends = [
        Some(size_of::<MDBShardFileHeader>() as u64),
        Some(f.file_info_offset),
        Some(f.xorb_info_offset),
        Some(f.file_lookup_offset),
        end(f.file_lookup_offset, f.file_lookup_num_entry, LOOKUP),
        Some(f.xorb_lookup_offset),
        end(f.xorb_lookup_offset, f.xorb_lookup_num_entry, LOOKUP),
        Some(f.chunk_lookup_offset),
        end(f.chunk_lookup_offset, f.chunk_lookup_num_entry, CHUNK_LOOKUP),
        Some(f.footer_offset),
        end(f.footer_offset, size_of::<MDBShardFileFooter>() as u64, 1),
    ];
    ends.iter().all(Option::is_some) && ends.is_sorted() && ends.last() == Some(&Some(len))
}

/// What is wrong with the parts of a shard.
fn read(
    shard: &mut (impl Read + Seek),
    footer: &MDBShardFileFooter,
) -> Result<Option<&'static str>, CoreError> {
    shard.seek(SeekFrom::Start(footer.file_info_offset))?;
    let mut files = HashMap::new();
    let mut at = 0_u32;
    let size = footer.xorb_info_offset - footer.file_info_offset;
    let add = |file: MDBFileInfoView| {
        files.insert(at, truncate_hash(&file.file_hash()));
        let entries = u32::try_from(file.byte_size(true) / MDB_FILE_INFO_ENTRY_SIZE);
        at = entries.ok().and_then(|entries| at.checked_add(entries)).ok_or_else(too_many)?;
        Ok(())
    };
    if process_shard_file_info_section(shard, add, Some(size))? != Some(0) {
        return Ok(Some("its files end before their end"));
    }
    shard.seek(SeekFrom::Start(footer.xorb_info_offset))?;
    let is_keyed = footer.chunk_hash_hmac_key != MerkleHash::default();
    let mut xorbs = Xorbs { is_keyed, ..Xorbs::default() };
    let size = footer.file_lookup_offset - footer.xorb_info_offset;
    if process_shard_xorb_info_section(shard, |xorb| xorbs.add(&xorb), Some(size))? != Some(0) {
        return Ok(Some("its xorbs end before their end"));
    }
    if xorbs.problem.is_some() {
        return Ok(xorbs.problem);
    }
    // Without tables, xet-core reads what would be behind it.
    let end = size_of::<XorbChunkSequenceHeader>() as u64;
    shard.seek(SeekFrom::Start(footer.file_lookup_offset - end))?;
    if XorbChunkSequenceHeader::deserialize(shard)?.num_entries != 0 {
        return Ok(Some("its xorbs have an end that goes on"));
    }
    shard.seek(SeekFrom::Start(footer.file_lookup_offset))?;
    let has = |key, [at, _]: [u32; 2]| files.get(&at) == Some(&key);
    if !is_table(shard, footer.file_lookup_num_entry, 1, has)? {
        return Ok(Some("its table of files is of others"));
    }
    shard.seek(SeekFrom::Start(footer.xorb_lookup_offset))?;
    let has = |key, [at, _]: [u32; 2]| xorbs.starts.get(&at).is_some_and(|(hash, _)| *hash == key);
    if !is_table(shard, footer.xorb_lookup_num_entry, 1, has)? {
        return Ok(Some("its table of xorbs is of others"));
    }
    shard.seek(SeekFrom::Start(footer.chunk_lookup_offset))?;
    let has = |key, [at, number]: [u32; 2]| xorbs.chunk(at, number) == Some(key);
    if !is_table(shard, footer.chunk_lookup_num_entry, 2, has)? {
        return Ok(Some("its table of chunks is of others"));
    }
    Ok(None)
}

/// The xorbs that were read: what tables lead to.
#[derive(Default)]
struct Xorbs {
    is_keyed: bool,
    /// By the entry at which each begins: its hash, cut short, and which chunks are its own.
    starts: HashMap<u32, (u64, Range<usize>)>,
    /// The hashes of all chunks, cut short.
    chunks: Vec<u64>,
    /// How many entries there are so far.
    entries: u32,
    problem: Option<&'static str>,
}

impl Xorbs {
    fn add(&mut self, xorb: &MDBXorbInfoView) -> Result<(), CoreError> {
        let first = self.chunks.len();
        let (mut end, mut chunks) = (Some(0_u32), Vec::with_capacity(xorb.num_entries()));
        for number in 0..xorb.num_entries() {
            let chunk = xorb.chunk(number);
            if end != Some(chunk.chunk_byte_range_start) || chunk.unpacked_segment_bytes == 0 {
                self.problem = Some("chunks of a xorb don't follow each other");
                return Ok(());
            }
            end = chunk.chunk_byte_range_start.checked_add(chunk.unpacked_segment_bytes);
            chunks.push((chunk.chunk_hash, u64::from(chunk.unpacked_segment_bytes)));
            self.chunks.push(truncate_hash(&chunk.chunk_hash));
        }
        let own = (truncate_hash(&xorb.xorb_hash()), first..self.chunks.len());
        self.starts.insert(self.entries, own);
        if !self.is_keyed && xorb_hash(&chunks) != xorb.xorb_hash() {
            self.problem = Some("a xorb has another hash than its chunks");
        }
        let entries = u32::try_from(xorb.num_entries()).ok().and_then(|n| n.checked_add(1));
        let entries = entries.and_then(|entries| self.entries.checked_add(entries));
        self.entries = entries.ok_or_else(too_many)?;
        Ok(())
    }

    /// The hash, cut short, of a chunk in the xorb that begins `at` this entry.
    fn chunk(&self, at: u32, number: u32) -> Option<u64> {
        let (_, chunks) = self.starts.get(&at)?;
        self.chunks.get(chunks.clone())?.get(usize::try_from(number).ok()?).copied()
    }
}

/// Whether there is a table of so many entries, of which each leads to what `has` its hash: to a place of so many
/// `parts`. That of chunks, the only one that is searched, is in the order of the hashes.
fn is_table(
    shard: &mut impl Read,
    count: u64,
    parts: usize,
    has: impl Fn(u64, [u32; 2]) -> bool,
) -> Result<bool, CoreError> {
    let is_searched = parts == 2;
    let mut last = 0;
    for _ in 0..count {
        let mut key = [0; 8];
        shard.read_exact(&mut key)?;
        let key = u64::from_le_bytes(key);
        let mut place = [0; 2];
        for part in &mut place[..parts] {
            let mut bytes = [0; 4];
            shard.read_exact(&mut bytes)?;
            *part = u32::from_le_bytes(bytes);
        }
        if (is_searched && key < last) || !has(key, place) {
            return Ok(false);
        }
        last = key;
    }
    Ok(true)
}

fn too_many() -> CoreError {
    CoreError::invalid_shard("it has more entries than can be counted")
}
