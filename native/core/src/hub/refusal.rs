//! Error answers of the Hub, as errors: which kind, and a sentence with the way out.
//!
//! The Hub classifies by `X-Error-Code`, which `huggingface_hub`'s `hf_raise_for_status` looks at
//! before the status; the order here is the same. `X-Error-Message` and the JSON body's `error`
//! explain.

use std::time::{Duration, Instant};

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::config::{Endpoint, Token};
use crate::http::body::peek;
use crate::http::origin::{authority, bare};
use crate::http::ratelimit::{RateLimit, asked_wait};
use crate::http::{ByWayOf, REQUEST_IDS};
use crate::model::error::{Error, Futile, Hold, Kind};
use crate::model::redact::redact;
use crate::model::repo::{Repo, RepoPath};

/// What a request was about, and who asked: what an error needs besides the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    /// The Hub.
    pub endpoint: &'a Endpoint,
    /// The token that was sent, if any.
    pub token: Option<&'a Token>,
    /// The repo.
    pub repo: &'a Repo,
    /// The revision as the caller named it.
    pub revision: Option<&'a str>,
    /// The file.
    pub file: Option<&'a RepoPath>,
    /// Whether it was to change the repo.
    pub writes: bool,
}

impl About<'_> {
    /// The same for a request that changes the repo.
    #[must_use]
    pub(crate) fn writing(self) -> Self {
        Self { writes: true, ..self }
    }

    /// Adds repo, revision and file to an error's context, where it doesn't say otherwise.
    #[must_use]
    pub(crate) fn locate(&self, error: Error) -> Error {
        error.with(|c| {
            c.repo.get_or_insert_with(|| self.repo.id().to_owned());
            if let Some(revision) = self.revision {
                c.revision.get_or_insert_with(|| revision.to_owned());
            }
            if let Some(file) = self.file {
                c.file.get_or_insert_with(|| file.to_string());
            }
        })
    }
}

/// Most of an error body that is read.
const MAX_BODY: usize = 64 << 10;
/// Most of the server's words that is quoted.
const MAX_QUOTE: usize = 500;
/// Seconds of the Hub's windows. Longer waits aren't those of requests.
const WINDOW: u64 = 300;
/// What the Hub says to a token that it doesn't know. Any other 401 may hide a repo.
const BAD_TOKEN: &str = "Invalid credentials in Authorization header";
const DISABLED: &str = "Access to this resource is disabled.";

/// What is known of an answer with an error status.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    from_hub: bool,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    rate_limit: Option<RateLimit>,
    retry_after: Option<u64>,
    hold: Option<Hold>,
    /// It is that of a port for TLS, which was spoken to without.
    wants_tls: bool,
    /// Storage says that what it was asked with has expired.
    has_expired: bool,
    /// The proxy whose own answer it may be.
    by_way_of: Option<String>,
    host: String,
    url: String,
}

/// The error for an answer with an error status. Reads its body, up to 64 KiB.
pub(crate) async fn explain(response: Response, from_hub: bool, about: &About<'_>) -> Error {
    Refusal::read(response, from_hub).await.into_error(about)
}

/// The same for an answer that isn't the Hub's, of the kind and in the words that `tell` finds for it.
pub(crate) async fn explain_in(
    response: Response,
    tell: impl FnOnce(&Refusal) -> (Kind, String),
) -> Error {
    let refusal = Refusal::read(response, false).await;
    let (kind, sentence) = tell(&refusal);
    refusal.told(kind, sentence, None)
}

impl Refusal {
    async fn read(response: Response, from_hub: bool) -> Self {
        let mut refusal = Self::of_head(&response, from_hub);
        let may_speak_tls = response.status() == 400 && response.url().scheme() == "http";
        let may_have_expired = response.status() == 400 && !from_hub;
        if may_speak_tls || may_have_expired || from_hub && refusal.message.is_none() {
            let body = peek(response, MAX_BODY).await;
            refusal.wants_tls = may_speak_tls && wants_tls(&body);
            refusal.has_expired = may_have_expired && has_expired(&body);
            if from_hub && refusal.message.is_none() {
                refusal.message = message_in(&body);
            }
        }
        refusal
    }

