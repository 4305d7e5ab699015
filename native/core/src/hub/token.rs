//! Tokens for the CAS: which one is for what, and how the Hub is asked for it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde::Deserialize;
use url::Url;

use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::config::Token;
use crate::http::body::{JsonFrom, nonsense};
use crate::http::ratelimit::clock_of;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Repo, Revision};

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading a commit's Xet files.
    Read(CommitId),
    /// Storing what is to be committed to a revision.
    Write {
        /// Where the commit goes.
        revision: Revision,
        /// Whether it opens a pull request there, for which the right to read is enough.
        create_pr: bool,
    },
}

impl Access {
    fn revision(&self) -> &str {
        match self {
            Self::Read(commit) => commit.as_str(),
            Self::Write { revision, .. } => revision.as_str(),
        }
    }
}

/// A right at the CAS, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XetToken {
    /// The CAS, http or https.
    pub cas_url: Url,
    /// The bearer token for it, and for nothing else. `None`: it wants none.
    pub token: Option<Token>,
    /// Its end. A clock that is set meanwhile, or one that was wrong from the start, doesn't change it.
    pub end: Instant,
}

impl XetToken {
    /// As `huggingface_hub`: a token this close to its end may not outlive the request it is for.
    pub(crate) const MARGIN: Duration = Duration::from_mins(1);

    /// Whether it's at least 60 s from its end.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.end.saturating_duration_since(Instant::now()) > Self::MARGIN
    }

    /// Shows it to the CAS.
    pub(crate) fn authorize(&self, request: &mut Request) {
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.bearer());
        }
    }

    /// Its end in Unix time by the clock of this machine, in seconds.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        let end = SystemTime::now() + self.end.saturating_duration_since(Instant::now());
        end.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// The body of the answer. The same three values are in its headers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    cas_url: String,
    access_token: String,
    exp: u64,
}

/// The token in an answer of the Hub's route for tokens, or of one that answers as it does: in JSON, or in headers.
/// `from` is where it came from.
pub(crate) fn token_in(from: &JsonFrom, headers: &HeaderMap, content: &[u8]) -> Result<XetToken> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim().to_owned());
    let in_headers = || {
        Some(Body {
            cas_url: text("x-xet-cas-url")?,
            access_token: text("x-xet-access-token")?,
            exp: text("x-xet-token-expiration")?.parse().ok()?,
        })
    };
    let body = from.parse(content).or_else(|error| in_headers().ok_or(error))?;
    body.validate(&from.url, clock_of(headers))
}

impl Hub {
    /// A new token for `access`. Whoever needs one more than once keeps it. Many files hang on it, so one answer
    /// that makes no sense is asked about once more.
    pub async fn xet_token(
        &self,
        repo: &Repo,
        access: &Access,
        counters: &Counters,
    ) -> Result<XetToken> {
        match self.ask_for_token(repo, access, counters).await {
            Err(error) if is_odd(&error, access) => {
                tracing::info!(%repo, %error, "asking once more for a Xet token");
                counters.add_retry();
                self.ask_for_token(repo, access, counters).await
            }
            asked => asked,
        }
    }

    async fn ask_for_token(
        &self,
        repo: &Repo,
        access: &Access,
        counters: &Counters,
    ) -> Result<XetToken> {
        let about = self.about(repo, access.revision(), None);
        let url = match access {
            Access::Read(commit) => routes::xet_read_token(&self.config.endpoint, repo, commit),
            Access::Write { revision, create_pr } => {
                routes::xet_write_token(&self.config.endpoint, repo, revision, *create_pr)
            }
        };
        let what = format!("get a Xet token for {repo}");
        let (body, headers): (Body, HeaderMap) =
            self.call_json(&about, &what, counters, url.clone()).await?;
        body.validate(&url, clock_of(&headers)).map_err(|error| about.locate(error))
    }
}

/// Whether an answer may be an oddity of one moment: it's about nothing that the question has. What may pass has
/// been asked for again already. Who reads knows of files in Xet storage; who writes learns so that there is none.
fn is_odd(error: &Error, access: &Access) -> bool {
    let is_none = error.kind() == Kind::NotFound && matches!(access, Access::Read(_));
    let is_nonsense = matches!(error.kind(), Kind::BadRequest | Kind::InvalidResponse);
    (is_nonsense || is_none) && !error.is_transient()
}

impl Body {
    /// No token lives for so long, and no clock has room for what lives for ever.
    const LONGEST: Duration = Duration::from_hours(24);

    /// `now` is the time by the clock of the server, which has set the end.
    fn validate(self, url: &Url, now: SystemTime) -> Result<XetToken> {
        let bad = |what: &str| -> Error { nonsense(url, 200, what) };
        let cas_url = Url::parse(&self.cas_url).map_err(|_| bad("a CAS URL that is no URL"))?;
        if !matches!(cas_url.scheme(), "http" | "https") || !cas_url.has_host() {
            return Err(bad("a CAS URL that isn't http or https"));
        }
        // The error of Token::new names the caller's field; here it is the server's fault.
        let token = Token::new("accessToken", &self.access_token)
            .map_err(|_| bad("a Xet token that can't be sent"))?;
        // A clock before 1970 makes every token look fresh; the CAS will say if it isn't.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let lifetime = Duration::from_secs(self.exp).saturating_sub(now).min(Self::LONGEST);
        Ok(XetToken { cas_url, token: Some(token), end: Instant::now() + lifetime })
    }
}
