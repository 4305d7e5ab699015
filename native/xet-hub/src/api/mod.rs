//! The Hub's own HTTP API: one request, its caller, and the call that it is for.

mod buckets;
mod commit;
mod discussions;
mod glob;
mod info;
mod lfs;
pub(crate) mod listing;
mod page;
mod preupload;
mod refs;
mod repos;
mod resolve;
mod whoami;
mod xet_token;

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::auth::Caller;
use crate::errors::ApiError;
use crate::ids::RepoKey;
use crate::route::{Call, Route};
use crate::stats::Origin;
use crate::store::Found;
use crate::store::repo::Repo;

/// The largest request body: a commit holds its plain files in base64.
const MAX_BODY: usize = 512 << 20;

/// What every call answers.
pub(crate) type Answer = Result<Response, ApiError>;

/// A request to the Hub.
pub(crate) struct Ask {
    pub(crate) app: Arc<App>,
    pub(crate) caller: Caller,
    pub(crate) parts: Parts,
    body: Body,
}

impl Ask {
    /// The `Host` header: links in answers keep the host that the client used.
    pub(crate) fn host(&self) -> &str {
        let host = self.parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.unwrap_or("127.0.0.1")
    }

    /// The Hub's URL as the client sees it.
    pub(crate) fn endpoint(&self) -> String {
        self.app.url_of(Origin::Hub, self.host())
    }

    /// The value of a query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.query_pairs().into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// All query parameters.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        let query = self.parts.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Whether a query parameter is on. Python sends `True`.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.query(name).is_some_and(|value| matches!(&*value, "1" | "true" | "True"))
    }

    /// The body.
    pub(crate) async fn body(&mut self) -> Result<Bytes, ApiError> {
        let body = std::mem::replace(&mut self.body, Body::empty());
        to_bytes(body, MAX_BODY).await.map_err(ApiError::bad_request)
    }

    /// The body as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body().await?).map_err(ApiError::bad_request)
    }
}

/// Answers every request to the Hub's origin that isn't for `/_hub/`.
pub(crate) async fn serve(State(app): State<Arc<App>>, request: Request) -> Answer {
    let coded = app.config.coded_401;
    let caller = app.users.identify(request.headers());
    let name = caller.as_ref().ok().and_then(Caller::name).map(str::to_owned);
    let counted = app.limits.count(name.as_deref(), request.uri().path());
    let answered = match counted.refusal() {
        Some(refusal) => Err(refusal),
        None => answer(Arc::clone(&app), request).await,
    };
    let answered = if coded { answered } else { answered.map_err(ApiError::uncoded_401) };
    let mut response = answered.into_response();
    counted.tell(response.headers_mut());
    Ok(response)
}

async fn answer(app: Arc<App>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let route = Route::parse(parts.uri.path())?;
    let route = route.ok_or_else(|| ApiError::not_found("Sorry, we can't find this page"))?;
    let caller = app.users.identify(&parts.headers)?;
    let ask = Ask { app, caller, parts, body };
    match route {
        Route::Whoami => whoami::whoami(&ask),
        Route::ValidateYaml => repos::validate_yaml(ask).await,
        Route::CreateRepo => repos::create(ask).await,
        Route::DeleteRepo => repos::delete(ask).await,
        Route::MoveRepo => repos::rename(ask).await,
        Route::ListRepos(kind) => repos::list(&ask, kind),
        Route::Bucket(id, call) => buckets::call(ask, &id, call).await,
        Route::Repo(key, call) => match find(&ask, &key)? {
            Place::Here(repo) => repo_call(ask, &repo, call).await,
            Place::Moved(response) => Ok(response),
        },
        Route::Resolve { repo: key, revision, path } => match find(&ask, &key)? {
            Place::Here(repo) => resolve::resolve(&ask, &repo, &revision, &path),
            Place::Moved(response) => Ok(response),
        },
        Route::ResolveCache { repo: key, commit, path } => match find(&ask, &key)? {
            Place::Here(repo) => resolve::resolve_cache(&ask, &repo, &commit, &path),
            Place::Moved(response) => Ok(response),
        },
        Route::LfsBatch(key) => match find(&ask, &key)? {
            Place::Here(repo) => lfs::batch(ask, &repo).await,
            Place::Moved(response) => Ok(response),
        },
        Route::LfsVerify(key) => match find(&ask, &key)? {
            Place::Here(repo) => lfs::verify(ask, &repo).await,
            Place::Moved(response) => Ok(response),
        },
    }
}

