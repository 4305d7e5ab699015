//! The right to a storage: where its CAS is, and where tokens for it come from.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

use crate::call::progress::Counters;
use crate::call::{Call, CallerToken};
use crate::cas::TokenSource;
use crate::config::headers::headers;
use crate::config::{Endpoint, Header, Token};
use crate::http::body::{self, JsonFrom, MAX_JSON};
use crate::http::{Follow, Http, Payload, Request, RetryPolicy, Sort, Trail};
use crate::hub::refusal::{self, Refusal};
use crate::hub::{XetToken, token_in};
use crate::model::error::{Error, Kind, Result};
use crate::sys::files;

/// Where a storage is if nobody says so; as `hf_xet`.
const NOWHERE: &str = "http://localhost:8080";

/// What begins the endpoint of a folder that is a CAS.
const FOLDER: &str = "local://";

/// What a refresh URL may be limited to.
const TOKENS: Sort = "questions for tokens";

/// What we believe to ask for tokens.
const SERVER: &str = "the server that gives tokens for Xet storage";

/// A token that is given once, and its end in seconds since 1970; `None`: it has none.
#[derive(Clone, Debug)]
pub struct GivenToken {
    /// The bearer token.
    pub token: Token,
    /// By the clock of this machine.
    pub expires: Option<u64>,
}

/// Where a storage is, and by which right. For each field see `XetStorageOptions` in `xet.h`.
#[derive(Clone, Debug, Default)]
pub struct StorageOptions {
    /// A URL, or `local://` and a folder.
    pub endpoint: Option<String>,
    /// The first token.
    pub token: Option<GivenToken>,
    /// Where there are more of them: a URL, and headers for it alone.
    pub refresh: Option<(String, Vec<Header>)>,
    /// The caller is asked for tokens, by those who wait for work.
    pub asks_caller: bool,
    /// For the CAS alone.
    pub headers: Vec<Header>,
    /// For the opening.
    pub timeout: Option<Duration>,
    /// Of all work with the storage.
    pub deadlines: crate::config::options::DeadlineOptions,
}

/// Where the content of a storage is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Cas(Url),
    Folder(std::path::PathBuf),
    /// Where the first answer of the refresh URL says.
    Unknown,
}

/// What the options come to, before anybody was asked.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) place: Place,
    pub(super) headers: HeaderMap,
    first: Option<GivenToken>,
    refresh: Option<Refresh>,
    asks_caller: bool,
}

#[derive(Clone, Debug)]
struct Refresh {
    url: Url,
    home: Endpoint,
    headers: HeaderMap,
}

impl Access {
    pub(super) fn of(options: &StorageOptions) -> Result<Self> {
        if options.refresh.is_some() && options.asks_caller {
            let problem = "is given, and a token callback, too: there can be one of them";
            return Err(Error::invalid("options.refresh_url", problem));
        }
        let refresh = options.refresh.as_ref();
        let refresh = refresh.map(|(url, headers)| Refresh::of(url, headers)).transpose()?;
        let endpoint = options.endpoint.as_deref().map(str::trim).filter(|e| !e.is_empty());
        let place = match (endpoint, &refresh) {
            (None, Some(_)) => Place::Unknown,
            (None, None) => Place::Cas(cas_url(NOWHERE)?),
            (Some(endpoint), _) => match endpoint.strip_prefix(FOLDER) {
                Some(folder) => Place::Folder(folder_of(folder)?),
                None => Place::Cas(cas_url(endpoint)?),
            },
        };
        let (first, asks_caller) = (options.token.clone(), options.asks_caller);
        let headers = headers("options.headers", &options.headers)?;
        Ok(Self { place, headers, first, refresh, asks_caller })
    }

    /// Whether somebody has to be asked where the storage is.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.place, Place::Unknown)
    }
}

impl Refresh {
    fn of(url: &str, given: &[Header]) -> Result<Self> {
        let field = "options.refresh_url";
        let url = Url::parse(url.trim()).map_err(|_| Error::invalid(field, "is no URL"))?;
        // Its query may be a part of the question.
        let home = Endpoint::parse(field, &url.origin().ascii_serialization())?;
        Ok(Self { url, home, headers: headers("options.refresh_headers", given)? })
    }
}

fn cas_url(endpoint: &str) -> Result<Url> {
    let bad = |problem: &str| Error::invalid("options.endpoint", problem);
    let url = Url::parse(endpoint)
        .map_err(|_| bad("is no URL: \"https://...\", or \"local://\" and a folder"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("holds credentials; give a token instead"));
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad("is neither http, https nor \"local://\" and a folder"));
    }
    Ok(url)
}

fn folder_of(folder: &str) -> Result<std::path::PathBuf> {
    let field = "options.endpoint";
    if folder.is_empty() {
        return Err(Error::invalid(field, "names no folder behind \"local://\""));
    }
    files::absolute(&crate::config::Environment::process().user_path(field, folder)?)
}

