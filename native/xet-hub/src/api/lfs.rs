//! Git LFS: the batch call that hands out storage URLs, and the check after an upload.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Ask, json as answer};
use crate::errors::ApiError;
use crate::ids::{RepoKey, RepoType};
use crate::sign::{Scope, XetToken, now};
use crate::stats::Origin;
use crate::store::Found;
use crate::store::lfs::is_sha256;
use crate::store::repo::Repo;

#[derive(Deserialize)]
struct Batch {
    operation: String,
    #[serde(default)]
    transfers: Vec<String>,
    objects: Vec<Object>,
    /// Where the commit goes; absent if that is a pull request yet to be opened.
    #[serde(rename = "ref")]
    reference: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    size: u64,
}

fn is_stored(ask: &Ask, object: &Object) -> bool {
    ask.app.cas.file_by_sha256(&object.oid).map(|file| file.size) == Some(object.size)
        || ask.app.lfs.size(&object.oid) == Some(object.size)
}

/// The way to upload an object over HTTP: in parts of `part_size` bytes if it is larger.
fn upload(ask: &Ask, repo: &Repo, object: &Object, part_size: Option<u64>) -> Value {
    let path = format!("/lfs/{}/{}", object.oid, object.size);
    let verify = format!("{}/{}.git/info/lfs/verify", ask.endpoint(), repo.state().key.web_path());
    let Some(part_size) = part_size.filter(|part_size| object.size > *part_size) else {
        let href = ask.app.signed_url(ask.host(), "PUT", &path);
        return json!({"upload": {"href": href}, "verify": {"href": verify}});
    };
    let mut header = json!({"chunk_size": part_size.to_string()});
    for part in 1..=object.size.div_ceil(part_size) {
        let path = format!("/lfs/{}/parts/{part}", object.oid);
        header[part.to_string()] = json!(ask.app.signed_url(ask.host(), "PUT", &path));
    }
    let href = ask.app.signed_url(ask.host(), "POST", &path);
    json!({"upload": {"href": href, "header": header}, "verify": {"href": verify}})
}

/// The way to upload an object over Xet.
fn xet_upload(ask: &Ask, repo: &Repo, revision: &str, user: &str) -> Result<Value, ApiError> {
    let exp = now() + ask.app.config.token_ttl;
    let token = XetToken {
        scope: Scope::Write,
        repo: repo.state().key.to_string(),
        revision: revision.to_owned(),
        user: user.to_owned(),
        exp,
    };
    let cas = ask.app.url_of(Origin::Cas, ask.host());
    let token = ask.app.signer.xet_token(&token).map_err(ApiError::internal)?;
    Ok(json!({"upload": {"href": cas, "header": {
        "X-Xet-Cas-Url": cas,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": exp.to_string(),
    }}}))
}

fn download(ask: &Ask, object: &Object) -> Option<Value> {
    let path = if let Some(file) = ask.app.cas.file_by_sha256(&object.oid) {
        format!("/files/{}", file.hash)
    } else {
        ask.app.lfs.size(&object.oid)?;
        format!("/lfs/{}", object.oid)
    };
    Some(json!({"download": {"href": ask.app.signed_url(ask.host(), "GET", &path)}}))
}

/// `POST /{repo}.git/info/lfs/objects/batch`
pub(super) async fn batch(mut ask: Ask, repo: &Arc<Repo>) -> Answer {
    let batch: Batch = ask.json().await?;
    let uploads = match batch.operation.as_str() {
        "upload" => true,
        "download" => false,
        other => {
            return Err(ApiError::bad_request(format_args!("Unknown operation {other}")));
        }
    };
    let (user, xet) = {
        let state = repo.state();
        ask.caller.may_read(&state)?;
        // Uploads for a pull request come without a reference, and need no right to write here.
        let user = if uploads { ask.caller.writer()?.name.clone() } else { String::new() };
        (user, state.xet && uploads && batch.transfers.iter().any(|name| name == "xet"))
    };
    let revision = batch.reference.as_ref().map_or("main", |reference| &reference.name);
    let multipart = batch.transfers.iter().any(|name| name == "multipart");
    let part_size = Some(ask.app.config.lfs_part_size).filter(|size| multipart && *size > 0);
    let mut objects = Vec::new();
    for object in &batch.objects {
        let mut entry = json!({"oid": object.oid, "size": object.size});
        if !is_sha256(&object.oid) {
            entry["error"] = json!({"code": 422, "message": "Invalid oid"});
        } else if !uploads {
            match download(&ask, object) {
                Some(actions) => entry["actions"] = actions,
                None => entry["error"] = json!({"code": 404, "message": "Object does not exist"}),
            }
        } else if !is_stored(&ask, object) {
            entry["actions"] = if xet {
                xet_upload(&ask, repo, revision, &user)?
            } else {
                upload(&ask, repo, object, part_size)
            };
        }
        objects.push(entry);
    }
    let transfer = match (xet, part_size) {
        (true, _) => "xet",
        (false, Some(_)) => "multipart",
        (false, None) => "basic",
    };
    let mut response = answer(json!({"transfer": transfer, "objects": objects}));
    let kind = HeaderValue::from_static("application/vnd.git-lfs+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// `POST /{repo}.git/info/lfs/verify`
pub(super) async fn verify(mut ask: Ask, repo: &Repo) -> Answer {
    let object: Object = ask.json().await?;
    ask.caller.may_read(&repo.state())?;
    if is_stored(&ask, &object) {
        Ok(answer(json!({"success": true})))
    } else {
        Err(ApiError::not_found("Object does not exist"))
    }
}

#[derive(Deserialize)]
struct Duplicate {
    target: Target,
    files: Vec<Copied>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Copied {
    sha256: String,
}

/// `POST …/lfs-files/duplicate`: makes large files of this repository known to another one. All
/// repositories share one CAS here, so it is enough that they exist and that the caller may.
pub(super) async fn duplicate(mut ask: Ask, repo: &Repo) -> Answer {
    let asked: Duplicate = ask.json().await?;
    ask.caller.may_read(&repo.state())?;
    let kind = RepoType::parse(&asked.target.kind);
    let key = kind.and_then(|kind| RepoKey::parse(kind, &asked.target.name));
    let key = key.ok_or_else(|| ApiError::bad_request("Invalid target"))?;
    let Some(Found::Repo(target)) = ask.app.store.find(&key) else {
        return Err(ApiError::repo_not_found(&ask.caller));
    };
    ask.caller.may_write(&target.state())?;
    let failed: Vec<Value> = asked
        .files
        .iter()
        .filter(|file| ask.app.cas.file_by_sha256(&file.sha256).is_none())
        .map(|file| json!({"sha256": file.sha256, "error": "not found"}))
        .collect();
    Ok(answer(json!({"failed": failed})))
}
