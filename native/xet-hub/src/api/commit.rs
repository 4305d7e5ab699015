//! `POST …/commit/{revision}`: NDJSON in, one commit out.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Ask, blocking, json as answer};
use crate::app::App;
use crate::errors::ApiError;
use crate::store::lfs::is_sha256;
use crate::store::repo::{Edit, NewCommit, Repo};
use crate::store::tree::Content;

#[derive(Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
enum Line {
    Header(Header),
    File(PlainFile),
    LfsFile(LargeFile),
    DeletedFile(Deleted),
    DeletedFolder(Deleted),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    summary: String,
    #[serde(default)]
    description: String,
    parent_commit: Option<String>,
}

#[derive(Deserialize)]
struct PlainFile {
    path: String,
    content: String,
    #[serde(default)]
    encoding: Option<String>,
}

#[derive(Deserialize)]
struct LargeFile {
    path: String,
    oid: String,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Deleted {
    path: String,
}

/// A large file must have been uploaded before, over Xet or over LFS.
fn stored(app: &App, file: &LargeFile) -> Result<Content, ApiError> {
    if !is_sha256(&file.oid) {
        return Err(ApiError::bad_request("An LFS oid has 64 lowercase hex digits"));
    }
    let (size, xet) = if let Some(found) = app.cas.file_by_sha256(&file.oid) {
        (found.size, Some(found.hash))
    } else {
        let missing = || {
            let (oid, path) = (&file.oid, &file.path);
            ApiError::bad_request(format_args!("LFS object {oid} of {path} was never uploaded"))
        };
        (app.lfs.size(&file.oid).ok_or_else(missing)?, None)
    };
    if file.size.is_some_and(|announced| announced != size) {
        return Err(ApiError::bad_request(format_args!("{} has {size} bytes", file.path)));
    }
    Ok(Content::large(file.oid.clone(), size, xet))
}

fn edit(app: &App, line: Line) -> Result<Edit, ApiError> {
    Ok(match line {
        Line::Header(_) => return Err(ApiError::bad_request("The header must come first, once")),
        Line::File(file) => {
            let bytes = match file.encoding.as_deref() {
                Some("base64") => STANDARD.decode(&file.content).map_err(ApiError::bad_request)?,
                None | Some("utf-8") => file.content.into_bytes(),
                Some(other) => {
                    return Err(ApiError::bad_request(format_args!("Unknown encoding {other}")));
                }
            };
            Edit::Plain { path: file.path, bytes: bytes.into() }
        }
        Line::LfsFile(file) => {
            let content = stored(app, &file)?;
            Edit::Large { path: file.path, content }
        }
        Line::DeletedFile(deleted) => Edit::DeleteFile { path: deleted.path },
        Line::DeletedFolder(deleted) => Edit::DeleteFolder { path: deleted.path },
    })
}

/// Makes a commit.
pub(super) async fn commit(mut ask: Ask, repo: &Arc<Repo>, revision: &str) -> Answer {
    let opens_pr = ask.is_on("create_pr");
    let (author, key) = {
        let state = repo.state();
        let user = ask.caller.may_commit(&state, revision, opens_pr)?;
        (user.name.clone(), state.key.clone())
    };
    ask.app.limits.count_commit(&key.to_string())?;
    let body = ask.body().await?;
    let mut lines = body
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(ApiError::bad_request));
    let Some(Line::Header(header)) = lines.next().transpose()? else {
        return Err(ApiError::bad_request("The first line must be the header"));
    };
    let valid_parent =
        |id: &str| (5..=40).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if header.parent_commit.as_deref().is_some_and(|id| !valid_parent(id)) {
        return Err(ApiError::bad_request("parentCommit must be a commit id"));
    }
    let edits: Result<Vec<Edit>, ApiError> = lines.map(|line| edit(&ask.app, line?)).collect();
    let new = NewCommit {
        revision: revision.to_owned(),
        parent: header.parent_commit.map(|id| id.to_ascii_lowercase()),
        title: header.summary,
        body: header.description,
        author,
        edits: edits?,
        pull_request: opens_pr,
    };
    let changed = Arc::clone(repo);
    let made = blocking(move || changed.commit(new)).await?;
    let page = format!("{}/{}", ask.endpoint(), key.web_path());
    let mut body = json!({
        "success": true,
        "commitOid": made.id,
        "commitUrl": format!("{page}/commit/{}", made.id),
        "hookOutput": "",
    });
    if let Some(number) = made.pull_request {
        body["pullRequestUrl"] = json!(format!("{page}/discussions/{number}"));
    }
    Ok(answer(body))
}