async fn repo_call(ask: Ask, repo: &Arc<Repo>, call: Call) -> Answer {
    let method = ask.parts.method.clone();
    let reads = method == Method::GET || method == Method::HEAD;
    match call {
        Call::Info if reads => info::info(&ask, repo, None),
        Call::Revision(revision) if reads => info::info(&ask, repo, Some(&revision)),
        Call::Tree { revision, path } if reads => listing::tree(&ask, repo, &revision, &path),
        Call::PathsInfo(revision) if method == Method::POST => {
            listing::paths_info(ask, repo, &revision).await
        }
        Call::Refs if reads => refs::list(&ask, repo),
        Call::Commits(revision) if reads => refs::commits(&ask, repo, &revision),
        Call::AuthCheck { write } if reads => repos::auth_check(&ask, repo, write),
        Call::XetToken { scope, revision } if reads => {
            xet_token::issue(&ask, repo, scope, &revision)
        }
        Call::Preupload(revision) if method == Method::POST => {
            preupload::preupload(ask, repo, &revision).await
        }
        Call::Commit(revision) if method == Method::POST => {
            commit::commit(ask, repo, &revision).await
        }
        Call::Branch(name) if method == Method::POST => refs::create_branch(ask, repo, &name).await,
        Call::Branch(name) if method == Method::DELETE => refs::delete_branch(&ask, repo, &name),
        Call::Tag(revision) if method == Method::POST => {
            refs::create_tag(ask, repo, &revision).await
        }
        Call::Tag(name) if method == Method::DELETE => refs::delete_tag(&ask, repo, &name),
        Call::Settings if method == Method::PUT => repos::settings(ask, repo).await,
        Call::LfsDuplicate if method == Method::POST => lfs::duplicate(ask, repo).await,
        Call::AskAccess if method == Method::POST => repos::ask_access(&ask, repo),
        Call::Discussions if method == Method::POST => discussions::open(ask, repo).await,
        Call::Discussions if reads => discussions::list(&ask, repo),
        Call::Discussion(number) if reads => discussions::show(&ask, repo, number),
        Call::DiscussionMerge(number) if method == Method::POST => {
            discussions::merge(&ask, repo, number)
        }
        Call::DiscussionStatus(number) if method == Method::POST => {
            discussions::set_status(ask, repo, number).await
        }
        _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")),
    }
}

enum Place {
    Here(Arc<Repo>),
    Moved(Response),
}

/// Finds the repository of a request. A former name is answered with a relative redirect that keeps
/// the rest of the URL; the method is kept by its status, 307.
fn find(ask: &Ask, key: &RepoKey) -> Result<Place, ApiError> {
    match ask.app.store.find(key) {
        None => Err(ApiError::repo_not_found(&ask.caller)),
        Some(Found::Repo(repo)) => Ok(Place::Here(repo)),
        Some(Found::Renamed(repo)) => {
            let state = repo.state();
            // A new name is no less private than the repository.
            ask.caller.may_see(&state)?;
            let target = ask.parts.uri.path_and_query().map_or("/", |target| target.as_str());
            let target = target.replacen(&key.id, &state.key.id, 1);
            let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
            let location = HeaderValue::try_from(target).map_err(ApiError::internal)?;
            response.headers_mut().insert(header::LOCATION, location);
            Ok(Place::Moved(response))
        }
    }
}

/// Runs a change of a repository, which waits for the disk, off the request threads.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?.map_err(Into::into)
}

/// A JSON answer.
pub(crate) fn json(value: impl serde::Serialize) -> Response {
    Json(value).into_response()
}
