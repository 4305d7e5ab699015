//! The HTTP face of the CAS: tokens in front, storage URLs behind.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, routing};
use serde::Deserialize;
use serde_json::json;
use xet_client::cas_types::{
    BatchQueryReconstructionResponse, CommitStage, HexMerkleHash, ShardUploadEvent,
    UploadShardResponse, UploadShardResponseType, UploadXorbResponse, XorbUploadGrant,
    XorbUploadGrantRequest,
};
use xet_core_structures::merklehash::MerkleHash;

use super::reconstruct::file_range;
use super::windows::dirty_ranges;
use super::{CasError, parse_hash};
use crate::app::App;
use crate::errors::ApiError;
use crate::sign::{Rejected, Scope, XetToken};

/// The largest body that is accepted: xorbs and shards are at most 64 MiB, plus a footer.
const MAX_BODY: usize = 80 << 20;

type Answer = Result<Response, ApiError>;

impl From<CasError> for ApiError {
    fn from(error: CasError) -> Self {
        match error {
            CasError::Invalid(message) => Self::bad_request(message),
            CasError::NotFound(_) => Self::not_found(error),
            CasError::Range => Self::new(StatusCode::RANGE_NOT_SATISFIABLE, error),
            CasError::Internal(message) => Self::internal(message),
        }
    }
}

/// All routes of the CAS.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/reconstructions", get(reconstructions).post(posted_reconstructions))
        .route("/v1/reconstructions/{file}", get(reconstruction_v1))
        .route("/v2/reconstructions/{file}", get(reconstruction_v2))
        .route("/v2/file-chunk-hashes/{file}", get(file_chunk_hashes))
        .route("/v1/chunks/{prefix}/{hash}", get(chunk))
        .route("/v1/xorbs/{prefix}/{hash}", post(xorb).head(has_xorb))
        .route("/v1/files/{file}", routing::head(file_length))
        .route("/v1/xorb-grants/{prefix}/{hash}", post(xorb_grant))
        .route("/v1/xorb-commits/{prefix}/{hash}/grant/{id}", post(xorb_commit))
        .route("/v1/shards", post(shard_v1))
        .route("/v2/shards", post(shard_v2))
        .route("/v1/telemetry", post(telemetry))
        .merge(unversioned())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

/// The routes of clients from before there were versions: `hf_xet` up to 1.2. Their bodies are those
/// of version 1. Up to 1.1.9 names were singular, and a shard was sent to its own hash.
fn unversioned() -> Router<Arc<App>> {
    Router::new()
        .route("/reconstructions", get(reconstructions))
        .route("/reconstructions/{file}", get(reconstruction_v1))
        .route("/chunks/{prefix}/{hash}", get(chunk))
        .route("/xorbs/{prefix}/{hash}", post(xorb))
        .route("/shards", post(shard_v1))
        .route("/reconstruction/{file}", get(reconstruction_v1))
        .route("/chunk/{prefix}/{hash}", get(chunk))
        .route("/xorb/{prefix}/{hash}", post(xorb))
        .route("/shard/{prefix}/{hash}", post(shard_v1).put(shard_v1))
}

/// Checks the token of a request.
fn authorize(app: &App, headers: &HeaderMap, needed: Scope) -> Result<XetToken, ApiError> {
    let unauthorized = |why| ApiError::new(StatusCode::UNAUTHORIZED, why);
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer "));
    let token = token.ok_or_else(|| unauthorized("A Xet token is needed"))?;
    let token = app.signer.check_xet_token(token).map_err(|rejected| match rejected {
        Rejected::Unsigned | Rejected::Forged => unauthorized("Invalid Xet token"),
        Rejected::Expired => unauthorized("Expired Xet token"),
    })?;
    if token.scope < needed {
        return Err(ApiError::forbidden("This Xet token doesn't allow writing"));
    }
    Ok(token)
}

