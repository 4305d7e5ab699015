//! The storage origin: bytes behind signed, expiring URLs, and nothing else.
//!
//! | path | |
//! | --- | --- |
//! | `GET /xorbs/{xorb}` | a xorb as stored, by ranges |
//! | `GET /files/{file}` | a file of the CAS, put together: for clients without Xet |
//! | `GET /lfs/{sha256}` | an LFS object |
//! | `PUT /lfs/{sha256}/{size}` | upload of an LFS object |
//! | `PUT /grants/{id}` | upload of a xorb |

mod bridge;
mod send;

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use futures_util::StreamExt;

use crate::app::App;
use crate::cas::grants::Staged;
use crate::cas::parse_hash;
use crate::errors::ApiError;
use crate::sign::Rejected;
use crate::store::lfs::UploadError;

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
    check_signature(&app, &parts.method, &path, parts.uri.query().unwrap_or_default())?;
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let reading = parts.method == Method::GET || parts.method == Method::HEAD;
    match segments.as_slice() {
        ["xorbs", hash] if reading => {
            let path = app.cas.xorb_path(&parse_hash(hash)?);
            send::file(&path, hash, &parts.headers).await
        }
        ["files", hash] if reading => bridge::file(&app, parse_hash(hash)?, &parts.headers).await,
        ["lfs", sha256] if reading => {
            let path = app.lfs.path(sha256).ok_or_else(missing)?;
            send::file(&path, sha256, &parts.headers).await
        }
        ["lfs", sha256, size] if parts.method == Method::PUT => {
            let size = size.parse().map_err(|_| missing())?;
            receive_lfs(&app, sha256, size, body).await
        }
        ["grants", id] if parts.method == Method::PUT => {
            receive_xorb(&app, id, &parts.headers, body).await
        }
        _ => Err(missing()),
    }
}

fn missing() -> ApiError {
    ApiError::not_found("No such object")
}

fn check_signature(app: &App, method: &Method, path: &str, query: &str) -> Result<(), ApiError> {
    let query: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let expires = query.get("Expires").and_then(|expires| expires.parse().ok());
    let (Some(expires), Some(signature)) = (expires, query.get("Signature")) else {
        return Err(ApiError::forbidden("This URL isn't signed"));
    };
    app.signer.check_url(method.as_str(), path, expires, signature).map_err(|rejected| {
        ApiError::forbidden(match rejected {
            Rejected::Forged => "The signature doesn't match",
            Rejected::Expired => "This URL has expired",
        })
    })
}

async fn receive_lfs(app: &App, sha256: &str, size: u64, body: Body) -> Result<Response, ApiError> {
    let mut upload = app.lfs.begin()?;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        upload.write(&piece.map_err(ApiError::bad_request)?)?;
    }
    app.lfs.finish(upload, sha256, size).map_err(|error| match error {
        UploadError::Mismatch => ApiError::bad_request(error),
        UploadError::Io(error) => error.into(),
    })?;
    app.stats.count(|counts| {
        counts.lfs_puts += 1;
        counts.lfs_bytes_received += size;
    });
    Ok(([(header::ETAG, format!("\"{sha256}\""))], StatusCode::OK).into_response())
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
