//! Tree listings and paths-info: entries of a commit.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Ask, page};
use crate::errors::ApiError;
use crate::git::lfs_pointer;
use crate::store::repo::Repo;
use crate::store::state::{Commit, Planted, State, iso};
use crate::store::tree::{Content, Node};

/// The most paths that one paths-info request may name.
const MAX_PATHS: usize = 2000;

/// The commit that a request's revision stands for.
pub(crate) fn commit<'a>(state: &'a State, revision: &str) -> Result<&'a Commit, ApiError> {
    let seq = state.resolve(revision);
    seq.and_then(|seq| state.commits.get(seq)).ok_or_else(|| ApiError::revision_not_found(revision))
}

/// `lfs` of a large file. The tree says `oid` where repo info says `sha256`.
pub(super) fn lfs(content: &Content, hash_name: &str) -> Option<Value> {
    match content {
        Content::Plain { .. } => None,
        Content::Large { sha256, size, .. } => {
            let pointer_size = lfs_pointer(sha256, *size).len();
            Some(json!({hash_name: sha256, "size": size, "pointerSize": pointer_size}))
        }
    }
}

/// What a caller is told of the Xet hashes of files.
#[derive(Debug, Clone, Copy)]
enum Hashes {
    /// Nothing: the repository has no Xet.
    None,
    /// That there are some. Anybody may list a gated repository, but its content is behind the gate.
    Masked,
    /// What they are.
    Told,
}

impl Hashes {
    fn of(ask: &Ask, state: &State) -> Self {
        match (state.xet, ask.caller.may_read(state)) {
            (false, _) => Self::None,
            (true, Err(_)) => Self::Masked,
            (true, Ok(())) => Self::Told,
        }
    }
}

fn file_entry(path: &str, content: &Content, hashes: Hashes) -> Value {
    let mut entry =
        json!({"type": "file", "path": path, "oid": content.oid(), "size": content.size()});
    if let Some(lfs) = lfs(content, "oid") {
        entry["lfs"] = lfs;
    }
    if let Content::Large { xet: Some(hash), .. } = content {
        match hashes {
            Hashes::None => {}
            Hashes::Masked => entry["xetHash"] = json!("*".repeat(hash.len())),
            Hashes::Told => entry["xetHash"] = json!(hash),
        }
    }
    entry
}

fn entry(state: &State, hashes: Hashes, path: &str, node: &Node, expand: bool) -> Value {
    let (mut entry, last) = match node {
        Node::File(file) => (file_entry(path, &file.content, hashes), file.commit),
        Node::Folder(tree) => {
            let oid = tree.oid();
            (json!({"type": "directory", "path": path, "oid": oid, "size": 0}), tree.commit())
        }
    };
    if let (true, Some(commit)) = (expand, state.commits.get(last)) {
        entry["lastCommit"] =
            json!({"id": commit.id, "title": commit.title, "date": iso(commit.millis)});
        if matches!(node, Node::File(_)) {
            entry["securityFileStatus"] = json!({
                "status": "unscanned", "avScan": null, "pickleImportScan": null,
            });
        }
    }
    entry
}

/// What a listing holds before it is cut into pages.
enum Listed<'a> {
    Planted(&'a Planted),
    Node(String, &'a Node),
}

impl<'a> From<(String, &'a Node)> for Listed<'a> {
    fn from((path, node): (String, &'a Node)) -> Self {
        Self::Node(path, node)
    }
}

/// `GET …/tree/{revision}[/{path}]`
pub(super) fn tree(ask: &Ask, repo: &Repo, revision: &str, path: &str) -> Answer {
    let state = repo.state();
    ask.caller.may_see(&state)?;
    let commit = commit(&state, revision)?;
    let (recursive, expand) = (ask.is_on("recursive"), ask.is_on("expand"));
    let mut entries: Vec<Listed<'_>> = Vec::new();
    if path.is_empty() {
        entries.extend(state.planted.iter().map(Listed::Planted));
        entries.extend(commit.tree.list("", recursive).into_iter().map(Listed::from));
    } else {
        match commit.tree.get(path) {
            Some(Node::Folder(tree)) => {
                let found = tree.list(&format!("{path}/"), recursive);
                entries.extend(found.into_iter().map(Listed::from));
            }
            Some(node) => entries.push(Listed::Node(path.to_owned(), node)),
            None => return Err(ApiError::entry_not_found(&commit.id.to_string())),
        }
    }
    let config = &ask.app.config;
    let size = if expand { config.expanded_page_size } else { config.page_size };
    let hashes = Hashes::of(ask, &state);
    page::answer(ask, &entries, size, |listed| match listed {
        Listed::Planted(planted) => file_entry(&planted.path, &planted.content, hashes),
        Listed::Node(path, node) => entry(&state, hashes, path, node, expand),
    })
}

#[derive(Deserialize)]
struct PathsBody {
    paths: Vec<String>,
    #[serde(default)]
    expand: bool,
}

/// `POST …/paths-info/{revision}`: a form from Python, JSON from Rust.
pub(super) async fn paths_info(mut ask: Ask, repo: &Repo, revision: &str) -> Answer {
    let body = ask.body().await?;
    let asked: PathsBody = if body.first() == Some(&b'{') {
        serde_json::from_slice(&body).map_err(ApiError::bad_request)?
    } else {
        let mut asked = PathsBody { paths: Vec::new(), expand: false };
        for (name, value) in url::form_urlencoded::parse(&body) {
            match &*name {
                "paths" => asked.paths.push(value.into_owned()),
                "expand" => asked.expand = matches!(&*value, "1" | "true" | "True"),
                _ => {}
            }
        }
        asked
    };
    let state = repo.state();
    ask.caller.may_see(&state)?;
    if asked.paths.len() > MAX_PATHS {
        let status = axum::http::StatusCode::PAYLOAD_TOO_LARGE;
        return Err(ApiError::new(status, "Too many paths"));
    }
    let commit = commit(&state, revision)?;
    let hashes = Hashes::of(&ask, &state);
    let found = |path: &String| {
        let path = path.trim_matches('/');
        Some(entry(&state, hashes, path, commit.tree.get(path)?, asked.expand))
    };
    Ok(super::json(asked.paths.iter().filter_map(found).collect::<Vec<_>>()))
}