/// Checks that the token of a request is good for reading a file.
async fn authorize_for(app: &App, headers: &HeaderMap, file: &MerkleHash) -> Result<(), ApiError> {
    let token = authorize(app, headers, Scope::Read)?;
    app.check_reach(&token, file).await
}

/// Stores an uploaded shard for the repository of the token.
async fn store_shard(
    app: &App,
    headers: &HeaderMap,
    shard: Bytes,
) -> Result<Option<MerkleHash>, ApiError> {
    let token = authorize(app, headers, Scope::Write)?;
    let holder = app.holder(&token)?;
    let stored = app.cas.store_shard(shard, Some(&holder.uid())).await?;
    app.stats.count(|counts| counts.shards_received += 1);
    Ok(stored)
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1")
}

/// Signs URLs for ranges of xorbs, on the host that the client used. Each is good for its ranges
/// alone, and older clients rely on it: they take answers of one URL for the same bytes.
fn xorb_url<'a>(
    app: &'a App,
    headers: &'a HeaderMap,
) -> impl Fn(&HexMerkleHash, &str) -> String + 'a {
    move |xorb, ranges| app.range_url(host(headers), &format!("/xorbs/{xorb}"), ranges)
}

async fn reconstruction_v1(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let (file, range) = (parse_hash(&file)?, file_range(&headers)?);
    authorize_for(&app, &headers, &file).await?;
    let found = app.cas.reconstruct_v1(&file, range, xorb_url(&app, &headers)).await?;
    Ok(Json(found).into_response())
}

async fn reconstruction_v2(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let (file, range) = (parse_hash(&file)?, file_range(&headers)?);
    if !app.config.cas_v2 {
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "Version 2 is switched off"));
    }
    authorize_for(&app, &headers, &file).await?;
    let found = app.cas.reconstruct_v2(&file, range, xorb_url(&app, &headers)).await?;
    Ok(Json(found).into_response())
}

async fn reconstructions(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = query.unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "file_id");
    let files: Result<Vec<_>, _> = named.map(|(_, file)| parse_hash(&file)).collect();
    batch(&app, &headers, files?).await
}

/// A file in the body of a batch: the prefix is that of its shard.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "prefix")]
    _prefix: String,
    hash: String,
}

async fn posted_reconstructions(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(named): Json<Vec<Named>>,
) -> Answer {
    let files: Result<Vec<_>, _> = named.iter().map(|named| parse_hash(&named.hash)).collect();
    batch(&app, &headers, files?).await
}

async fn batch(app: &App, headers: &HeaderMap, files: Vec<MerkleHash>) -> Answer {
    let token = authorize(app, headers, Scope::Read)?;
    let mut answer =
        BatchQueryReconstructionResponse { files: HashMap::new(), fetch_info: HashMap::new() };
    for file in files {
        app.check_reach(&token, &file).await?;
        let found = app.cas.reconstruct_v1(&file, None, xorb_url(app, headers)).await?;
        answer.files.insert(file.into(), found.terms);
        for (xorb, fetches) in found.fetch_info {
            answer.fetch_info.entry(xorb).or_default().extend(fetches);
        }
    }
    Ok(Json(answer).into_response())
}

