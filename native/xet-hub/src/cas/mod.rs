//! The CAS: xet-core's file-backed simulation as the store, with our own HTTP face in front.
//!
//! `LocalClient` keeps each xorb as one file, serialised with its footer, and answers
//! reconstructions with byte ranges of exactly that file; storage can serve those straight from
//! disk. Its own server isn't used: it has no auth, and it reads whole xorbs into memory.

pub(crate) mod api;
pub(crate) mod cut;
pub(crate) mod grants;
mod publish;
mod reach;
pub(crate) mod reconstruct;
pub(crate) mod shard;
#[cfg(test)]
mod tests;
pub(crate) mod windows;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use xet_client::cas_client::{Client, DirectAccessClient, LocalClient};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::xorb_object::{
    SerializedXorbObject, XorbObject, reconstruct_xorb_with_footer,
};
use xet_runtime::core::XetContext;

use crate::sync::{read, write};
use grants::Grant;
use reach::Uploads;

/// How long a client may keep the answer to a global dedup query.
const DEDUP_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// The most ranges of a xorb behind one URL, which lists them.
const MAX_RANGES: usize = 64;

/// The CAS of a data directory.
pub(crate) struct Cas {
    client: Arc<LocalClient>,
    xorbs: PathBuf,
    staging: PathBuf,
    files: RwLock<HashMap<String, XetFile>>,
    grants: Mutex<HashMap<String, Grant>>,
    uploads: Uploads,
}

/// A file in the CAS.
#[derive(Debug, Clone)]
pub(crate) struct XetFile {
    /// Its Xet hash, 64 hex digits.
    pub(crate) hash: String,
    /// Its length in bytes.
    pub(crate) size: u64,
}

/// Why the CAS refuses or fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CasError {
    /// What the client sent is wrong.
    #[error("{0}")]
    Invalid(String),
    /// There is no such object.
    #[error("{0} not found")]
    NotFound(String),
    /// The range begins behind the end of the file.
    #[error("range not satisfiable")]
    Range,
    /// The store failed.
    #[error("{0}")]
    Internal(String),
}

impl From<std::io::Error> for CasError {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<xet_core_structures::CoreError> for CasError {
    fn from(error: xet_core_structures::CoreError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<xet_client::ClientError> for CasError {
    fn from(error: xet_client::ClientError) -> Self {
        use xet_client::ClientError;
        match error {
            ClientError::FileNotFound(hash) | ClientError::XORBNotFound(hash) => {
                Self::NotFound(hash.hex())
            }
            ClientError::InvalidRange => Self::Range,
            other => Self::Internal(other.to_string()),
        }
    }
}

impl std::fmt::Debug for Cas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cas").field("xorbs", &self.xorbs).finish_non_exhaustive()
    }
}

impl Cas {
    /// Opens the CAS below `data`, and learns from its shards which SHA-256 is which file.
    pub(crate) async fn open(data: &Path) -> Result<Self, CasError> {
        let dir = data.join("cas");
        let context =
            XetContext::default().map_err(|error| CasError::Internal(error.to_string()))?;
        let client = LocalClient::new(context, &dir).await?;
        client.set_global_dedup_shard_expiration(Some(DEDUP_LIFETIME));
        let cas = Self {
            client,
            xorbs: dir.join("xorbs"),
            staging: data.join("staging"),
            files: RwLock::default(),
            grants: Mutex::default(),
            uploads: Uploads::default(),
        };
        for entry in std::fs::read_dir(dir.join("shards"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "mdb") {
                let shard = shard::parse(&std::fs::read(path)?)?;
                cas.learn(shard::files(&shard));
            }
        }
        Ok(cas)
    }

    fn learn(&self, found: Vec<(String, XetFile)>) {
        write(&self.files).extend(found);
    }

    /// The file whose content has this SHA-256.
    pub(crate) fn file_by_sha256(&self, sha256: &str) -> Option<XetFile> {
        read(&self.files).get(sha256).cloned()
    }

