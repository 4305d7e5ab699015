//! The test API below `/_hub/`: what no real Hub offers. Served on loopback addresses only.

mod corrupt;
mod file;
mod plant;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{Announced, App, Latency};
use crate::errors::ApiError;
use crate::faults::{Report, Rule};
use crate::ids::{RepoKey, RepoType};
use crate::limits::Quotas;
use crate::line::Speed;
use crate::stats::{Origin, Snapshot};
use crate::store::Found;
use crate::store::repo::Repo;
use crate::store::state::{Record, Settings};
use crate::sync::lock;

/// All routes of the test API.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/_hub/stats", get(stats))
        .route("/_hub/stats/reset", post(reset_stats))
        .route("/_hub/faults", get(faults).post(add_faults).delete(clear_faults))
        .route("/_hub/announced", put(announce))
        .route("/_hub/latency", put(delay))
        .route("/_hub/line", put(limit_speed))
        .route("/_hub/limits", put(limit))
        .route("/_hub/repos/{kind}/{*rest}", put(change_repo))
        .route("/_hub/corrupt", post(corrupt::corrupt))
        .route("/_hub/files", get(file::describe).post(file::publish))
        .layer(DefaultBodyLimit::disable())
        .route("/_hub/raw-tree", post(plant::plant))
}

/// A repository as the test API's bodies name it.
#[derive(Debug, Deserialize)]
struct RepoName {
    #[serde(default)]
    repo_type: RepoType,
    repo: String,
}

impl RepoName {
    fn find(&self, app: &App) -> Result<Arc<Repo>, ApiError> {
        find(app, self.repo_type, &self.repo)
    }
}

fn find(app: &App, kind: RepoType, id: &str) -> Result<Arc<Repo>, ApiError> {
    let key = RepoKey::parse(kind, id).ok_or_else(|| ApiError::bad_request("Bad repo id"))?;
    match app.store.find(&key) {
        Some(Found::Repo(repo)) => Ok(repo),
        _ => Err(ApiError::not_found(format_args!("No repository {key}"))),
    }
}

async fn stats(State(app): State<Arc<App>>) -> Json<Snapshot> {
    Json(app.stats.snapshot())
}

async fn reset_stats(State(app): State<Arc<App>>) -> StatusCode {
    app.stats.reset();
    StatusCode::NO_CONTENT
}

async fn faults(State(app): State<Arc<App>>) -> Json<Vec<Report>> {
    Json(app.faults.report())
}

async fn add_faults(
    State(app): State<Arc<App>>,
    Json(rules): Json<Vec<Rule>>,
) -> Result<Json<Vec<Report>>, ApiError> {
    app.faults.add(rules).map_err(ApiError::bad_request)?;
    Ok(Json(app.faults.report()))
}

async fn clear_faults(State(app): State<Arc<App>>) -> StatusCode {
    app.faults.clear();
    StatusCode::NO_CONTENT
}

/// Requests in flight keep the URLs that they were given.
async fn announce(State(app): State<Arc<App>>, Json(announced): Json<Announced>) -> StatusCode {
    *lock(&app.announced) = announced;
    StatusCode::NO_CONTENT
}

/// Requests in flight have waited already.
async fn delay(
    State(app): State<Arc<App>>,
    Json(latency): Json<Latency>,
) -> Result<StatusCode, ApiError> {
    if !Origin::ALL.iter().all(|&origin| (0.0..=60.0).contains(&latency.of(origin))) {
        return Err(ApiError::bad_request("a latency must be between 0 and 60 seconds"));
    }
    *lock(&app.latency) = latency;
    Ok(StatusCode::NO_CONTENT)
}

/// What is on its way waits as it was told.
async fn limit_speed(State(app): State<Arc<App>>, Json(speed): Json<Speed>) -> StatusCode {
    app.line.set(speed);
    StatusCode::NO_CONTENT
}

/// All windows begin anew.
async fn limit(
    State(app): State<Arc<App>>,
    Json(quotas): Json<Quotas>,
) -> Result<StatusCode, ApiError> {
    app.limits.set(quotas).map_err(ApiError::bad_request)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Access {
    users: BTreeSet<String>,
}

/// `PUT /_hub/repos/{type}/{id}/access` and `…/settings`. The id has one segment or two.
async fn change_repo(
    State(app): State<Arc<App>>,
    Path((kind, rest)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Result<Response, ApiError> {
    let kind = RepoType::parse(&kind).ok_or_else(|| ApiError::bad_request("Unknown type"))?;
    let (id, what) = rest.rsplit_once('/').ok_or_else(|| ApiError::not_found("No such route"))?;
    let repo = find(&app, kind, id)?;
    let record = match what {
        "access" => {
            let access: Access = serde_json::from_value(body).map_err(ApiError::bad_request)?;
            Record::Access { users: access.users }
        }
        "settings" => {
            let settings: Settings = serde_json::from_value(body).map_err(ApiError::bad_request)?;
            Record::Settings(settings)
        }
        _ => return Err(ApiError::not_found("No such route")),
    };
    repo.record(vec![record])?;
    let state = repo.state();
    Ok(Json(json!({
        "private": state.private,
        "gate": state.gate,
        "disabled": state.disabled,
        "xet": state.xet,
        "users": state.access,
    }))
    .into_response())
}
