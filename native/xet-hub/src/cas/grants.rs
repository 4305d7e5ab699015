//! Upload grants: a xorb goes to the storage origin first and becomes part of the CAS on commit.

use std::path::PathBuf;

use axum::body::Body;
use crc_fast::{CrcAlgorithm, Digest};
use futures_util::StreamExt;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;
use xet_client::cas_types::{Checksum, XorbUploadGrantRequest};
use xet_core_structures::merklehash::MerkleHash;

use super::{Cas, CasError};
use crate::sign::now;
use crate::sync::lock;

/// A xorb that was announced and perhaps uploaded.
#[derive(Debug)]
pub(super) struct Grant {
    hash: MerkleHash,
    request: XorbUploadGrantRequest,
    expires: u64,
    data: Option<TempPath>,
}

/// What became of an upload to a grant's URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    /// It is there now.
    Stored,
    /// It was there before.
    AlreadyThere,
}

impl Cas {
    /// Issues a grant that lives for `ttl` seconds; `None` if the xorb is stored already.
    pub(crate) fn grant(
        &self,
        hash: MerkleHash,
        request: XorbUploadGrantRequest,
        ttl: u64,
    ) -> Option<String> {
        if self.xorb_path(&hash).exists() {
            return None;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let mut grants = lock(&self.grants);
        // Abandoned grants go when new ones come; dropping one deletes what was uploaded for it.
        grants.retain(|_, grant| grant.expires > now());
        let grant = Grant { hash, request, expires: now() + ttl, data: None };
        grants.insert(id.clone(), grant);
        Some(id)
    }

    /// Takes the upload for a grant. It must have the announced length and checksum.
    pub(crate) async fn stage(&self, id: &str, body: Body) -> Result<Staged, CasError> {
        let unknown = || CasError::NotFound("upload grant".to_owned());
        let request = {
            let grants = lock(&self.grants);
            let grant = grants.get(id).ok_or_else(unknown)?;
            if grant.data.is_some() {
                return Ok(Staged::AlreadyThere);
            }
            grant.request.clone()
        };
        let (file, path) = tempfile::NamedTempFile::new_in(&self.staging)?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let (mut checksum, mut length) = (Digest::new(CrcAlgorithm::Crc64Nvme), 0);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| CasError::Invalid(error.to_string()))?;
            checksum.update(&piece);
            length += piece.len() as u64;
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        let Checksum::Crc64Nvme(announced) = request.checksum;
        if length != request.length || checksum.finalize() != announced {
            return Err(CasError::Invalid("the upload isn't what the grant announced".to_owned()));
        }
        lock(&self.grants).get_mut(id).ok_or_else(unknown)?.data = Some(path);
        Ok(Staged::Stored)
    }

    /// Where the upload for a grant of this xorb waits.
    fn staged(&self, id: &str, hash: &MerkleHash) -> Option<PathBuf> {
        let grants = lock(&self.grants);
        let grant = grants.get(id).filter(|grant| grant.hash == *hash)?;
        grant.data.as_ref().map(|path| path.to_path_buf())
    }

    /// Makes the upload of a grant a xorb of the CAS. Returns its length if it is new.
    pub(crate) async fn commit(&self, id: &str, hash: MerkleHash) -> Result<Option<u64>, CasError> {
        let mut stored = None;
        if !self.xorb_path(&hash).exists() {
            let staged = self.staged(id, &hash);
            let path =
                staged.ok_or_else(|| CasError::NotFound("upload for this grant".to_owned()))?;
            let data = tokio::fs::read(path).await?;
            let length = data.len() as u64;
            stored = self.store_xorb(hash, data.into()).await?.then_some(length);
        }
        lock(&self.grants).remove(id);
        Ok(stored)
    }
}
