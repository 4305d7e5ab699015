//! The storage origin: bytes behind signed, expiring URLs, and nothing else.
//!
//! | path | |
//! | --- | --- |
//! | `GET /xorbs/{xorb}` | a xorb as stored, by ranges |
//! | `GET /files/{file}` | a file of the CAS, put together: for clients without Xet |
//! | `GET /lfs/{sha256}` | an LFS object |
//! | `PUT /lfs/{sha256}/{size}` | upload of an LFS object |
//! | `PUT /lfs/{sha256}/parts/{n}` | upload of a part of one |
//! | `POST /lfs/{sha256}/{size}` | the object is complete |
//! | `PUT /grants/{id}` | upload of a xorb |

mod bridge;
mod send;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use futures_util::StreamExt;
use serde::Deserialize;

use crate::app::App;
use crate::cas::grants::Staged;
use crate::cas::parse_hash;
use crate::errors::ApiError;
use crate::faults::layer::RangeIgnored;
use crate::ranges::{Wanted, wanted, within};
use crate::sign::Rejected;
use crate::store::lfs::{Upload, UploadError};

/// All routes of the storage origin.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new().fallback(routing::any(serve)).with_state(app)
}

async fn serve(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if parts.headers.contains_key(header::AUTHORIZATION) {
        // The signature is the permission. Whoever sends a Hub token here gives it to a stranger.
        app.stats.count(|counts| counts.storage_requests_with_authorization += 1);
        return Err(ApiError::bad_request("Only one auth mechanism allowed: drop Authorization"));
    }
    check_signature(&app, &parts)?;
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let reading = parts.method == Method::GET || parts.method == Method::HEAD;
    match segments.as_slice() {
        ["xorbs", hash] if reading => {
            let path = app.cas.xorb_path(&parse_hash(hash)?);
            send::file(&path, hash, &parts.headers, |_| Ok(())).await
        }
        ["files", hash] if reading => bridge::file(&app, parse_hash(hash)?, &parts).await,
        ["lfs", sha256] if reading => {
            let path = app.lfs.path(sha256).ok_or_else(missing)?;
            let limit = |total| plain_limit(&app, &parts, total);
            send::file(&path, sha256, &parts.headers, limit).await
        }
        ["lfs", sha256, size] if parts.method == Method::PUT => {
            let size = size.parse().map_err(|_| missing())?;
            receive_lfs(&app, sha256, size, body).await
        }
        ["lfs", sha256, "parts", part] if parts.method == Method::PUT => {
            let part = part.parse().map_err(|_| missing())?;
            receive_part(&app, sha256, part, body).await
        }
        ["lfs", sha256, size] if parts.method == Method::POST => {
            let size = size.parse().map_err(|_| missing())?;
            complete_lfs(&app, sha256, size, body).await
        }
        ["grants", id] if parts.method == Method::PUT => {
            receive_xorb(&app, id, &parts.headers, body).await
        }
        _ => Err(missing()),
    }
}

/// Refuses what the CDN doesn't give of a file's `total` plain bytes in one answer.
fn plain_limit(app: &App, parts: &Parts, total: u64) -> Result<(), ApiError> {
    let is_too_long = match wanted(&parts.headers, total) {
        Wanted::All => total > app.config.largest_whole,
        Wanted::Parts(ranges) => {
            let asked: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
            asked > app.config.longest_range
        }
        Wanted::Unsatisfiable => false,
    };
    if is_too_long && parts.method == Method::GET {
        return Err(ApiError::bad_request("Bad request: more than one answer may have"));
    }
    Ok(())
}

fn missing() -> ApiError {
    ApiError::not_found("No such object")
}

fn check_signature(app: &App, parts: &Parts) -> Result<(), ApiError> {
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let checked = app.signer.check_url(parts.method.as_str(), path, query);
    let ranges = checked.map_err(|rejected| {
        ApiError::forbidden(match rejected {
            Rejected::Unsigned => "This URL isn't signed",
            Rejected::Forged => "The signature doesn't match",
            Rejected::Expired => "This URL has expired",
        })
    })?;
    let ignored = parts.extensions.get::<RangeIgnored>().is_some();
    match ranges {
        Some(ranges) if !ignored && !within(&parts.headers, &ranges) => {
            Err(ApiError::forbidden("This URL isn't signed for this range"))
        }
        _ => Ok(()),
    }
}

async fn receive(app: &App, body: Body) -> Result<Upload, ApiError> {
    let mut upload = app.lfs.begin()?;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        upload.write(&piece.map_err(ApiError::bad_request)?)?;
    }
    Ok(upload)
}

fn refused(error: UploadError) -> ApiError {
    match error {
        UploadError::Mismatch => ApiError::bad_request(error),
        UploadError::Io(error) => error.into(),
    }
}

fn etag(text: &str) -> Response {
    ([(header::ETAG, format!("\"{text}\""))], StatusCode::OK).into_response()
}

async fn receive_lfs(app: &App, sha256: &str, size: u64, body: Body) -> Result<Response, ApiError> {
    let upload = receive(app, body).await?;
    app.lfs.finish(upload, sha256, size).map_err(refused)?;
    app.stats.count(|counts| {
        counts.lfs_puts += 1;
        counts.lfs_bytes_received += size;
    });
    Ok(etag(sha256))
}

async fn receive_part(
    app: &App,
    sha256: &str,
    part: u64,
    body: Body,
) -> Result<Response, ApiError> {
    let upload = receive(app, body).await?;
    let size = upload.size();
    let stored = app.lfs.finish_part(upload, sha256, part).map_err(refused)?;
    app.stats.count(|counts| counts.lfs_bytes_received += size);
    Ok(etag(&stored))
}

/// What the client says when it has sent all parts.
#[derive(Deserialize)]
struct Completion {
    oid: String,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    part_number: u64,
    etag: String,
}

async fn complete_lfs(
    app: &Arc<App>,
    sha256: &str,
    size: u64,
    body: Body,
) -> Result<Response, ApiError> {
    let body = to_bytes(body, 1 << 20).await.map_err(ApiError::bad_request)?;
    let done: Completion = serde_json::from_slice(&body).map_err(ApiError::bad_request)?;
    let in_order = done.parts.iter().zip(1..).all(|(part, number)| part.part_number == number);
    if done.oid != sha256 || !in_order {
        return Err(ApiError::bad_request("These aren't the parts of this object"));
    }
    let etags: Vec<String> =
        done.parts.iter().map(|part| part.etag.trim_matches('"').to_owned()).collect();
    let (lfs, sha256) = (Arc::clone(app), sha256.to_owned());
    crate::api::blocking(move || lfs.lfs.complete(&sha256, size, &etags).map_err(refused)).await?;
    app.stats.count(|counts| counts.lfs_puts += 1);
    Ok(StatusCode::OK.into_response())
}

async fn receive_xorb(
    app: &App,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if headers.get(header::IF_NONE_MATCH).is_none_or(|value| value != "*") {
        return Err(ApiError::forbidden("The grant's headers are missing"));
    }
    Ok(match app.cas.stage(id, body).await? {
        Staged::Stored => StatusCode::OK.into_response(),
        Staged::AlreadyThere => StatusCode::PRECONDITION_FAILED.into_response(),
    })
}