/// The tokens of one storage, for one call.
pub(super) struct Tokens {
    pub(super) access: Arc<Access>,
    pub(super) http: Arc<Http>,
    pub(super) policy: RetryPolicy,
    /// The first token, until it's taken.
    pub(super) first: Arc<Mutex<Option<XetToken>>>,
    /// Whose caller may be asked.
    pub(super) call: Call,
}

#[async_trait]
impl TokenSource for Tokens {
    async fn fetch(&self, counters: &Counters) -> Result<XetToken> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(first) = first.filter(XetToken::is_fresh) {
            return Ok(first);
        }
        if let Some(refresh) = &self.access.refresh {
            let token = self.refreshed(refresh, counters).await?;
            return Ok(match self.access.place.cas() {
                Some(cas_url) => XetToken { cas_url: cas_url.clone(), ..token },
                None => token,
            });
        }
        let cas_url = self.access.place.cas().cloned();
        let cas_url = cas_url.ok_or_else(|| Error::internal("a storage that is nowhere"))?;
        if self.access.asks_caller {
            let CallerToken { token, expires } = self.call.caller_token().await?;
            let token = Token::new("token", &token)
                .map_err(|error| CallerToken::missing(error.message()))?;
            return Ok(XetToken {
                cas_url,
                token: Some(token),
                end: end((expires != 0).then_some(expires)),
            });
        }
        if self.access.first.is_none() {
            return Ok(XetToken { cas_url, token: None, end: end(None) });
        }
        let message = "the token for Xet storage has expired or was refused, and there is no way to get another \
                       one: open the storage with a new token, a refresh_url or a token callback";
        Err(Error::new(Kind::Unauthorized, message))
    }
}

impl Tokens {
    /// Asks the refresh URL for a token.
    async fn refreshed(&self, refresh: &Refresh, counters: &Counters) -> Result<XetToken> {
        let request = Request {
            method: Method::GET,
            url: refresh.url.clone(),
            home: refresh.home.clone(),
            headers: HeaderMap::new(),
            home_headers: refresh.headers.clone(),
            head_timeout: None,
            sort: TOKENS,
            payload: Payload::Empty,
        };
        let (request, trail) = (&request, &Trail::default());
        let ask = |_| async move {
            let answer = self.http.send(request, Follow::Any, trail, counters).await?;
            let response = answer.response;
            if !response.status().is_success() {
                return Err(refusal::explain_in(response, words).await);
            }
            let (headers, from) = (response.headers().clone(), JsonFrom::of(&response, SERVER));
            let content = body::read(&self.http, response, MAX_JSON, counters).await?;
            token_in(&from, &headers, &content)
        };
        self.policy.run(counters, "get a token for Xet storage", ask).await
    }
}

/// What a refusal of the refresh URL says.
fn words(refusal: &Refusal) -> (Kind, String) {
    let (host, status) = (refusal.host(), refusal.status());
    let kind = match (refusal.kind_by_status(), status) {
        (_, 401) => Kind::Unauthorized,
        (kind, _) => kind,
    };
    let sentence = match kind {
        Kind::Unauthorized => format!(
            "{host} gives no token for Xet storage: it doesn't know who asks (HTTP 401); check the headers \
             for the refresh URL, or log in again"
        ),
        Kind::Forbidden => format!(
            "{host} gives no token for Xet storage (HTTP {status}): check the rights of who asks"
        ),
        Kind::NotFound => format!(
            "{host} has nothing at the refresh URL for Xet tokens (HTTP {status}): check the URL"
        ),
        kind => refusal
            .of_server(kind)
            .unwrap_or_else(|| format!("{host} gives no token for Xet storage (HTTP {status})")),
    };
    (kind, sentence)
}

impl Place {
    pub(super) fn cas(&self) -> Option<&Url> {
        match self {
            Self::Cas(url) => Some(url),
            Self::Folder(_) | Self::Unknown => None,
        }
    }
}

/// The first token of a storage whose CAS is at `cas_url`, if it has one. One that can't be replaced is
/// used to its very end.
pub(super) fn first_token(access: &Access, cas_url: &Url) -> Option<XetToken> {
    let GivenToken { token, expires } = access.first.clone()?;
    let is_last = access.refresh.is_none() && !access.asks_caller;
    let end = if is_last { end_of_last(expires) + XetToken::MARGIN } else { end(expires) };
    Some(XetToken { cas_url: cas_url.clone(), token: Some(token), end })
}

/// When a token ends, by the clock that isn't set. None lives for longer than a day without being asked for anew.
fn end(expires: Option<u64>) -> Instant {
    ends_within(expires, Duration::from_hours(24))
}

/// When one ends that can't be replaced: only when its giver says so, or the CAS.
fn end_of_last(expires: Option<u64>) -> Instant {
    // As good as never, and still a time.
    ends_within(expires, Duration::from_hours(24 * 365 * 30))
}

fn ends_within(expires: Option<u64>, longest: Duration) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = expires.map(|expires| Duration::from_secs(expires).saturating_sub(now));
    Instant::now() + left.unwrap_or(longest).min(longest)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}
