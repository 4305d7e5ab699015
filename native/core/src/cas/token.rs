//! Tokens for the CAS: where they come from, and how one is kept for all who need it.
//!
//! Downloads and uploads get theirs here. A token is replaced before its end, and when the CAS refuses
//! it; whoever asks meanwhile waits for that one request.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::call::progress::Counters;
use crate::call::scheduler::Gate;
use crate::config::Token;
use crate::hub::{Access, Hub, XetToken};
use crate::model::error::Result;
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

/// The token that is in use. Whose turn it is looks at it, and replaces it.
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

/// The right to one thing at the CAS, for as long as it's needed. Cheap to clone; clones share the
/// token.
#[derive(Clone)]
pub struct Credentials {
    source: Arc<dyn TokenSource>,
    slot: Arc<Slot>,
}

impl Credentials {
    /// With no token yet.
    pub fn new(source: impl TokenSource + 'static) -> Self {
        Self { source: Arc::new(source), slot: Arc::default() }
    }

    /// A token that is at least 60 s from its end.
    pub async fn token(&self, counters: &Counters) -> Result<XetToken> {
        self.token_unless(None, counters).await
    }

    /// A token other than `refused`, which the CAS didn't take although the clock says that it is
    /// good. If another task has got a new one meanwhile, that one.
    pub async fn replace(&self, refused: &Token, counters: &Counters) -> Result<XetToken> {
        self.token_unless(Some(refused), counters).await
    }

    async fn token_unless(&self, refused: Option<&Token>, counters: &Counters) -> Result<XetToken> {
        // If the task that fetches is cancelled or fails, the next one that waits here tries.
        let what = "another request for the same Xet token";
        let _turn = self.slot.turn.turn(counters, 1, what).await?;
        let is_good = |token: &XetToken| Some(&token.token) != refused && token.is_fresh();
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
pub struct HubTokens(Mutex<HashMap<(Repo, Access), Arc<Slot>>>);

impl HubTokens {
    /// As `huggingface_hub`. One entry is a few hundred bytes.
    const MAX: usize = 1000;

    /// The right to `access`, which is asked for with the limits of `hub`.
    #[must_use]
    pub fn credentials(&self, hub: Hub, repo: Repo, access: Access) -> Credentials {
        let slot = self.slot(&repo, &access);
        Credentials { source: Arc::new(HubRoute { hub, repo, access }), slot }
    }

    fn slot(&self, repo: &Repo, access: &Access) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= Self::MAX {
            // Those in use stay, so that nobody fetches twice.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry((repo.clone(), access.clone())).or_default())
    }
}

impl fmt::Debug for HubTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubTokens")
    }
}
