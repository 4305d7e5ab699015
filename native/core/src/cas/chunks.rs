//! Which chunks a file was published with.
//!
//! The chunks of a file don't follow from its content alone: xet-core changed its chunker in 2025, and
//! what was published before has other boundaries. A reconstruction tells the boundaries of terms; those
//! inside of them are in the answers of `/v2/file-chunk-hashes`, which is meant for proving parts of a
//! file. An answer is about some bytes: it has windows of a few chunks around each, of which it tells
//! only where they begin and end, and a Merkle subtree of what lies between two windows. Where that is a
//! dozen chunks, nearly always none of the subtree's nodes is folded yet: they are the chunks. So the
//! file is asked about with marks a dozen chunks apart, and then again with marks elsewhere, for what
//! was inside windows before.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::Deserialize;
use xet_client::cas_types::{ChunkWindow, HexMerkleHash, X_RANGE_DIRTY_HEADER};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::block::lie;
use super::{Cas, MAX_RECONSTRUCTION, cas_url};
use crate::call::progress::Counters;
use crate::http::body;
use crate::hub::XetToken;
use crate::model::error::{Error, Result};

/// Between two marks: some sixteen chunks.
const STEP: u64 = 1 << 20;

/// How far before an unknown part a mark is, so that its window ends before that.
const BEFORE: u64 = 512 << 10;

/// Marks of one question, which go into one header.
const MARKS: usize = 256;

/// How often what is still unknown is asked about.
const PASSES: u64 = 6;

/// Chunks of a file by where they begin: length and hash.
pub(crate) type Chunks = BTreeMap<u64, (u64, MerkleHash)>;

/// The answer, as far as it's of use here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    file_size: u64,
    windows: Vec<ChunkWindow>,
    /// What is before, between and behind the windows.
    hash_ranges: Vec<Option<Subtree>>,
}

/// A `MerkleHashSubtree`: on each level some nodes from its left end and some up to its right one; what
/// was between them is folded into the next level. On the first level, nodes are chunks.
#[derive(Deserialize)]
struct Subtree {
    nodes: Vec<Node>,
    levels: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct Node {
    hash: HexMerkleHash,
    size: u64,
}

impl Cas {
    /// The chunks that the file of `size` bytes was published with, inside of `range`, which begins and
    /// ends where chunks do: all of them, or as many as the CAS tells. They are nobody's truth before
    /// they were seen to add up to the file's hash.
    pub(crate) async fn published_chunks(
        &self,
        file: &MerkleHash,
        size: u64,
        range: Range<u64>,
        counters: &Counters,
    ) -> Result<Chunks> {
        let mut chunks = Chunks::new();
        for pass in 0..PASSES {
            let unknown = unknown(&chunks, &range);
            if unknown.is_empty() || self.no_chunk_hashes.load(Ordering::Relaxed) {
                break;
            }
            let before = chunks.len();
            for marks in marks(&unknown, size, pass).chunks(MARKS) {
                let what = "ask the CAS for a file's chunks";
                let asked =
                    self.policy.run(counters, what, |_| self.chunk_hashes(file, marks, counters));
                match asked.await {
                    Ok(answer) => answer.add_to(&mut chunks, size, &range)?,
                    // There is no such route.
                    Err(error) if matches!(error.context().http_status, Some(404 | 405 | 501)) => {
                        self.no_chunk_hashes.store(true, Ordering::Relaxed);
                        return Ok(chunks);
                    }
                    Err(error) => return Err(error),
                }
            }
            if pass > 1 && chunks.len() == before {
                break;
            }
        }
        Ok(chunks)
    }

    async fn chunk_hashes(
        &self,
        file: &MerkleHash,
        marks: &[u64],
        counters: &Counters,
    ) -> Result<Answer> {
        let token = self.token(counters).await?;
        self.ask_with(&token, counters, |token| self.chunk_hashes_by(token, file, marks)).await
    }

    async fn chunk_hashes_by(
        &self,
        token: XetToken,
        file: &MerkleHash,
        marks: &[u64],
    ) -> Result<Answer> {
        let url = cas_url(&token.cas_url, ["v2", "file-chunk-hashes", &file.hex()])?;
        let mut request = self.get(url);
        let marks: Vec<String> = marks.iter().map(|mark| format!("{mark}-{mark}")).collect();
        let marks = HeaderValue::try_from(format!("bytes={}", marks.join(",")));
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, token.token.bearer());
        let name = HeaderName::try_from(X_RANGE_DIRTY_HEADER).map_err(Error::internal)?;
        headers.insert(name, marks.map_err(Error::internal)?);
        let response = self.send(request).await?;
        body::read_json(&self.http, response, MAX_RECONSTRUCTION).await
    }
}

impl Answer {
    /// Adds the chunks that it tells.
    fn add_to(&self, chunks: &mut Chunks, size: u64, range: &Range<u64>) -> Result<()> {
        let wrong = || lie("windows of chunks that aren't in the file");
        if self.file_size != size || self.hash_ranges.len() != self.windows.len() + 1 {
            return Err(wrong());
        }
        let ends = self.windows.iter().map(|window| window.dirty_byte_range[1]);
        let starts = self.windows.iter().map(|window| window.dirty_byte_range[0]);
        let gaps = std::iter::once(0).chain(ends).zip(starts.chain([size]));
        for ((start, end), subtree) in gaps.zip(&self.hash_ranges) {
            if start > end || end > size {
                return Err(wrong());
            }
            if let Some(subtree) = subtree {
                subtree.add_to(chunks, &(start..end), range)?;
            }
        }
        Ok(())
    }
}

