//! Creating, moving, changing and deleting repositories.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Ask, blocking, glob, info, json as answer};
use crate::auth::User;
use crate::errors::ApiError;
use crate::ids::{RepoKey, RepoType};
use crate::store::repo::Repo;
use crate::store::state::{Gate, Record, Settings};
use crate::store::{Found, NewRepo};

#[derive(Deserialize)]
struct Named {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    visibility: Option<String>,
    private: Option<bool>,
}

fn kind(text: Option<&str>) -> Result<RepoType, ApiError> {
    let text = text.unwrap_or("model");
    RepoType::parse(text).ok_or_else(|| ApiError::bad_request(format_args!("Unknown type {text}")))
}

fn key(kind: RepoType, id: &str) -> Result<RepoKey, ApiError> {
    let bad = || ApiError::bad_request(format_args!("Invalid repo name: {id}"));
    RepoKey::parse(kind, id).ok_or_else(bad)
}

impl Named {
    /// The name, with the caller's namespace if it has none.
    fn key(&self, user: &User) -> Result<RepoKey, ApiError> {
        let id = match (&self.organization, self.name.contains('/')) {
            (Some(organization), _) => format!("{organization}/{}", self.name),
            (None, true) => self.name.clone(),
            (None, false) => format!("{}/{}", user.name, self.name),
        };
        key(kind(self.kind.as_deref())?, &id)
    }
}

/// A namespace that is another user's is closed; any other name is an organisation that all may
/// use.
fn may_use_namespace(ask: &Ask, user: &User, key: &RepoKey) -> Result<(), ApiError> {
    match key.namespace() {
        Some(space) if space != user.name && ask.app.users.exists(space) => {
            Err(ApiError::forbidden(format_args!(
                "You don't have the rights to create a {} under the namespace \"{space}\"",
                key.kind.singular()
            )))
        }
        _ => Ok(()),
    }
}

fn private(visibility: Option<&str>, flag: Option<bool>) -> Result<Option<bool>, ApiError> {
    match visibility {
        None => Ok(flag),
        Some("private") => Ok(Some(true)),
        Some("public") => Ok(Some(false)),
        Some(other) => Err(ApiError::bad_request(format_args!("Unknown visibility {other}"))),
    }
}

/// `POST /api/repos/create`
pub(super) async fn create(mut ask: Ask) -> Answer {
    let new: Named = ask.json().await?;
    let user = ask.caller.writer()?;
    let key = new.key(user)?;
    may_use_namespace(&ask, user, &key)?;
    let private = private(new.visibility.as_deref(), new.private)?;
    let files = if ask.app.config.initial_gitattributes {
        vec![(".gitattributes".to_owned(), glob::default_gitattributes().into_bytes())]
    } else {
        Vec::new()
    };
    let settings = Settings { private, ..Settings::default() };
    let repo = NewRepo { key: key.clone(), owner: user.name.clone(), settings, files };
    let app = Arc::clone(&ask.app);
    let created = blocking(move || app.store.create(repo)).await?;
    let url = format!("{}/{}", ask.endpoint(), key.web_path());
    if let Some(repo) = created {
        let id = &repo.uid[..repo.uid.len().min(24)];
        return Ok(answer(json!({"url": url, "name": key.id, "id": id})));
    }
    // `exist_ok` in the official client wants the URL from the refusal.
    let message = format!("You already created this {} repo", key.kind.singular());
    let body = answer(json!({"error": message, "url": url}));
    Ok((StatusCode::CONFLICT, [("x-error-message", message)], body).into_response())
}

fn owned(ask: &Ask, key: &RepoKey) -> Result<Arc<Repo>, ApiError> {
    match ask.app.store.find(key) {
        Some(Found::Repo(repo)) => {
            ask.caller.may_write(&repo.state())?;
            Ok(repo)
        }
        _ => Err(ApiError::repo_not_found(&ask.caller)),
    }
}

