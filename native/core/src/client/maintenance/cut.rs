//! What chunks a file of the cache is made of.

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, file_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use crate::call::Call;
use crate::cas::chunker::{Cutter, RULES, Rule};
use crate::download::Ledgers;
use crate::model::error::{Error, Result};
use crate::reuse::ChunkRecord;
use crate::sys::open;

/// Bytes that are read at a time.
const STEP: usize = 4 << 20;

/// Why a file isn't indexed.
pub(super) const UNREADABLE: &str = "it can't be read";

/// The same. A file that has been changed looks no different here.
pub(super) const BOUNDARIES: &str = "the boundaries of the chunks that it was published with can't be found out \
     (if its content is right, which `cache verify` tells, it can be used all the same)";

/// What a file is made of.
pub(super) struct Cut {
    pub(super) hash: MerkleHash,
    pub(super) records: Vec<ChunkRecord>,
}

/// Cuts a file of `size` bytes into chunks by each rule, in one reading; `None` if it can't be read.
pub(super) fn cut(path: &Path, size: u64, call: &Call) -> Result<Option<Vec<Cut>>> {
    let Ok(file) = open::to_read(path) else { return Ok(None) };
    let mut file = file.take(size);
    let ledgers = Ledgers::new(size);
    let mut records = RULES.map(|_| Vec::new());
    let mut cutter = Cutter::at(0);
    let mut read = 0;
    while read < size {
        if call.is_cancelled() {
            return Err(Error::cancelled());
        }
        let mut buffer = vec![0; STEP];
        let n = match file.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(n) => n,
        };
        buffer.truncate(n);
        read += n as u64;
        call.counters.add_looked_at(n as u64);
        let mut chunks = Vec::new();
        for guess in cutter.push(&Bytes::from(buffer), read >= size) {
            let chunk = guess.placed()?;
            if chunk.cut.is_by(Rule::Today) {
                ledgers.insert(&chunk)?;
            } else {
                ledgers.enter_older(&chunk)?;
            }
            chunks.push(chunk);
        }
        chunks.sort_by_key(|chunk| chunk.offset);
        for (rule, records) in RULES.into_iter().zip(&mut records) {
            let of_rule = chunks.iter().filter(|chunk| chunk.cut.is_by(rule));
            records.extend(of_rule.map(|chunk| ChunkRecord::new(chunk.len, &chunk.hash)));
        }
    }
    let cuts = RULES.into_iter().zip(records).filter_map(|(rule, records)| {
        let hash = ledgers.file_hash(rule)?;
        Some(Cut { hash, records })
    });
    let mut cuts: Vec<Cut> = cuts.collect();
    cuts.dedup_by_key(|cut| cut.hash);
    Ok(Some(cuts))
}

/// Cuts a file into chunks of these lengths, of which the hashes may be known, if they add up to `hash`.
pub(super) fn cut_at(
    path: &Path,
    told: &[(u64, Option<MerkleHash>)],
    hash: MerkleHash,
    call: &Call,
) -> Result<Result<Cut, &'static str>> {
    let Ok(file) = open::to_read(path) else { return Ok(Err(UNREADABLE)) };
    let mut buffer = vec![0; *MAX_CHUNK_SIZE];
    let mut chunks = Vec::new();
    let mut at = 0;
    for &(len, told) in told {
        if call.is_cancelled() {
            return Err(Error::cancelled());
        }
        call.counters.beat();
        let length = usize::try_from(len).map_err(Error::internal)?;
        let Some(chunk) = buffer.get_mut(..length) else { return Ok(Err(BOUNDARIES)) };
        if file.read_exact_at(chunk, at).is_err() {
            return Ok(Err(UNREADABLE));
        }
        let actual = compute_data_hash(chunk);
        if told.is_some_and(|told| told != actual) {
            return Ok(Err(BOUNDARIES));
        }
        chunks.push((actual, len));
        at += len;
    }
    // What adds up to the hash of the file are its chunks, whoever says so.
    if file_hash(&chunks) != hash {
        return Ok(Err(BOUNDARIES));
    }
    Ok(Ok(Cut { hash, records: chunks.iter().map(note).collect() }))
}

fn note(&(ref hash, len): &(MerkleHash, u64)) -> ChunkRecord {
    ChunkRecord::new(u32::try_from(len).unwrap_or(u32::MAX), hash)
}
