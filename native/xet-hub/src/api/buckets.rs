//! Buckets: `/api/buckets/{namespace}/{name}/…`, and what resolves their files.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use xet_core_structures::merklehash::MerkleHash;

use super::{Answer, Ask, blocking, json as answer, page, resolve, xet_token};
use crate::app::App;
use crate::auth::Caller;
use crate::cas::parse_hash;
use crate::errors::ApiError;
use crate::ids::{RepoKey, RepoType, valid_file_path};
use crate::route::BucketCall;
use crate::sign::Scope;
use crate::store::Found;
use crate::store::bucket::{Bucket, BucketFile, BucketState};
use crate::store::state::{iso, now_millis};

/// Answers a call on the bucket `id`.
pub(super) async fn call(ask: Ask, id: &str, call: BucketCall) -> Answer {
    let method = ask.parts.method.clone();
    if matches!(call, BucketCall::Whole) && method == Method::POST {
        return create(ask, id).await;
    }
    let found = ask.app.buckets.find(id);
    let bucket = found.ok_or_else(|| ApiError::repo_not_found(&ask.caller))?;
    ask.caller.may_see_bucket(&bucket.state())?;
    match (call, method) {
        (BucketCall::Whole, Method::GET) => Ok(answer(info(&bucket.state()))),
        (BucketCall::Whole, Method::DELETE) => {
            ask.caller.may_write_bucket(&bucket.state())?;
            let (app, id) = (Arc::clone(&ask.app), id.to_owned());
            blocking(move || app.buckets.delete(&id)).await?;
            Ok("OK".into_response())
        }
        (BucketCall::Tree(prefix), Method::GET) => tree(&ask, &bucket.state(), &prefix),
        (BucketCall::PathsInfo, Method::POST) => paths_info(ask, &bucket).await,
        (BucketCall::Batch, Method::POST) => batch(ask, bucket).await,
        (BucketCall::XetToken(scope), Method::GET) => {
            if scope == Scope::Write {
                ask.caller.may_write_bucket(&bucket.state())?;
            }
            xet_token::answer_with(&ask, scope, bucket.state().api_path(), String::new())
        }
        (BucketCall::Resolve(path), Method::GET | Method::HEAD) => {
            let state = bucket.state();
            let file = state.files.get(&path);
            let file = file.ok_or_else(|| ApiError::entry_not_found("").into_text())?;
            resolve::bucket_file(&ask, &state, file)
        }
        _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")),
    }
}

#[derive(Deserialize)]
struct New {
    visibility: Option<String>,
}

/// The namespace `me` is the caller's.
async fn create(mut ask: Ask, id: &str) -> Answer {
    let new: New = ask.json().await?;
    let user = ask.caller.writer()?.name.clone();
    let id = id.strip_prefix("me/").map_or(id.to_owned(), |name| format!("{user}/{name}"));
    let url = format!("{}/buckets/{id}", ask.endpoint());
    let (app, private) = (Arc::clone(&ask.app), new.visibility.as_deref() == Some("private"));
    let is_new = blocking(move || app.buckets.create(&id, &user, private)).await?;
    let status = if is_new { StatusCode::OK } else { StatusCode::CONFLICT };
    Ok((status, answer(json!({"url": url}))).into_response())
}

fn info(state: &BucketState) -> Value {
    json!({
        "id": state.id,
        "private": state.private,
        "createdAt": iso(state.created),
        "size": state.files.values().map(|file| file.size).sum::<u64>(),
        "totalFiles": state.files.len(),
    })
}

fn entry(path: &str, file: &BucketFile) -> Value {
    json!({
        "type": "file",
        "path": path,
        "size": file.size,
        "xetHash": file.hash,
        "mtime": iso(file.mtime),
        "uploadedAt": iso(file.uploaded),
    })
}

/// `GET …/tree[/{prefix}]`: the files below a prefix, and without `recursive` its folders.
fn tree(ask: &Ask, state: &BucketState, prefix: &str) -> Answer {
    let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let is_recursive = ask.is_on("recursive");
    let (mut found, mut folders) = (Vec::new(), BTreeSet::new());
    for (path, file) in &state.files {
        let Some(rest) = path.strip_prefix(&below) else {
            // The prefix may be a file.
            found.extend((path == prefix).then(|| entry(path, file)));
            continue;
        };
        match rest.split_once('/') {
            Some((folder, _)) if !is_recursive => {
                if folders.insert(folder) {
                    found.push(json!({"type": "directory", "path": format!("{below}{folder}")}));
                }
            }
            _ => found.push(entry(path, file)),
        }
    }
    page::answer(ask, &found, ask.app.config.page_size, Value::clone)
}

#[derive(Deserialize)]
struct Paths {
    paths: Vec<String>,
}

