//! Tokens for the CAS: where they come from, and how one is kept for all who need it.
//!
//! Downloads and uploads get theirs here. A token is replaced before its end, and when the CAS refuses
//! it; whoever asks meanwhile waits for that one request.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::call::progress::Counters;
use crate::call::scheduler::Gate;
use crate::hub::{Access, Hub, XetToken};
use crate::model::error::{Error, Result};
use crate::model::repo::Repo;

/// Where tokens come from.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A new token. It's asked for one at a time; dropping the future gives the request up.
    async fn fetch(&self, counters: &Counters) -> Result<XetToken>;
}

/// The Hub's route for tokens.
struct HubRoute {
    hub: Hub,
    repo: Repo,
    access: Access,
}

#[async_trait]
impl TokenSource for HubRoute {
    async fn fetch(&self, counters: &Counters) -> Result<XetToken> {
        self.hub.xet_token(&self.repo, &self.access, counters).await
    }
}

/// Where nobody is asked.
struct Nobody;

#[async_trait]
impl TokenSource for Nobody {
    async fn fetch(&self, _: &Counters) -> Result<XetToken> {
        Err(Error::internal("a token for storage that needs none"))
    }
}

/// The token that is in use. Whose turn it is looks at it, and replaces it.
pub(crate) struct TokenSlot {
    turn: Arc<Gate>,
    token: Mutex<Option<XetToken>>,
}

impl TokenSlot {
    fn token(&self) -> MutexGuard<'_, Option<XetToken>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TokenSlot {
    fn default() -> Self {
        Self { turn: Gate::new(1), token: Mutex::default() }
    }
}

/// The right to one thing at the CAS, for as long as it's needed. Cheap to clone; clones share the
/// token.
#[derive(Clone)]
pub struct Credentials {
    source: Arc<dyn TokenSource>,
    slot: Arc<TokenSlot>,
}

impl Credentials {
    /// With no token yet.
    pub fn new(source: impl TokenSource + 'static) -> Self {
        Self { source: Arc::new(source), slot: Arc::default() }
    }

    /// With the token of others who have the same right, and another way to the next one.
    pub(crate) fn sharing(source: impl TokenSource + 'static, slot: &Arc<TokenSlot>) -> Self {
        Self { source: Arc::new(source), slot: Arc::clone(slot) }
    }

    /// None, for storage that asks nobody for any.
    pub(crate) fn of_nobody() -> Self {
        Self::new(Nobody)
    }

    /// A token that is at least 60 s from its end.
    pub async fn token(&self, counters: &Counters) -> Result<XetToken> {
        self.token_unless(None, counters).await
    }

    /// A token other than `refused`, which the CAS didn't take although the clock says that it is
    /// good. If another task has got a new one meanwhile, that one.
    pub async fn replace(&self, refused: &XetToken, counters: &Counters) -> Result<XetToken> {
        self.token_unless(Some(refused), counters).await
    }

    /// Asks the CAS with this token, and once more with another one if it's refused: the clock says that it is
    /// good, the CAS says it isn't. Clocks differ, or it was revoked.
    pub(crate) async fn ask<T, F>(
        &self,
        token: &XetToken,
        counters: &Counters,
        ask: impl Fn(XetToken) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        match ask(token.clone()).await {
            Err(error) if error.context().http_status == Some(401) && token.token.is_some() => {
                tracing::info!("the CAS refused a token before its time; fetching a new one");
                counters.add_retry();
                counters.add_refresh();
                ask(self.replace(token, counters).await?).await
            }
            answered => answered,
        }
    }

    async fn token_unless(
        &self,
        refused: Option<&XetToken>,
        counters: &Counters,
    ) -> Result<XetToken> {
        // If the task that fetches is cancelled or fails, the next one that waits here tries.
        let what = "another request for the same Xet token";
        let _turn = self.slot.turn.turn(counters, 1, what).await?;
        let is_other =
            |token: &XetToken| refused.is_none_or(|refused| refused.token != token.token);
        let is_good = |token: &XetToken| is_other(token) && token.is_fresh();
        let remembered = self.slot.token().clone();
        if let Some(token) = remembered.filter(is_good) {
            return Ok(token);
        }
        let token = self.source.fetch(counters).await?;
        *self.slot.token() = Some(token.clone());
        Ok(token)
    }
}

/// The tokens that the calls on one client have got from the Hub.
#[derive(Default)]
pub struct HubTokens(Mutex<HashMap<(Repo, Access), Arc<TokenSlot>>>);

impl HubTokens {
    /// As `huggingface_hub`. One entry is a few hundred bytes.
    const MAX: usize = 1000;

    /// The right to `access`, which is asked for with the limits of `hub`.
    #[must_use]
    pub fn credentials(&self, hub: Hub, repo: Repo, access: Access) -> Credentials {
        let slot = self.slot(&repo, &access);
        Credentials { source: Arc::new(HubRoute { hub, repo, access }), slot }
    }

    fn slot(&self, repo: &Repo, access: &Access) -> Arc<TokenSlot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= Self::MAX {
            // Those in use stay, so that nobody fetches twice.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry((repo.clone(), access.clone())).or_default())
    }
}

impl fmt::Debug for TokenSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSlot")
    }
}

impl fmt::Debug for HubTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubTokens")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::Token;
    use crate::model::error::{Error, Kind};

    /// Gives out tokens by number.
    #[derive(Default)]
    struct Numbered(AtomicU32);

    #[async_trait]
    impl TokenSource for Numbered {
        async fn fetch(&self, _: &Counters) -> Result<XetToken> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            let token = Token::new("token", &number.to_string())?;
            let end = Instant::now() + Duration::from_hours(1);
            Ok(XetToken { cas_url: "http://cas".parse().unwrap(), token: Some(token), end })
        }
    }

    /// A refused token is replaced once, and counted; whatever else fails isn't asked again.
    #[tokio::test]
    async fn a_refused_token_is_replaced_once() {
        for (status, asked, refreshes) in [(None, 1, 0), (Some(403), 1, 0), (Some(401), 2, 1)] {
            let (credentials, counters) =
                (Credentials::new(Numbered::default()), Counters::default());
            let (token, tokens) =
                (credentials.token(&counters).await.unwrap(), Mutex::new(Vec::new()));
            let ask = |token: XetToken| {
                let mut tokens = tokens.lock().unwrap();
                assert!(!tokens.contains(&token.token), "the same token again");
                tokens.push(token.token);
                async move {
                    let refuse = |status| {
                        Error::new(Kind::Unauthorized, "").with(|c| c.http_status = Some(status))
                    };
                    status.map_or(Ok(()), |status| Err(refuse(status)))
                }
            };
            let answered = credentials.ask(&token, &counters, ask).await;
            assert_eq!(answered.err().and_then(|error| error.context().http_status), status);
            assert_eq!(tokens.lock().unwrap().len(), asked);
            assert_eq!((counters.refreshes(), counters.retries()), (refreshes, refreshes));
        }
    }
}
