//! `POST …/preupload/{revision}`: how each file of an upload has to travel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::glob::{Attributes, Ignore};
use super::{Answer, Ask, json as answer};
use crate::errors::ApiError;
use crate::store::repo::Repo;
use crate::store::tree::{Content, Tree};

/// Files above this many bytes are large whatever they hold.
const MAX_PLAIN: u64 = 10 << 20;

/// The most files of one request.
const MAX_FILES: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    files: Vec<Candidate>,
    git_ignore: Option<String>,
}

#[derive(Deserialize)]
struct Candidate {
    path: String,
    size: u64,
    #[serde(default)]
    sample: String,
}

/// The text of a plain file of `tree`.
fn text(repo: &Repo, tree: &Tree, path: &str) -> Result<Option<String>, ApiError> {
    match tree.file(path).map(|file| &file.content) {
        Some(Content::Plain { offset, size, .. }) => {
            let bytes = repo.read_blob(*offset, *size)?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(None),
    }
}

/// Whether the first bytes of a file are text. The sample may end inside a character.
fn is_text(sample: &[u8]) -> bool {
    let valid = match std::str::from_utf8(sample) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    valid && !sample.contains(&0)
}

fn mode(attributes: &Attributes, file: &Candidate) -> Result<&'static str, ApiError> {
    let sample = STANDARD.decode(&file.sample).map_err(ApiError::bad_request)?;
    let large = file.size > 0
        && (file.size > MAX_PLAIN || attributes.is_lfs(&file.path) || !is_text(&sample));
    Ok(if large { "lfs" } else { "regular" })
}

/// Answers how files are to be uploaded, and which of them are there already.
pub(super) async fn preupload(mut ask: Ask, repo: &Repo, revision: &str) -> Answer {
    let body: Body = ask.json().await?;
    let state = repo.state();
    ask.caller.may_commit(&state, revision, ask.is_on("create_pr"))?;
    let commit = super::listing::commit(&state, revision)?;
    if body.files.len() > MAX_FILES {
        return Err(ApiError::bad_request(format_args!("More than {MAX_FILES} files")));
    }
    let attributes = text(repo, &commit.tree, ".gitattributes")?.unwrap_or_default();
    let attributes = Attributes::parse(&attributes);
    let ignore = match body.git_ignore {
        Some(sent) => Some(sent),
        None => text(repo, &commit.tree, ".gitignore")?,
    };
    let ignore = Ignore::parse(&ignore.unwrap_or_default());
    let mut files: Vec<Value> = Vec::new();
    for file in &body.files {
        let mut entry = json!({
            "path": file.path,
            "uploadMode": mode(&attributes, file)?,
            "shouldIgnore": ignore.is_ignored(&file.path),
        });
        match commit.tree.file(&file.path).map(|file| &file.content) {
            Some(Content::Plain { oid, .. }) => entry["oid"] = json!(oid),
            Some(Content::Large { sha256, .. }) => entry["oid"] = json!(sha256),
            None => {}
        }
        files.push(entry);
    }
    Ok(answer(json!({"files": files, "commitOid": commit.id})))
}
