//! Reconstructions with URLs of our storage origin.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::ops::Range;

use axum::http::{HeaderMap, header};
use xet_client::cas_types::{
    ChunkRange, FileRange, HexMerkleHash, HttpRange, QueryReconstructionResponse,
    QueryReconstructionResponseV2, XorbMultiRangeFetch, XorbRangeDescriptor,
    XorbReconstructionFetchInfo, XorbReconstructionTerm,
};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::xorb_object::XorbObject;

use super::{Cas, CasError, MAX_RANGES};

/// Reads a `Range` header for a file of the CAS. The end is left to the store to cut.
pub(crate) fn file_range(headers: &HeaderMap) -> Result<Option<FileRange>, CasError> {
    let Some(value) = headers.get(header::RANGE) else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(|value| {
        let (start, end) = value.strip_prefix("bytes=")?.split_once('-')?;
        let start: u64 = start.parse().ok()?;
        let end =
            if end.is_empty() { u64::MAX } else { end.parse::<u64>().ok()?.checked_add(1)? };
        (start < end).then(|| FileRange::new(start, end))
    });
    parsed.map(Some).ok_or_else(|| CasError::Invalid("bad Range header".to_owned()))
}

/// What a part of a file is made of, in whole chunks.
#[derive(Default)]
struct Parts {
    /// Where the part begins in the first term.
    offset: u64,
    terms: Vec<XorbReconstructionTerm>,
    /// Of each xorb, what there is to fetch: in order, and nothing twice.
    ranges: HashMap<MerkleHash, Vec<Wanted>>,
}

/// Chunks of a xorb that follow each other, and the bytes of the xorb that are these.
struct Wanted {
    chunks: Range<u32>,
    bytes: Range<u64>,
}

impl Wanted {
    fn chunks(&self) -> ChunkRange {
        ChunkRange::new(self.chunks.start, self.chunks.end)
    }

    fn bytes(&self) -> HttpRange {
        HttpRange::from(FileRange::new(self.bytes.start, self.bytes.end))
    }
}

impl Parts {
    /// Those of the bytes `range` of a file; `footer` gives those of its xorbs.
    fn of(
        file: &MDBFileInfo,
        range: &Range<u64>,
        footer: impl Fn(&MerkleHash) -> Result<XorbObject, CasError>,
    ) -> Result<Self, CasError> {
        let (mut parts, mut footers, mut at) = (Self::default(), HashMap::new(), 0);
        for segment in &file.segments {
            let (mut start, mut end) = (at, at + u64::from(segment.unpacked_segment_bytes));
            at = end;
            if end <= range.start || start >= range.end {
                continue;
            }
            let xorb = segment.xorb_hash;
            let footer: &XorbObject = match footers.entry(xorb) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(footer(&xorb)?),
            };
            let length = |chunk| footer.uncompressed_chunk_length(chunk).map(u64::from);
            let mut chunks = segment.chunk_index_start..segment.chunk_index_end;
            while chunks.start < chunks.end && start + length(chunks.start)? <= range.start {
                start += length(chunks.start)?;
                chunks.start += 1;
            }
            while chunks.start < chunks.end && end - length(chunks.end - 1)? >= range.end {
                end -= length(chunks.end - 1)?;
                chunks.end -= 1;
            }
            if parts.terms.is_empty() {
                parts.offset = range.start.saturating_sub(start);
            }
            parts.terms.push(XorbReconstructionTerm {
                hash: xorb.into(),
                unpacked_length: u32::try_from(end - start).map_err(internal)?,
                range: ChunkRange::new(chunks.start, chunks.end),
            });
            let (from, to) = footer.get_byte_offset(chunks.start, chunks.end)?;
            let bytes = u64::from(from)..u64::from(to);
            parts.ranges.entry(xorb).or_default().push(Wanted { chunks, bytes });
        }
        parts.ranges.values_mut().for_each(join);
        Ok(parts)
    }
}

/// Puts what is wanted of a xorb in order, and makes one of what touches or overlaps.
fn join(wanted: &mut Vec<Wanted>) {
    wanted.sort_by_key(|wanted| wanted.chunks.start);
    wanted.dedup_by(|next, last| {
        let touches = next.chunks.start <= last.chunks.end;
        if touches {
            last.chunks.end = last.chunks.end.max(next.chunks.end);
            last.bytes.end = last.bytes.end.max(next.bytes.end);
        }
        touches
    });
}

fn internal(error: impl Display) -> CasError {
    CasError::Internal(error.to_string())
}

impl Cas {
    /// A reconstruction in version 1.
    pub(crate) async fn reconstruct_v1(
        &self,
        file: &MerkleHash,
        range: Option<FileRange>,
        url: impl Fn(&HexMerkleHash, &str) -> String,
    ) -> Result<QueryReconstructionResponse, CasError> {
        let Parts { offset, terms, ranges } = self.parts(file, range).await?;
        let fetches = ranges.into_iter().map(|(xorb, ranges)| {
            let xorb = xorb.into();
            let fetch = |wanted: &Wanted| XorbReconstructionFetchInfo {
                range: wanted.chunks(),
                url: url(&xorb, &wanted.bytes().range_header()),
                url_range: wanted.bytes(),
            };
            (xorb, ranges.iter().map(fetch).collect())
        });
        let fetch_info = fetches.collect();
        Ok(QueryReconstructionResponse { offset_into_first_range: offset, terms, fetch_info })
    }

    /// A reconstruction in version 2.
    pub(crate) async fn reconstruct_v2(
        &self,
        file: &MerkleHash,
        range: Option<FileRange>,
        url: impl Fn(&HexMerkleHash, &str) -> String,
    ) -> Result<QueryReconstructionResponseV2, CasError> {
        let Parts { offset, terms, ranges } = self.parts(file, range).await?;
        let fetches = ranges.into_iter().map(|(xorb, ranges)| {
            let xorb = xorb.into();
            let fetch = |wanted: &[Wanted]| {
                let bytes: Vec<String> =
                    wanted.iter().map(|wanted| wanted.bytes().to_string()).collect();
                let descriptor = |wanted: &Wanted| XorbRangeDescriptor {
                    chunks: wanted.chunks(),
                    bytes: wanted.bytes(),
                };
                XorbMultiRangeFetch {
                    url: url(&xorb, &format!("bytes={}", bytes.join(","))),
                    ranges: wanted.iter().map(descriptor).collect(),
                }
            };
            (xorb, ranges.chunks(MAX_RANGES).map(fetch).collect())
        });
        let xorbs = fetches.collect();
        Ok(QueryReconstructionResponseV2 { offset_into_first_range: offset, terms, xorbs })
    }

    /// Not by `LocalClient`, which reads the thousands of numbers in a footer with a system call each.
    async fn parts(&self, file: &MerkleHash, range: Option<FileRange>) -> Result<Parts, CasError> {
        let info = self.file_info(file).await?;
        let size = info.file_size();
        let range = range.map_or(0..size, |range| range.start..range.end.min(size));
        if range.start >= size && range.start > 0 {
            return Err(CasError::Range);
        }
        Parts::of(&info, &range, |xorb| self.footer(xorb))
    }
}
