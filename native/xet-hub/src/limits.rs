//! How many requests there may be: fixed windows for each caller and kind of request, and a quota of
//! commits. The real Hub's are 300 seconds; 500 API requests, 3,000 of files and 100 of pages for each
//! address without a token, 1,000, 5,000 and 200 for each user without a plan; and 128 commits an hour
//! in a repository.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::errors::ApiError;
use crate::route::Route;
use crate::sync::lock;

/// What is counted by itself, as the headers name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Api,
    Resolvers,
    Pages,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Resolvers => "resolvers",
            Self::Pages => "pages",
        }
    }

    /// The kind of a request, and whether it's one more: the cache that plain files are redirected to
    /// answers in the name of the request that led there.
    fn of(path: &str) -> (Self, bool) {
        match Route::parse(path) {
            Ok(Some(Route::Resolve { .. })) => (Self::Resolvers, true),
            Ok(Some(Route::ResolveCache { .. })) => (Self::Resolvers, false),
            _ if path.starts_with("/api/") => (Self::Api, true),
            _ => (Self::Pages, true),
        }
    }
}

/// Requests of each kind in a window.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quota {
    api: u64,
    resolvers: u64,
    pages: u64,
}

impl Quota {
    fn of(self, kind: Kind) -> u64 {
        match kind {
            Kind::Api => self.api,
            Kind::Resolvers => self.resolvers,
            Kind::Pages => self.pages,
        }
    }
}

/// More than any test asks for: all of them come from one address, and many as one user.
const AMPLE: u64 = 1_000_000;

impl Default for Quota {
    fn default() -> Self {
        Self { api: AMPLE, resolvers: AMPLE, pages: AMPLE }
    }
}

/// The settings.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quotas {
    /// Seconds of a window.
    window: f64,
    /// Of all callers without a token together: they have one address.
    anonymous: Quota,
    /// Of each user.
    users: Quota,
    /// Commits of a repository in an hour.
    commits: u64,
    /// Whether answers say what is left.
    headers: bool,
}

impl Default for Quotas {
    fn default() -> Self {
        let (anonymous, users) = (Quota::default(), Quota::default());
        Self { window: 300.0, anonymous, users, commits: AMPLE, headers: true }
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// What was counted since the window began.
#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    count: u64,
}

impl Window {
    /// The window in `slot`, or the next one if it's longer ago than that.
    fn now(slot: &mut Option<Self>, length: Duration) -> &mut Self {
        let now = Instant::now();
        let fresh = Self { began: now, count: 0 };
        let window = slot.get_or_insert(fresh);
        if now.duration_since(window.began) >= length {
            *window = fresh;
        }
        window
    }

    /// Counts one more, unless that is more than `quota`.
    fn takes_one(&mut self, quota: u64) -> bool {
        let takes = self.count < quota;
        self.count += u64::from(takes);
        takes
    }
}

#[derive(Debug, Default)]
struct Counts {
    requests: HashMap<(Option<String>, Kind), Option<Window>>,
    /// By repository.
    commits: HashMap<String, Option<Window>>,
}

/// All counts, and what they may be.
#[derive(Debug)]
pub(crate) struct Limits(Mutex<(Quotas, Counts)>);

/// What a request was counted as.
#[derive(Debug)]
pub(crate) struct Counted {
    kind: Kind,
    quotas: Quotas,
    quota: u64,
    window: Window,
    is_refused: bool,
}

impl Limits {
    pub(crate) fn new(quotas: Quotas) -> Self {
        Self(Mutex::new((quotas, Counts::default())))
    }

    /// Other settings, and new windows.
    pub(crate) fn set(&self, quotas: Quotas) -> Result<(), &'static str> {
        if !(0.1..=86_400.0).contains(&quotas.window) {
            return Err("a window has between 0.1 and 86400 seconds");
        }
        *lock(&self.0) = (quotas, Counts::default());
        Ok(())
    }

    /// Counts a request of a user, or of nobody.
    pub(crate) fn count(&self, user: Option<&str>, path: &str) -> Counted {
        let (kind, one_more) = Kind::of(path);
        let mut state = lock(&self.0);
        let (quotas, counts) = &mut *state;
        let quota = if user.is_some() { quotas.users } else { quotas.anonymous }.of(kind);
        let slot = counts.requests.entry((user.map(str::to_owned), kind)).or_default();
        let window = Window::now(slot, Duration::from_secs_f64(quotas.window));
        let is_refused = one_more && !window.takes_one(quota);
        Counted { kind, quotas: *quotas, quota, window: *window, is_refused }
    }

    /// Counts a commit to a repository, or refuses it, in words and with no header of its own.
    pub(crate) fn count_commit(&self, repo: &str) -> Result<(), ApiError> {
        let mut state = lock(&self.0);
        let (quotas, counts) = &mut *state;
        let slot = counts.commits.entry(repo.to_owned()).or_default();
        if Window::now(slot, HOUR).takes_one(quotas.commits) {
            return Ok(());
        }
        let message = format!(
            "You have exceeded the rate limit for repository commits ({} per hour). You can retry this \
             action in about 1 hour. If you're a new user, your limits will raise over time.",
            quotas.commits
        );
        Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, message))
    }
}

impl Counted {
    /// The answer, if there were too many.
    pub(crate) fn refusal(&self) -> Option<ApiError> {
        self.is_refused.then(|| {
            let message = format!(
                "We had to rate limit your IP. To continue using our service, create a HF account or \
                 login to your existing account, and make sure you pass a HF_TOKEN if you're using the \
                 API. (\"{}\": {} requests)",
                self.kind.name(),
                self.quota
            );
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
        })
    }

    /// Says in `headers` what is left.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        if !self.quotas.headers {
            return;
        }
        let (name, quota) = (self.kind.name(), self.quota);
        let left = quota.saturating_sub(self.window.count);
        let passed = self.window.began.elapsed().as_secs_f64();
        let ends = (self.quotas.window - passed).max(0.0).ceil();
        let window = self.quotas.window;
        let limit = format!("\"{name}\";r={left};t={ends}");
        let policy = format!("\"fixed window\";\"{name}\";q={quota};w={window}");
        for (header, text) in [("ratelimit", limit), ("ratelimit-policy", policy)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(header, value);
            }
        }
    }
}
