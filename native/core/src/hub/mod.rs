//! The Hub's HTTP API, as far as downloads and uploads need it: resolve a revision, list a tree,
//! look at a file, fetch its bytes, get a token for the CAS; and create a repo or a branch, ask how
//! files are to be uploaded, and commit. One file per request; formats as in the Hub's own clients.
//!
//! Futures here may be dropped at any point, which cancels the request.

mod commit;
mod content;
mod create_branch;
mod create_repo;
mod file;
mod history;
mod lfs;
mod listing;
mod loose;
mod moved;
mod node;
mod pages;
mod paths_info;
mod preupload;
pub(crate) mod refusal;
mod revision;
mod routes;
mod token;
mod tree;
mod warnings;

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RANGE,
};
use reqwest::{Method, StatusCode};
use sha2::{Digest, Sha256};
use url::Url;

pub(crate) use commit::pull_request_number;
pub use commit::{Committed, NewCommit};
pub use content::Content;
pub(crate) use content::{Place, is_refused_range};
pub use create_repo::{CreatedRepo, Visibility};
pub use file::Looked;
pub(crate) use history::PastCommit;
pub use lfs::{LfsObject, LfsUpload};
pub use listing::Files;
pub use preupload::{FileSample, Mode, Preupload};
pub use revision::{Names, RepoInfo};
pub(crate) use token::token_in;
pub use token::{Access, XetToken};

use crate::call::progress::Counters;
use crate::config::{Config, Deadlines};
use crate::http::{Answer, Follow, Http, Payload, Request, RetryPolicy, Sort, Trail, body};
use crate::model::error::{Error, Futile, Kind, Result};
use crate::model::repo::{Repo, RepoPath};
use refusal::About;

/// What we believe to talk to; an answer that isn't JSON makes one ask.
const HUB: &str = "a Hugging Face Hub";

/// What the Hub counts, each by itself.
const API: Sort = "API requests";
const RESOLVE: Sort = "requests for files";
const COMMIT: Sort = "commits";

/// Questions of one call that are asked side by side.
const AT_ONCE: usize = 8;

/// A client of one Hub with one identity. Cheap to clone; clones share connections. Not to
/// be used across `fork`: build another, with another [`Http`].
#[derive(Clone)]
pub struct Hub {
    config: Arc<Config>,
    identity: Identity,
    http: Arc<Http>,
    retry: RetryPolicy,
    warnings: Arc<warnings::Warnings>,
    moved: Arc<moved::Moved>,
    /// Content is taken as it is sent, whatever it is said to be encoded as.
    takes_as_sent: bool,
}

/// Who asks which Hub: the same for clients that it can't tell apart. It's a digest, as it outlives the token's
/// own guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity([u8; 32]);

impl Identity {
    fn of(config: &Config) -> Self {
        let mut hasher = Sha256::new_with_prefix(config.endpoint.as_str());
        // No URL has a line of its own.
        let token = config.token.as_ref().map(|token| format!("\n{}", token.secret()));
        hasher.update(token.unwrap_or_default());
        // They may say who asks, too.
        for (name, value) in &config.headers {
            hasher.update(format!("\n{name}: "));
            hasher.update(value);
        }
        Self(hasher.finalize().into())
    }
}

impl Hub {
    /// Uses no network yet.
    #[must_use]
    pub fn new(config: Arc<Config>, http: Arc<Http>) -> Self {
        let retry = RetryPolicy::new(&config);
        let (warnings, moved) = (Arc::default(), Arc::default());
        let identity = Identity::of(&config);
        Self { config, identity, http, retry, warnings, moved, takes_as_sent: false }
    }

    /// The same Hub for another call: what it calls its repos is asked anew.
    #[must_use]
    pub(crate) fn for_a_call(&self) -> Self {
        Self { moved: Arc::default(), ..self.clone() }
    }

    /// What the Hub calls `repo`, if this call has heard of another name.
    pub(crate) fn name_of(&self, repo: &Repo) -> Option<Repo> {
        self.moved.of(repo)
    }

