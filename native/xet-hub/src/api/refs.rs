//! References and history: branches, tags, pull-request references, commits.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Ask, blocking, json as answer, page};
use crate::errors::ApiError;
use crate::store::repo::Repo;
use crate::store::state::{Commit, MAIN, State, iso, message};

fn is_valid_ref_name(name: &str) -> bool {
    let bad = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    !name.is_empty()
        && !name.contains(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && name.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && std::path::Path::new(part).extension().is_none_or(|end| end != "lock")
        })
}

fn full_name(kind: &str, name: &str) -> Result<String, ApiError> {
    if is_valid_ref_name(name) {
        Ok(format!("refs/{kind}/{name}"))
    } else {
        Err(ApiError::bad_request(format_args!("Invalid reference name: {name}")))
    }
}

fn group(state: &State, prefix: &str, short: bool) -> Vec<Value> {
    let refs = state.refs.iter().filter_map(|(name, &seq)| {
        let rest = name.strip_prefix(prefix)?;
        let shown = if short { rest } else { name };
        let target = state.commits.get(seq)?.id;
        Some(json!({"name": shown, "ref": name, "targetCommit": target}))
    });
    refs.collect()
}

/// `GET …/refs`
pub(super) fn list(ask: &Ask, repo: &Repo) -> Answer {
    let state = repo.state();
    ask.caller.may_see(&state)?;
    let mut refs = json!({
        "branches": group(&state, "refs/heads/", true),
        "converts": group(&state, "refs/convert/", true),
        "tags": group(&state, "refs/tags/", true),
    });
    if ask.is_on("include_prs") {
        refs["pullRequests"] = json!(group(&state, "refs/pr/", true));
    }
    Ok(answer(refs))
}

fn history_entry(commit: &Commit, formatted: bool) -> Value {
    let mut entry = json!({
        "id": commit.id,
        "title": commit.title,
        "message": commit.body,
        "date": iso(commit.millis),
        "authors": [{"user": commit.author}],
    });
    if formatted {
        let html = format!("<p>{}</p>", message(&commit.title, &commit.body));
        entry["formatted"] = json!({"title": commit.title, "message": html});
    }
    entry
}

/// `GET …/commits/{revision}`
pub(super) fn commits(ask: &Ask, repo: &Repo, revision: &str) -> Answer {
    let state = repo.state();
    ask.caller.may_see(&state)?;
    let mut next = Some(super::listing::commit(&state, revision)?);
    let formatted =
        ask.query("expand[]").or_else(|| ask.query("expand")).as_deref() == Some("formatted");
    let mut history = Vec::new();
    while let Some(commit) = next {
        history.push(commit);
        next = commit.parent.and_then(|seq| state.commits.get(seq));
    }
    page::numbered(ask, &history, ask.app.config.expanded_page_size, |commit| {
        history_entry(commit, formatted)
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct NewBranch {
    starting_point: Option<String>,
}

#[derive(Deserialize)]
struct NewTag {
    tag: String,
}

async fn create(ask: Ask, repo: &Arc<Repo>, name: String, revision: String) -> Answer {
    ask.caller.may_write(&repo.state())?;
    let repo = Arc::clone(repo);
    blocking(move || repo.create_ref(name, &revision)).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// `POST …/branch/{name}`
pub(super) async fn create_branch(mut ask: Ask, repo: &Arc<Repo>, name: &str) -> Answer {
    let body = ask.body().await?;
    let new: NewBranch = if body.is_empty() {
        NewBranch::default()
    } else {
        serde_json::from_slice(&body).map_err(ApiError::bad_request)?
    };
    let start = new.starting_point.unwrap_or_else(|| "main".to_owned());
    create(ask, repo, full_name("heads", name)?, start).await
}

/// `POST …/tag/{revision}`
pub(super) async fn create_tag(mut ask: Ask, repo: &Arc<Repo>, revision: &str) -> Answer {
    let new: NewTag = ask.json().await?;
    create(ask, repo, full_name("tags", &new.tag)?, revision.to_owned()).await
}

/// `DELETE …/branch/{name}`
pub(super) fn delete_branch(ask: &Ask, repo: &Repo, name: &str) -> Answer {
    ask.caller.may_write(&repo.state())?;
    let name = format!("refs/heads/{name}");
    if name == MAIN {
        return Err(ApiError::forbidden(format_args!("Cannot delete {MAIN}")));
    }
    repo.delete_ref(name)?;
    Ok(StatusCode::OK.into_response())
}

/// `DELETE …/tag/{name}`
pub(super) fn delete_tag(ask: &Ask, repo: &Repo, name: &str) -> Answer {
    ask.caller.may_write(&repo.state())?;
    repo.delete_ref(format!("refs/tags/{name}"))?;
    Ok(StatusCode::OK.into_response())
}
