//! `POST /_hub/raw-tree`: listing entries that no commit could bring about.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::RepoName;
use crate::app::App;
use crate::errors::ApiError;
use crate::git::Oid;
use crate::store::repo::Repo;
use crate::store::state::Planted;
use crate::store::tree::Content;

/// Entries for the listings of a repository.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    #[serde(flatten)]
    name: RepoName,
    entries: Vec<Entry>,
}

/// One entry. `like` takes everything from a file that exists, `content` makes a plain file with
/// these bytes; the other fields then overrule what the listing claims.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    like: Option<String>,
    content: Option<String>,
    oid: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
    xet_hash: Option<String>,
}

fn planted(repo: &Repo, entry: Entry) -> Result<Planted, ApiError> {
    let oid = match entry.oid.as_deref().map(Oid::from_hex) {
        Some(None) => return Err(ApiError::bad_request("oid must have 40 hex digits")),
        Some(Some(oid)) => Some(oid),
        None => None,
    };
    let bytes = entry.content.map(bytes::Bytes::from);
    let like = match &entry.like {
        None => None,
        Some(path) => {
            let state = repo.state();
            let commit = crate::api::listing::commit(&state, "main")?;
            let file = commit.tree.file(path);
            let missing = || ApiError::not_found(format_args!("No file {path}"));
            Some(file.ok_or_else(missing)?.content.clone())
        }
    };
    let mut content = match (like, entry.sha256) {
        (Some(content), None) => content,
        (_, Some(sha256)) => {
            Content::large(sha256, entry.size.unwrap_or(0), entry.xet_hash.clone())
        }
        (None, None) => {
            let body = bytes.clone().unwrap_or_default();
            Content::Plain { oid: Oid::of_blob(&body), size: body.len() as u64, offset: 0 }
        }
    };
    match &mut content {
        Content::Plain { oid: claimed, size, .. } => {
            *claimed = oid.unwrap_or(*claimed);
            *size = entry.size.unwrap_or(*size);
        }
        Content::Large { oid: claimed, size, xet, .. } => {
            *claimed = oid.unwrap_or(*claimed);
            *size = entry.size.unwrap_or(*size);
            *xet = entry.xet_hash.or(xet.take());
        }
    }
    Ok(Planted { path: entry.path, content, bytes })
}

/// Plants entries.
pub(super) async fn plant(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Result<StatusCode, ApiError> {
    let repo = request.name.find(&app)?;
    let planted: Result<Vec<_>, _> =
        request.entries.into_iter().map(|entry| planted(&repo, entry)).collect();
    repo.plant(planted?);
    Ok(StatusCode::NO_CONTENT)
}