    /// Who has answered.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    fn of_head(response: &Response, from_hub: bool) -> Self {
        let headers = response.headers();
        let status = response.status().as_u16();
        let request_id = REQUEST_IDS.iter().find_map(|name| text(headers, name));
        Self {
            status,
            from_hub,
            // Storage has codes and messages of its own, which mean something else.
            code: text(headers, "x-error-code").filter(|_| from_hub),
            message: text(headers, "x-error-message").filter(|_| from_hub),
            request_id,
            rate_limit: RateLimit::of(headers)
                .filter(|limit| status == 429 && limit.remaining == 0),
            retry_after: asked_wait(status, headers),
            hold: response.extensions().get().copied(),
            wants_tls: false,
            has_expired: false,
            by_way_of: ByWayOf::instead(response).map(str::to_owned),
            host: authority(response.url()),
            url: bare(response.url()),
        }
    }

    fn kind(&self, about: &About<'_>) -> Kind {
        let signed_in = about.token.is_some();
        if !self.from_hub {
            return self.kind_at_storage(about);
        }
        // Whatever the Hub says of the repo then: nobody may change one without a token.
        if self.status == 401 && !signed_in && about.writes {
            return Kind::Unauthorized;
        }
        match self.code.as_deref() {
            Some("RevisionNotFound") => return Kind::RevisionNotFound,
            Some("EntryNotFound") => return Kind::EntryNotFound,
            Some("GatedRepo") => return Kind::GatedRepo,
            _ if self.message.as_deref() == Some(DISABLED) => return Kind::RepoDisabled,
            Some("RepoNotFound") => return Kind::RepoNotFound,
            _ => {}
        }
        // To a stranger, the Hub doesn't tell a private repo from a missing one: 401 for both.
        if self.status == 401 && !signed_in && self.message.as_deref() != Some(BAD_TOKEN) {
            return Kind::RepoNotFound;
        }
        self.kind_by_status()
    }

    fn kind_at_storage(&self, about: &About<'_>) -> Kind {
        match self.status {
            // Storage takes no token: it refuses signatures, and those that have expired in its own ways.
            401 => Kind::Forbidden,
            400 if self.has_expired => Kind::Forbidden,
            // It knows no repo, so these can't be about one; and the place is the Hub's choice.
            404 | 409 | 410 | 412 if about.writes => Kind::InvalidResponse,
            _ => self.kind_by_status(),
        }
    }

    /// The kind as the status alone has it.
    pub(crate) fn kind_by_status(&self) -> Kind {
        match self.status {
            401 => Kind::Unauthorized,
            403 | 451 => Kind::Forbidden,
            404 | 410 => Kind::NotFound,
            408 => Kind::Timeout,
            409 | 412 => Kind::Conflict,
            429 => Kind::RateLimited,
            // Only these can be about what the caller asked for; and what is asked of storage and the
            // CAS is what they, or the Hub, said to ask.
            400 | 413 | 422 if self.from_hub => Kind::BadRequest,
            500..=599 => Kind::ServerError,
            _ => Kind::InvalidResponse,
        }
    }

    /// Takes a quota's time for that of the refusal. Only the words tell it: what is left of the requests is
    /// something else.
    fn read_quota(&mut self) {
        if self.status != 429 || !self.from_hub || self.retry_after.is_some() {
            return;
        }
        let Some(seconds) = self.message.as_deref().and_then(time_in) else { return };
        self.retry_after = Some(seconds);
        if let Some(hold) = &mut self.hold {
            hold.until = Instant::now() + Duration::from_secs(seconds);
            hold.is_named = true;
            hold.futile = (seconds > WINDOW).then_some(Futile::Quota);
        }
    }

    fn into_error(mut self, about: &About<'_>) -> Error {
        self.read_quota();
        let kind = self.kind(about);
        let sentence = self.sentence(kind, about);
        about.locate(self.told(kind, sentence, about.token))
    }

    /// The error of that kind, with what else is known of the answer. `token` is the one that was sent.
    fn told(self, kind: Kind, mut sentence: String, token: Option<&Token>) -> Error {
        if self.wants_tls {
            let host = &self.host;
            sentence = format!(
                "{sentence}: this port speaks TLS; its URL has to begin with https://{host}"
            );
        }
        let message = self.message.as_deref().map(|message| quotable(message, token));
        let message = message.filter(|message| !message.is_empty());
        if let Some(message) = &message {
            sentence = format!("{sentence} (the Hub says: {message})");
        }
        if let Some(proxy) = &self.by_way_of {
            sentence = format!("{sentence}; {}", ByWayOf::note(proxy));
        }
        Error::new(kind, sentence).with(|c| {
            c.http_status = Some(self.status);
            c.request_id = self.request_id.map(|id| quotable(&id, token));
            c.server_message = message;
            c.retry_after = self.retry_after;
            c.hold = self.hold;
            c.from_storage = !self.from_hub;
            c.url = Some(self.url);
        })
    }

    fn sentence(&self, kind: Kind, about: &About<'_>) -> String {
        let (repo, status, host) = (about.repo, self.status, &self.host);
        let signed_in = about.token.is_some();
        let at = about.revision.map(|r| format!(" at revision {r:?}")).unwrap_or_default();
        let what = match about.file {
            Some(file) if about.writes => format!("{file} of {repo}"),
            _ => repo.to_string(),
        };
        let page = format!("{}/{}{}", about.endpoint, repo.url_prefix(), repo.id());
        match kind {
            Kind::RevisionNotFound => {
                format!("{repo} has no revision {:?}", about.revision.unwrap_or("?"))
            }
            Kind::EntryNotFound => match about.file {
                Some(file) => format!("{repo} has no file {:?}{at}", file.as_str()),
                None => format!("{repo} has no such file{at}"),
            },
            Kind::GatedRepo if signed_in => {
                format!(
                    "{repo} is gated, and this token's account is not on its list: ask for access at {page}"
                )
            }
            Kind::GatedRepo => format!(
                "{repo} is gated: ask for access at {page}, then log in (HF_TOKEN, or `hf auth login`)"
            ),
            Kind::RepoDisabled => format!("the Hub has disabled {repo}"),
            Kind::RepoNotFound if signed_in => format!(
                "{repo} does not exist, or this token may not see it: check the repo id and type, and the token's rights"
            ),
            Kind::RepoNotFound => format!(
                "{repo} does not exist or is private: check the repo id and type; if it is private, log in (HF_TOKEN, or `hf auth login`)"
            ),
            Kind::Unauthorized => match about.token {
                Some(token) => format!(
                    "{host} refused the token ({}): it is unknown or has expired; log in again (HF_TOKEN, or `hf auth login`), or pass another one",
                    token.source()
                ),
                None => format!(
                    "{host} wants a token for this request about {repo}, and there is none: log in (HF_TOKEN, or `hf auth login`), or pass one"
                ),
            },
            Kind::Forbidden if self.from_hub => {
                format!("{host} forbids this access to {repo}: check the token's rights")
            }
            Kind::Forbidden => format!(
                "storage at {host} refused a URL for {what} that the Hub gave (HTTP {status})"
            ),
            Kind::InvalidResponse if !self.from_hub && about.writes => {
                let why = match status {
                    404 | 410 => ", and says that there is no such place",
                    413 => ", and says that it's too large",
                    _ => "",
                };
                format!(
                    "storage at {host} refused to take {what} where the Hub has sent it (HTTP {status}){why}"
                )
            }
            Kind::NotFound => {
                let file = about.file.map(|file| format!("{:?} of ", file.as_str()));
                let what = format!("{}{repo}", file.unwrap_or_default());
                if self.from_hub {
                    format!("{host} answered HTTP {status} for {what}: check the endpoint")
                } else {
                    format!(
                        "storage at {host} answered HTTP {status} for {what}, where the Hub had led: try later; if \
                         it stays so, the content is missing there"
                    )
                }
            }
            Kind::Conflict => format!("{repo} has changed meanwhile (HTTP {status})"),
            _ => {
                let log_in = if signed_in || !self.from_hub || kind != Kind::RateLimited {
                    ""
                } else {
                    "; signed-in users have higher limits"
                };
                let of_server = self.of_server(kind).map(|sentence| sentence + log_in);
                of_server.unwrap_or_else(|| {
                    format!("{host} refused the request for {repo} with HTTP {status}")
                })
            }
        }
    }

    /// What a refusal says that has to do with how the server is, and not with what it was asked for.
    pub(crate) fn of_server(&self, kind: Kind) -> Option<String> {
        let (status, host) = (self.status, &self.host);
        Some(match kind {
            Kind::Timeout => format!("{host} gave up waiting for the request (HTTP {status})"),
            Kind::RateLimited => {
                let bucket = self
                    .rate_limit
                    .as_ref()
                    .map(|limit| format!(" of bucket {:?}", limit.bucket))
                    .unwrap_or_default();
                format!("{host}: the rate limit{bucket} is reached{}", self.wait())
            }
            Kind::ServerError => format!("{host} failed with HTTP {status}{}", self.wait()),
            _ => return None,
        })
    }

    fn wait(&self) -> String {
        self.retry_after.map(|s| format!("; it asks to wait {s} s")).unwrap_or_default()
    }
}

