//! Tokens for xet-core's session, from where all of ours come from.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use xet_client::cas_client::auth::{AuthConfig, AuthError, TokenInfo, TokenRefresher};

use crate::call::progress::Counters;
use crate::cas::Credentials;
use crate::config::Token;
use crate::hub::XetToken;
use crate::model::error::Error;

/// Answers xet-core when its token is about to expire.
pub(super) struct Refresher {
    credentials: Credentials,
    counters: Arc<Counters>,
    current: Mutex<Token>,
    /// xet-core keeps only the text of an error.
    failure: Mutex<Option<Error>>,
}

impl Refresher {
    pub(super) fn new(credentials: Credentials, first: XetToken, counters: Arc<Counters>) -> Self {
        let current = Mutex::new(first.token);
        Self { credentials, counters, current, failure: Mutex::default() }
    }

    /// The session's credentials.
    pub(super) fn auth(self: &Arc<Self>, first: &XetToken) -> AuthConfig {
        AuthConfig {
            token: first.token.secret().to_owned(),
            token_expiration: first.expires_at,
            token_refresher: Arc::clone(self) as Arc<dyn TokenRefresher>,
        }
    }

    /// The token that was given out last.
    pub(super) fn current(&self) -> Token {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last refresh failed, if it did.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl TokenRefresher for Refresher {
    async fn refresh(&self) -> Result<TokenInfo, AuthError> {
        match self.credentials.token(&self.counters).await {
            Ok(token) => {
                let info = (token.token.secret().to_owned(), token.expires_at);
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = token.token;
                Ok(info)
            }
            Err(error) => {
                let text = error.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(AuthError::token_refresh_failure(text))
            }
        }
    }
}
