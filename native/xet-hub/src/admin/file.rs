//! `POST /_hub/files` and `GET /_hub/files`: content cut into chunks as the caller says, and how the
//! content of a file is cut.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use xet_core_structures::merklehash::MerkleHash;

use super::RepoName;
use crate::app::App;
use crate::cas::cut::{Cuts, MAX};
use crate::cas::{CasError, parse_hash};
use crate::errors::ApiError;
use crate::store::repo::{Edit, NewCommit, Repo};
use crate::store::tree::Content;

/// Who makes the commits.
const AUTHOR: &str = "xet-hub";

/// The revision that is meant if none is named.
const MAIN: &str = "main";

/// A file, as the query names it.
#[derive(Debug, Deserialize)]
pub(super) struct Name {
    #[serde(flatten)]
    repo: RepoName,
    path: String,
    revision: Option<String>,
}

/// A file to publish; the request's body is its content.
#[derive(Debug, Deserialize)]
pub(super) struct New {
    #[serde(flatten)]
    name: Name,
    chunks: String,
    /// How often the content repeats.
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

/// The content of a file, and the commit that was looked at.
fn find(repo: &Repo, revision: Option<&str>, path: &str) -> Result<(String, Content), ApiError> {
    let state = repo.state();
    let commit = crate::api::listing::commit(&state, revision.unwrap_or(MAIN))?;
    let id = commit.id.to_string();
    let file = commit.tree.file(path).ok_or_else(|| ApiError::entry_not_found(&id))?;
    Ok((id, file.content.clone()))
}

/// How a file of the CAS is put together.
async fn described(app: &App, hash: &MerkleHash) -> Result<Value, ApiError> {
    let (mut terms, mut lengths) = (Vec::new(), Vec::new());
    for term in app.cas.file_info(hash).await?.segments {
        let range = (term.chunk_index_start, term.chunk_index_end);
        let chunks = app.cas.footer(&term.xorb_hash)?.chunk_hash_sizes(range.0, range.1);
        let chunks = chunks.map_err(|error| CasError::Internal(error.to_string()))?;
        lengths.extend(chunks.into_iter().map(|(_, length)| length));
        terms.push(json!({
            "xorb": term.xorb_hash.hex(),
            "chunks": range,
            "bytes": term.unpacked_segment_bytes,
        }));
    }
    Ok(json!({"terms": terms, "chunk_lengths": lengths}))
}

/// Says what a file's content is, and for a file of the CAS, which chunks of which xorbs.
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    Query(name): Query<Name>,
) -> Result<Json<Value>, ApiError> {
    let repo = name.repo.find(&app)?;
    let (commit, content) = find(&repo, name.revision.as_deref(), &name.path)?;
    let mut answer = json!({"commit": commit, "size": content.size()});
    if let Content::Large { sha256, xet, .. } = &content {
        answer["sha256"] = json!(sha256);
        answer["xet_hash"] = json!(xet);
        if let Some(hash) = xet {
            let found = described(&app, &parse_hash(hash)?).await?;
            answer["terms"] = found["terms"].clone();
            answer["chunk_lengths"] = found["chunk_lengths"].clone();
        }
    }
    Ok(Json(answer))
}

/// Publishes a file in a commit of its own. A file that was at this path lends the chunks that both
/// have in common, as it does in an upload.
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Query(New { name, chunks, times }): Query<New>,
    content: Bytes,
) -> Result<Json<Value>, ApiError> {
    let cuts = Cuts::parse(&chunks).ok_or_else(|| {
        ApiError::bad_request(format_args!(
            "chunks must be before-2025-09, other-table, or lengths from 1 to {MAX}"
        ))
    })?;
    if content.is_empty() || times == 0 {
        return Err(ApiError::bad_request("An empty file has no chunks"));
    }
    let size = content.len() as u64 * times as u64;
    let repo = name.repo.find(&app)?;
    let like = match find(&repo, name.revision.as_deref(), &name.path) {
        Ok((_, Content::Large { xet: Some(hash), .. })) => Some(parse_hash(&hash)?),
        _ => None,
    };
    let stored = app.cas.publish(content, cuts, times, like).await?;
    let xet_hash = stored.hash.hex();
    let content = Content::large(stored.sha256, size, Some(xet_hash.clone()));
    let new = NewCommit {
        revision: name.revision.clone().unwrap_or_else(|| MAIN.to_owned()),
        parent: None,
        title: format!("Add {}", name.path),
        body: String::new(),
        author: AUTHOR.to_owned(),
        edits: vec![Edit::Large { path: name.path.clone(), content }],
        pull_request: false,
    };
    crate::api::blocking(move || repo.commit(new)).await?;
    if times > 1 {
        // What it is made of could be millions of chunks.
        return Ok(Json(json!({"size": size, "xet_hash": xet_hash})));
    }
    describe(State(app), Query(name)).await
}
