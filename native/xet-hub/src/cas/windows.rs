//! What proves a range of a file: windows of whole chunks around it, and Merkle subtrees of the rest.

use axum::http::HeaderMap;
use xet_client::cas_client::Client;
use xet_client::cas_types::{FileChunkHashesResponse, FileRange, X_RANGE_DIRTY_HEADER};
use xet_core_structures::merklehash::MerkleHash;

use super::{Cas, CasError};

/// Reads the header that names the ranges: `bytes=a-b,c-d`, ends included, each behind the one
/// before it.
pub(crate) fn dirty_ranges(headers: &HeaderMap) -> Result<Vec<FileRange>, CasError> {
    let malformed = || CasError::Invalid(format!("{X_RANGE_DIRTY_HEADER} must be bytes=a-b,c-d"));
    let value = headers.get(X_RANGE_DIRTY_HEADER).and_then(|value| value.to_str().ok());
    let names = value.and_then(|value| value.strip_prefix("bytes=")).ok_or_else(malformed)?;
    let mut ranges: Vec<FileRange> = Vec::new();
    for text in names.split(',') {
        let (first, last) = text.trim().split_once('-').ok_or_else(malformed)?;
        let first: u64 = first.parse().map_err(|_| malformed())?;
        let end = last.parse::<u64>().ok().and_then(|last| last.checked_add(1));
        let end = end.filter(|&end| first < end).ok_or_else(malformed)?;
        if ranges.last().is_some_and(|before| first < before.end) {
            return Err(CasError::Invalid("the ranges must be in order, and apart".to_owned()));
        }
        ranges.push(FileRange::new(first, end));
    }
    Ok(ranges)
}

impl Cas {
    /// The windows and subtrees of a file for these ranges. What lies behind the end of the file is
    /// left out; if that is all, the range can't be satisfied.
    pub(crate) async fn file_chunk_hashes(
        &self,
        file: &MerkleHash,
        ranges: Vec<FileRange>,
    ) -> Result<FileChunkHashesResponse, CasError> {
        let size = self.file_info(file).await?.file_size();
        if ranges.iter().all(|range| range.start >= size) {
            return Err(CasError::Range);
        }
        Ok(self.client.get_file_chunk_hashes(file, ranges).await?)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use xet_core_structures::merklehash::{MerkleHashSubtree, compute_data_hash};

    use super::super::cut::Cuts;
    use super::super::tests::open;
    use super::*;

    fn read(value: &str) -> Option<Vec<(u64, u64)>> {
        let mut headers = HeaderMap::new();
        headers.insert(X_RANGE_DIRTY_HEADER, value.parse().unwrap());
        let ranges = dirty_ranges(&headers).ok()?;
        Some(ranges.into_iter().map(|range| (range.start, range.end)).collect())
    }

    /// As a client reads an answer: the subtrees of the gaps and those of the windows' own chunks
    /// are the file, and no chunk of a gap had to be known.
    #[tokio::test(flavor = "multi_thread")]
    async fn windows_and_gaps_prove_the_file() {
        let (_data, cas) = open().await;
        let content: Vec<u8> =
            (0..4_000_000_u32).map(|n| n.wrapping_mul(n >> 7).to_le_bytes()[0]).collect();
        let cuts = Cuts::Lengths(vec![20_000, 9000, 131_072, 30_000]);
        let ends: Vec<usize> = cuts
            .lengths(&content)
            .into_iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        let file = cas.publish(Bytes::from(content.clone()), cuts, 1, None).await.unwrap().hash;
        for asked in
            [vec![(0, 1)], vec![(70_000, 70_001), (2_000_000, 2_500_000)], vec![(0, 9_000_000_000)]]
        {
            let ranges = asked.into_iter().map(|(start, end)| FileRange::new(start, end)).collect();
            let answer = cas.file_chunk_hashes(&file, ranges).await.unwrap();
            let json = serde_json::to_string(&answer).unwrap();
            let answer: FileChunkHashesResponse = serde_json::from_str(&json).unwrap();
            assert_eq!(answer.hash_ranges.len(), answer.windows.len() + 1);
            let mut parts: Vec<MerkleHashSubtree> = answer.hash_ranges[0].iter().cloned().collect();
            for (window, gap) in answer.windows.iter().zip(&answer.hash_ranges[1..]) {
                let [from, to] = window.dirty_byte_range.map(|at| usize::try_from(at).unwrap());
                let inside = ends.iter().copied().filter(|&end| from < end && end <= to);
                let mut start = from;
                let chunks: Vec<_> = inside
                    .map(|end| {
                        let chunk = &content[start..end];
                        start = end;
                        (compute_data_hash(chunk), chunk.len() as u64)
                    })
                    .collect();
                assert_eq!(start, to, "a window ends between chunks");
                parts.push(MerkleHashSubtree::from_chunks(from == 0, &chunks, to == content.len()));
                parts.extend(gap.clone());
            }
            let found = MerkleHashSubtree::merge(&parts).unwrap().final_hash().unwrap();
            assert_eq!(found.hmac(MerkleHash::default()), file);
        }
    }

    /// Ranges are read with their ends included.
    #[test]
    fn ranges_are_read() {
        assert_eq!(read("bytes=0-0"), Some(vec![(0, 1)]));
        assert_eq!(read("bytes=5-9, 10-19"), Some(vec![(5, 10), (10, 20)]));
    }

    /// Ranges that are malformed, out of order or overlapping are refused, and so is no header.
    #[test]
    fn other_ranges_are_refused() {
        assert!(dirty_ranges(&HeaderMap::new()).is_err());
        let last = format!("bytes=0-{}", u64::MAX);
        for wrong in [
            "bytes=",
            "0-5",
            "bytes=5-",
            "bytes=-5",
            "bytes=5-4",
            "bytes=9-9,0-1",
            "bytes=0-5,5-6",
            &last,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
