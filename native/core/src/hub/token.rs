//! Tokens for the CAS: one per repo and what it is for, one request for all who wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::HeaderMap;
use serde::Deserialize;
use url::Url;

use super::refusal::About;
use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::call::scheduler::Gate;
use crate::config::Token;
use crate::http::body::nonsense;
use crate::model::error::{Error, Result};
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
    /// The bearer token for it, and for nothing else.
    pub token: Token,
    /// Unix time in seconds.
    pub expires_at: u64,
}

impl XetToken {
    /// As `huggingface_hub`: a token this close to its end may not outlive the request it is for.
    const MARGIN: u64 = 60;

    fn is_fresh(&self) -> bool {
        // A clock before 1970 makes every token look fresh; the CAS will say if it isn't.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.expires_at > now + Self::MARGIN
    }
}

type Key = (Repo, Access);

/// The token of one key. Whose turn it is looks for it, and fetches it.
struct Slot {
    turn: Arc<Gate>,
    token: Mutex<Option<XetToken>>,
}

impl Slot {
    fn token(&self) -> MutexGuard<'_, Option<XetToken>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self { turn: Gate::new(1), token: Mutex::default() }
    }
}

/// The tokens of a client.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<Key, Arc<Slot>>>);

impl Cache {
    /// As `huggingface_hub`. One entry is a few hundred bytes.
    const MAX: usize = 1000;

    fn slot(&self, repo: &Repo, access: &Access) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= Self::MAX {
            // Those in use stay, so that nobody fetches twice.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry((repo.clone(), access.clone())).or_default())
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
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

impl Hub {
    /// A token for reading the commit's Xet files, at least 60 s from its end. Remembered; at most
    /// one request per commit is under way, whoever asks.
    pub async fn xet_token(
        &self,
        repo: &Repo,
        commit: &CommitId,
        counters: &Counters,
    ) -> Result<XetToken> {
        self.token_unless(XetToken::is_fresh, repo, &Access::Read(commit.clone()), counters).await
    }

    /// A token for `access`, other than `refused` if the CAS didn't take that one.
    pub async fn xet_token_for(
        &self,
        repo: &Repo,
        access: &Access,
        refused: Option<&Token>,
        counters: &Counters,
    ) -> Result<XetToken> {
        let is_good = |token: &XetToken| Some(&token.token) != refused && token.is_fresh();
        self.token_unless(is_good, repo, access, counters).await
    }

    /// A token other than `refused`, which the CAS didn't take although the clock says that it is
    /// good. If another task has got a new one meanwhile, that one.
    pub async fn xet_token_refresh(
        &self,
        repo: &Repo,
        commit: &CommitId,
        refused: &XetToken,
        counters: &Counters,
    ) -> Result<XetToken> {
        let is_good = |token: &XetToken| token.token != refused.token && token.is_fresh();
        self.token_unless(is_good, repo, &Access::Read(commit.clone()), counters).await
    }

    async fn token_unless(
        &self,
        is_good: impl Fn(&XetToken) -> bool,
        repo: &Repo,
        access: &Access,
        counters: &Counters,
    ) -> Result<XetToken> {
        let about = self.about(repo, access.revision(), None);
        self.online(&about)?;
        let slot = self.tokens.slot(repo, access);
        // If the task that fetches is cancelled or fails, the next one that waits here tries.
        let what = "another request for the same Xet token";
        let _turn = slot.turn.turn(counters, 1, what).await?;
        let remembered = slot.token().clone();
        if let Some(token) = remembered.filter(|token| is_good(token)) {
            return Ok(token);
        }
        let token = self.fetch_token(&about, access, counters).await?;
        *slot.token() = Some(token.clone());
        Ok(token)
    }

    async fn fetch_token(
        &self,
        about: &About<'_>,
        access: &Access,
        counters: &Counters,
    ) -> Result<XetToken> {
        let url = match access {
            Access::Read(commit) => {
                routes::xet_read_token(&self.config.endpoint, about.repo, commit)
            }
            Access::Write { revision, create_pr } => {
                routes::xet_write_token(&self.config.endpoint, about.repo, revision, *create_pr)
            }
        };
        let what = format!("get a Xet token for {}", about.repo);
        let (body, _): (Body, HeaderMap) =
            self.call_json(about, &what, counters, url.clone()).await?;
        body.validate(&url).map_err(|error| about.locate(error))
    }
}

impl Body {
    fn validate(self, url: &Url) -> Result<XetToken> {
        let bad = |what: &str| -> Error { nonsense(url, 200, what) };
        let cas_url = Url::parse(&self.cas_url).map_err(|_| bad("a CAS URL that is no URL"))?;
        if !matches!(cas_url.scheme(), "http" | "https") || !cas_url.has_host() {
            return Err(bad("a CAS URL that isn't http or https"));
        }
        // The error of Token::new names the caller's field; here it is the server's fault.
        let token = Token::new("accessToken", &self.access_token)
            .map_err(|_| bad("a Xet token that can't be sent"))?;
        Ok(XetToken { cas_url, token, expires_at: self.exp })
    }
}
