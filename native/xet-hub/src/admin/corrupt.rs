//! `POST /_hub/corrupt`: one wrong byte on disk, of the right length everywhere.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use xet_core_structures::merklehash::MerkleHash;

use super::RepoName;
use crate::app::App;
use crate::cas::{CasError, parse_hash};
use crate::errors::ApiError;
use crate::store::tree::Content;

/// Bytes of the header before each chunk of a xorb.
const CHUNK_HEADER: u32 = 8;

/// What to corrupt. A second call with the same body restores the byte.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Request {
    /// The stored content of a file, at `offset` in the file.
    File {
        #[serde(flatten)]
        name: RepoName,
        path: String,
        revision: Option<String>,
        #[serde(default)]
        offset: u64,
    },
    /// A xorb, at `offset` in the payload of its first chunk.
    Xorb {
        xorb: String,
        #[serde(default)]
        offset: u32,
    },
}

/// Flips all bits of the byte at `at`. Xorbs are read-only on disk.
fn flip(path: &Path, at: u64) -> io::Result<()> {
    let before = std::fs::metadata(path)?.permissions();
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let flipped = OpenOptions::new().read(true).write(true).open(path).and_then(|file: File| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[!byte[0]], at)?;
        file.sync_data()
    });
    std::fs::set_permissions(path, before)?;
    flipped
}

/// Flips a byte of the payload of chunk `index`, never of its header: as near to `offset` (in the
/// decompressed chunk) as the compressed payload allows, and exactly there if it isn't compressed.
fn flip_chunk(app: &App, xorb: &MerkleHash, index: u32, offset: u32) -> Result<Value, ApiError> {
    let footer = app.cas.footer(xorb)?;
    let wrong = |error: &dyn std::fmt::Display| CasError::Invalid(error.to_string());
    let (start, end) = footer.get_byte_offset(index, index + 1).map_err(|error| wrong(&error))?;
    let last = (end - start).saturating_sub(CHUNK_HEADER + 1);
    let at = start + CHUNK_HEADER + offset.min(last);
    flip(&app.cas.xorb_path(xorb), u64::from(at))?;
    Ok(json!({"xorb": xorb.hex(), "chunk": index, "offset": at}))
}

async fn flip_xet(app: &App, hash: &str, offset: u64) -> Result<Value, ApiError> {
    let info = app.cas.file_info(&parse_hash(hash)?).await?;
    let mut position = 0;
    for term in &info.segments {
        let footer = app.cas.footer(&term.xorb_hash)?;
        for chunk in term.chunk_index_start..term.chunk_index_end {
            let length = footer.uncompressed_chunk_length(chunk);
            let length = length.map_err(|error| CasError::Internal(error.to_string()))?;
            if offset < position + u64::from(length) {
                let inside = u32::try_from(offset - position).map_err(ApiError::internal)?;
                return flip_chunk(app, &term.xorb_hash, chunk, inside);
            }
            position += u64::from(length);
        }
    }
    Err(ApiError::bad_request(format_args!("The file has {position} bytes")))
}

/// Corrupts a byte and says which.
pub(super) async fn corrupt(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Result<Json<Value>, ApiError> {
    let (name, path, revision, offset) = match request {
        Request::Xorb { xorb, offset } => {
            return Ok(Json(flip_chunk(&app, &parse_hash(&xorb)?, 0, offset)?));
        }
        Request::File { name, path, revision, offset } => (name, path, revision, offset),
    };
    let repo = name.find(&app)?;
    let content = {
        let state = repo.state();
        let commit = crate::api::listing::commit(&state, revision.as_deref().unwrap_or("main"))?;
        let missing = || ApiError::entry_not_found(&commit.id.to_string());
        commit.tree.file(&path).ok_or_else(missing)?.content.clone()
    };
    if offset >= content.size() {
        return Err(ApiError::bad_request(format_args!("The file has {} bytes", content.size())));
    }
    let done = match content {
        Content::Plain { offset: start, .. } => {
            repo.corrupt_blob(start + offset)?;
            json!({"pack_offset": start + offset})
        }
        Content::Large { xet: Some(hash), .. } => flip_xet(&app, &hash, offset).await?,
        Content::Large { sha256, .. } => {
            let path = app.lfs.path(&sha256).ok_or_else(|| ApiError::not_found("No object"))?;
            flip(&path, offset)?;
            json!({"lfs": sha256, "offset": offset})
        }
    };
    Ok(Json(done))
}