async fn paths_info(mut ask: Ask, bucket: &Bucket) -> Answer {
    let asked: Paths = ask.json().await?;
    let state = bucket.state();
    let found = |path: &String| state.files.get(path).map(|file| entry(path, file));
    Ok(answer(asked.paths.iter().filter_map(found).collect::<Vec<_>>()))
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum Operation {
    #[serde(rename = "addFile")]
    Add { path: String, xet_hash: String, mtime: u64 },
    #[serde(rename = "copyFile")]
    Copy {
        path: String,
        xet_hash: String,
        mtime: u64,
        source_repo_type: String,
        source_repo_id: String,
    },
    #[serde(rename = "deleteFile")]
    Delete { path: String },
}

/// `POST …/batch`: NDJSON in. Operations that fail are listed, the others are done.
async fn batch(mut ask: Ask, bucket: Arc<Bucket>) -> Answer {
    ask.caller.may_write_bucket(&bucket.state())?;
    let body = ask.body().await?;
    let (mut puts, mut deleted, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let operation = serde_json::from_slice(line).map_err(ApiError::bad_request)?;
        let (path, done) = match operation {
            Operation::Delete { path } => {
                let is_there = bucket.state().files.contains_key(&path);
                let missing = || ApiError::not_found("file not found");
                deleted.extend(is_there.then(|| path.clone()));
                (path, is_there.then_some(()).ok_or_else(missing))
            }
            Operation::Add { path, xet_hash, mtime } => {
                let file = added(&ask.app, &bucket, &path, &xet_hash, mtime).await;
                (path.clone(), file.map(|file| puts.push((path, file))))
            }
            Operation::Copy { path, xet_hash, mtime, source_repo_type, source_repo_id } => {
                let source = (source_repo_type.as_str(), source_repo_id.as_str());
                let file = copied(&ask.app, &ask.caller, source, &path, &xet_hash, mtime).await;
                (path.clone(), file.map(|file| puts.push((path, file))))
            }
        };
        if let Err(error) = done {
            failed.push(json!({"path": path, "error": error.to_string()}));
        }
    }
    let (succeeded, total) =
        (puts.len() + deleted.len(), puts.len() + deleted.len() + failed.len());
    let edit = move || {
        bucket.change(|files| {
            files.retain(|path, _| !deleted.contains(path));
            files.extend(puts);
        })
    };
    blocking(edit).await?;
    let status = if succeeded == 0 { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let body = json!({
        "success": failed.is_empty(),
        "processed": total,
        "succeeded": succeeded,
        "failed": failed,
    });
    Ok((status, answer(body)).into_response())
}

/// A file whose content was uploaded to this bucket, or is in it.
async fn added(
    app: &App,
    bucket: &Bucket,
    path: &str,
    hash: &str,
    mtime: u64,
) -> Result<BucketFile, ApiError> {
    let file = parse_hash(hash)?;
    let has = {
        let state = bucket.state();
        state.has(&file) || app.cas.is_uploaded(&state.api_path(), &file)
    };
    stored(app, path, file, has, mtime).await
}

/// A file whose content another repository or bucket has.
async fn copied(
    app: &App,
    caller: &Caller,
    (kind, id): (&str, &str),
    path: &str,
    hash: &str,
    mtime: u64,
) -> Result<BucketFile, ApiError> {
    let file = parse_hash(hash)?;
    let has = if kind == "bucket" {
        app.buckets.find(id).is_some_and(|bucket| {
            let state = bucket.state();
            caller.may_see_bucket(&state).is_ok() && state.has(&file)
        })
    } else {
        let key = RepoType::parse(kind).and_then(|kind| RepoKey::parse(kind, id));
        match key.and_then(|key| app.store.find(&key)) {
            Some(Found::Repo(repo) | Found::Renamed(repo)) => {
                let state = repo.state();
                let has = |commit: &crate::store::state::Commit| commit.xet_files().contains(&file);
                caller.may_read(&state).is_ok() && state.commits.iter().any(has)
            }
            None => false,
        }
    };
    stored(app, path, file, has, mtime).await
}

async fn stored(
    app: &App,
    path: &str,
    file: MerkleHash,
    has: bool,
    mtime: u64,
) -> Result<BucketFile, ApiError> {
    if !valid_file_path(path) {
        return Err(ApiError::bad_request("invalid path"));
    }
    // No shard has the empty file.
    let size = match file == MerkleHash::default() {
        true => 0,
        false if has => app.cas.file_info(&file).await?.file_size(),
        false => return Err(ApiError::not_found("this content was never uploaded here")),
    };
    Ok(BucketFile { hash: file.hex(), size, mtime, uploaded: now_millis() })
}