    /// Where a xorb is stored.
    pub(crate) fn xorb_path(&self, hash: &MerkleHash) -> PathBuf {
        self.xorbs.join(format!("default.{}", hash.hex()))
    }

    /// The footer of a stored xorb: lengths and hashes of its chunks.
    pub(crate) fn footer(&self, hash: &MerkleHash) -> Result<XorbObject, CasError> {
        let file = File::open(self.xorb_path(hash)).map_err(|_| CasError::NotFound(hash.hex()))?;
        XorbObject::deserialize(&mut BufReader::new(file))
            .map_err(|error| CasError::Internal(format!("xorb {}: {error}", hash.hex())))
    }

    /// The terms of a file.
    pub(crate) async fn file_info(&self, hash: &MerkleHash) -> Result<MDBFileInfo, CasError> {
        let found = self.client.get_file_reconstruction_info(hash).await?;
        Ok(found.ok_or_else(|| CasError::NotFound(hash.hex()))?.0)
    }

    /// Stores a xorb as clients upload it: chunks without a footer. Every chunk is decompressed and
    /// hashed. Returns whether it is new.
    pub(crate) async fn store_xorb(&self, hash: MerkleHash, data: Bytes) -> Result<bool, CasError> {
        let path = self.xorb_path(&hash);
        if path.exists() {
            return Ok(false);
        }
        let checked = tokio::task::spawn_blocking(move || check_xorb(hash, &data)).await;
        let xorb = checked.map_err(|error| CasError::Internal(error.to_string()))??;
        let permit = self.client.acquire_upload_permit().await?;
        self.client.upload_xorb("default", xorb, None, permit).await?;
        Ok(true)
    }

    /// Stores a shard after checking it against the stored xorbs. Its files are uploads to the repository
    /// with the id `uploaded_to`, if there is one.
    pub(crate) async fn store_shard(
        &self,
        data: Bytes,
        uploaded_to: Option<&str>,
    ) -> Result<Option<MerkleHash>, CasError> {
        let shard = shard::parse(&data)?;
        shard::verify(&shard, |hash| self.footer(hash))?;
        let permit = self.client.acquire_upload_permit().await?;
        let stored = self.client.upload_shard(data, permit, None).await?;
        if let Some(repo) = uploaded_to {
            self.uploads.add(repo, shard::hashes(&shard));
        }
        self.learn(shard::files(&shard));
        Ok(stored)
    }

    /// The shard that knows a chunk, if any.
    pub(crate) async fn dedup_shard(&self, chunk: &MerkleHash) -> Result<Option<Bytes>, CasError> {
        Ok(self.client.query_for_global_dedup_shard("default", chunk).await?)
    }
}

fn check_xorb(hash: MerkleHash, data: &[u8]) -> Result<SerializedXorbObject, CasError> {
    let mut with_footer = Vec::with_capacity(data.len() + data.len() / 64);
    let rebuilt = reconstruct_xorb_with_footer(&mut with_footer, data);
    let invalid = |error: &dyn std::fmt::Display| CasError::Invalid(format!("bad xorb: {error}"));
    let (xorb, found) = rebuilt.map_err(|error| invalid(&error))?;
    let length = xorb.get_contents_length().map_err(|error| invalid(&error))?;
    if found != hash {
        return Err(invalid(&format_args!("its hash is {}", found.hex())));
    }
    // Clients may send their footer along; it is dropped for the one made here.
    Ok(SerializedXorbObject {
        hash,
        serialized_data: with_footer,
        raw_num_bytes: u64::from(length),
        num_chunks: xorb.info.num_chunks as usize,
        footer_start: Some(u64::from(length)),
    })
}

/// Reads a hash out of a URL.
pub(crate) fn parse_hash(text: &str) -> Result<MerkleHash, CasError> {
    let lowercase = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 64 || !text.bytes().all(lowercase) {
        return Err(CasError::Invalid("a hash has 64 lowercase hex digits".to_owned()));
    }
    MerkleHash::from_hex(text).map_err(|_| CasError::Invalid("not a hash".to_owned()))
}