impl Subtree {
    /// Adds the chunks at either end of the subtree, which is of what is in `gap`.
    fn add_to(&self, chunks: &mut Chunks, gap: &Range<u64>, range: &Range<u64>) -> Result<()> {
        let wrong = || lie("a subtree that isn't one");
        let &(left, right) = self.levels.first().unwrap_or(&(0, 0));
        // Those of the left end come first, and those of the right end of the lowest level last.
        let first = self.nodes.get(..left).ok_or_else(wrong)?;
        let last = self.nodes.len().checked_sub(right).filter(|&at| at >= left);
        let last = &self.nodes[last.ok_or_else(wrong)?..];
        if self.nodes.iter().any(|node| node.size == 0) {
            return Err(wrong());
        }
        let mut add = |at: u64, node: &Node| {
            let end = at.checked_add(node.size).filter(|&end| end <= gap.end);
            let end = end.ok_or_else(wrong)?;
            if node.size > *MAX_CHUNK_SIZE as u64 {
                return Err(wrong());
            }
            if range.start <= at && end <= range.end {
                chunks.insert(at, (node.size, MerkleHash::from(&node.hash)));
            }
            Ok(end)
        };
        first.iter().try_fold(gap.start, &mut add)?;
        let len = last.iter().fold(0_u64, |len, node| len.saturating_add(node.size));
        let start = gap.end.checked_sub(len).filter(|&start| start >= gap.start);
        last.iter().try_fold(start.ok_or_else(wrong)?, &mut add)?;
        Ok(())
    }
}

/// What of `range` no chunk is known of, in order.
pub(crate) fn unknown(chunks: &Chunks, range: &Range<u64>) -> Vec<Range<u64>> {
    let mut unknown = Vec::new();
    let mut at = range.start;
    for (&offset, &(len, _)) in chunks.range(range.clone()) {
        if offset > at {
            unknown.push(at..offset);
        }
        at = at.max(offset + len);
    }
    if at < range.end {
        unknown.push(at..range.end);
    }
    unknown
}

/// The bytes to ask about, so that these parts of the file are between windows.
fn marks(unknown: &[Range<u64>], size: u64, pass: u64) -> Vec<u64> {
    let mut marks = Vec::new();
    for part in unknown {
        // A window that reached into the part the last time gets more room this time.
        marks.extend(part.start.checked_sub(BEFORE * (pass + 1)));
        let mut at = part.start + STEP;
        while at < part.end {
            marks.push(at);
            at += STEP;
        }
        if part.end < size {
            marks.push(part.end);
        }
        if part.start == 0 && part.end == size && size <= STEP {
            // A question needs a mark.
            marks.push(size / (pass + 2));
        }
    }
    marks.sort_unstable();
    marks.dedup();
    marks
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use xet_client::cas_client::chunk_window_builder::ChunkWindowBuilder;
    use xet_client::cas_types::FileRange;
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;

    /// A file of `count` chunks of any length.
    fn chunks(count: u64) -> Vec<(MerkleHash, u64)> {
        let mut random = fastrand::Rng::with_seed(count);
        let chunk = |i: u64| (compute_data_hash(&i.to_le_bytes()), random.u64(8_192..120_000));
        (0..count).map(chunk).collect()
    }

    /// What the CAS answers.
    fn answer(list: &[(MerkleHash, u64)], marks: &[u64]) -> Answer {
        let ranges: Vec<_> = marks.iter().map(|&mark| FileRange::new(mark, mark + 1)).collect();
        let mut builder = ChunkWindowBuilder::new(&ranges);
        let mut end = 0;
        for &(hash, len) in list {
            end += len;
            builder.process_chunk(hash, len, end);
        }
        let (windows, subtrees) = builder.finish();
        let windows: Vec<_> = windows.iter().map(|w| [w.start, w.end]).collect();
        let windows: Vec<_> =
            windows.iter().map(|w| serde_json::json!({ "dirtyByteRange": w })).collect();
        let json = serde_json::json!({
            "fileSize": end, "windows": windows, "hashRanges": subtrees, "totalChunks": list.len(),
        });
        serde_json::from_value(json).unwrap()
    }

    /// A few passes tell nearly all chunks of a file, and none that it doesn't have.
    #[test]
    fn the_chunks_come_out_of_the_answers() {
        for count in [1, 2, 5, 17, 400, 3_000] {
            let list = chunks(count);
            let size: u64 = list.iter().map(|chunk| chunk.1).sum();
            let mut found = Chunks::new();
            for pass in 0..PASSES {
                for marks in marks(&unknown(&found, &(0..size)), size, pass).chunks(MARKS) {
                    answer(&list, marks).add_to(&mut found, size, &(0..size)).unwrap();
                }
            }
            let mut at = 0;
            let mut missing = 0;
            for &(hash, len) in &list {
                match found.remove(&at) {
                    Some(chunk) => assert_eq!(chunk, (len, hash)),
                    None => missing += 1,
                }
                at += len;
            }
            assert!(found.is_empty(), "{count} chunks: {} too many", found.len());
            assert!(missing <= 3, "{count} chunks: {missing} are missing");
        }
    }

    /// What can't be true is refused.
    #[test]
    fn lies_are_refused() {
        let list = chunks(50);
        let size: u64 = list.iter().map(|chunk| chunk.1).sum();
        let refused = |change: fn(&mut Answer)| {
            let mut answer = answer(&list, &[size / 2]);
            change(&mut answer);
            answer.add_to(&mut Chunks::new(), size, &(0..size)).is_err()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|a| a.file_size += 1));
        assert!(refused(|a| a.windows.clear()));
        assert!(refused(|a| a.windows[0].dirty_byte_range[0] = u64::MAX));
        assert!(refused(|a| a.hash_ranges[0].as_mut().unwrap().levels[0].1 = 1_000_000));
    }
}
