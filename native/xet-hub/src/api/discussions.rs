//! Discussions, of which pull requests are one kind.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Ask, blocking, json as answer};
use crate::errors::ApiError;
use crate::store::repo::Repo;
use crate::store::state::{Discussion, Record, State, iso};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct New {
    title: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    pull_request: bool,
}

/// `POST …/discussions`
pub(super) async fn open(mut ask: Ask, repo: &Arc<Repo>) -> Answer {
    let new: New = ask.json().await?;
    ask.caller.may_see(&repo.state())?;
    let author = ask.caller.writer()?.name.clone();
    let base = new.pull_request.then(|| "main".to_owned());
    let opened = Arc::clone(repo);
    let number =
        blocking(move || opened.open_discussion(new.title, new.description, author, base)).await?;
    Ok(answer(json!({"num": number, "pullRequest": new.pull_request})))
}

fn find(state: &State, number: u64) -> Result<&Discussion, ApiError> {
    let found = state.discussions.iter().find(|discussion| discussion.number == number);
    found.ok_or_else(|| ApiError::not_found("Discussion not found"))
}

fn entry(state: &State, discussion: &Discussion) -> Value {
    json!({
        "num": discussion.number,
        "title": discussion.title,
        "status": discussion.status,
        "author": {"name": discussion.author},
        "createdAt": iso(discussion.millis),
        "isPullRequest": discussion.base.is_some(),
        "repo": {"name": state.key.id, "type": state.key.kind.singular()},
    })
}

/// `GET …/discussions/{number}`
pub(super) fn show(ask: &Ask, repo: &Repo, number: u64) -> Answer {
    let state = repo.state();
    ask.caller.may_see(&state)?;
    let discussion = find(&state, number)?;
    let mut shown = entry(&state, discussion);
    let text = &discussion.description;
    shown["events"] = json!([{
        "id": format!("{:024x}", number),
        "type": "comment",
        "createdAt": iso(discussion.millis),
        "author": {"name": discussion.author},
        "data": {
            "edited": false,
            "hidden": false,
            "latest": {"raw": text, "html": text, "updatedAt": iso(discussion.millis)},
        },
    }]);
    shown["filesWithConflicts"] = json!([]);
    if let Some(base) = &discussion.base {
        let full =
            if base.starts_with("refs/") { base.clone() } else { format!("refs/heads/{base}") };
        shown["changes"] = json!({"base": full});
        shown["diff"] = json!("");
    }
    Ok(answer(shown))
}

/// `GET …/discussions`
pub(super) fn list(ask: &Ask, repo: &Repo) -> Answer {
    let state = repo.state();
    ask.caller.may_see(&state)?;
    // Pages are counted from 0 and hold everything: an embedded Hub has few discussions.
    let first_page = ask.query("p").is_none_or(|page| page == "0");
    let all: Vec<Value> = if first_page {
        state.discussions.iter().rev().map(|found| entry(&state, found)).collect()
    } else {
        Vec::new()
    };
    let count = state.discussions.len();
    Ok(answer(json!({"discussions": all, "count": count, "start": 0})))
}

/// `POST …/discussions/{number}/merge`
pub(super) fn merge(ask: &Ask, repo: &Repo, number: u64) -> Answer {
    ask.caller.may_write(&repo.state())?;
    find(&repo.state(), number)?;
    repo.merge(number)?;
    Ok(answer(json!({})))
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

/// `POST …/discussions/{number}/status`
pub(super) async fn set_status(mut ask: Ask, repo: &Arc<Repo>, number: u64) -> Answer {
    let status = ask.json::<Status>().await?.status;
    if status != "open" && status != "closed" {
        return Err(ApiError::bad_request("The status must be open or closed"));
    }
    {
        let state = repo.state();
        let discussion = find(&state, number)?;
        if ask.caller.name() != Some(&discussion.author) {
            ask.caller.may_write(&state)?;
        }
    }
    let changed = Arc::clone(repo);
    let record = Record::Status { number, status: status.clone() };
    blocking(move || changed.record(vec![record])).await?;
    Ok(answer(
        json!({"newStatus": {"id": "", "type": "status-change", "data": {"status": status}}}),
    ))
}
