//! Reconstructions with URLs of our storage origin.

use axum::http::{HeaderMap, header};
use xet_client::cas_types::{
    FileRange, HexMerkleHash, QueryReconstructionResponse, QueryReconstructionResponseV2,
};
use xet_core_structures::merklehash::MerkleHash;

use super::{Cas, CasError};

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

impl Cas {
    /// A reconstruction in version 1.
    pub(crate) async fn reconstruct_v1(
        &self,
        file: &MerkleHash,
        range: Option<FileRange>,
        url: impl Fn(&HexMerkleHash, &str) -> String,
    ) -> Result<QueryReconstructionResponse, CasError> {
        let found = self.client.get_reconstruction_v1(file, range).await;
        let mut answer = self.existing(file, found).await?;
        for (xorb, fetches) in &mut answer.fetch_info {
            for fetch in fetches {
                fetch.url = url(xorb, &fetch.url_range.range_header());
            }
        }
        Ok(answer)
    }

    /// A reconstruction in version 2.
    pub(crate) async fn reconstruct_v2(
        &self,
        file: &MerkleHash,
        range: Option<FileRange>,
        url: impl Fn(&HexMerkleHash, &str) -> String,
    ) -> Result<QueryReconstructionResponseV2, CasError> {
        let found = self.client.get_reconstruction_v2(file, range).await;
        let mut answer = self.existing(file, found).await?;
        for (xorb, fetches) in &mut answer.xorbs {
            for fetch in fetches {
                let ranges: Vec<String> =
                    fetch.ranges.iter().map(|range| range.bytes.to_string()).collect();
                fetch.url = url(xorb, &format!("bytes={}", ranges.join(",")));
            }
        }
        Ok(answer)
    }

    /// The store says `None` both for an unknown file and for a range behind the end of a file.
    async fn existing<T>(
        &self,
        file: &MerkleHash,
        found: Result<Option<T>, xet_client::ClientError>,
    ) -> Result<T, CasError> {
        match found? {
            Some(answer) => Ok(answer),
            None => Err(self.file_info(file).await.err().unwrap_or(CasError::Range)),
        }
    }
}
