//! `GET …/{repo}[/revision/{revision}]`: what a repository is and which files it has.

use serde_json::{Value, json};

use super::listing::{commit, lfs};
use super::{Answer, Ask};
use crate::errors::ApiError;
use crate::ids::RepoType;
use crate::store::repo::Repo;
use crate::store::state::{Commit, Gate, State, iso};
use crate::store::tree::{Content, File};

/// Properties that `expand` may name: those that clients of some version, for a repository of some
/// kind, ask for. `xetEnabled` is what clients before 1.0 ask before each upload.
const EXPANDABLE: [&str; 42] = [
    "author",
    "baseModels",
    "cardData",
    "childrenModelCount",
    "citation",
    "config",
    "createdAt",
    "datasets",
    "description",
    "disabled",
    "downloads",
    "downloadsAllTime",
    "evalResults",
    "gated",
    "gguf",
    "inference",
    "inferenceProviderMapping",
    "lastModified",
    "library_name",
    "likes",
    "mainSize",
    "mask_token",
    "model-index",
    "models",
    "paperswithcode_id",
    "pipeline_tag",
    "private",
    "region",
    "resourceGroup",
    "runtime",
    "safetensors",
    "sdk",
    "sha",
    "siblings",
    "spaces",
    "subdomain",
    "tags",
    "transformersInfo",
    "trendingScore",
    "usedStorage",
    "widgetData",
    "xetEnabled",
];

/// `gated` as the Hub prints it.
pub(super) fn gated(gate: Gate) -> Value {
    match gate {
        Gate::Open => json!(false),
        Gate::Auto => json!("auto"),
        Gate::Manual => json!("manual"),
    }
}

fn sibling(path: &str, content: &Content, blobs: bool) -> Value {
    let mut sibling = json!({"rfilename": path});
    if blobs {
        sibling["size"] = json!(content.size());
        sibling["blobId"] = json!(content.oid());
        if let Some(lfs) = lfs(content, "sha256") {
            sibling["lfs"] = lfs;
        }
    }
    sibling
}

fn siblings(state: &State, commit: &Commit, blobs: bool) -> Vec<Value> {
    let planted = state.planted.iter().map(|found| sibling(&found.path, &found.content, blobs));
    let files = commit.tree.files();
    let file = |(path, file): &(String, std::sync::Arc<File>)| sibling(path, &file.content, blobs);
    planted.chain(files.iter().map(file)).collect()
}

/// The properties of a repository at `commit`, without its files.
pub(super) fn summary(uid: &str, state: &State, commit: &Commit) -> Value {
    let newest = state.commits.last().map_or(state.created, |commit| commit.millis);
    let mut summary = json!({
        "_id": &uid[..uid.len().min(24)],
        "id": state.key.id,
        "author": state.key.namespace().unwrap_or(&state.owner),
        "sha": commit.id,
        "private": state.private,
        "gated": gated(state.gate),
        "disabled": state.disabled,
        "createdAt": iso(state.created),
        "lastModified": iso(newest),
        "downloads": 0,
        "likes": 0,
        "tags": [],
    });
    if state.key.kind == RepoType::Model {
        summary["modelId"] = json!(state.key.id);
    }
    summary
}

/// Answers a request for a repository's info.
pub(super) fn info(ask: &Ask, repo: &Repo, revision: Option<&str>) -> Answer {
    let state = repo.state();
    ask.caller.may_see(&state)?;
    let commit = commit(&state, revision.unwrap_or("main"))?;
    let blobs = ask.is_on("blobs");
    let expand: Vec<String> = ask
        .query_pairs()
        .into_iter()
        .filter(|(name, _)| name == "expand" || name == "expand[]")
        .map(|(_, value)| value)
        .collect();
    let mut info = summary(&repo.uid, &state, commit);
    if expand.is_empty() {
        info["siblings"] = json!(siblings(&state, commit, blobs));
        return Ok(super::json(info));
    }
    if blobs || ask.is_on("securityStatus") {
        return Err(ApiError::bad_request("expand can't be combined with blobs or securityStatus"));
    }
    let mut chosen = json!({"_id": info["_id"], "id": info["id"]});
    for name in &expand {
        if !EXPANDABLE.contains(&name.as_str()) {
            return Err(ApiError::bad_request(format_args!("Invalid option: {name}")));
        }
        match name.as_str() {
            "siblings" => chosen[name] = json!(siblings(&state, commit, false)),
            "usedStorage" => {
                let files = commit.tree.files();
                let used: u64 = files.iter().map(|(_, file)| file.content.size()).sum();
                chosen[name] = json!(used);
            }
            "xetEnabled" => chosen[name] = json!(state.xet),
            name => {
                if let Some(value) = info.get(name) {
                    chosen[name] = value.clone();
                }
            }
        }
    }
    Ok(super::json(chosen))
}