/// The seconds that the words "in about 1 hour" name, a day at most.
fn time_in(message: &str) -> Option<u64> {
    let message = message.to_ascii_lowercase();
    let words: Vec<&str> = message.split_whitespace().collect();
    words.windows(3).find_map(|three| {
        let &[before, count, unit] = three else { return None };
        let count: u64 = if matches!(count, "a" | "an") { 1 } else { count.parse().ok()? };
        let seconds = [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400)]
            .iter()
            .find_map(|(name, seconds)| unit.starts_with(name).then_some(*seconds))?;
        let is_time = matches!(before, "in" | "about" | "after" | "within" | "for");
        is_time.then(|| count.saturating_mul(seconds).min(86_400))
    })
}

/// Whether a body says that a port is one for TLS, as nginx, Apache and Go have it.
fn wants_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    ["plain http request was sent to https", "plain http to an ssl", "http request to an https"]
        .iter()
        .any(|words| text.contains(words))
}

/// Whether a body says that a signature, or what it was made with, has expired, as S3 has it: `ExpiredToken`.
fn has_expired(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).to_ascii_lowercase().contains("expired")
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(name)?.as_bytes()).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The explanation in an error body: `error` (a text, or a list of them), `error_description`,
/// `errors[].message`.
fn message_in(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let texts: Vec<&str> = match &body["error"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let described = body["error_description"].as_str();
    let listed = body["errors"].as_array().into_iter().flatten();
    let texts: Vec<&str> = texts
        .into_iter()
        .chain(described)
        .chain(listed.filter_map(|error| error["message"].as_str()))
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// A server's words, fit to be shown: on one line, of bounded length, without the token and the signed URLs that it
/// may be echoing.
#[must_use]
pub(crate) fn quotable(text: &str, token: Option<&Token>) -> String {
    let text = token.map_or_else(|| text.to_owned(), |token| token.redact(text));
    let text = redact(&text);
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests;