    /// The same Hub with more or less patience: for a request whose failure has another way out,
    /// such as the cache.
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        Self { retry, ..self.clone() }
    }

    /// The same Hub, of which files are taken as they are sent: what it says of how they are encoded isn't true.
    #[must_use]
    pub(crate) fn taking_as_sent(&self) -> Self {
        Self { takes_as_sent: true, ..self.clone() }
    }

    /// The same Hub over other connections, or with other limits.
    #[must_use]
    pub fn with_http(&self, http: Arc<Http>) -> Self {
        Self { http, ..self.clone() }
    }

    /// `host:port`, for people.
    pub(crate) fn host(&self) -> String {
        crate::http::origin::authority(self.config.endpoint.url())
    }

    /// The bytes per second that this client is limited to, if it is.
    pub(crate) fn speed_limit(&self) -> Option<NonZeroU32> {
        self.config.max_bytes_per_second
    }

    /// Who asks which Hub.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// How long its requests may take.
    #[must_use]
    pub fn deadlines(&self) -> &Deadlines {
        self.http.deadlines()
    }

    fn about<'a>(
        &'a self,
        repo: &'a Repo,
        revision: &'a str,
        file: Option<&'a RepoPath>,
    ) -> About<'a> {
        About {
            endpoint: &self.config.endpoint,
            token: self.config.token.as_ref(),
            repo,
            revision: Some(revision),
            file,
            writes: false,
        }
    }

    /// A GET for JSON.
    fn api_request(&self, url: Url) -> Request {
        self.request(Method::GET, url, HeaderMap::new(), HeaderMap::new())
    }

    /// A request for a file: its bytes as they are, and counted by the Hub as a download.
    fn file_request(&self, method: Method, url: Url) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut home_headers = HeaderMap::new();
        home_headers.insert("x-hf-download-counter", HeaderValue::from_static("1"));
        let request = self.request(method, url, headers, home_headers);
        Request { sort: RESOLVE, ..request }
    }

    /// A request with a JSON body (or NDJSON, as `kind` says).
    fn write_request(
        &self,
        method: Method,
        url: Url,
        kind: &'static str,
        payload: Payload,
    ) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let request = self.request(method, url, headers, HeaderMap::new());
        Request { payload, ..request }
    }

    fn request(
        &self,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        mut home_headers: HeaderMap,
    ) -> Request {
        // JSON, unless the request says otherwise.
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip"));
        let own = std::mem::replace(&mut home_headers, self.config.headers.clone());
        home_headers.extend(own);
        if let Some(token) = &self.config.token {
            home_headers.insert(AUTHORIZATION, token.bearer());
        }
        // Names the request in the Hub's own logs.
        if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
            home_headers.insert(HeaderName::from_static("x-amzn-trace-id"), id);
        }
        let home = self.config.endpoint.clone();
        let (head_timeout, payload) = (None, Payload::Empty);
        Request { method, url, home, headers, home_headers, head_timeout, sort: API, payload }
    }

    /// Makes a request until `read` has taken what it needs from a successful answer. `what`
    /// completes "can't ...".
    async fn call<T, F, Fut>(
        &self,
        about: &About<'_>,
        what: &str,
        counters: &Counters,
        request: &Request,
        follow: Follow,
        read: F,
    ) -> Result<T>
    where
        F: Fn(Answer) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let at_storage = false;
        self.call_at(about, what, counters, request, (follow, at_storage), read).await
    }

    /// As [`call`](Self::call), for a URL that may be one of storage.
    async fn call_from<T, F, Fut>(
        &self,
        about: &About<'_>,
        what: &str,
        counters: &Counters,
        request: &Request,
        at_storage: bool,
        read: F,
    ) -> Result<T>
    where
        F: Fn(Answer) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.call_at(about, what, counters, request, (Follow::Any, at_storage), read).await
    }

    async fn call_at<T, F, Fut>(
        &self,
        about: &About<'_>,
        what: &str,
        counters: &Counters,
        request: &Request,
        (follow, at_storage): (Follow, bool),
        read: F,
    ) -> Result<T>
    where
        F: Fn(Answer) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.online(about)?;
        // A machine that can't set up HTTPS can't do so on the next attempt either.
        self.http.ready(crate::http::Pool::Multiplexed, &request.url).await?;
        let (about, read) = (*about, &read);
        let ranged = request.headers.contains_key(RANGE);
        let (endpoint, moved) = (&self.config.endpoint, &self.moved);
        let trail = &Trail::default();
        let attempt = |_| async move {
            let now = moved.now(endpoint, about.repo, &request.url);
            let now = now.map(|url| Request { url, ..request.clone() });
            let request = now.as_ref().unwrap_or(request);
            let mut answer = self.http.send(request, follow, trail, counters).await?;
            if !answer.passed.is_empty() {
                let redirects = answer.passed.iter().scan(request.url.clone(), |from, headers| {
                    let to = from.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
                    *from = endpoint.below(to);
                    Some(from.clone())
                });
                moved.note(endpoint, about.repo, &request.url, redirects);
            }
            answer.from_home &= !at_storage;
            let answer = self.accept(answer, ranged, &about).await.inspect_err(|error| {
                if is_of_a_quota(error) {
                    self.http.release(request);
                }
            });
            read(answer?).await
        };
        self.retry.run(counters, what, attempt).await.map_err(|error| about.locate(error))
    }

    /// As [`call`](Self::call), for JSON.
    async fn call_json<T: serde::de::DeserializeOwned>(
        &self,
        about: &About<'_>,
        what: &str,
        counters: &Counters,
        url: Url,
    ) -> Result<(T, HeaderMap)> {
        let request = self.api_request(url);
        self.call(about, what, counters, &request, Follow::Any, |answer| async move {
            let headers = answer.response.headers().clone();
            let value =
                body::read_json(&self.http, answer.response, body::MAX_JSON, HUB, counters).await?;
            Ok((value, headers))
        })
        .await
    }

    /// Sends `body` as JSON by POST, and reads JSON.
    async fn post_json<B: serde::Serialize, T: serde::de::DeserializeOwned>(
        &self,
        about: &About<'_>,
        what: &str,
        counters: &Counters,
        url: Url,
        body: &B,
    ) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(Error::internal)?;
        let request =
            self.write_request(Method::POST, url, "application/json", Payload::Bytes(body.into()));
        self.call(about, what, counters, &request, Follow::Any, |answer| async move {
            body::read_json(&self.http, answer.response, body::MAX_JSON, HUB, counters).await
        })
        .await
    }

    /// The answer if it isn't a refusal. Passes the Hub's warnings on.
    async fn accept(&self, answer: Answer, ranged: bool, about: &About<'_>) -> Result<Answer> {
        if answer.from_home {
            self.warnings.log(answer.response.headers(), about.token);
        }
        let status = answer.response.status();
        // Where a range was asked for, 416 is an answer about the file's size.
        let about_range = status == StatusCode::RANGE_NOT_SATISFIABLE && ranged;
        if (status.is_client_error() || status.is_server_error()) && !about_range {
            return Err(refusal::explain(answer.response, answer.from_home, about).await);
        }
        Ok(answer)
    }

    /// How many windows of the Hub's so many requests for files need, the present one included, as far as it
    /// has said how many it takes in each.
    pub(crate) fn windows_of_files(&self, requests: u64) -> Option<u64> {
        let (left, quota) = self.http.room(self.config.endpoint.url(), RESOLVE)?;
        Some(1 + requests.saturating_sub(left).div_ceil(quota))
    }

    fn online(&self, about: &About<'_>) -> Result<()> {
        if !self.config.offline {
            return Ok(());
        }
        let error = Error::new(
            Kind::Offline,
            format!(
                "can't ask {} about {}: the network is switched off (HF_HUB_OFFLINE, or the client's offline option)",
                self.config.endpoint, about.repo
            ),
        );
        Err(about.locate(error))
    }
}

/// Whether a server refuses by a quota that isn't one of requests.
pub(crate) fn is_of_a_quota(error: &Error) -> bool {
    error.context().hold.is_some_and(|hold| hold.futile == Some(Futile::Quota))
}