/// `DELETE /api/repos/delete`
pub(super) async fn delete(mut ask: Ask) -> Answer {
    let named: Named = ask.json().await?;
    let repo = owned(&ask, &named.key(ask.caller.writer()?)?)?;
    let app = Arc::clone(&ask.app);
    blocking(move || app.store.delete(&repo)).await?;
    Ok("OK".into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Move {
    from_repo: String,
    to_repo: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// `POST /api/repos/move`
pub(super) async fn rename(mut ask: Ask) -> Answer {
    let asked: Move = ask.json().await?;
    let kind = kind(asked.kind.as_deref())?;
    let user = ask.caller.writer()?;
    let (from, to) = (key(kind, &asked.from_repo)?, key(kind, &asked.to_repo)?);
    may_use_namespace(&ask, user, &to)?;
    let repo = owned(&ask, &from)?;
    let app = Arc::clone(&ask.app);
    if blocking(move || app.store.rename(&repo, to)).await? {
        Ok("OK".into_response())
    } else {
        Err(ApiError::conflict(format_args!("{} exists already", asked.to_repo)))
    }
}

/// `GET /api/{type}`: the repositories that the caller may see, those of `author` only if given.
pub(super) fn list(ask: &Ask, kind: RepoType) -> Answer {
    let author = ask.query("author");
    let mut found = Vec::new();
    for repo in ask.app.store.all() {
        let state = repo.state();
        let wanted = state.key.kind == kind
            && author.as_deref().is_none_or(|name| state.key.namespace() == Some(name))
            && ask.caller.may_see(&state).is_ok();
        if let (true, Ok(commit)) = (wanted, super::listing::commit(&state, "main")) {
            found.push(info::summary(&repo.uid, &state, commit));
        }
    }
    super::page::answer(ask, &found, ask.app.config.page_size, Value::clone)
}

#[derive(Deserialize)]
struct Change {
    gated: Option<Value>,
    visibility: Option<String>,
    private: Option<bool>,
}

/// `PUT …/settings`
pub(super) async fn settings(mut ask: Ask, repo: &Arc<Repo>) -> Answer {
    let change: Change = ask.json().await?;
    ask.caller.may_write(&repo.state())?;
    let gate = match change.gated {
        None => None,
        Some(Value::Bool(false)) => Some(Gate::Open),
        Some(Value::String(text)) if text == "auto" => Some(Gate::Auto),
        Some(Value::String(text)) if text == "manual" => Some(Gate::Manual),
        Some(other) => return Err(ApiError::bad_request(format_args!("Unknown gate {other}"))),
    };
    let private = private(change.visibility.as_deref(), change.private)?;
    let settings = Settings { private, gate, ..Settings::default() };
    let changed = Arc::clone(repo);
    blocking(move || changed.record(vec![Record::Settings(settings)])).await?;
    let state = repo.state();
    Ok(answer(json!({"private": state.private, "gated": info::gated(state.gate)})))
}

/// `POST …/ask-access`: an automatic gate opens, a manual one waits for its owner.
pub(super) fn ask_access(ask: &Ask, repo: &Repo) -> Answer {
    let user = ask.caller.user()?;
    let users = {
        let state = repo.state();
        ask.caller.may_see(&state)?;
        let mut users = state.access.clone();
        (state.gate == Gate::Auto && users.insert(user.name.clone())).then_some(users)
    };
    if let Some(users) = users {
        repo.record(vec![Record::Access { users }])?;
    }
    Ok(answer(json!({})))
}

/// `GET …/auth-check[/write]`
pub(super) fn auth_check(ask: &Ask, repo: &Repo, write: bool) -> Answer {
    let state = repo.state();
    ask.caller.may_read(&state)?;
    if write {
        ask.caller.may_write(&state)?;
    }
    Ok(answer(json!({})))
}

#[derive(Deserialize)]
struct Readme {
    content: String,
}

/// `POST /api/validate-yaml`: whether a README's metadata block is there and closed.
pub(super) async fn validate_yaml(mut ask: Ask) -> Answer {
    let readme: Readme = ask.json().await?;
    let mut lines = readme.content.lines();
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    if lines.next().map(str::trim_end) != Some("---") {
        warnings.push(json!({"message": "empty or missing yaml metadata in repo card"}));
    } else if !lines.any(|line| line.trim_end() == "---") {
        errors.push(json!({"message": "the yaml metadata has no closing \"---\""}));
    }
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok((status, answer(json!({"warnings": warnings, "errors": errors}))).into_response())
}