async fn has_xorb(
    State(app): State<Arc<App>>,
    Path((prefix, hash)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    authorize(&app, &headers, Scope::Read)?;
    check_prefix(&prefix)?;
    if app.cas.xorb_path(&parse_hash(&hash)?).exists() {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(ApiError::not_found("No such xorb"))
    }
}

async fn file_length(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let file = parse_hash(&file)?;
    authorize_for(&app, &headers, &file).await?;
    let size = app.cas.file_info(&file).await?.file_size();
    Ok([(header::CONTENT_LENGTH, HeaderValue::from(size))].into_response())
}

async fn file_chunk_hashes(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let (file, ranges) = (parse_hash(&file)?, dirty_ranges(&headers)?);
    authorize_for(&app, &headers, &file).await?;
    Ok(Json(app.cas.file_chunk_hashes(&file, ranges).await?).into_response())
}

async fn chunk(
    State(app): State<Arc<App>>,
    Path((prefix, hash)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    authorize(&app, &headers, Scope::Read)?;
    if !matches!(prefix.as_str(), "default" | "default-merkledb") {
        return Err(ApiError::bad_request("unknown prefix"));
    }
    match app.cas.dedup_shard(&parse_hash(&hash)?).await? {
        Some(shard) => Ok(shard.into_response()),
        None => Err(ApiError::not_found("Chunk not tracked")),
    }
}

fn count_xorb(app: &App, length: u64) {
    app.stats.count(|counts| {
        counts.xorbs_received += 1;
        counts.xorb_bytes_received += length;
    });
}

fn check_prefix(prefix: &str) -> Result<(), ApiError> {
    if prefix == "default" { Ok(()) } else { Err(ApiError::bad_request("unknown prefix")) }
}

async fn xorb(
    State(app): State<Arc<App>>,
    Path((prefix, hash)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    authorize(&app, &headers, Scope::Write)?;
    check_prefix(&prefix)?;
    let length = body.len() as u64;
    let was_inserted = app.cas.store_xorb(parse_hash(&hash)?, body).await?;
    if was_inserted {
        count_xorb(&app, length);
    }
    Ok(Json(UploadXorbResponse { was_inserted }).into_response())
}

async fn xorb_grant(
    State(app): State<Arc<App>>,
    Path((prefix, hash)): Path<(String, String)>,
    headers: HeaderMap,
    Json(request): Json<XorbUploadGrantRequest>,
) -> Answer {
    authorize(&app, &headers, Scope::Write)?;
    check_prefix(&prefix)?;
    if !app.config.xorb_grants {
        return Err(ApiError::not_found("Upload grants are switched off"));
    }
    let Some(id) = app.cas.grant(parse_hash(&hash)?, request, app.config.url_ttl) else {
        return Ok(StatusCode::OK.into_response());
    };
    let url = app.signed_url(host(&headers), "PUT", &format!("/grants/{id}"));
    let headers = [("if-none-match".to_owned(), "*".to_owned())].into();
    let grant = XorbUploadGrant { id, method: "PUT".to_owned(), url, headers };
    Ok((StatusCode::CREATED, Json(grant)).into_response())
}

async fn xorb_commit(
    State(app): State<Arc<App>>,
    Path((prefix, hash, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    authorize(&app, &headers, Scope::Write)?;
    check_prefix(&prefix)?;
    if let Some(length) = app.cas.commit(&id, parse_hash(&hash)?).await? {
        count_xorb(&app, length);
    }
    Ok(Json(json!({})).into_response())
}

async fn shard_v1(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Answer {
    let stored = store_shard(&app, &headers, body).await?;
    let result = UploadShardResponseType::SyncPerformed;
    let shard_hash = stored.map(HexMerkleHash::from);
    Ok(Json(UploadShardResponse { result, shard_hash }).into_response())
}

async fn shard_v2(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Answer {
    if !app.config.cas_v2 {
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "Version 2 is switched off"));
    }
    // The stream exists for shards that take long to check; here the check is over before the
    // first frame, so an error can still be a status.
    store_shard(&app, &headers, body).await?;
    let events = [
        ShardUploadEvent::Validating { verified: 1, total: 1 },
        ShardUploadEvent::Committing { stage: CommitStage::Uploading },
        ShardUploadEvent::Committing { stage: CommitStage::Syncing },
        ShardUploadEvent::Result,
    ];
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, &event).map_err(ApiError::internal)?;
        lines.push(b'\n');
    }
    let mut response = Response::new(Body::from(lines));
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
    Ok(response)
}

/// Telemetry is accepted and forgotten.
async fn telemetry(_body: Bytes) -> Json<serde_json::Value> {
    Json(json!({}))
}
